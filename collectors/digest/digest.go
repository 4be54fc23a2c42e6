// Package digest tells the SHA-256 of programs that run, and of scripts.
//
// A program is read once, beside everything else, at no more than 64 MiB a
// second, and remembered by device, inode, size and times. What is said is
// never of another file than the one that ran: it is opened through the process
// while that lives, and compared with what the kernel said of the file at exec.
// While a program runs, the kernel lets nobody write to it (but Linux 6.11 and
// early 6.12 do); of one that has ended, the time of the last change must be
// what it was, and lie well before the exec.
//
// Not told is the digest of what is larger than 128 MiB, lies on FUSE or a
// network, ended at once in a mount namespace of its own, or comes in larger
// numbers than can be read. Records then have no digest.
package digest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	maxSize  = 128 << 20 // of a file
	rate     = 64 << 20  // bytes a second
	piece    = 1 << 20   // read at once
	maxWait  = 256       // programs that wait
	maxKnown = 4096      // digests remembered
	again    = time.Minute
	// settled: a clock of a file system has moved on by then, so that a later
	// write shows.
	settled = time.Second
	// young: with a change so shortly before an exec, another one right after
	// that might not show.
	young = 100 * time.Millisecond
)

// errYoung says that the file may have been changed unseen after the exec.
var errYoung = errors.New("changed within the moment of the exec")

// A Hasher hashes the programs of execs that it is offered.
type Hasher struct {
	proc     string
	scriptOf func(event.Exec) string
	wait     chan event.Event
	known    map[event.FileID]answer
}

// An answer is a digest, or "" where there is none to be had.
type answer struct {
	sum  string
	told time.Time
}

// New makes a hasher that knows nothing. proc is where /proc is mounted; scriptOf
// gives the path of the script that an interpreter was given, or "".
func New(proc string, scriptOf func(event.Exec) string) *Hasher {
	return &Hasher{proc: proc, scriptOf: scriptOf, wait: make(chan event.Event, maxWait), known: map[event.FileID]answer{}}
}

// Offer takes in an event; only execs matter. It never waits, and may be called
// from any goroutine.
func (h *Hasher) Offer(ev event.Event) {
	if x, ok := ev.Body.(event.Exec); !ok || x.File == (event.FileID{}) {
		return
	}
	select {
	case h.wait <- ev:
	default: // its record has no digest
	}
}

// Run hashes until ctx is done.
func (h *Hasher) Run(ctx context.Context, emit func(event.Event)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-h.wait:
			x := ev.Body.(event.Exec)
			// The script first: its name can come to mean another one. Without a digest
			// the record says nothing.
			if d, err := h.script(ctx, ev.Proc, ev.Time, x); err == nil && d.SHA256 != "" {
				emit(event.Event{Time: time.Now(), Source: event.SourceAgent, Body: d})
			}
			h.program(ctx, ev, x, emit)
		}
	}
}

// program tells the digest of the executable, if that was not done lately.
func (h *Hasher) program(ctx context.Context, ev event.Event, x event.Exec, emit func(event.Event)) {
	now := time.Now()
	a, ok := h.known[x.File]
	if ok && now.Sub(a.told) < again {
		return
	}
	if !ok {
		a.sum, _ = h.hash(ctx, ev.Proc, ev.Time, x)
	}
	if a.told = now; a.sum == "" && !ok {
		return // the next process may live long enough
	}
	h.keep(x.File, a)
	emit(event.Event{Time: now, Source: event.SourceAgent, Body: event.Digest{File: x.File, SHA256: a.sum}})
}

func (h *Hasher) keep(file event.FileID, a answer) {
	if len(h.known) >= maxKnown {
		clear(h.known)
	}
	h.known[file] = a
}

// hash gives the digest of what ran.
func (h *Hasher) hash(ctx context.Context, id event.ProcID, at time.Time, x event.Exec) (string, error) {
	if x.File.Size > maxSize {
		return "", fmt.Errorf("hash %s: larger than %d bytes", x.Path, maxSize)
	}
	f, err := h.open(id, x)
	if err != nil {
		return "", err
	}
	defer f.Close()
	changed := time.Unix(0, x.File.Changed)
	if !pause(ctx, settled-time.Since(changed)) {
		return "", ctx.Err()
	}
	sum, err := read(ctx, io.LimitReader(f, int64(x.File.Size)))
	if err != nil {
		return "", fmt.Errorf("hash %s: %w", x.Path, err)
	}
	if err := procfs.IsFile(f, x.File); err != nil {
		return "", fmt.Errorf("hash %s: %w", x.Path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", fmt.Errorf("hash %s: %w", x.Path, err)
	}
	runs := h.runs(id, f)
	switch {
	case runs && st.Nlink == 0: // it was removed, which is a change, too
	case st.Ctim.Nano() != x.File.Changed:
		return "", fmt.Errorf("hash %s: %w", x.Path, procfs.ErrOther)
	case !runs && at.Sub(changed) < young:
		return "", fmt.Errorf("hash %s: %w", x.Path, errYoung)
	}
	return sum, nil
}

// runs reports whether the process still runs the file, which keeps everybody
// from writing to it.
func (h *Hasher) runs(id event.ProcID, f *os.File) bool {
	exe, err := os.Stat(h.exe(id))
	if err != nil {
		return false
	}
	mine, err := f.Stat()
	now, err2 := procfs.Identify(os.DirFS(h.proc), id.PID)
	return err == nil && err2 == nil && now == id && os.SameFile(exe, mine)
}

func (h *Hasher) exe(id event.ProcID) string {
	return filepath.Join(h.proc, strconv.Itoa(int(id.PID)), "exe")
}

// open opens the executable through the process, or by its path where the
// process has ended and the path means the same here as it did there.
func (h *Hasher) open(id event.ProcID, x event.Exec) (*os.File, error) {
	f, err := procfs.OpenFile(h.exe(id), x.File)
	if errors.Is(err, fs.ErrNotExist) && (x.Namespaces == nil || x.Namespaces.Mount == 0) {
		return procfs.OpenFile(x.Path, x.File)
	}
	return f, err
}

// read hashes a file, slowly enough.
func read(ctx context.Context, f io.Reader) (string, error) {
	sum := sha256.New()
	for {
		began := time.Now()
		n, err := io.CopyN(sum, f, piece)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(sum.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
		if !pause(ctx, time.Duration(n)*time.Second/rate-time.Since(began)) {
			return "", ctx.Err()
		}
	}
}

// pause waits, and reports whether ctx let it.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
