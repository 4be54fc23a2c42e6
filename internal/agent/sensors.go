package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/ebpf"
	"github.com/clawwatch/clawwatch/collectors/fanotify"
	"github.com/clawwatch/clawwatch/collectors/inotify"
	"github.com/clawwatch/clawwatch/collectors/procevents"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/collectors/sockdiag"
	"github.com/clawwatch/clawwatch/collectors/strangers"
	"github.com/clawwatch/clawwatch/internal/event"
)

// probes are the ways of seeing processes, files and connections, best first.
func probes() []collectors.Probe {
	return append(ebpf.Probes(), procevents.Probe, fanotify.Probe, sockdiag.Probe, procfs.Probe)
}

func hostOf(cfg Config) collectors.Config {
	return collectors.Config{Proc: os.DirFS("/proc"), ProcPath: "/proc", RingSize: int(cfg.RingSize)}
}

// proven is how long a sensor that failed once must work to be tried again when it
// fails once more.
const proven = time.Minute

// sensors are the collectors of the kernel's side that are open.
type sensors struct {
	sync.Mutex
	open     []collectors.Opened
	coverage []event.Coverage
	failed   map[string]time.Time // the last time, by probe
}

func (s *sensors) list() []collectors.Opened {
	s.Lock()
	defer s.Unlock()
	return slices.Clone(s.open)
}

func (s *sensors) covers() []event.Coverage {
	s.Lock()
	defer s.Unlock()
	return slices.Clone(s.coverage)
}

// marks gives the one that marks trees; nil: none does.
func (s *sensors) marks() collectors.Watcher {
	s.Lock()
	defer s.Unlock()
	for _, o := range s.open {
		if w, ok := o.Collector.(collectors.Watcher); ok {
			return w
		}
	}
	return nil
}

// openSensors opens the best ones, and whatever sees strangers beside them.
func (a *Agent) openSensors() {
	if a.opt.probes == nil {
		a.opt.probes = probes()
	}
	a.sensors.open, a.sensors.coverage = collectors.Select(a.opt.probes, a.host)
	var others []event.Coverage
	a.strangers, others = openStrangers(a.host)
	a.sensors.coverage = append(a.sensors.coverage, others...)
}

// A follower observes the directories of gateways.
type follower interface {
	collectors.Collector
	Follow(event.GatewayFound)
}

// openStrangers opens what sees who comes near OpenClaw's files, or at least that
// they change. Nil: neither can be had.
func openStrangers(host collectors.Config) (follower, []event.Coverage) {
	who, err := strangers.Open(host)
	if err == nil {
		return who, []event.Coverage{strangersCoverage(nil)}
	}
	coverage := []event.Coverage{strangersCoverage(err)}
	changes, err := inotify.Open()
	if err != nil {
		return nil, append(coverage, event.Coverage{Probe: inotify.Name, Fidelity: "none", Reason: err.Error()})
	}
	return changes, append(coverage, changes.Coverage()...)
}

// StrangersProbe is the name of what sees processes outside of every tree.
const StrangersProbe = strangers.Name

// strangersCoverage says whether strangers are seen.
func strangersCoverage(err error) event.Coverage {
	if err != nil {
		return event.Coverage{
			Probe: strangers.Name, Kinds: strangers.Kinds(), Fidelity: "none",
			Reason: "who touches OpenClaw's files from outside of its trees: " + err.Error(),
		}
	}
	return event.Coverage{Probe: strangers.Name, Kinds: strangers.Kinds(), Fidelity: collectors.Complete.String()}
}

