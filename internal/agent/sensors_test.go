package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/ebpf"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/rules"
)

// A fake is a sensor that says what it is told to, and fails when it is.
type fake struct {
	says chan event.Event
	fail chan error

	mu      sync.Mutex
	watched []event.ProcID
	opened  int
	closed  bool
}

func newFake() *fake { return &fake{says: make(chan event.Event), fail: make(chan error)} }

func (f *fake) Run(ctx context.Context, emit func(event.Event)) error {
	for {
		select {
		case ev := <-f.says:
			emit(ev)
		case err := <-f.fail:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func (f *fake) Watch(id event.ProcID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watched = append(f.watched, id)
	return nil
}

func (f *fake) Unwatch(event.ProcID) error { return nil }

func (f *fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

func (f *fake) probe(name string, kinds ...event.Kind) collectors.Probe {
	return collectors.Probe{Name: name, Kinds: kinds, Open: func(collectors.Config) (collectors.Collector, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.opened++
		return f, nil
	}}
}

// once makes a probe one that cannot be opened again.
func once(p collectors.Probe) collectors.Probe {
	open, before := p.Open, false
	p.Open = func(cfg collectors.Config) (collectors.Collector, error) {
		if before {
			return nil, collectors.Unsupported(errors.New("not again"))
		}
		before = true
		return open(cfg)
	}
	return p
}

// observe runs an agent's collectors, and gives what they say.
func observe(t *testing.T, probes ...collectors.Probe) (*Agent, <-chan event.Event) {
	t.Helper()
	cfg := DefaultConfiguration()
	cfg.StateDir, cfg.Policy, cfg.RulesDir = t.TempDir(), "", ""
	a := &Agent{
		cfg: cfg, log: slog.New(slog.DiscardHandler), started: time.Now(),
		opt: Options{Policy: policy.Default(), Rules: rules.Builtin(), probes: probes}, facts: make(chan event.Event, factQueue), judged: make(chan judgement),
	}
	a.intent.Store(&Intent{inForce: judgement{policy: policy.Default()}})
	if err := a.open(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.observe(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := a.close(); err != nil {
			t.Error(err)
		}
	})
	return a, a.facts
}

// until waits for a fact.
func until(t *testing.T, facts <-chan event.Event, what string, is func(event.Event) bool) event.Event {
	t.Helper()
	var seen []string
	for after := time.After(30 * time.Second); ; {
		select {
		case ev := <-facts:
			if is(ev) {
				return ev
			}
			seen = append(seen, fmt.Sprintf("%T %+v", ev.Body, ev.Body))
		case <-after:
			t.Fatalf("no %s; but %s", what, strings.Join(seen[max(0, len(seen)-60):], "\n"))
		}
	}
}

func ownID(t *testing.T) event.ProcID {
	t.Helper()
	id, err := procfs.Identify(os.DirFS("/proc"), int32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestASensorThatFailsIsReplacedByTheNextAndTheSeamIsSaid(t *testing.T) {
	best, second, beside := newFake(), newFake(), newFake()
	refused := collectors.Probe{
		Name: "refused", Kinds: []event.Kind{event.KindExec}, Open: func(collectors.Config) (collectors.Collector, error) {
			return nil, collectors.Unsupported(errors.New("not here"))
		},
	}
	a, facts := observe(t, once(best.probe("best", event.KindExec, event.KindConnect)), refused, second.probe("second", event.KindExec, event.KindExit), beside.probe("beside", event.KindAccept))
	id := ownID(t)
	if err := a.watch(id); err != nil {
		t.Fatal(err)
	}
	best.says <- event.Event{Proc: id, Body: event.Exec{Path: "/one"}}
	second.says <- event.Event{Proc: id, Body: event.Exec{Path: "/twice"}} // it was opened for exits alone
	until(t, facts, "fact of the best", func(ev event.Event) bool {
		x, ok := ev.Body.(event.Exec)
		if ok && x.Path == "/twice" {
			t.Error("one thing is told by two sensors")
		}
		return ok && x.Path == "/one"
	})

	best.fail <- errors.New("the ring is gone")
	gap := until(t, facts, "gap", func(ev event.Event) bool { _, ok := ev.Body.(event.Gap); return ok }).Body.(event.Gap)
	if !slices.Equal(gap.Kinds, []event.Kind{event.KindExec, event.KindConnect}) || !strings.Contains(gap.Cause, "the ring is gone") || !strings.Contains(gap.Cause, "second took over") {
		t.Errorf("%+v", gap)
	}
	lost := until(t, facts, "coverage of the failed", func(ev event.Event) bool { c, ok := ev.Body.(event.Coverage); return ok && c.Probe == "best" }).Body.(event.Coverage)
	if lost.Fidelity != "none" || !slices.Equal(lost.Kinds, []event.Kind{event.KindConnect}) {
		t.Errorf("%+v", lost)
	}
	until(t, facts, "coverage of the next", func(ev event.Event) bool {
		c, ok := ev.Body.(event.Coverage)
		return ok && c.Probe == "second" && slices.Equal(c.Kinds, []event.Kind{event.KindExec})
	})
	best.mu.Lock()
	closed := best.closed
	best.mu.Unlock()
	second.mu.Lock()
	watched := slices.Contains(second.watched, id)
	second.mu.Unlock()
	if !closed || !watched {
		t.Errorf("closed %v, watched by the next %v", closed, watched)
	}
	second.says <- event.Event{Proc: id, Body: event.Exec{Path: "/three"}}
	until(t, facts, "fact of the next", func(ev event.Event) bool { x, ok := ev.Body.(event.Exec); return ok && x.Path == "/three" })
	if n := len(a.Status().Coverage); n < 5 {
		t.Errorf("coverage: %+v", a.Status().Coverage)
	}
}

func TestASensorThatNobodyCanReplaceLeavesABlindSpotThatIsSaid(t *testing.T) {
	only, other := newFake(), newFake()
	a, facts := observe(t, once(only.probe("only", event.KindExec)), other.probe("other", event.KindConnect))
	only.fail <- nil // an end without an error is a failure as well
	until(t, facts, "coverage", func(ev event.Event) bool {
		c, ok := ev.Body.(event.Coverage)
		return ok && c.Probe == "only" && c.Fidelity == "none" && len(c.Kinds) == 1 && strings.Contains(c.Reason, "ended")
	})
	other.says <- event.Event{Body: event.Connect{}}
	until(t, facts, "what the other sees", func(ev event.Event) bool { return ev.Body.Kind() == event.KindConnect })
	if len(a.sensors.list()) != 1 {
		t.Error("the failed one is still open")
	}
}

func TestOneThatFailsIsTriedOnceMoreAndThenTheNext(t *testing.T) {
	first, next := newFake(), newFake()
	a, facts := observe(t, first.probe("first", event.KindExec), next.probe("next", event.KindExec))
	isGap := func(by string) func(event.Event) bool {
		return func(ev event.Event) bool {
			g, ok := ev.Body.(event.Gap)
			return ok && strings.Contains(g.Cause, by+" took over")
		}
	}
	first.fail <- errors.New("x")
	until(t, facts, "itself", isGap("first"))
	first.fail <- errors.New("x")
	until(t, facts, "the next", isGap("next"))
	if open := a.sensors.list(); first.opened != 2 || len(open) != 1 || open[0].Probe != "next" {
		t.Errorf("opened %d times; open: %+v", first.opened, open)
	}
}

func TestWhatASensorDoesNotDeclareIsNotDropped(t *testing.T) {
	f, better := newFake(), newFake()
	_, facts := observe(t, better.probe("better", event.KindExec), f.probe("f", event.KindExec, event.KindExit))
	f.says <- event.Event{Body: event.EnvRead{}}
	until(t, facts, "undeclared kind", func(ev event.Event) bool { return ev.Body.Kind() == event.KindEnvRead })
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root, and in CI has to have it")
		}
		t.Skip("needs root")
	}
}

func TestProcessConnectorTakesOverFromBPFForReal(t *testing.T) {
	needRoot(t)
	all := probes()
	for i := range ebpf.Probes() {
		all[i] = once(all[i])
	}
	a, facts := observe(t, all...)
	if open := a.sensors.list(); len(open) != 1 || !strings.HasPrefix(open[0].Probe, "ebpf") {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no BPF here, and in CI there has to be: %+v", a.Status().Coverage)
		}
		t.Skipf("no BPF here: %+v", a.Status().Coverage)
	}
	dir := t.TempDir()
	cmd := exec.Command("/bin/bash", "-c", "while read -r line; do /bin/bash -c \"read x < /etc/hostname; echo > $line; sleep 0.5; :\"; done")
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	id, err := procfs.Identify(os.DirFS("/proc"), int32(cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.watch(id); err != nil {
		t.Fatal(err)
	}
	made := func(name string, source event.Source) func(event.Event) bool {
		return func(ev event.Event) bool {
			b, ok := ev.Body.(event.FileOpen)
			return ok && b.Create && b.Path == filepath.Join(dir, name) && ev.Source == source
		}
	}
	fmt.Fprintln(in, "before")
	until(t, facts, "file by BPF", made("before", event.SourceEBPF))

	if err := a.sensors.list()[0].Close(); err != nil { // what it stood on is gone
		t.Fatal(err)
	}
	until(t, facts, "gap", func(ev event.Event) bool { _, ok := ev.Body.(event.Gap); return ok })
	fmt.Fprintln(in, "after")
	var child event.ProcID
	until(t, facts, "fork by the process connector", func(ev event.Event) bool {
		b, ok := ev.Body.(event.Fork)
		child = ev.Proc
		return ok && b.Parent == id && ev.Source == event.SourceProcEvents
	})
	until(t, facts, "exec by the process connector", func(ev event.Event) bool {
		b, ok := ev.Body.(event.Exec)
		return ok && ev.Proc == child && strings.HasSuffix(b.Path, "/bash") && len(b.Args) == 3
	})
	until(t, facts, "file by fanotify", made("after", event.SourceFanotify))
	var names []string
	for _, s := range a.sensors.list() {
		names = append(names, s.Probe)
	}
	if !slices.Equal(names, []string{"procevents", "fanotify", "sockdiag"}) {
		t.Errorf("open: %q", names)
	}
}

func TestWithBPFNothingElseIsOpenedBesideTheStrangers(t *testing.T) {
	needRoot(t)
	for _, p := range ebpf.Probes() {
		for _, k := range []event.Kind{event.KindFork, event.KindExec, event.KindExit, event.KindCandidate, event.KindFileOpen, event.KindConnect, event.KindAccept, event.KindClose} {
			if !slices.Contains(p.Kinds, k) {
				t.Errorf("%s does not give %s: a fallback would be opened beside it", p.Name, k)
			}
		}
	}
}
