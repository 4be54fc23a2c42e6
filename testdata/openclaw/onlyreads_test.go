package openclaw_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// holds is what an agent was seen to have open of the files below a directory,
// by their names, and of these what it could change or keep others from.
type holds struct {
	files  map[string]bool
	faults map[string]bool
}

// onlyReads looks at the agent's open files, mappings and locks again and again
// until the returned function is called. That one fails the test if any of a
// gateway's files was open for writing, mapped writable, or locked for itself
// alone; or if its records and the shared index beside them were never seen open,
// so that nothing was proven.
func (a *agent) onlyReads(t *testing.T, g *gateway) (end func()) {
	t.Helper()
	pid := a.cmd.Process.Pid
	h := holds{map[string]bool{}, map[string]bool{}}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			h.look(pid, g.state+"/")
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond): // a reading takes a few, and there are many
			}
		}
	}()
	return func() {
		t.Helper()
		close(stop)
		<-done
		for fault := range h.faults {
			t.Error(fault)
		}
		for _, name := range []string{"openclaw-agent.sqlite", "openclaw-agent.sqlite-wal", "openclaw-agent.sqlite-shm"} {
			if !h.files[name] {
				t.Errorf("clawwatch was never seen to have %s open, of all %s", name, slices.Sorted(maps.Keys(h.files)))
			}
		}
	}
}

// look takes one look. What is closed meanwhile is not there.
func (h holds) look(pid int, below string) {
	proc := fmt.Sprintf("/proc/%d/", pid)
	fds, _ := os.ReadDir(proc + "fd") // none: the agent has ended, which others will say
	for _, fd := range fds {
		path, _ := os.Readlink(proc + "fd/" + fd.Name())
		if !strings.HasPrefix(path, below) {
			continue
		}
		info, err := os.ReadFile(proc + "fdinfo/" + fd.Name())
		if now, _ := os.Readlink(proc + "fd/" + fd.Name()); err != nil || now != path {
			continue // another file has got its number
		}
		h.files[filepath.Base(path)] = true
		if fault := holdsMore(string(info)); fault != "" {
			h.faults[fmt.Sprintf("clawwatch has %s open: %s", path, fault)] = true
		}
	}
	maps, _ := os.ReadFile(proc + "maps")
	for line := range strings.Lines(string(maps)) {
		if f := strings.Fields(line); len(f) > 5 && strings.HasPrefix(f[5], below) && strings.Contains(f[1], "w") {
			h.faults["clawwatch has mapped, writable: "+line] = true
		}
	}
}

// holdsMore says what is more than reading in /proc/PID/fdinfo/FD. Locks are told
// there, too.
func holdsMore(info string) string {
	for line := range strings.Lines(info) {
		key, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch key {
		case "flags":
			flags, err := strconv.ParseUint(strings.TrimSpace(rest), 8, 64)
			if err != nil || flags&unix.O_ACCMODE != unix.O_RDONLY {
				return strings.TrimSpace(line)
			}
		case "lock":
			if slices.Contains(strings.Fields(rest), "WRITE") {
				return strings.TrimSpace(line)
			}
		}
	}
	return ""
}
