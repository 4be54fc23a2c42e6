package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors/plugin"
	"github.com/clawwatch/clawwatch/exporters"
	"github.com/clawwatch/clawwatch/exporters/jsonl"
	"github.com/clawwatch/clawwatch/exporters/otlp"
	"github.com/clawwatch/clawwatch/internal/api"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/pipeline"
	"github.com/clawwatch/clawwatch/internal/store"
)

// Status is how the agent is.
type Status struct {
	Version   string               `json:"version"`
	Started   time.Time            `json:"started"`
	Socket    string               `json:"socket"`
	Coverage  []event.Coverage     `json:"coverage"`
	Gateways  []event.GatewayFound `json:"gateways"`
	Records   []event.Coverage     `json:"records,omitempty"` // of OpenClaw's databases that were found, of collectors that failed, and of rules that are left out
	Skills    map[string]int       `json:"skills,omitempty"`  // number by gateway
	Intent    Intent               `json:"configuration"`
	Blind     []BlindRule          `json:"blind_rules,omitempty"`
	Overrides map[string]string    `json:"overrides,omitempty"` // of the policy, that gateways are under, by gateway
	Pipeline  pipeline.Stats       `json:"pipeline"`
	Store     store.Stats          `json:"store"`
	Unstored  uint64               `json:"unstored"`           // records and alerts that the store could not take
	Delivery  map[string]any       `json:"delivery,omitempty"` // by target
	CPU       time.Duration        `json:"cpu_ns"`
	MaxRSS    int64                `json:"max_rss_bytes"`
	Goroutine int                  `json:"goroutines"`
	Trial     *Trial               `json:"trial,omitempty"` // the last one
}

// Status tells how the agent is now. It may be called from any goroutine.
func (a *Agent) Status() Status {
	s := Status{
		Version: a.opt.Version, Started: a.started, Socket: a.cfg.Socket, Coverage: a.sensors.covers(), Gateways: a.found.list(),
		Records: a.seen.probes(), Skills: a.seen.skillCounts(), Intent: *a.intent.Load(),
		Trial: a.trial.Load(), Unstored: a.writeErrs.Load(), Goroutine: runtime.NumGoroutine(), Delivery: map[string]any{},
	}
	if p := a.stats.Load(); p != nil {
		s.Pipeline = *p
	}
	if st, err := a.store.Stats(context.Background()); err == nil {
		s.Store = st
	}
	s.Blind = s.Intent.inForce.blind(s.Coverage)
	host := thisHost()
	for _, g := range s.Gateways {
		if _, name := s.Intent.inForce.policy.Of(g, host); name != "" {
			if s.Overrides == nil {
				s.Overrides = map[string]string{}
			}
			s.Overrides[g.ID] = name
		}
	}
	for _, d := range a.exporters {
		s.Delivery[d.name] = d.state()
	}
	var use unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &use) == nil {
		s.CPU = time.Duration(use.Utime.Nano() + use.Stime.Nano())
		s.MaxRSS = use.Maxrss * 1024
	}
	return s
}

// statusAfter is Status, with try set after a trial of the sensors.
func (a *Agent) statusAfter(ctx context.Context, try bool) any {
	if try {
		a.wantTrial(ctx)
	}
	return a.Status()
}

