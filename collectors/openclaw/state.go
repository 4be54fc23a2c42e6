package openclaw

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A state is one state directory whose records are followed. It outlives its
// gateway, so that a restarted one is read on and not from the start again.
type state struct {
	dir    string
	uid    uint32
	since  time.Time
	until  time.Time // read until then; put off while a process lives
	agents map[string]*records
	stale  bool // there may be new agents
}

func (s *state) live() bool { return time.Now().Before(s.until) }

// refresh takes in new agents and gives the directories to be watched: those of
// the records, and those in which they will appear.
func (s *state) refresh() []string {
	s.stale = false
	dirs := []string{s.dir}
	if _, err := lstatBelow(s.dir, s.uid, "agents"); err != nil {
		return dirs
	}
	dirs = append(dirs, filepath.Join(s.dir, "agents"))
	for _, name := range agentDirs(s.dir, s.uid) {
		r := s.agents[name]
		if r == nil {
			r = newRecords(s.dir, name, s.uid, s.since)
			s.agents[name] = r
		}
		dirs = append(dirs, filepath.Join(s.dir, "agents", name))
		if _, err := lstatBelow(s.dir, s.uid, "agents", name, "agent"); err == nil {
			dirs = append(dirs, r.agentDir())
		}
	}
	return dirs
}

// poll marks the databases that have changed, and reports whether there is
// something to read.
func (s *state) poll() bool {
	due := false
	if !s.live() {
		return false
	}
	for _, r := range s.agents {
		r.dirty = r.dirty || r.changed()
		due = due || r.dirty
	}
	return due
}

// touched marks what a changed file, relative to the state directory, is about,
// and reports whether there is something to do.
func (s *state) touched(name string) bool {
	parts := strings.Split(name, "/")
	if parts[0] != "agents" {
		return false
	}
	if len(parts) < 4 {
		s.stale = true
		return true
	}
	r := s.agents[parts[1]]
	if r == nil || !strings.HasPrefix(parts[3], databaseName) {
		return false
	}
	r.dirty = true
	return true
}

// read emits what is new in the databases that are marked.
func (s *state) read(ctx context.Context, emit func(event.Event)) {
	for _, r := range s.agents {
		if r.dirty && s.live() {
			r.dirty = false
			r.read(ctx, emit)
		}
	}
}

// agentDirs lists the agents that have a directory of records.
func agentDirs(state string, uid uint32) []string {
	if _, err := lstatBelow(state, uid, "agents"); err != nil {
		return nil
	}
	dirs, _ := os.ReadDir(filepath.Join(state, "agents"))
	var names []string
	for _, d := range dirs {
		if d.IsDir() && len(names) < maxAgents {
			names = append(names, d.Name())
		}
	}
	return names
}
