package pipeline

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

// watching lets the bench's sensors say that they see all.
func (b *bench) watching(sec float64) {
	b.push(sec, event.ProcID{}, event.Coverage{Probe: "ebpf", Fidelity: "complete", Kinds: []event.Kind{
		event.KindFork, event.KindExec, event.KindFileOpen, event.KindFileCreate, event.KindFileRename, event.KindFileDelete, event.KindConnect,
	}})
}

// ended lets a call of alice's end well, and waits for what it did.
func (b *bench) ended(sec float64, id string) *event.Effects {
	b.t.Helper()
	code := 0
	b.push(sec, event.ProcID{}, event.ToolResult{Gateway: state, Session: "alice", Run: "r1", ID: id, ExitCode: &code})
	for wait := range 20 {
		b.Tick(at(sec + float64(wait)))
	}
	for _, r := range b.find(event.KindToolEffects, 0) {
		if r.Tool.CallID == id {
			if r.Attribution == nil || r.Attribution.ToolCall != id || r.Attribution.Session != "alice" {
				b.t.Errorf("not attributed to its call: %+v", r.Attribution)
			}
			return r.Effects
		}
	}
	b.t.Fatalf("nothing is said of %s", id)
	return nil
}

func (b *bench) toolCall(sec float64, c event.ToolCall) {
	c.Gateway, c.Session, c.Run = state, "alice", "r1"
	b.push(sec, event.ProcID{}, c)
}

func (b *bench) opened(sec float64, path string) {
	b.push(sec, proc(101), event.FileOpen{Path: path, Read: true})
}

func TestWhatACallDoesBesidesWhatItSaysIsUnexplained(t *testing.T) {
	b := newBench(t, 0)
	b.watching(0)
	b.push(0, event.ProcID{}, event.Skill{Gateway: state, ID: event.SkillID{Name: "weather", Dir: weather}, Declares: event.Declared{Hosts: []string{"wttr.in", "192.0.2.9"}}})
	command := "cd /srv/data && bash " + script + " --out=~/report.txt https://api.example.com/v1 < in/*.csv"
	b.use(20, command)
	b.run(21, command)
	for _, path := range []string{ // all of this has a reason
		"/usr/lib/locale/C.utf8/LC_CTYPE", "/etc/ld.so.cache", "/etc/resolv.conf", "/proc/101/status", "/proc/meminfo", "/dev/null", script, weather + "/data.json",
		state + "/cache/shell-snapshots/x.sh", workspace + "/notes.md", "/srv/data/x", "/srv/data/in/1.csv", "/usr/lib/python3/dist-packages/x.py",
	} {
		b.opened(21.1, path)
	}
	b.push(21.2, proc(101), event.FileOpen{Path: "/tmp/w.1", Write: true, Create: true})
	b.push(21.2, proc(101), event.FileOpen{Path: "/home/dev/report.txt", Write: true, Create: true})
	b.push(21.2, proc(101), event.FileDelete{Path: "/tmp/w.1"})
	connect := func(addr string, port uint16) {
		b.push(21.3, proc(101), event.Connect{Transport: event.TCP, Peer: netip.AddrPortFrom(netip.MustParseAddr(addr), port)})
	}
	connect("192.0.2.9", 443)
	// And this has none.
	b.opened(21.4, "/home/dev/.ssh/id_ed25519")
	b.opened(21.4, "/home/dev/.ssh/id_ed25519")
	b.opened(21.4, "/proc/10/environ")
	b.push(21.4, proc(101), event.FileOpen{Path: "/home/dev/.bashrc", Write: true})
	b.push(21.4, proc(101), event.FileOpen{Path: workspace + "/skills/other/SKILL.md", Write: true, Create: true})
	b.push(21.4, proc(101), event.FileRename{Old: "/tmp/w.2", New: "/home/dev/.config/x"})
	connect("192.0.2.66", 8080)
	got := b.ended(25, "call1")
	const want = "[read /home/dev/.ssh/id_ed25519 read /proc/10/environ write /home/dev/.bashrc write " + workspace + "/skills/other/SKILL.md write /home/dev/.config/x]"
	if fmt.Sprint(got.Examples) != want || got.UnexplainedReads != 2 || got.UnexplainedWrites != 3 || got.UnexplainedHosts != 1 {
		t.Errorf("got %+v\nwant %s", got, want)
	}
	if got.Silent || got.Unjudged != "" || got.Processes != 2 || got.Hosts != 2 {
		t.Errorf("%+v", got)
	}
}

