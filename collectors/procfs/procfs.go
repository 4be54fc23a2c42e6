// Package procfs reads what already runs from /proc: the tree under a gateway,
// and the processes that left that tree before anybody watched.
//
// It is read once when a gateway is found, after the kernel sensor has marked
// it, and for single processes on demand; only Probe, the last resort, polls. One process costs
// about six small reads. Reading directly rather than through a library keeps
// what matters here and is lost elsewhere: the start time in clock ticks (half
// of a process's identity), arguments with their borders, and an environment of
// which nothing but names is kept.
//
// What it does not see: a process that begins and ends between two readings, and
// the arguments of one that overwrote them. /proc/PID/environ shows what was
// handed over at exec and nothing that a program set later. Without root the
// executable, working directory and environment of other users stay empty.
package procfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds in bytes: larger than any honest process, and small enough to read.
const (
	maxArgs    = 256 << 10
	maxEnviron = 256 << 10
	maxSmall   = 64 << 10 // stat, status
)

const maxGroups = 256

// nobody is never taken for a user that owns something.
const nobody = ^uint32(0)

// A Process is what /proc says of one process at one moment. What could not be
// read is zero.
type Process struct {
	ID            event.ProcID
	ParentPID     int32
	Comm          string
	UID           uint32   // real user ID
	Groups        []uint32 // its real group ID, and those that it is in besides; at most maxGroups
	Path          string   // executable, without the kernel's " (deleted)"
	Args          []string // as the process shows them now
	ArgsTruncated bool
	Cwd           string
	EnvNames      []string // in the order of the environment
	EnvTruncated  bool
	ContainerID   string
	Terminal      bool   // it has a controlling terminal
	Session       int32  // PID of the session's leader
	Shell         string // value of OPENCLAW_SHELL, the only value ever kept
}

// Identify gives the identity of the process that has this PID now. The error
// is fs.ErrNotExist where there is none.
func Identify(proc fs.FS, pid int32) (event.ProcID, error) {
	s, err := readStat(proc, pid)
	if err != nil {
		return event.ProcID{}, err
	}
	return event.ProcID{PID: pid, Start: s.start}, nil
}

// Parent gives identity and parent of a process, and nothing else of it.
func Parent(proc fs.FS, pid int32) (Process, error) {
	s, err := readStat(proc, pid)
	if err != nil {
		return Process{}, err
	}
	return Process{ID: event.ProcID{PID: pid, Start: s.start}, ParentPID: s.parent, Comm: s.comm}, nil
}

// UID gives the real user of a process; of one that is gone, nobody's.
func UID(proc fs.FS, pid int32) uint32 {
	b, _, err := readFile(proc, pid, "status", maxSmall)
	if err != nil {
		return nobody
	}
	return parseUID(string(b))
}

// Comm gives a process's name, of at most 15 bytes: the cheapest question.
func Comm(proc fs.FS, pid int32) (string, error) {
	b, _, err := readFile(proc, pid, "comm", maxSmall)
	return strings.TrimSuffix(string(b), "\n"), err
}

// PIDs lists the processes there are.
func PIDs(proc fs.FS) ([]int32, error) {
	dirs, err := fs.ReadDir(proc, ".")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int32
	for _, d := range dirs {
		if n, err := strconv.ParseInt(d.Name(), 10, 32); err == nil && n > 0 {
			pids = append(pids, int32(n))
		}
	}
	return pids, nil
}

// Read gives all that /proc says of one process. The error is fs.ErrNotExist
// where it is gone, or was replaced by another one while it was read.
func Read(proc fs.FS, pid int32) (Process, error) {
	s, err := readStat(proc, pid)
	if err != nil {
		return Process{}, err
	}
	p := Process{ID: event.ProcID{PID: pid, Start: s.start}, ParentPID: s.parent, Comm: s.comm}
	// In the order of what is missed most of a process that is about to end.
	if b, cut, err := readFile(proc, pid, "cmdline", maxArgs); err == nil {
		p.Args, p.ArgsTruncated = parseArgs(b), cut
	}
	p.Path = readLink(proc, pid, "exe")
	p.Cwd = readLink(proc, pid, "cwd")
	if b, cut, err := readFile(proc, pid, "environ", maxEnviron); err == nil {
		p.EnvNames, p.Shell = parseEnv(b)
		p.EnvTruncated = cut
	}
	p.UID = nobody
	if b, _, err := readFile(proc, pid, "status", maxSmall); err == nil {
		p.UID, p.Groups = parseUID(string(b)), parseGroups(string(b))
	}
	p.ContainerID, _ = Container(proc, pid) // none, where it cannot be read
	p.Terminal, p.Session = s.tty != 0, s.session
	again, err := readStat(proc, pid)
	if err != nil {
		return Process{}, err
	}
	if again.start != s.start {
		return Process{}, fmt.Errorf("read process %d: reused: %w", pid, fs.ErrNotExist)
	}
	return p, nil
}

func readLink(proc fs.FS, pid int32, name string) string {
	target, err := fs.ReadLink(proc, fmt.Sprintf("%d/%s", pid, name))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(target, " (deleted)")
}

func readStat(proc fs.FS, pid int32) (stat, error) {
	b, _, err := readFile(proc, pid, "stat", maxSmall)
	if err != nil {
		return stat{}, err
	}
	s, err := parseStat(string(b))
	if err != nil {
		return stat{}, fmt.Errorf("read /proc/%d/stat: %w", pid, err)
	}
	return s, nil
}

// readFile reads at most limit bytes and says whether there was more. A
// process that ended meanwhile is fs.ErrNotExist, whatever the kernel calls it.
func readFile(proc fs.FS, pid int32, name string, limit int64) (b []byte, cut bool, err error) {
	f, err := proc.Open(fmt.Sprintf("%d/%s", pid, name))
	if err != nil {
		return nil, false, gone(err)
	}
	defer f.Close()
	b, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, false, gone(err)
	}
	if int64(len(b)) > limit {
		return b[:limit], true, nil
	}
	return b, false, nil
}

func gone(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}

// Exec is the process as an event: no exec that was seen, but its outcome.
func (p Process) Exec(parent event.ProcID) event.Exec {
	return event.Exec{
		Path: p.Path, Args: slices.Clone(p.Args), ArgsTruncated: p.ArgsTruncated, Cwd: p.Cwd,
		EnvNames: p.EnvNames, EnvTruncated: p.EnvTruncated,
		Parent: parent, UID: p.UID, Comm: p.Comm, Snapshot: true,
		ContainerID: p.ContainerID, Terminal: p.Terminal, Session: p.Session,
	}
}
