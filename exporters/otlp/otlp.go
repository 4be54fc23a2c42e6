// Package otlp ships events and alerts to a SIEM as OpenTelemetry log records,
// over OTLP by HTTP or gRPC, at least once.
//
// Export writes to a queue on disk and returns; Loops deliver from there. Alerts
// and events have a queue and a connection each, so that no flood of events can
// delay or evict an alert. A record is delivered again if the process dies, or
// the answer is lost, between delivery and acknowledgement: event.id stays the
// same, so that the receiver can tell.
//
// The server refuses a request for good with 400 or 413 (InvalidArgument for
// gRPC) and with a partial success; what it refuses is counted, logged and gone.
// Any other answer, also 401, 403 and 404, means that something between here
// and there is wrong today; it is tried again for ever, ever more slowly, or when
// the server says.
//
// Costs: about 10 microseconds of CPU and, until it is delivered, a kilobyte of
// disk a record, and some megabytes of memory; see Config for the bounds. When
// the queue is full or the disk takes nothing, the newest are dropped and
// counted; see Stats.
//
// Not seen: what the receiver does with a record it has acknowledged.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/clawwatch/clawwatch/exporters"
	"github.com/clawwatch/clawwatch/internal/spool"
)

var _ exporters.Exporter = (*Exporter)(nil)

// Config describes one endpoint. What is zero has the value named.
type Config struct {
	// Endpoint is http://, https://, grpc:// or grpcs://, then host and port
	// (4318, 443, 4317, 4317) and, for HTTP, a path (/v1/logs). No user or
	// password: see Headers.
	Endpoint string
	// Headers are sent with each request. Their values are secrets: they are
	// never logged and never part of an error.
	Headers map[string]string
	TLS     TLS
	// Dir is the queue directory of this endpoint and no other.
	Dir string
	// Resource says who is speaking: host.id, service.version, … service.name
	// is clawwatch unless given.
	Resource map[string]string
	// SyncEvents makes events survive a power failure too, as alerts do, for
	// some milliseconds of disk a batch.
	SyncEvents bool

	MaxEventItems int64         // queued at most; 2,000,000
	MaxEventBytes int64         // 1 GiB
	MaxAlertBytes int64         // 64 MiB
	Timeout       time.Duration // of one request; 15 s
	RetryAfter    time.Duration // first pause after a failure; 1 s. It doubles
	RetryAtMost   time.Duration // longest pause that is ours to choose; 1 min

	Logger *slog.Logger // slog.Default
}

// TLS says how https and grpcs trust and are trusted.
type TLS struct {
	CAFile            string // PEM; instead of the host's certificate authorities
	CertFile, KeyFile string // PEM; the client's own certificate
	// Insecure does not check the server's certificate, and allows Headers over
	// http and grpc to another host.
	Insecure bool
}

// Stats says how delivery goes.
type Stats struct {
	Alerts, Events QueueStats
}

// An Exporter ships to one endpoint.
type Exporter struct {
	resource       map[string]string
	alerts, events *queue
}

// New opens the queues of an endpoint. It does not connect.
func New(cfg Config) (*Exporter, error) {
	cfg.setDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	alerts, err := newQueue("alerts", cfg, spool.Config{MaxBytes: cfg.MaxAlertBytes, Sync: true})
	if err != nil {
		return nil, err
	}
	events, err := newQueue("events", cfg, spool.Config{
		MaxItems: cfg.MaxEventItems, MaxBytes: cfg.MaxEventBytes, Sync: cfg.SyncEvents,
	})
	if err != nil {
		return nil, errors.Join(err, alerts.close())
	}
	return &Exporter{resource: cfg.Resource, alerts: alerts, events: events}, nil
}

func (c *Config) setDefaults() {
	c.MaxEventItems = orElse(c.MaxEventItems, 2_000_000)
	c.MaxEventBytes = orElse(c.MaxEventBytes, 1<<30)
	c.MaxAlertBytes = orElse(c.MaxAlertBytes, 64<<20)
	c.Timeout = orElse(c.Timeout, 15*time.Second)
	c.RetryAfter = orElse(c.RetryAfter, time.Second)
	c.RetryAtMost = orElse(c.RetryAtMost, time.Minute)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	resource := map[string]string{"service.name": "clawwatch"}
	maps.Copy(resource, c.Resource)
	c.Resource = resource
}

func orElse[T int64 | time.Duration](v, other T) T {
	if v == 0 {
		return other
	}
	return v
}

func newQueue(name string, cfg Config, on spool.Config) (*queue, error) {
	to, err := newSender(cfg)
	if err != nil {
		return nil, err
	}
	on.Dir = filepath.Join(cfg.Dir, name)
	sp, err := spool.Open(on)
	if err != nil {
		return nil, errors.Join(err, to.close())
	}
	q := &queue{
		spool: sp, to: to, timeout: cfg.Timeout, first: cfg.RetryAfter, most: cfg.RetryAtMost,
		log: cfg.Logger.With("queue", name, "endpoint", cfg.Endpoint),
	}
	if n := sp.Stats().Items; n > 0 {
		q.log.Info("undelivered log records found", "count", n)
	}
	return q, nil
}

// Export encodes the batch and queues it. Nil means that all of it is on disk.
// Otherwise what is not is dropped and counted in Stats.
func (x *Exporter) Export(_ context.Context, b exporters.Batch) error {
	now := time.Now()
	alerts, err1 := encode(x.resource, len(b.Alerts), func(dst plog.LogRecord, i int) {
		putAlert(dst, &b.Alerts[i], now)
	})
	events, err2 := encode(x.resource, len(b.Records), func(dst plog.LogRecord, i int) {
		putRecord(dst, &b.Records[i], now)
	})
	if err := errors.Join(err1, err2, x.alerts.put(alerts), x.events.put(events)); err != nil {
		return fmt.Errorf("queue log records: %w", err)
	}
	return nil
}

// Loops deliver what is queued: alerts by the first, events by the second.
func (x *Exporter) Loops() []func(context.Context) error {
	return []func(context.Context) error{x.alerts.run, x.events.run}
}

// Stats says how delivery goes.
func (x *Exporter) Stats() Stats {
	return Stats{Alerts: x.alerts.stats(), Events: x.events.stats()}
}

// Close gives the queues back. What is undelivered stays in them.
func (x *Exporter) Close() error { return errors.Join(x.alerts.close(), x.events.close()) }
