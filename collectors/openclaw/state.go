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
	id     string   // the gateway's
	dir    string   // as it is reached from here
	pin    *os.File // what holds it, in a container
	mount  uint32   // of that container
	uid    uint32
	since  time.Time
	until  time.Time // read until then; put off while a process lives
	agents map[string]*agentRecords
	stale  bool // there may be new agents
}

// agentRecords are those of one agent, in one of two formats, or in both while they
// are brought from the one to the other.
type agentRecords struct {
	*records
	transcripts *transcripts
}

func newAgent(dir, name string, uid uint32, since time.Time) *agentRecords {
	t := newTeller(dir, name, since)
	return &agentRecords{newRecords(t, uid), newTranscripts(t, uid)}
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
		if s.agents[name] == nil {
			s.agents[name] = newAgent(s.dir, name, s.uid, s.since)
			s.agents[name].gateway = s.id
		}
		dirs = append(dirs, filepath.Join(s.dir, "agents", name))
		for _, records := range []string{"agent", "sessions"} {
			if fi, err := lstatBelow(s.dir, s.uid, "agents", name, records); err == nil && fi.IsDir() {
				dirs = append(dirs, filepath.Join(s.dir, "agents", name, records))
			}
		}
	}
	return dirs
}

// poll marks the records that have changed, and reports whether there is
// something to read.
func (s *state) poll() bool {
	due := false
	if !s.live() {
		return false
	}
	for _, a := range s.agents {
		a.dirty = a.dirty || a.changed()
		due = a.transcripts.changed() || due || a.dirty
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
	a := s.agents[parts[1]]
	switch {
	case a == nil:
		return false
	case parts[2] == "sessions":
		return a.transcripts.touched(parts[3])
	case parts[2] != "agent" || !strings.HasPrefix(parts[3], databaseName):
		return false
	}
	a.dirty = true
	return true
}

// read emits what is new in the databases and transcripts that are marked.
func (s *state) read(ctx context.Context, emit func(event.Event)) {
	for _, a := range s.agents {
		if !s.live() {
			return
		}
		if a.dirty {
			a.dirty = false
			a.read(ctx, emit)
		}
		a.transcripts.read(ctx, emit)
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
