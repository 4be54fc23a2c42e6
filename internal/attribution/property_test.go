package attribution

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A model of what is true: which session each process serves.
type truth struct {
	session map[event.ProcID]string
	skill   map[string]string // by session; empty: none was read
}

// TestNoSessionIsEverTakenForAnother plays random interleavings of tool calls
// of several sessions, late and missing records, forks, execs, exits and reused
// PIDs. Whatever is lost, a named session or skill must be the true one.
func TestNoSessionIsEverTakenForAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFilm(nil)
		tr := truth{session: map[event.ProcID]string{}, skill: map[string]string{}}
		sessions := []string{"alice", "bob", "carol"}
		for i, s := range sessions {
			if dir := rapid.SampledFrom([]string{"", weather, notes}).Draw(t, "reads"); dir != "" {
				f.read(0.1+float64(i)/100, s, "r-"+s, "read-"+s, dir+"/SKILL.md")
				tr.skill[s] = dir
			}
		}
		now, next, tick := 1.0, int32(100), uint64(1000)
		var alive []event.ProcID
		type fact struct {
			scope *Scope
			ev    event.Event
		}
		var facts []fact
		note := func(s *Scope) { facts = append(facts, fact{s, f.last}) }
		commands := []string{"date", "curl http://198.51.100.1/", "uptime"}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now += rapid.Float64Range(0, 1.5).Draw(t, "pause")
			switch action := rapid.IntRange(0, 9).Draw(t, "action"); {
			case action < 4: // a tool call; its row may be late or missing, its command one of few
				s := rapid.SampledFrom(sessions).Draw(t, "session")
				cmd := rapid.SampledFrom(commands).Draw(t, "command")
				row := func(at float64) {
					ev := event.Event{Time: f.at(now), Body: event.ToolCall{Gateway: state, Session: s, Run: "r-" + s, ID: fmt.Sprint("call-", next), Name: "exec", Command: cmd}}
					f.e.Tick(f.at(at))
					f.e.Observe(ev)
				}
				lost := rapid.IntRange(0, 5).Draw(t, "row") == 0
				if !lost {
					row(now)
				}
				tick++
				next++
				root := event.ProcID{PID: next, Start: tick}
				tr.session[root] = s
				note(f.rootAs(now+0.3, root, cmd))
				alive = append(alive, root)
				now += 0.3
			case action < 6 && len(alive) > 0: // fork and perhaps exec
				parent := rapid.SampledFrom(alive).Draw(t, "parent")
				tick++
				next++
				child := event.ProcID{PID: next, Start: tick}
				tr.session[child] = tr.session[parent]
				f.push(now, child, event.Fork{Parent: parent})
				note(f.push(now, child, event.Exec{Path: "/usr/bin/curl", Args: []string{"curl"}, Parent: event.ProcID{PID: 1, Start: 1}}))
				alive = append(alive, child)
			case action < 8 && len(alive) > 0: // exit; the PID is taken by a stranger
				i := rapid.IntRange(0, len(alive)-1).Draw(t, "exits")
				old := alive[i]
				f.push(now, old, event.Exit{})
				tick++
				stranger := event.ProcID{PID: old.PID, Start: tick}
				if s := f.push(now, stranger, event.Exec{Path: "/usr/bin/ssh", Args: []string{"ssh"}, Parent: event.ProcID{PID: 1, Start: 1}}); s != nil {
					t.Fatalf("the stranger %v inherits %v", stranger, s.Role())
				}
				alive = append(alive[:i], alive[i+1:]...)
			default:
				f.e.Tick(f.at(now))
			}
		}
		f.e.Tick(f.at(now + 60))
		for _, x := range facts {
			a := f.e.Attribute(x.scope, x.ev)
			want := tr.session[x.ev.Proc]
			if a.Session != "" && a.Session != want {
				t.Fatalf("%v of session %s is given to %s\n%+v", x.ev.Proc, want, a.Session, a.Evidence)
			}
			if a.Skill != nil && a.Skill.Dir != tr.skill[want] && (a.Confidence == event.Certain || a.Confidence == event.Strong) {
				t.Fatalf("%v of skill %q is given to %q (%s)", x.ev.Proc, tr.skill[want], a.Skill.Dir, a.Confidence)
			}
		}
	})
}
