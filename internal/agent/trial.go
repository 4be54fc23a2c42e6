package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/canary"
	"github.com/clawwatch/clawwatch/internal/event"
)

// How often the sensors are tried, and for how long a trial waits for the
// canary to end, and for what is seen of it to come.
const (
	tryEvery  = time.Hour
	tryEnd    = 20 * time.Second
	tryArrive = 5 * time.Second
)

// canaryProbe is the name under which sensor.coverage tells of a trial.
const canaryProbe = "canary"

// A Trial says what the sensors saw of things that were done for them to see.
type Trial struct {
	Time   time.Time         `json:"time"`
	Seen   []string          `json:"seen,omitempty"`   // doors, as package canary names them
	Unseen []string          `json:"unseen,omitempty"` // gone through, and not seen
	Cannot map[string]string `json:"cannot,omitempty"` // not gone through, or known not to be seen, and why
	Err    string            `json:"error,omitempty"`  // why there was no trial
}

// A flight is a trial under way. Its zero value takes nothing.
type flight struct {
	mu   sync.Mutex
	ids  map[event.ProcID]bool // the canary and its children
	open map[string]canary.Door
	done chan struct{} // closed when all doors have been seen
}

// take reports whether an event is the canary's, and notes it.
func (f *flight) take(ev event.Event) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ids) == 0 {
		return false
	}
	if b, ok := ev.Body.(event.Fork); ok && f.ids[b.Parent] {
		f.ids[ev.Proc] = true
	}
	if !f.ids[ev.Proc] {
		return false
	}
	for name, d := range f.open {
		if !d.Seen(ev) {
			continue
		}
		if delete(f.open, name); len(f.open) == 0 {
			close(f.done)
		}
	}
	return true
}

// begin waits for the doors of one process.
func (f *flight) begin(id event.ProcID, doors []canary.Door) (done <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids, f.open, f.done = map[event.ProcID]bool{id: true}, map[string]canary.Door{}, make(chan struct{})
	for _, d := range doors {
		f.open[d.Name] = d
	}
	return f.done
}

// end gives the doors that were not seen. What comes later of the process is
// still taken.
func (f *flight) end() (unseen map[string]canary.Door) {
	f.mu.Lock()
	defer f.mu.Unlock()
	unseen, f.open = f.open, nil
	return unseen
}

// tryOut tries the sensors at the start and once in a while, until ctx is done.
func (a *Agent) tryOut(ctx context.Context) {
	ticks := time.NewTicker(tryEvery)
	defer ticks.Stop()
	var blind []string // what was said to be
	var waits chan struct{}
	for {
		t := a.try(ctx)
		if ctx.Err() != nil {
			return
		}
		a.trial.Store(t)
		switch {
		case t == nil:
		case t.Err != "":
			a.log.Warn("try the sensors", "error", t.Err)
		case slices.Equal(t.Unseen, blind): // said already, or nothing to say
		case len(t.Unseen) > 0:
			a.log.Error("the sensors are blind to what they should see", "doors", t.Unseen)
			a.emit(event.Event{Time: t.Time, Source: event.SourceAgent, Body: event.Coverage{
				Probe: canaryProbe, Kinds: kindsOf(t.Unseen), Fidelity: "none",
				Reason: "attached, and does not see what is done: " + strings.Join(t.Unseen, " "),
			}})
			blind = t.Unseen
		default:
			a.emit(event.Event{Time: t.Time, Source: event.SourceAgent, Body: event.Coverage{Probe: canaryProbe, Fidelity: collectors.Complete.String()}})
			blind = nil
		}
		if waits != nil {
			close(waits)
			waits = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		case waits = <-a.trials:
		}
	}
}

// wantTrial returns after a trial, or at the end of ctx. One trial at a time is
// made.
func (a *Agent) wantTrial(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*tryEnd)
	defer cancel()
	done := make(chan struct{})
	select {
	case a.trials <- done:
	case <-ctx.Done():
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func kindsOf(doors []string) []event.Kind {
	var kinds []event.Kind
	for _, d := range canary.Doors() {
		if slices.Contains(doors, d.Name) && !slices.Contains(kinds, d.Kind) {
			kinds = append(kinds, d.Kind)
		}
	}
	return kinds
}

// try lets the canary fly once; nil: no sensor is there that marks processes.
func (a *Agent) try(ctx context.Context) *Trial {
	watcher := a.sensors.marks()
	if watcher == nil {
		return nil
	}
	t := &Trial{Time: time.Now()}
	doors := slices.DeleteFunc(canary.Doors(), func(d canary.Door) bool { return !a.claims(d.Kind) })
	if err := a.fly(ctx, watcher, doors, t); err != nil {
		t.Err = err.Error()
	}
	return t
}

// claims reports whether some sensor says that it sees a kind whenever it
// happens.
func (a *Agent) claims(k event.Kind) bool {
	return slices.ContainsFunc(a.sensors.covers(), func(c event.Coverage) bool {
		return c.Fidelity == collectors.Complete.String() && slices.Contains(c.Kinds, k)
	})
}

// known gives what a sensor itself says that it does not see of a kind.
func (a *Agent) known(k event.Kind) string {
	for _, c := range a.sensors.covers() {
		if c.Fidelity != "none" && c.Reason != "" && slices.Contains(c.Kinds, k) {
			return c.Reason
		}
	}
	return ""
}

func (a *Agent) fly(ctx context.Context, watcher collectors.Watcher, doors []canary.Door, t *Trial) error {
	dir := filepath.Join(a.cfg.StateDir, "canary")
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil { // one that was killed leaves its own
		return fmt.Errorf("make directory for the canary: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the next trial begins with it
	ctx, cancel := context.WithTimeout(ctx, tryEnd)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "canary", dir)
	cmd.Args[0], cmd.Env = "clawwatch", []string{}
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start canary: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start canary: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start canary: %w", err)
	}
	said := bufio.NewReader(out)
	letGo := func() (<-chan struct{}, error) {
		if line, err := said.ReadString('\n'); err != nil || line != "ready\n" {
			return nil, fmt.Errorf("wait for canary: %w", errors.Join(err, errors.New("it is not ready")))
		}
		id, err := procfs.Identify(os.DirFS("/proc"), int32(cmd.Process.Pid))
		if err != nil {
			return nil, fmt.Errorf("look at canary: %w", err)
		}
		done := a.flight.begin(id, doors)
		if err := watcher.Watch(id); err != nil {
			return nil, fmt.Errorf("mark canary: %w", err)
		}
		_, err = io.WriteString(in, "go\n")
		return done, err
	}
	done, err := letGo()
	if err != nil {
		cancel() // kills it
		return errors.Join(err, cmd.Wait())
	}
	t.Cannot = cannot(said)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("let canary fly: %w", err)
	}
	select {
	case <-done:
	case <-time.After(tryArrive):
	case <-ctx.Done():
	}
	unseen := a.flight.end()
	for _, d := range doors {
		switch _, missing := unseen[d.Name]; {
		case t.Cannot[d.Name] != "":
		case missing && a.known(d.Kind) != "":
			t.Cannot[d.Name] = a.known(d.Kind)
		case missing:
			t.Unseen = append(t.Unseen, d.Name)
		default:
			t.Seen = append(t.Seen, d.Name)
		}
	}
	return nil
}

// cannot reads what the canary says of doors that were closed to it.
func cannot(said *bufio.Reader) map[string]string {
	closed := map[string]string{}
	lines := bufio.NewScanner(io.LimitReader(said, 64<<10))
	for lines.Scan() {
		door, why, _ := strings.Cut(lines.Text(), " ")
		closed[door] = why
	}
	return closed
}
