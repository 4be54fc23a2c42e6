package attribution

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/clawwatch/clawwatch/internal/event"
)

// pluginFilm is a film whose gateway has the plugin, with alice, who uses
// weather, and bob, who uses notes.
func pluginFilm(t *testing.T) *film {
	f := newFilm(t)
	f.plugin(0.5, event.ToolPhase{Phase: event.PhaseJoined})
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.read(1, "bob", "r2", "d1", notes+"/SKILL.md")
	return f
}

func (f *film) plugin(sec float64, b event.ToolPhase) {
	f.push(sec, proc(10), b)
}

func (f *film) give(sec float64, session, tag string) {
	f.plugin(sec, event.ToolPhase{Phase: event.PhaseTag, Agent: "main", Session: session, SessionKey: "agent:main:" + session, Tag: tag})
}

func (f *film) begin(sec float64, session, id string) {
	f.plugin(sec, event.ToolPhase{Phase: event.PhaseBegin, Session: session, ID: id})
}

func (f *film) end(sec float64, session, id string) {
	f.plugin(sec, event.ToolPhase{Phase: event.PhaseEnd, Session: session, ID: id})
}

// tagged starts an exec tool call whose environment has a tag.
func (f *film) tagged(sec float64, pid int32, command, tag string) (*Scope, event.Event) {
	return f.taggedAs(sec, proc(pid), command, tag)
}

func (f *film) taggedAs(sec float64, id event.ProcID, command, tag string) (*Scope, event.Event) {
	bash := []string{"/bin/bash", "--noprofile", "--norc", "-c", "eval 'unset OPENCLAW_PREPEND_PATH; " + command + "'"}
	f.push(sec, id, event.Fork{Parent: proc(11)})
	f.push(sec, id, event.Exec{Path: "/bin/dash", Args: append([]string{"/bin/sh", "-c", oomWrapper + ` 2>/dev/null; exec "$0" "$@"`}, bash...), Cwd: workspace, Parent: proc(11), Tag: tag})
	s := f.push(sec, id, event.Exec{Path: "/bin/bash", Args: bash, Cwd: workspace, Parent: proc(11), Tag: tag})
	return s, f.last
}

// child is a process below another, with a tag.
func (f *film) child(sec float64, pid, parent int32, tag string) (*Scope, event.Event) {
	f.fork(sec, pid, parent)
	s := f.push(sec, proc(pid), event.Exec{Path: "/usr/bin/curl", Args: []string{"curl"}, Cwd: workspace, Parent: proc(parent), Tag: tag})
	return s, f.last
}

// expect asks about an earlier fact, and whether a forged tag is in evidence.
func (f *film) expect(sec float64, s *Scope, ev event.Event, want, session, call, tag string) {
	f.t.Helper()
	f.last = ev
	a := f.want(sec, s, want, session, call)
	got := ""
	for _, e := range a.Evidence {
		if e.Kind == "plugin_tag" || e.Kind == event.EvidenceForgedTag {
			got = strings.TrimSpace(got + " " + e.Kind)
		}
	}
	if got != tag {
		f.t.Errorf("evidence of the tag is %q, want %q\n%+v", got, tag, a.Evidence)
	}
}

func TestARightTagTellsIdenticalCommandsApart(t *testing.T) {
	f := pluginFilm(t)
	f.call(2, "alice", "r1", "c2", "date")
	f.call(2, "bob", "r2", "d2", "date")
	f.give(2.1, "alice", "A")
	f.give(2.1, "bob", "B")
	b, evB := f.tagged(2.4, 100, "date", "B")
	a, evA := f.tagged(2.4, 101, "date", "A")
	kid, evKid := f.child(2.6, 102, 101, "A")
	f.expect(3.5, a, evA, "weather strong", "alice", "c2", "plugin_tag")
	f.expect(3.5, b, evB, "notes strong", "bob", "d2", "plugin_tag")
	f.expect(3.5, kid, evKid, "weather strong", "alice", "c2", "plugin_tag")
}

func TestACommandWithoutATagLeavesTaggedCallsAlone(t *testing.T) {
	f := pluginFilm(t)
	f.call(2, "alice", "r1", "c2", "date")
	f.give(2.1, "alice", "A")
	b, evB := f.tagged(2.3, 100, "date", "") // bob's, whose row is late and whose environment was not seen
	a, evA := f.tagged(2.4, 101, "date", "A")
	f.expect(3.5, a, evA, "weather strong", "alice", "c2", "plugin_tag")
	f.call(4, "bob", "r2", "d2", "date")
	f.e.Observe(event.Event{Time: at(2.1), Body: event.ToolCall{Gateway: state, Session: "bob", Run: "r2", ID: "d3", Name: "exec", Command: "date"}})
	f.expect(20, b, evB, "notes strong", "bob", "d3", "")
	f.expect(20, a, evA, "weather strong", "alice", "c2", "plugin_tag")
}

