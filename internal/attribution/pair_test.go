package attribution

import (
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Two sessions run one text in directories of their own.
func TestOneCommandInTwoSessionsIsToldApartByWhereItBegan(t *testing.T) {
	const a, b, link = workspace + "/a", workspace + "/b", workspace + "/link"
	for _, tt := range []struct {
		name           string
		says           [2]string // what the records say
		began          []string  // where they began
		alice, bob     string
		session, other string
	}{
		{"each in its own", [2]string{a, b}, []string{a, b}, "weather strong", "notes strong", "alice", "bob"},
		{"the other way round", [2]string{a, b}, []string{b, a}, "notes strong", "weather strong", "bob", "alice"},
		{"relative to the workspace", [2]string{"a", "b"}, []string{a, b}, "weather strong", "notes strong", "alice", "bob"},
		{"a link to the other's", [2]string{link, b}, []string{b, b}, "ambiguous weather notes", "ambiguous weather notes", "", ""},
		{"a link, and the other does not begin", [2]string{link, b}, []string{b}, "ambiguous weather notes", "", "", ""},
		{"both in one", [2]string{a, a}, []string{a, a}, "ambiguous weather notes", "ambiguous weather notes", "", ""},
		{"one says nothing", [2]string{a, ""}, []string{a, workspace}, "ambiguous weather notes", "ambiguous weather notes", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFilm(t)
			f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
			f.read(1, "bob", "r2", "d1", notes+"/SKILL.md")
			for i, session := range []string{"alice", "bob"} {
				f.push(2, event.ProcID{}, event.ToolCall{
					Gateway: state, Session: session, SessionKey: "agent:main:" + session, Run: []string{"r1", "r2"}[i], ID: []string{"c2", "d2"}[i],
					Name: "exec", Command: "bash go.sh", Cwd: tt.says[i],
				})
			}
			calls := map[string]string{"alice": "c2", "bob": "d2", "": ""}
			wants, sessions := []string{tt.alice, tt.bob}, []string{tt.session, tt.other}
			for i, cwd := range tt.began {
				f.rootIn(2.5, proc(int32(100+i)), cwd, "bash go.sh")
			}
			f.e.Tick(at(9))
			for i := range tt.began {
				f.want(12+float64(i), f.open(12+float64(i), int32(100+i), "/etc/hosts"), wants[i], sessions[i], calls[sessions[i]])
			}
		})
	}
}

// The one began before the other's call was made: it could be nobody else's.
func TestACallThatIsGivenAwayAlreadyIsOutOfTheQuestion(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.read(1, "bob", "r2", "d1", notes+"/SKILL.md")
	call := func(sec float64, session, run, id, cwd string) {
		f.push(sec, event.ProcID{}, event.ToolCall{Gateway: state, Session: session, SessionKey: "agent:main:" + session, Run: run, ID: id, Name: "exec", Command: "bash go.sh", Cwd: cwd})
	}
	call(2, "bob", "r2", "d2", workspace+"/b")
	f.rootIn(2.1, proc(100), workspace+"/b", "bash go.sh")
	call(2.3, "alice", "r1", "c2", workspace+"/a")
	f.rootIn(2.5, proc(101), workspace+"/a", "bash go.sh")
	f.e.Tick(at(9))
	f.want(12, f.open(12, 100, "/etc/hosts"), "notes strong", "bob", "d2")
	f.want(13, f.open(13, 101, "/etc/hosts"), "weather strong", "alice", "c2")
}
