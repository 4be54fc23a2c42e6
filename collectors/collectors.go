// Package collectors says what observing means: what a Collector does, what a
// Probe offers on this host, and how the best of several probes is chosen.
// Each mechanism is a package of its own below this one.
package collectors

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// ErrUnsupported says that this host, kernel or privilege does not allow a
// probe. It is always wrapped together with the cause.
var ErrUnsupported = errors.New("not supported on this host")

// A Collector observes one side of the host.
type Collector interface {
	// Run calls emit, from one goroutine at a time, until ctx is done, and then
	// returns nil. Any other return is a failure. emit may block.
	Run(ctx context.Context, emit func(event.Event)) error
	// Close gives back what Open took. It may be called without Run.
	Close() error
}

// Config is what the host looks like to a probe. Tests pass a fake one.
type Config struct {
	Proc     fs.FS   // /proc
	ProcPath string  // where Proc is mounted, for what an fs.FS cannot do
	RingSize int     // bytes of kernel ring buffer; a power of two
	Lineage  Lineage // who is watched, for what cannot mark processes; nil: nobody knows
}

// Fidelity says what a probe may miss.
type Fidelity int

// The fidelities there are, best first.
const (
	Complete Fidelity = iota // misses nothing, or says so with a Lost event
	Sampled                  // may miss silently
)

func (f Fidelity) String() string { return [...]string{"complete", "sampled"}[f] }

// A Probe is a mechanism that may or may not work on this host.
type Probe struct {
	Name     string
	Kinds    []event.Kind
	Fidelity Fidelity
	// Open uses all the privilege the probe needs. Where the host cannot, the
	// error wraps ErrUnsupported and the cause.
	Open func(Config) (Collector, error)
}

// A Watcher is a Collector that reports only what happens in marked process
// trees.
type Watcher interface {
	Collector
	// Watch marks a process and all that it forks from now on. Marking one that
	// is marked changes nothing. fs.ErrNotExist: it is gone.
	Watch(event.ProcID) error
	// Unwatch takes back the mark of this one process.
	Unwatch(event.ProcID) error
}

// A PortWatcher is a Collector that reports who connects to a TCP port of this
// host from outside of every marked tree, as a Connect of a stranger.
type PortWatcher interface {
	WatchPort(port uint16) error
	UnwatchPort(port uint16) error
}

// A FileWatcher is a Collector that reports who from outside of every marked tree
// opens or runs one of some files, as a Heir, and marks that process as Watch does.
type FileWatcher interface {
	// WatchFile adds a regular file, however often; an error where there is no more
	// room. Whoever makes another one that gets its number ends that.
	WatchFile(event.FileKey) error
	// UnwatchFile takes one back. Who is marked stays so.
	UnwatchFile(event.FileKey) error
}

// A Lineage knows which processes are in a watched tree.
type Lineage interface {
	// Sync takes in what the kernel has told, and emits it: who was forked before
	// it is known after it, here and downstream.
	Sync()
	// Living gives the watched process that has this PID now.
	Living(pid int32) (event.ProcID, bool)
	// Since gives the watched process that had this PID at a moment, or later.
	Since(pid int32, moment time.Time) (event.ProcID, bool)
	// Has reports whether this very process is, or lately was, watched.
	Has(event.ProcID) bool
	// All gives the watched processes that live.
	All() []event.ProcID
}

// A Guardian is a Collector that can watch over single processes, for what
// anybody does to them, inside of a watched tree or not.
type Guardian interface {
	Guard(event.ProcID) error
	Unguard(event.ProcID) error
}

// A Worker is a Collector with slow work beside Run. Its owner runs each loop
// in a goroutine of its own until ctx is done.
type Worker interface {
	Loops() []func(ctx context.Context) error
}

// A Reporter is a Collector that knows which parts of it this host refused.
type Reporter interface{ Coverage() []event.Coverage }

// An Opened is the open collector of a probe.
type Opened struct {
	Collector
	Probe string
	Kinds []event.Kind // of the probe
	Gives []event.Kind // of these, those that no better one gives; the others are to be ignored
}

// Select opens, in order of preference, every probe that adds a kind no
// earlier one gives; with wanted, one of these. It returns what each probe sees,
// and why the others do not. A kind nobody sees is no error; it is a Coverage with
// fidelity none.
func Select(probes []Probe, cfg Config, wanted ...event.Kind) ([]Opened, []event.Coverage) {
	var (
		open    []Opened
		report  []event.Coverage
		covered = map[event.Kind]bool{}
	)
	for _, p := range probes {
		var adds []event.Kind
		for _, k := range p.Kinds {
			if !covered[k] && (len(wanted) == 0 || slices.Contains(wanted, k)) {
				adds = append(adds, k)
			}
		}
		if len(adds) == 0 {
			continue
		}
		c, err := p.Open(cfg)
		if err != nil {
			report = append(report, event.Coverage{Probe: p.Name, Kinds: adds, Fidelity: "none", Reason: err.Error()})
			continue
		}
		for _, k := range adds {
			covered[k] = true
		}
		open = append(open, Opened{Collector: c, Probe: p.Name, Kinds: p.Kinds, Gives: adds})
		report = append(report, event.Coverage{Probe: p.Name, Kinds: adds, Fidelity: p.Fidelity.String()})
		if r, ok := c.(Reporter); ok {
			report = append(report, r.Coverage()...)
		}
	}
	return open, dropCovered(report, covered)
}

// dropCovered keeps a failed probe in the report, but only with the kinds that
// nobody else gives; one whose kinds are all given is kept with none of them,
// so that the reason is still there to read.
func dropCovered(report []event.Coverage, covered map[event.Kind]bool) []event.Coverage {
	for i, r := range report {
		if r.Fidelity == "none" {
			report[i].Kinds = slices.DeleteFunc(slices.Clone(r.Kinds), func(k event.Kind) bool { return covered[k] })
		}
	}
	return report
}

// Unsupported wraps a cause so that errors.Is finds ErrUnsupported and the
// cause alike.
func Unsupported(cause error) error { return fmt.Errorf("%w: %w", ErrUnsupported, cause) }