func TestATagMadeForAnotherCommandIsForged(t *testing.T) {
	f := pluginFilm(t)
	f.call(2, "alice", "r1", "c2", "bash x.sh")
	f.call(2, "bob", "r2", "d2", "sleep 9")
	f.give(2.1, "alice", "A")
	f.give(2.1, "bob", "B")
	f.tagged(2.4, 100, "sleep 9", "B")
	a, evA := f.tagged(2.4, 101, "bash x.sh", "A")
	kid, evKid := f.child(2.6, 102, 101, "B")
	grandkid, evGrandkid := f.child(2.7, 103, 102, "A")
	f.expect(3.5, kid, evKid, "weather strong", "alice", "c2", "forged_tag plugin_tag")
	f.expect(3.5, a, evA, "weather strong", "alice", "c2", "plugin_tag")
	f.expect(3.5, grandkid, evGrandkid, "weather strong", "alice", "c2", "plugin_tag")
}

func TestATagThatNobodyGaveIsForgedOnceItCannotBeLateAnyMore(t *testing.T) {
	f := pluginFilm(t)
	f.call(2, "alice", "r1", "c2", "date")
	f.give(2.1, "alice", "A")
	f.tagged(2.4, 101, "date", "A")
	kid, evKid := f.child(2.6, 102, 101, "X")
	f.e.Tick(at(4))
	if f.e.Settled(kid, evKid, evKid.Time) {
		t.Error("settled while the plugin's word may still come")
	}
	f.expect(9, kid, evKid, "weather strong", "alice", "c2", "forged_tag plugin_tag")
	root, evRoot := f.tagged(10, 105, "date", "Y") // no record, no tag that was given
	f.e.Tick(at(12))
	if f.e.Settled(root, evRoot, evRoot.Time) {
		t.Error("the root is settled while the plugin's word may still come")
	}
	f.expect(17, root, evRoot, "none", "", "", "forged_tag")
}

func TestAReplayedTagCountsForNobody(t *testing.T) {
	f := pluginFilm(t)
	f.call(2, "alice", "r1", "c2", "date")
	f.call(2, "bob", "r2", "d2", "date")
	f.give(2.1, "alice", "A")
	a, evA := f.tagged(2.4, 100, "date", "A")
	f.expect(3.5, a, evA, "weather strong", "alice", "c2", "plugin_tag")
	b, evB := f.tagged(3.6, 101, "date", "A")
	f.e.Tick(at(5))
	if roots := f.e.Amended(); len(roots) == 0 || roots[0] != proc(100) {
		t.Errorf("amended %v, want the first to carry it", roots)
	}
	f.expect(20, a, evA, "ambiguous weather notes", "", "", "forged_tag")
	f.expect(20, b, evB, "ambiguous weather notes", "", "", "forged_tag")
}

func TestATagThatTheRecordsContradictIsForged(t *testing.T) {
	f := pluginFilm(t)
	f.call(2, "alice", "r1", "c2", "date")
	f.give(2.1, "bob", "B")
	s, ev := f.tagged(2.4, 100, "date", "B") // the records say that this command is alice's
	f.expect(9, s, ev, "ambiguous weather", "", "", "forged_tag")
}

func TestATagOfAnotherGatewayIsForged(t *testing.T) {
	f := pluginFilm(t)
	f.push(1, proc(20), event.GatewayFound{ID: "/home/eve/.openclaw", Role: event.RoleGateway, StateDir: "/home/eve/.openclaw"})
	f.push(1, proc(20), event.ToolPhase{Phase: event.PhaseTag, Session: "mallory", Tag: "M"})
	f.call(2, "alice", "r1", "c2", "date")
	s, ev := f.tagged(2.4, 100, "date", "M")
	f.expect(3.5, s, ev, "weather strong", "alice", "c2", "forged_tag")
}

