package attribution

import (
	"strings"
	"testing"
)

// The names are of eight letters, as that of a skill of the hard cases was.
func TestAReadThatOpenClawHasMaskedIsOfTheSkillsThatFit(t *testing.T) {
	const dir = "/home/dev/.openclaw/workspace/skills/"
	const path = "/home/dev/.opencl…KILL.md"
	for _, tt := range []struct{ skills, want string }{
		{"wanderer", "wanderer strong"},
		{"wanderer gullible", "ambiguous gullible wanderer"},
		{"rambler", "none"},
		{"wan-erer", "none"}, // which is no such word
	} {
		f := newFilm(t)
		for _, name := range strings.Fields(tt.skills) {
			f.skill(dir+name, name)
		}
		f.read(1, "alice", "r1", "c1", path)
		f.call(2, "alice", "r1", "c2", "date")
		a := f.want(5, f.root(2.5, 100, "date"), tt.want, "alice", "c2")
		if said := evidence(a, "skill_read"); tt.want == "wanderer strong" && !strings.Contains(said, path+", masked by OpenClaw") {
			t.Errorf("it is told as %q", said)
		}
	}
}
