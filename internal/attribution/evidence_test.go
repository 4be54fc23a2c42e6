package attribution

import (
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Whoever checks an answer has to know when each reason came about, and who
// saw it.
func TestEvidenceSaysWhenAndFromWhere(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "call1", weather+"/SKILL.md")
	f.call(2, "alice", "r1", "call2", "bash "+weather+"/w.sh")
	f.root(2.5, 100, "bash "+weather+"/w.sh")
	f.fork(2.6, 101, 100)
	s := f.exec(2.6, 101, 100, workspace, "bash", weather+"/w.sh")
	f.open(2.6, 101, weather+"/w.sh")
	a := f.want(4, s, "weather certain", "alice", "call2")
	type reason struct {
		source event.EvidenceSource
		time   time.Time
	}
	want := map[string]reason{
		"exec_argv":        {event.FromKernel, at(2.5)},
		"lineage":          {event.FromKernel, at(2.5)},
		"script_path":      {event.FromKernel, at(2.6)},
		"skill_read":       {event.FromTranscript, at(1)},
		"command_mentions": {event.FromSkillTree, time.Time{}},
	}
	for _, e := range a.Evidence {
		if got := (reason{e.Source, e.Time}); got != want[e.Kind] {
			t.Errorf("%s: %+v, want %+v", e.Kind, got, want[e.Kind])
		}
		delete(want, e.Kind)
	}
	if len(want) > 0 {
		t.Errorf("missing: %+v in %+v", want, a.Evidence)
	}
}