func TestOnlyOpenClawsOwnProcessesAreBelieved(t *testing.T) {
	f := pluginFilm(t)
	f.call(2, "alice", "r1", "c2", "date")
	f.call(2, "bob", "r2", "d2", "date")
	f.push(2.1, proc(11), event.ToolPhase{Phase: event.PhaseTag, Session: "bob", Tag: "B"})  // its spawn broker
	f.push(2.1, proc(999), event.ToolPhase{Phase: event.PhaseTag, Session: "bob", Tag: "B"}) // anybody
	s, ev := f.tagged(2.4, 100, "date", "B")
	f.expect(9, s, ev, "ambiguous weather notes", "", "", "forged_tag")
}

func TestATagFromBeforeThePluginJoinedIsNeitherRightNorForged(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.call(2, "alice", "r1", "c2", "date")
	s, ev := f.tagged(2.4, 100, "date", "A")
	f.plugin(2.5, event.ToolPhase{Phase: event.PhaseJoined})
	kid, evKid := f.child(9, 101, 100, "Z")
	f.expect(18, s, ev, "weather strong", "alice", "c2", "")
	f.expect(18, kid, evKid, "weather strong", "alice", "c2", "")
}

func TestWhereTheRootsTagWasMissedItsChildrenAreNoForgers(t *testing.T) {
	f := pluginFilm(t)
	f.call(2, "alice", "r1", "c2", "date")
	f.give(2.1, "alice", "A")
	f.give(2.1, "bob", "B")
	f.tagged(2.4, 100, "date", "")
	kid, evKid := f.child(2.6, 101, 100, "A")
	bad, evBad := f.child(2.6, 102, 100, "B")
	f.expect(9, kid, evKid, "weather strong", "alice", "c2", "")
	f.expect(9, bad, evBad, "weather strong", "alice", "c2", "forged_tag")
}

func TestAnOpenClawThatACommandRunsGivesTagsToItsOwn(t *testing.T) {
	f := pluginFilm(t)
	f.call(2, "alice", "r1", "c2", "openclaw agent --local")
	f.give(2.1, "alice", "A")
	f.tagged(2.4, 100, "openclaw agent --local", "A")
	f.child(2.5, 101, 100, "A")
	f.push(2.6, proc(101), event.ToolPhase{Phase: event.PhaseTag, Session: "inner", Tag: "I"})
	kid, evKid := f.child(2.7, 102, 101, "I")
	f.expect(9, kid, evKid, "weather strong", "alice", "c2", "plugin_tag")
	f.call(10, "alice", "r1", "c3", "date")
	root, evRoot := f.tagged(10.4, 110, "date", "I") // nobody but the inner one may give it
	f.expect(18, root, evRoot, "weather strong", "alice", "c3", "forged_tag")
}

func TestATagWithoutARecordTellsTheSession(t *testing.T) {
	f := pluginFilm(t)
	f.give(2.1, "alice", "A")
	s, ev := f.tagged(2.4, 100, "date", "A")
	f.expect(9, s, ev, "weather weak", "alice", "", "plugin_tag")
	f.e.Observe(event.Event{Time: at(2.2), Body: event.ToolCall{Gateway: state, Agent: "main", Session: "alice", Run: "r1", ID: "c2", Name: "exec", Command: "date"}})
	f.expect(10, s, ev, "weather strong", "alice", "c2", "plugin_tag")
}

func TestParallelIdenticalCallsOfOneSessionStayTwoCandidates(t *testing.T) {
	f := pluginFilm(t)
	f.call(2, "alice", "r1", "c2", "date")
	f.call(2, "alice", "r1", "c3", "date")
	f.call(2, "bob", "r2", "d2", "date")
	f.give(2.1, "alice", "A")
	f.give(2.1, "alice", "A2")
	a, evA := f.tagged(2.4, 100, "date", "A")
	b, evB := f.tagged(2.4, 101, "date", "A2")
	f.expect(9, a, evA, "weather strong", "alice", "", "plugin_tag")
	f.expect(9, b, evB, "weather strong", "alice", "", "plugin_tag")
}

func TestWhereACallOfTheSessionIsMissingTheCallStaysOpen(t *testing.T) {
	f := pluginFilm(t)
	f.call(2, "alice", "r1", "c2", "date")
	f.give(2.1, "alice", "A")
	f.give(2.1, "alice", "A2")
	a, evA := f.tagged(2.4, 100, "date", "A")
	b, evB := f.tagged(2.4, 101, "date", "A2")
	f.expect(20, a, evA, "ambiguous weather", "alice", "", "plugin_tag")
	f.expect(20, b, evB, "ambiguous weather", "alice", "", "plugin_tag")
}