// sense runs a sensor until ctx is done, and has it replaced if it fails.
func (a *Agent) sense(ctx context.Context, g *errgroup.Group, s collectors.Opened) error {
	loops, stop := context.WithCancel(ctx) // they end with it; who takes its place does not
	defer stop()
	if w, ok := s.Collector.(collectors.Worker); ok {
		for _, loop := range w.Loops() {
			g.Go(func() error { return loop(loops) })
		}
	}
	err := s.Run(ctx, func(ev event.Event) {
		if a.sensors.asked(s, ev.Body.Kind()) {
			a.fromKernel(ev)
		}
	})
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("it ended by itself")
	}
	a.log.Error("sensor failed", "sensor", s.Probe, "error", err)
	fresh, replaced := a.replace(s, err)
	for _, n := range fresh {
		g.Go(func() error { return a.sense(ctx, g, n) })
	}
	if !replaced {
		return fmt.Errorf("%s: %w", s.Probe, err)
	}
	return nil
}

// replace closes a sensor that failed and opens what gives its kinds instead: the
// same once more, if it has not just failed before, or the next best. After the set-up the agent has
// few privileges left: the sensor by BPF opens with them, but for what looks into
// sockets. Those that are fresh are to be run; one that is open already gives
// more from now on.
func (a *Agent) replace(s collectors.Opened, cause error) (fresh []collectors.Opened, replaced bool) {
	failed := time.Now()
	if err := s.Close(); err != nil {
		a.log.Warn("close sensor", "sensor", s.Probe, "error", err)
	}
	at := slices.IndexFunc(a.opt.probes, func(p collectors.Probe) bool { return p.Name == s.Probe })
	if a.sensors.fail(s.Probe, failed) {
		at++
	}
	s.Gives = a.sensors.drop(s)
	next, coverage := collectors.Select(a.sensors.reuse(a.opt.probes[at:]), a.host, s.Gives...)
	coverage = append([]event.Coverage{left(s, cause, next)}, coverage...)
	fresh = a.sensors.take(s, next, coverage)
	a.remark()

	names := make([]string, len(next))
	for i, n := range next {
		names[i] = n.Probe
	}
	gap := event.Gap{Kinds: s.Gives, Cause: fmt.Sprintf("%s failed: %v; nothing else sees them", s.Probe, cause)}
	if len(next) > 0 {
		gap.Cause = fmt.Sprintf("%s failed: %v; %s took over after %v", s.Probe, cause, strings.Join(names, ", "), time.Since(failed).Round(time.Millisecond))
		a.log.Info("sensor replaced", "sensor", s.Probe, "by", names)
	}
	a.say(gap)
	for _, c := range coverage {
		a.say(c)
	}
	return fresh, len(next) > 0
}

// left says what is missing without a sensor.
func left(s collectors.Opened, cause error, next []collectors.Opened) event.Coverage {
	kinds := slices.DeleteFunc(slices.Clone(s.Gives), func(k event.Kind) bool {
		return slices.ContainsFunc(next, func(n collectors.Opened) bool { return slices.Contains(n.Gives, k) })
	})
	return event.Coverage{Probe: s.Probe, Kinds: kinds, Fidelity: "none", Reason: "failed: " + cause.Error()}
}

// asked reports whether events of a kind are wanted of a sensor: all but those that
// a better one gives.
func (s *sensors) asked(of collectors.Opened, k event.Kind) bool {
	if !slices.Contains(of.Kinds, k) {
		return true // what it says of itself
	}
	s.Lock()
	defer s.Unlock()
	i := s.index(of)
	return i >= 0 && slices.Contains(s.open[i].Gives, k)
}

// fail notes that a sensor failed, and reports whether it had just failed before.
func (s *sensors) fail(probe string, now time.Time) (before bool) {
	s.Lock()
	defer s.Unlock()
	last, ok := s.failed[probe]
	if s.failed == nil {
		s.failed = map[string]time.Time{}
	}
	s.failed[probe] = now
	return ok && now.Sub(last) < proven
}

func (s *sensors) index(of collectors.Opened) int {
	return slices.IndexFunc(s.open, func(o collectors.Opened) bool { return o.Collector == of.Collector })
}

