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
	mrand "math/rand/v2"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

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

// tick is how often held facts are looked at.
const (
	tick      = 100 * time.Millisecond
	restTick  = time.Second // where nothing came and nothing is held
	restAfter = 10          // ticks without a fact
)

// Options are what a run is given besides its configuration.
type Options struct {
	Version string
	Log     *slog.Logger
	Console io.Writer // alerts as they happen; nil: nowhere
	Colour  bool
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
	if a.cfg.JSONL != "" {
		if err := a.openFile(a.cfg.JSONL); err != nil {
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

// pump drives the pipeline: it alone calls it.
func (a *Agent) pump() {
	var seed [32]byte
	rand.Read(seed[:]) //nolint:errcheck // never fails, says its documentation
	entropy := mrand.NewChaCha8(seed)
	p := pipeline.New(pipeline.Config{
		Policy: a.opt.Policy, Host: thisHost(), Rules: a.opt.Rules, Redactor: a.redactor, Sink: sink{a.out}, UserName: userNames(), Self: self(),
		Leave: a.left.offer,
		NewID: func(t time.Time) string {
			return ulid.MustNew(uint64(max(t.UnixMilli(), 0)), entropy).String()
		},
	})
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	rests, quiet := false, 0
	for {
		select {
		case ev, ok := <-a.facts:
			quiet = 0
			if rests {
				rests = false
				ticks.Reset(tick)
			}
			if !ok {
				p.Tick(time.Now())
				p.Flush()
				return
			}
			p.Push(ev)
		case j := <-a.judged:
			p.SetRules(j.rules, j.policy)
		case now := <-ticks.C:
			p.Tick(now)
			s := p.Stats()
			a.stats.Store(&s)
			if quiet++; quiet > restAfter && s.Held == 0 && !rests {
				rests = true
				ticks.Reset(restTick)
			}
		}
	}
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

// thisHost tells the policy's variables about this host.
func thisHost() policy.Host {
	return policy.Host{Temp: []string{"/tmp", "/var/tmp"}, Resolvers: resolvers("/etc/resolv.conf")}
}

// resolvers reads the name servers of a resolv.conf. None, or no file, means
// the one on the host itself, as resolv.conf(5) says.
func resolvers(file string) []netip.Addr {
	var found []netip.Addr
	for line := range strings.Lines(readSmall(file)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "nameserver" {
			if addr, err := netip.ParseAddr(f[1]); err == nil {
				found = append(found, addr.WithZone(""))
			}
		}
	}
	if len(found) == 0 {
		found = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	return found
}

// readSmall reads the beginning of a regular file. The path may lie in a
// container, where anything can stand for it: nothing here waits.
func readSmall(path string) string {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return ""
	}
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return ""
	}
	return string(b)
}

// userNames looks users up once each.
func userNames() func(uint32) string {
	names := map[uint32]string{}
	return func(uid uint32) string {
		name, ok := names[uid]
		if !ok && len(names) < 65536 {
			if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
				name = u.Username
			}
			names[uid] = name
		}
		return name
	}
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