func TestTheTimesOfCallsTellInProcessCallsApart(t *testing.T) {
	f := pluginFilm(t)
	const file = "/home/dev/plan.txt"
	f.read(2, "alice", "r1", "c2", file)
	f.begin(2, "alice", "c2")
	f.end(2.5, "alice", "c2")
	f.read(3.2, "bob", "r2", "d2", file) // within the second that rows are allowed
	f.begin(3.2, "bob", "d2")
	f.want(9, f.open(3.4, 10, file), "notes strong", "bob", "d2")
	f.want(9, f.open(2.1, 10, file), "weather strong", "alice", "c2")
}

func TestACallWhoseEndIsMissingEndsWithItsRecord(t *testing.T) {
	f := pluginFilm(t)
	const file = "/home/dev/plan.txt"
	f.read(2, "alice", "r1", "c2", file)
	f.begin(2, "alice", "c2")
	f.push(3, event.ProcID{}, event.ToolResult{Gateway: state, Session: "alice", ID: "c2"})
	f.want(9, f.open(2.9, 10, file), "weather strong", "alice", "c2")
	f.want(12, f.open(10, 10, file), "none", "", "")
}

func TestWhatThePluginSaidIsBounded(t *testing.T) {
	f := pluginFilm(t)
	for i := range 3 * maxTags {
		f.give(2, "alice", fmt.Sprint(i))
		f.begin(2, "alice", fmt.Sprint(i))
	}
	w := &f.e.gateway(state).word
	if len(w.tags) > maxTags || len(w.order) > maxTags || len(w.spans) > maxSpans || len(w.begun) > maxSpans {
		t.Errorf("%d tags, %d spans", len(w.tags), len(w.spans))
	}
	f.e.Tick(at(90000))
	f.e.Tick(at(90100))
	if len(w.tags)+len(w.order)+len(w.spans)+len(w.begun) != 0 {
		t.Errorf("after a day: %d tags, %d spans", len(w.tags), len(w.spans))
	}
	f.call(90200, "alice", "r1", "c9", "date")
	f.push(90200.1, proc(10), event.ToolPhase{Phase: event.PhaseJoined})
	s, ev := f.tagged(90200.5, 100, "date", "0")
	f.expect(90210, s, ev, "weather strong", "alice", "c9", "forged_tag")
}

// TestNoTagMakesASessionOfAnother plays commands of several sessions that are
// all alike, with right tags, missed ones, and children that carry whatever
// they found; rows are lost, and so is what the plugin said.
func TestNoTagMakesASessionOfAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := pluginFilm(nil)
		skill := map[string]string{"alice": weather, "bob": notes}
		type fact struct {
			scope   *Scope
			ev      event.Event
			session string
		}
		var facts []fact
		var given []string
		now := 2.0
		for i := range rapid.IntRange(1, 12).Draw(t, "commands") {
			now += rapid.Float64Range(0, 2).Draw(t, "pause")
			session := rapid.SampledFrom([]string{"alice", "bob"}).Draw(t, "session")
			tag, pid := fmt.Sprint("tag", i), int32(100+10*i)
			if rapid.IntRange(0, 5).Draw(t, "row") > 0 {
				run := map[string]string{"alice": "r1", "bob": "r2"}[session]
				f.call(now, session, run, fmt.Sprint("call", i), "date")
			}
			if rapid.IntRange(0, 5).Draw(t, "said") > 0 {
				f.give(now+0.1, session, tag)
				given = append(given, tag)
			}
			seen := tag
			if rapid.IntRange(0, 3).Draw(t, "seen") == 0 {
				seen = ""
			}
			s, ev := f.tagged(now+0.2, pid, "date", seen)
			facts = append(facts, fact{s, ev, session})
			forged := rapid.SampledFrom(append([]string{tag, "", "made up"}, given...)).Draw(t, "child")
			s, ev = f.child(now+0.3, pid+1, pid, forged)
			facts = append(facts, fact{s, ev, session})
			now += 0.3
		}
		f.e.Tick(at(now + 60))
		for _, x := range facts {
			a := f.e.Attribute(x.scope, x.ev)
			if a.Session != "" && a.Session != x.session {
				t.Fatalf("%v of %s is given to %s\n%+v", x.ev.Proc, x.session, a.Session, a.Evidence)
			}
			if a.Skill != nil && a.Skill.Dir != skill[x.session] {
				t.Fatalf("%v of %s is given to %s\n%+v", x.ev.Proc, x.session, a.Skill.Name, a.Evidence)
			}
		}
	})
}