// serve opens the socket and answers until ctx is done. The function that it
// returns waits for the end. A socket that cannot be opened is logged: the
// agent does its work without.
func (a *Agent) serve(ctx context.Context) (wait func() error) {
	gid := -1
	if g, err := user.LookupGroup(a.cfg.Group); err == nil {
		if n, err := strconv.Atoi(g.Gid); err == nil {
			gid = n
		}
	}
	l, err := api.Listen(a.cfg.Socket, gid)
	if err != nil {
		a.log.Error("open socket; the other verbs will not work", "error", err)
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() { done <- api.New(a.store, a.statusAfter).Serve(ctx, l) }()
	return func() error { return <-done }
}

// openPlugin opens the socket for OpenClaw's gateways, beside the other one. Any
// user's gateway may connect; who is believed is decided by what it is. One that
// cannot be opened is logged: attribution does without.
func (a *Agent) openPlugin() {
	l, err := api.Bind(filepath.Join(filepath.Dir(a.cfg.Socket), "plugin.sock"), 0o666, -1)
	if err != nil {
		a.log.Error("open the plugin's socket; attribution does without it", "error", err)
	}
	a.plugin = plugin.New(plugin.Config{Listener: l, Proc: a.host.Proc, Known: a.found.living})
}

// A delivery is an exporter, and what the agent wants to know of it.
type delivery struct {
	exporters.Exporter
	name    string
	state   func() any
	dropped func() uint64 // records and alerts that this target will never get
	warned  *atomic.Int64 // unix seconds of the last warning
}

// warn logs at most once a minute that a batch could not be queued.
func (d delivery) warn(log *slog.Logger, err error) {
	now := time.Now().Unix()
	if last := d.warned.Load(); now-last >= 60 && d.warned.CompareAndSwap(last, now) {
		log.Error("queue batch", "target", d.name, "error", err)
	}
}

// openFile adds the exporter that appends JSON lines to a file.
func (a *Agent) openFile(path string) error {
	x, err := jsonl.New(path)
	if err != nil {
		return fmt.Errorf("open exporter: %w", err)
	}
	dropped := func() uint64 { return uint64(x.Dropped()) }
	a.exporters = append(a.exporters, delivery{x, path, func() any { return map[string]uint64{"dropped": dropped()} }, dropped, new(atomic.Int64)})
	return nil
}

func (a *Agent) openExporter(t Target) error {
	u, err := url.Parse(t.Endpoint)
	if err != nil {
		return fmt.Errorf("open exporter: %w", err)
	}
	headers, err := t.headers()
	if err != nil {
		return err
	}
	x, err := otlp.New(otlp.Config{
		Endpoint: t.Endpoint, Headers: headers,
		TLS:           otlp.TLS{CAFile: t.CA, CertFile: t.Cert, KeyFile: t.Key, Insecure: t.Insecure},
		Dir:           filepath.Join(a.cfg.StateDir, "queue", queueDir(u)),
		Resource:      resource(a.opt.Version),
		MaxEventBytes: int64(t.Queue), Logger: a.log,
	})
	if err != nil {
		return fmt.Errorf("open exporter %s: %w", u.Host, err)
	}
	dropped := func() uint64 { s := x.Stats(); return uint64(s.Alerts.Dropped() + s.Events.Dropped()) }
	a.exporters = append(a.exporters, delivery{x, u.Scheme + "://" + u.Host, func() any { return x.Stats() }, dropped, new(atomic.Int64)})
	return nil
}

// queueDir names the queue of an endpoint, so that it is found again.
func queueDir(u *url.URL) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, u.Scheme+"_"+u.Host+u.Path)
}

func (t Target) headers() (map[string]string, error) {
	headers := map[string]string{}
	for _, h := range t.Headers {
		headers[h.Name] = h.Value
		if h.File != "" {
			value, err := os.ReadFile(h.File)
			if err != nil {
				return nil, fmt.Errorf("read value of header %s: %w", h.Name, err)
			}
			headers[h.Name] = strings.TrimSpace(string(value))
		}
	}
	return headers, nil
}

// resource says who is speaking, in the words of OpenTelemetry.
func resource(version string) map[string]string {
	r := map[string]string{"service.version": version, "os.type": "linux", "host.arch": runtime.GOARCH}
	if name, err := os.Hostname(); err == nil {
		r["host.name"] = name
	}
	if id, err := os.ReadFile("/etc/machine-id"); err == nil {
		r["host.id"] = strings.TrimSpace(string(id))
	}
	maps.Copy(r, osRelease())
	return r
}

func osRelease() map[string]string {
	r := map[string]string{}
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return r
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch value = strings.Trim(value, `"`); key {
		case "PRETTY_NAME":
			r["os.description"] = value
		case "ID":
			r["os.name"] = value
		case "VERSION_ID":
			r["os.version"] = value
		}
	}
	return r
}
