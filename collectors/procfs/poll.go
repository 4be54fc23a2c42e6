package procfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/lineage"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Probe notices processes by looking at /proc five times a second. It is the
// last resort: it needs neither privilege nor kernel support, and in exchange
// misses most processes that live for less than that, whose parent ended before
// them, and execs between two looks; an Exit has no status. A look costs 5 µs for
// each process of the host, 20 µs for a watched one.
var Probe = collectors.Probe{
	Name:     "procfs",
	Kinds:    kinds,
	Fidelity: collectors.Sampled,
	Open: func(cfg collectors.Config) (collectors.Collector, error) {
		if _, err := Identify(cfg.Proc, int32(os.Getpid())); err != nil {
			return nil, collectors.Unsupported(fmt.Errorf("poll /proc: %w", err))
		}
		return &poller{proc: cfg.Proc, others: map[int32]time.Time{}, shown: map[event.ProcID]string{}}, nil
	},
}

const (
	every = 200 * time.Millisecond
	young = time.Minute // age up to which a process may still take OpenClaw's name
)

// A poller looks at /proc. All but its tree belongs to Run.
type poller struct {
	lineage.Tree
	proc   fs.FS
	others map[int32]time.Time     // who is not watched: since when it is known
	shown  map[event.ProcID]string // program and arguments, as last reported
}

func (p *poller) Close() error { return nil }

// Coverage says how little this is.
func (p *poller) Coverage() []event.Coverage {
	return []event.Coverage{{
		Probe: "procfs", Kinds: slices.Clone(kinds), Fidelity: collectors.Sampled.String(),
		Reason: fmt.Sprintf("/proc is polled every %v: most processes that live for less are not seen", every),
	}}
}

var kinds = []event.Kind{event.KindFork, event.KindExec, event.KindExit, event.KindCandidate}

// Watch watches a process and all that is seen to descend from it.
func (p *poller) Watch(id event.ProcID) error {
	if id.PID == int32(os.Getpid()) {
		return errors.New("watch process: it is this one")
	}
	if now, err := Identify(p.proc, id.PID); err != nil || now != id {
		return fmt.Errorf("watch process %v: %w", id, fs.ErrNotExist)
	}
	p.Add(id)
	return nil
}

// Unwatch leaves this one process alone.
func (p *poller) Unwatch(id event.ProcID) error {
	p.Remove(id)
	return nil
}

func (p *poller) Run(ctx context.Context, emit func(event.Event)) error {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		if err := p.look(time.Now(), emit); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
	}
}

// look emits the difference between /proc now and at the last look: ends first,
// so that a reused PID is free before it is taken, and parents before children.
func (p *poller) look(now time.Time, emit func(event.Event)) error {
	pids, err := PIDs(p.proc)
	if err != nil {
		return err
	}
	say := func(id event.ProcID, b event.Body) {
		emit(event.Event{Time: now, Proc: id, Source: event.SourceProcfs, Body: b})
	}
	for _, id := range p.All() {
		if is, err := readStat(p.proc, id.PID); err != nil || is.start != id.Start || is.state == 'Z' {
			p.End(id, now)
			delete(p.shown, id)
			say(id, event.Exit{Unknown: true})
		}
	}
	others := make(map[int32]time.Time, len(pids))
	var fresh []Process
	for _, pid := range pids {
		if _, watched := p.Living(pid); watched {
			continue
		}
		since, known := p.others[pid]
		if known && now.Sub(since) > young {
			others[pid] = since
			continue
		}
		if s, err := readStat(p.proc, pid); err == nil && s.state != 'Z' {
			if !known {
				since = now
			}
			others[pid] = since
			fresh = append(fresh, Process{ID: event.ProcID{PID: pid, Start: s.start}, ParentPID: s.parent, Comm: s.comm})
		}
	}
	p.others = others
	slices.SortFunc(fresh, func(a, b Process) int { return a.ID.Compare(b.ID) })
	for _, f := range fresh {
		p.meet(f, say)
	}
	for _, id := range p.All() {
		p.show(id, say)
	}
	return nil
}

// meet looks at a process that is not watched and may have to be.
func (p *poller) meet(f Process, say func(event.ProcID, event.Body)) {
	parent, ok := p.Living(f.ParentPID)
	switch {
	case f.ID.PID == int32(os.Getpid()):
		return
	case ok && parent.Start <= f.ID.Start:
		say(f.ID, event.Fork{Parent: parent, UID: UID(p.proc, f.ID.PID), Comm: f.Comm})
	case strings.HasPrefix(f.Comm, "openclaw"):
		say(f.ID, event.Candidate{Comm: f.Comm})
	default:
		return
	}
	p.Add(f.ID)
	delete(p.others, f.ID.PID)
}

// show reports what a watched process runs, where that is new.
func (p *poller) show(id event.ProcID, say func(event.ProcID, event.Body)) {
	args, _, err := readFile(p.proc, id.PID, "cmdline", maxArgs)
	if err != nil {
		return
	}
	is := readLink(p.proc, id.PID, "exe") + "\x00" + string(args[:min(len(args), maxSmall)])
	if p.shown[id] == is {
		return
	}
	now, err := Read(p.proc, id.PID)
	if err != nil || now.ID != id {
		return
	}
	p.shown[id] = is
	x := now.Exec(event.ProcID{PID: now.ParentPID})
	if up, err := Identify(p.proc, now.ParentPID); err == nil {
		x.Parent = up
	}
	x.Snapshot = false
	say(id, x)
}