func TestASilentCallIsToldOnlyWhereSomebodyLooked(t *testing.T) {
	lost := func(k event.Kind) event.Body { return event.Lost{Of: k, Count: 1, Cause: "ring full", From: at(22)} }
	write := event.ToolCall{ID: "c", Name: "write", Paths: []string{"notes/a.md"}}
	fetch := event.ToolCall{ID: "c", Name: "web_fetch", URL: "https://example.com"}
	exec := event.ToolCall{ID: "c", Name: "exec", Command: "make"}
	opens := event.FileOpen{Path: workspace + "/notes/a.md", Write: true}
	for name, c := range map[string]struct {
		call event.ToolCall
		who  int32
		does event.Body // meanwhile
		want string
	}{
		"exec":                         {exec, 0, nil, "no process of it was seen"},
		"exec while forks were lost":   {exec, 0, lost(event.KindFork), "unjudged"},
		"exec while reads were lost":   {exec, 0, lost(event.KindFileRead), "no process of it was seen"},
		"exec while anything was lost": {exec, 0, event.Lost{Count: 1, From: at(22)}, "unjudged"},
		"write":                        {write, 0, nil, "no write of its path was seen"},
		"write that is seen":           {write, 10, opens, ""},
		"write behind a link":          {write, 10, event.FileRename{Old: "/mnt/x.tmp", New: "/mnt/a.md"}, ""},
		"a read is no write":           {write, 10, event.FileOpen{Path: workspace + "/notes/a.md", Read: true}, "no write of its path was seen"},
		"fetch":                        {fetch, 0, nil, "the gateway was not seen to use the network"},
		"fetch that is seen":           {fetch, 10, event.Connect{Transport: event.TCP, Peer: netip.MustParseAddrPort("192.0.2.1:443")}, ""},
		"a tool that promises nothing": {event.ToolCall{ID: "c", Name: "memory_search"}, 0, nil, ""},
		"a blind sensor":               {exec, 0, event.Coverage{Probe: "canary", Fidelity: "none", Kinds: []event.Kind{event.KindExec}}, "unjudged"},
	} {
		b := newBench(t, 0)
		b.watching(0)
		b.toolCall(21, c.call)
		if c.does != nil {
			id := event.ProcID{}
			if c.who != 0 {
				id = proc(c.who)
			}
			b.push(22, id, c.does)
		}
		got := b.ended(23, "c")
		text := got.Missing
		if got.Unjudged != "" {
			text = "unjudged"
		}
		if text != c.want || got.Silent != (got.Missing != "") {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
	}
}

// What cannot be matched may be the call's own; what was there before the agent
// looked is not judged, and neither is a failure.
func TestDoubtIsNotCalledSilence(t *testing.T) {
	b := newBench(t, 0)
	b.watching(0)
	b.toolCall(21, event.ToolCall{ID: "c", Name: "exec", Command: "make all"})
	b.shell(21.5, "make everything")
	if got := b.ended(23, "c"); got.Silent || !strings.Contains(got.Unjudged, "could not be matched") {
		t.Errorf("unmatched: %+v", got)
	}
	b = newBench(t, 0)
	b.toolCall(21, event.ToolCall{ID: "c", Name: "exec", Command: "make"})
	if got := b.ended(23, "c"); got.Silent || got.Unjudged == "" {
		t.Errorf("nobody looked: %+v", got)
	}
	b = newBench(t, 0)
	b.watching(0)
	b.toolCall(2, event.ToolCall{ID: "c", Name: "exec", Command: "make"})
	if got := b.ended(23, "c"); got.Silent || got.Unjudged == "" {
		t.Errorf("just found: %+v", got)
	}
	b = newBench(t, 0)
	b.watching(0)
	b.toolCall(21, event.ToolCall{ID: "c", Name: "exec", Command: "make"})
	b.push(22, event.ProcID{}, event.ToolResult{Gateway: state, Session: "alice", ID: "c", IsError: true})
	for sec := range 20 {
		b.Tick(at(23 + float64(sec)))
	}
	if got := b.find(event.KindToolEffects, 0); len(got) != 1 || got[0].Effects.Silent || got[0].Effects.Unjudged != "" {
		t.Errorf("failed: %+v", got)
	}
}

func TestAHostIsMentionedOnlyWhole(t *testing.T) {
	for text, want := range map[string]bool{
		"curl https://example.com/x": true, "curl example.com": true, "see example.com.": true, "curl example.com.": true,
		"curl notexample.com": false, "curl example.com.evil.net": false, "curl sub.example.com": false, "": false,
	} {
		if got := mentions(text, "example.com"); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
