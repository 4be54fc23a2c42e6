// Package agent owns every goroutine, queue and file of clawwatch: it opens the
// collectors, drives the pipeline, and hands what comes out to the store, the
// exporters, the console and the socket.
//
// Facts flow one way through two bounded channels: from the collectors to the
// pipeline, and from there to the writer. A slow disk therefore slows the
// reading of the kernel's ring, and what the ring cannot hold is counted by the
// sensor: nothing is lost without a number.
//
// A collector that fails does not stop the others. Its end is logged and
// becomes a sensor.coverage event. A sensor that fails is replaced by the next
// best one (sensors.go), and what was not seen in between is a sensor.lost event.
package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/digest"
	"github.com/clawwatch/clawwatch/collectors/lineage"
	"github.com/clawwatch/clawwatch/collectors/openclaw"
	"github.com/clawwatch/clawwatch/collectors/plugin"
	"github.com/clawwatch/clawwatch/collectors/skills"
	"github.com/clawwatch/clawwatch/exporters"
	"github.com/clawwatch/clawwatch/internal/attribution"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/pipeline"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/internal/redact"
	"github.com/clawwatch/clawwatch/internal/store"
	"github.com/clawwatch/clawwatch/rules"
)

// Queue lengths: a second of a heavy storm each.
const (
	factQueue   = 16384
	outputQueue = 8192
)

// Options are what a run is given besides its configuration.
type Options struct {
	Version string
	Log     *slog.Logger
	Console io.Writer // alerts as they happen; nil: nowhere
	Colour  bool
	Record  string // file to which events and alerts are appended; empty: none
	Policy  *policy.Policy
	Rules   *rules.Set
	Ready   func(Status)     // called once, when everything runs; may be nil
	Reload  <-chan os.Signal // each one has policy and rules read again; may be nil

	probes []collectors.Probe // nil: all there are
}

// An Agent is one run.
type Agent struct {
	cfg       Config
	opt       Options
	log       *slog.Logger
	started   time.Time
	store     *store.Store
	redactor  *redact.Redactor
	exporters []delivery
	digests   *digest.Hasher
	left      leftovers
	host      collectors.Config
	sensors   sensors
	lineage   lineage.Tree // who is watched, as the sensors said
	strangers follower     // who, or what, comes near OpenClaw's files; nil: this host allows neither
	gateways  *openclaw.Collector
	skills    *skills.Collector
	plugin    *plugin.Collector // what OpenClaw's gateways say by themselves, where they have our plugin
	facts     chan event.Event
	out       chan exporters.Item
	stats     atomic.Pointer[pipeline.Stats]
	found     found
	seen      seen
	intent    atomic.Pointer[Intent]
	judged    chan judgement // to the pump
	files     string         // fingerprint of what opt.Policy and opt.Rules were read from
	flight    flight
	trial     atomic.Pointer[Trial]
	trials    chan chan struct{} // who wants one; what they get is closed after it
	writeErrs atomic.Uint64      // records and alerts that the store could not take
}

// Run observes until ctx is done, and then gives out what it holds. An error
// says that it could not start, or that all of its collectors failed.
func Run(ctx context.Context, cfg Config, opt Options) error {
	a := &Agent{
		cfg: cfg, opt: opt, log: opt.Log, started: time.Now(),
		facts: make(chan event.Event, factQueue), out: make(chan exporters.Item, outputQueue),
		judged: make(chan judgement), trials: make(chan chan struct{}), left: newLeftovers(),
	}
	a.files = a.fingerprint() // early: what changes during a slow start is a change
	a.intent.Store(a.intentOf(judgement{opt.Policy, opt.Rules}))
	if err := a.open(); err != nil {
		return errors.Join(err, a.close())
	}
	return errors.Join(a.run(ctx), a.close())
}

func (a *Agent) open() error {
	if err := os.MkdirAll(a.cfg.StateDir, 0o700); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	var err error
	a.store, err = store.Open(filepath.Join(a.cfg.StateDir, "events.db"), a.cfg.Store.limits())
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	if a.redactor, err = openRedactor(a.cfg.StateDir); err != nil {
		return err
	}
	if msg := a.store.Recovered(); msg != "" {
		a.log.Error("store was damaged", "message", msg)
	}
	for _, target := range a.cfg.OTLP {
		if err := a.openExporter(target); err != nil {
			return err
		}
	}
	files := []string{a.cfg.JSONL, a.opt.Record}
	slices.Sort(files)
	for _, file := range slices.Compact(files) {
		if file == "" {
			continue
		}
		if err := a.openFile(file); err != nil {
			return err
		}
	}
	return a.openCollectors()
}

func (a *Agent) openCollectors() error {
	a.host = hostOf(a.cfg)
	a.host.Lineage = kin{a}
	a.openSensors()
	a.digests = digest.New(a.host.ProcPath, scriptFile)
	since := a.started
	if last, err := a.store.LastTime(context.Background()); err == nil && !last.IsZero() && last.Before(since) {
		since = last // records that OpenClaw wrote while nobody watched
	}
	a.gateways = openclaw.New(openclaw.Config{Proc: a.host.Proc, Since: since, Log: a.log})
	a.skills = skills.New(skills.Config{Log: a.log})
	a.openPlugin()
	return nil
}