// drop takes a sensor out, and gives what it was asked for.
func (s *sensors) drop(old collectors.Opened) []event.Kind {
	s.Lock()
	defer s.Unlock()
	i := s.index(old)
	gives := s.open[i].Gives
	s.open = slices.Delete(s.open, i, i+1)
	return gives
}

// reuse has the probes that are open give the collector that they have.
func (s *sensors) reuse(probes []collectors.Probe) []collectors.Probe {
	s.Lock()
	defer s.Unlock()
	probes = slices.Clone(probes)
	for i := range probes {
		for _, o := range s.open {
			if o.Probe == probes[i].Name {
				probes[i].Open = func(collectors.Config) (collectors.Collector, error) { return o.Collector, nil }
			}
		}
	}
	return probes
}

// take puts others in the place of a sensor, and gives those that were not open
// yet.
func (s *sensors) take(old collectors.Opened, next []collectors.Opened, coverage []event.Coverage) (fresh []collectors.Opened) {
	s.Lock()
	defer s.Unlock()
	s.coverage = slices.DeleteFunc(s.coverage, func(c event.Coverage) bool {
		said := slices.ContainsFunc(coverage, func(n event.Coverage) bool { return n.Probe == c.Probe })
		open := slices.ContainsFunc(s.open, func(o collectors.Opened) bool { return o.Probe == c.Probe })
		return c.Probe == old.Probe || said && !open
	})
	for _, n := range next {
		if i := s.index(n); i >= 0 {
			s.open[i].Gives = slices.Concat(s.open[i].Gives, n.Gives)
			continue
		}
		s.open, fresh = append(s.open, n), append(fresh, n)
	}
	s.coverage = append(s.coverage, coverage...)
	return fresh
}

// remark tells the sensor that marks trees now who is watched, and looks for what
// they have forked since the last one failed.
func (a *Agent) remark() {
	a.guardSelf()
	a.rewatch()
	a.findStarters()
	for id, g := range a.found.all() {
		a.protect(id, g)
	}
	for _, id := range a.lineage.All() {
		if now, err := procfs.Identify(a.host.Proc, id.PID); err != nil || now != id {
			a.lineage.End(id, time.Now())
			a.found.remove(id)
			continue
		}
		_ = a.watch(id) // gone, or logged
	}
	for range maxPasses {
		found, err := procfs.Trees(a.host.Proc, a.lineage.All())
		if err != nil {
			a.log.Warn("read process trees", "error", err)
			return
		}
		more := false
		for _, ev := range found {
			if a.lineage.Has(ev.Proc) || a.watch(ev.Proc) != nil {
				continue
			}
			more = true
			a.emit(ev)
		}
		if !more {
			return
		}
	}
}

// A marker knows by the kernel's own word whether a process is watched.
type marker interface{ Marked(pid int32) bool }

// A kin tells who is watched to collectors that cannot mark processes: as the
// sensor that marks them knows, or as it said.
type kin struct{ a *Agent }

func (k kin) known() collectors.Lineage {
	if l, ok := k.a.sensors.marks().(collectors.Lineage); ok {
		return l
	}
	return &k.a.lineage
}

// Sync takes in what the kernel has told.
func (k kin) Sync() { k.known().Sync() }

// Living gives the watched process that has this PID now.
func (k kin) Living(pid int32) (event.ProcID, bool) {
	if m, ok := k.a.sensors.marks().(marker); ok {
		return event.ProcID{PID: pid}, m.Marked(pid)
	}
	return k.known().Living(pid)
}

// Since gives the watched process that had this PID at a moment, or later.
func (k kin) Since(pid int32, moment time.Time) (event.ProcID, bool) {
	if id, ok := k.known().Since(pid, moment); ok {
		return id, true
	}
	return k.a.lineage.Since(pid, moment)
}

// Has reports whether this very process is, or lately was, watched.
func (k kin) Has(id event.ProcID) bool { return k.known().Has(id) || k.a.lineage.Has(id) }

// All gives the watched processes that live.
func (k kin) All() []event.ProcID { return k.known().All() }
