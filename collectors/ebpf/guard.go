package ebpf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cilium/ebpf"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Guard has it reported when anybody, watched or not, gets at a process by a
// signal, by tracing it or through its memory. It costs all others next to
// nothing.
func (s *sensor) Guard(id event.ProcID) error {
	if err := s.maps[sensorMapGuarded].Put(uint32(id.PID), id.Start); err != nil {
		return fmt.Errorf("guard process %v: %w", id, err)
	}
	return nil
}

// Unguard ends that.
func (s *sensor) Unguard(id event.ProcID) error {
	var start uint64
	m := s.maps[sensorMapGuarded]
	err := m.Lookup(uint32(id.PID), &start)
	if err == nil && start == id.Start {
		err = m.Delete(uint32(id.PID))
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("unguard process %v: %w", id, err)
	}
	return nil
}

// access completes what the kernel could not know: whose thread the target is,
// and, of a stranger, who it is. It returns the events to emit; none: a
// stranger's doing that is nobody's business.
func (s *sensor) access(f fact, b event.Access, ev event.Event) []event.Event {
	if b.Target.Start == 0 {
		b.Target = s.processOf(b.Target.PID)
		ev.Body = b
	}
	if b.Target == f.proc {
		return nil // itself
	}
	if !f.acts.stranger {
		return []event.Event{ev}
	}
	var start uint64
	err := s.maps[sensorMapGuarded].Lookup(uint32(b.Target.PID), &start)
	if err != nil || b.Target.Start != 0 && b.Target.Start != start || f.proc.PID == int32(os.Getpid()) {
		return nil
	}
	b.Target.Start = start
	ev.Stranger, ev.Body = true, b
	return []event.Event{s.stranger(f, ev.Time), ev}
}

// stranger is a snapshot of a process that is in no watched tree; where it is
// gone already, what the kernel's record says of it.
func (s *sensor) stranger(f fact, at time.Time) event.Event {
	x := event.Exec{Snapshot: true}
	if f.acts != nil {
		x.UID, x.Comm = f.acts.uid, f.acts.comm
	}
	if p, err := procfs.Read(os.DirFS(s.procPath), f.proc.PID); err == nil && p.ID == f.proc {
		x = p.Exec(event.ProcID{})
		if parent, err := procfs.Identify(os.DirFS(s.procPath), p.ParentPID); err == nil {
			x.Parent = parent
		}
	}
	return event.Event{Time: at, Proc: f.proc, Source: event.SourceEBPF, Body: x, Stranger: true}
}

// processOf finds the process that a thread belongs to. Where it is gone, what
// comes back has the number alone.
func (s *sensor) processOf(tid int32) event.ProcID {
	gone := event.ProcID{PID: tid}
	if tid == 0 {
		return gone
	}
	status, err := os.ReadFile(filepath.Join(s.procPath, strconv.Itoa(int(tid)), "status"))
	if err != nil {
		return gone
	}
	pid, err := parseTgid(status)
	if err != nil {
		return gone
	}
	start, err := readStart(s.procPath, pid)
	if err != nil {
		return gone
	}
	return event.ProcID{PID: pid, Start: start}
}

// parseTgid finds the number of the process in /proc/TID/status, whose first
// line the process writes: without line breaks, which the kernel escapes.
func parseTgid(status []byte) (int32, error) {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("Tgid:")); ok {
			n, err := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 32)
			if err != nil {
				return 0, fmt.Errorf("parse status: %w", err)
			}
			return int32(n), nil
		}
	}
	return 0, fmt.Errorf("parse status: no Tgid: %w", fs.ErrInvalid)
}