// scriptFile gives the file that an interpreter was given to run, or "".
func scriptFile(x event.Exec) string {
	s := attribution.ScriptOf(x)
	if s.Source != event.ScriptFile {
		return ""
	}
	return s.Path
}

// run starts the stages and ends them in the order in which facts flow.
func (a *Agent) run(ctx context.Context) error {
	var stages, deliveries errgroup.Group
	shipping, stopShipping := context.WithCancel(context.Background())
	defer stopShipping()
	for _, d := range a.exporters {
		for _, loop := range d.Loops() {
			deliveries.Go(func() error { return loop(shipping) })
		}
	}
	stages.Go(func() error { a.write(); return nil })
	stages.Go(func() error { a.keepLeft(); return nil })
	stages.Go(func() error { defer close(a.out); defer close(a.left.queue); a.pump(); return nil })

	observing, stop := context.WithCancel(ctx)
	defer stop()
	serving := a.serve(observing)
	if err := a.lower(); err != nil {
		a.log.Warn("keep all privileges", "error", err)
	}
	err := a.observe(observing)
	stop()
	close(a.facts)
	err = errors.Join(err, stages.Wait())
	stopShipping()
	return errors.Join(err, deliveries.Wait(), serving())
}

// observe runs the collectors until ctx is done.
func (a *Agent) observe(ctx context.Context) error {
	for _, c := range a.sensors.covers() {
		a.say(c)
	}
	a.recall(ctx)
	reading, lastly := a.outlasting(ctx)
	type collector struct {
		name string
		run  func(context.Context, func(event.Event)) error
		emit func(event.Event)
	}
	all := []collector{{"digest", a.digests.Run, a.emit}, {"openclaw", during(reading, a.gateways.Run), a.noting(a.fromGateways)}, {"skills", a.skills.Run, a.noting(a.emit)}, {"plugin", a.plugin.Run, a.emit}}
	if a.strangers != nil {
		all = append(all, collector{"strangers", a.strangers.Run, a.noting(a.emit)})
	}
	a.remind(ctx)
	var g errgroup.Group
	for _, s := range a.sensors.list() {
		g.Go(func() error { return a.sense(ctx, &g, s) })
	}
	a.guardSelf()
	for _, c := range all {
		g.Go(func() error {
			err := c.run(ctx, c.emit)
			if err != nil && ctx.Err() == nil {
				a.log.Error("collector failed", "collector", c.name, "error", err)
				ended := event.Event{
					Time: time.Now(), Source: event.SourceAgent,
					Body: event.Coverage{Probe: c.name, Fidelity: "none", Reason: "failed: " + err.Error()},
				}
				a.seen.note(ended)
				a.emit(ended)
				return fmt.Errorf("%s: %w", c.name, err)
			}
			return nil
		})
	}
	g.Go(lastly)
	g.Go(func() error { a.reload(ctx); return nil })
	g.Go(func() error { a.watchCopies(ctx); return nil })
	g.Go(func() error { a.narrate(ctx); return nil })
	g.Go(func() error { a.reportDrops(ctx); return nil })
	g.Go(func() error { a.notify(ctx); return nil })
	g.Go(func() error { a.tryOut(ctx); return nil })
	debug.FreeOSMemory() // to open the sensors took much that is not needed again
	if a.opt.Ready != nil {
		a.opt.Ready(a.Status())
	}
	return g.Wait()
}

func (a *Agent) emit(ev event.Event) { a.facts <- ev }

// say emits what the agent has to say of its own sight.
func (a *Agent) say(b event.Body) {
	a.emit(event.Event{Time: time.Now(), Source: event.SourceAgent, Body: b})
}

// openRedactor uses a salt that stays with the host, so that the same secret has
// the same mark in all its events and no mark can be looked up elsewhere.
func openRedactor(dir string) (*redact.Redactor, error) {
	file := filepath.Join(dir, "redaction.salt")
	salt, err := os.ReadFile(file)
	if err == nil && len(salt) == 32 {
		return redact.New(salt), nil
	}
	salt = make([]byte, 32)
	rand.Read(salt) //nolint:errcheck // never fails, says its documentation
	if err := os.WriteFile(file, salt, 0o600); err != nil {
		return nil, fmt.Errorf("write redaction salt: %w", err)
	}
	return redact.New(salt), nil
}

func (a *Agent) close() error {
	var errs []error
	for _, s := range a.sensors.list() {
		errs = append(errs, s.Close())
	}
	if a.strangers != nil {
		errs = append(errs, a.strangers.Close())
	}
	if a.gateways != nil {
		errs = append(errs, a.gateways.Close())
	}
	if a.skills != nil {
		errs = append(errs, a.skills.Close())
	}
	if a.plugin != nil {
		errs = append(errs, a.plugin.Close())
	}
	for _, d := range a.exporters {
		errs = append(errs, d.Close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	return errors.Join(errs...)
}
