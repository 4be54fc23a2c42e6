package plugin

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

const state = "/home/dev/.openclaw"

// A desk is a Collector that runs, to which this process is whatever known says.
type desk struct {
	t    *testing.T
	c    *Collector
	path string
	self event.ProcID

	mu    sync.Mutex
	known *event.GatewayFound // what this process is; nil: nothing
	heard []event.Event
}

func newDesk(t *testing.T, known *event.GatewayFound) *desk {
	t.Helper()
	d := &desk{t: t, known: known, path: filepath.Join(t.TempDir(), "s")}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: d.path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	proc := os.DirFS("/proc")
	if d.self, err = procfs.Identify(proc, int32(os.Getpid())); err != nil {
		t.Fatal(err)
	}
	d.c = New(Config{Listener: l, Proc: proc, Known: d.who, Patience: 300 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- d.c.Run(ctx, func(ev event.Event) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.heard = append(d.heard, ev)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *desk) who(pid int32) (event.ProcID, event.GatewayFound, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil || pid != d.self.PID {
		return event.ProcID{}, event.GatewayFound{}, false
	}
	return d.self, *d.known, true
}

func (d *desk) is(known *event.GatewayFound) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known = known
}

func gateway() *event.GatewayFound {
	return &event.GatewayFound{ID: state, StateDir: state, Role: event.RoleGateway, UID: uint32(os.Geteuid())}
}

func (d *desk) call(lines ...string) *net.UnixConn {
	d.t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: d.path, Net: "unix"})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = conn.Close() })                    // it may be closed already
	_, _ = conn.Write([]byte(strings.Join(lines, "\n") + "\n")) // the other end may have had enough
	return conn
}

// said is what has been heard so far, in short.
func (d *desk) said() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for _, ev := range d.heard {
		switch b := ev.Body.(type) {
		case event.ToolPhase:
			if ev.Proc != d.self || ev.Source != event.SourcePlugin {
				d.t.Errorf("%v of %s", ev.Proc, ev.Source)
			}
			all = append(all, strings.TrimSpace(strings.Join([]string{string(b.Phase), b.Session, b.ID, b.Tag}, " ")))
		case event.Lost:
			all = append(all, fmt.Sprintf("lost %d: %s", b.Count, b.Cause))
		}
	}
	return all
}

func (d *desk) until(what string, is func([]string) bool) []string {
	d.t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		said := d.said()
		if is(said) {
			return said
		}
		if time.Since(began) > time.Minute {
			d.t.Fatalf("%s: not within a minute; heard %q", what, said)
		}
	}
}

func (d *desk) want(lines ...string) {
	d.t.Helper()
	d.until(fmt.Sprintf("%q", lines), func(said []string) bool { return slices.Equal(said, lines) })
}

const (
	tagA  = "0123456789abcdef0123456789abcdef"
	hello = `{"v":1,"ev":"hello","state":"` + state + `"}`
	begin = `{"v":1,"ev":"begin","session":"s1","call":"c1","tool":"exec"}`
)

func TestAGatewaysPluginIsHeard(t *testing.T) {
	d := newDesk(t, gateway())
	d.call(
		hello, begin,
		`{"v":1,"ev":"tag","session":"s1","tag":"`+tagA+`"}`,
		`{"v":1,"ev":"end","session":"s1","call":"c1","open":true,"news":{"later":"versions"}}`,
		`{"v":1,"ev":"begin","session":"s1","call":"c2","lost":7}`,
	)
	d.want("joined", "begin s1 c1", "tag s1  "+tagA, "end s1 c1", "joined", "begin s1 c2")
}

func TestAGatewayThatIsNotKnownYetIsWaitedFor(t *testing.T) {
	d := newDesk(t, nil)
	d.c.cfg.Patience = time.Minute
	d.call(hello, begin)
	time.AfterFunc(3*glance, func() { d.is(gateway()) })
	d.want("joined", "begin s1 c1")
}

func TestNobodyElseIsHeard(t *testing.T) {
	other := func(change func(*event.GatewayFound)) *event.GatewayFound { g := gateway(); change(g); return g }
	for name, test := range map[string]struct {
		known *event.GatewayFound
		why   string
	}{
		"a process of anybody":          {nil, "connections of a process that is not believed: it is no OpenClaw process"},
		"another user than the owner":   {other(func(g *event.GatewayFound) { g.UID++ }), "connections of a process that is not believed: the process connected as another user"},
		"a gateway that is not trusted": {other(func(g *event.GatewayFound) { g.ID, g.StateDir = "unverified:1", "" }), "connections of a process that is not believed: nothing of that process is believed"},
		"a gateway of another state":    {other(func(g *event.GatewayFound) { g.StateDir = "/home/eve/.openclaw" }), "messages that are none"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, test.known)
			d.call(hello)
			d.want("lost 1: plugin's socket: " + test.why)
		})
	}
}

func TestAGatewayThatHasEndedIsNotHeardAnyMore(t *testing.T) {
	d := newDesk(t, gateway())
	conn := d.call(hello)
	d.want("joined")
	d.is(nil)
	if _, err := conn.Write([]byte(begin + "\n")); err != nil {
		t.Fatal(err)
	}
	d.want("joined", "lost 1: plugin's socket: connections of a gateway that had ended")
}

func TestMessagesThatAreNoneAreCountedAndEndTheConnection(t *testing.T) {
	d := newDesk(t, gateway())
	d.call(slices.Repeat([]string{"what?"}, 3*maxMistakes)...)
	d.want(fmt.Sprintf("lost %d: plugin's socket: messages that are none", maxMistakes))
}

func TestALineThatIsTooLongEndsTheConnection(t *testing.T) {
	d := newDesk(t, gateway())
	d.call(hello, `{"v":1,"ev":"begin","session":"`+strings.Repeat("x", 2*maxLine)+`"}`)
	d.want("joined", "lost 1: plugin's socket: connections that were cut, or sent too long a line")
}

func TestAFloodIsCutAndTheCountIsLost(t *testing.T) {
	d := newDesk(t, gateway())
	conn := d.call(hello)
	flood := []byte(strings.Repeat(begin+"\n", 20*burst))
	go func() { _, _ = conn.Write(flood) }() // the other end may have had enough
	said := d.until("a limit", func(said []string) bool {
		return slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "messages beyond the limit") })
	})
	if len(said) < burst {
		t.Errorf("%d were heard, want at least %d", len(said), burst)
	}
	joined := 0
	for _, s := range said {
		if s == "joined" {
			joined++
		}
	}
	if joined < 2 {
		t.Error("that some were not heard is not told downstream")
	}
}

func TestConnectionsAreFew(t *testing.T) {
	d := newDesk(t, nil)
	d.c.cfg.Patience = time.Minute
	for range 2 * maxUnknown {
		d.call()
	}
	d.want(fmt.Sprintf("lost %d: plugin's socket: connections beyond the limit", maxUnknown))
}

func TestMessagesAreStrict(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	for _, line := range []string{
		"", "null", "1", "[]", `{}`, `{"v":1}`, `{"v":2,"ev":"hello"}`, `{"v":1,"ev":"shutdown"}`, hello + hello,
		`{"v":1,"ev":"begin","session":"s1"}`, `{"v":1,"ev":"end","call":"c1"}`, `{"v":1,"ev":"begin","session":{},"call":"c1"}`,
		`{"v":1,"ev":"begin","session":"s1","call":"` + long + `"}`, `{"v":1,"ev":"tag","session":"s1","tag":"` + strings.ToUpper(tagA) + `"}`,
		`{"v":1,"ev":"tag","session":"s1","tag":"` + tagA + `0"}`, `{"v":1,"ev":"tag","tag":"` + tagA + `"}`, `{"v":1,"ev":"begin","session":"s1","call":"c1","lost":-1}`,
	} {
		if m, err := parse([]byte(line)); err == nil {
			t.Errorf("%q is %+v", line, m)
		}
	}
}

func TestTheTimeOfAMessageIsNeitherOldNorToCome(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	for ms, want := range map[int64]time.Time{
		now.UnixMilli() - 50: now.Add(-50 * time.Millisecond), now.UnixMilli() + 1: now, 0: now, -1 << 63: now, 1<<63 - 1: now,
	} {
		if got := (message{Time: ms}).when(now); !got.Equal(want) {
			t.Errorf("%d: %s, want %s", ms, got, want)
		}
	}
}

func TestTheTagOfAProcess(t *testing.T) {
	environ := func(entries ...string) string { return strings.Join(entries, "\x00") + "\x00" }
	proc := fstest.MapFS{}
	put := func(pid int, start uint64, environ string) {
		proc[fmt.Sprintf("%d/environ", pid)] = &fstest.MapFile{Data: []byte(environ)}
		proc[fmt.Sprintf("%d/stat", pid)] = &fstest.MapFile{Data: []byte(fmt.Sprintf("%d (bash) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %d 0", pid, start) + strings.Repeat(" 0", 40))}
	}
	put(1, 7, environ("HOME=/x", "CLAWWATCH_CALL="+tagA, "A=b"))
	put(2, 7, environ("HOME=/x"))
	put(3, 7, environ("CLAWWATCH_CALL=made up"))
	put(4, 7, environ("CLAWWATCH_CALL="+tagA, "CLAWWATCH_CALL="+strings.Repeat("0", 32)))
	put(5, 8, environ("CLAWWATCH_CALL="+tagA)) // has another start time
	put(6, 7, environ("XCLAWWATCH_CALL="+tagA))
	c := New(Config{Proc: proc})
	handed := event.Exec{EnvNames: []string{"HOME", variable}}
	if got := c.Tag(event.ProcID{PID: 1, Start: 7}, handed); got != "" {
		t.Errorf("%q, though no plugin is there", got)
	}
	c.spoken.Store(true)
	for pid, want := range map[int32]string{1: tagA, 2: "", 3: Other, 4: Other, 5: "", 6: "", 9: ""} {
		if got := c.Tag(event.ProcID{PID: pid, Start: 7}, handed); got != want {
			t.Errorf("process %d: %q, want %q", pid, got, want)
		}
	}
	if got := c.Tag(event.ProcID{PID: 1, Start: 7}, event.Exec{EnvNames: []string{"HOME"}}); got != "" {
		t.Errorf("%q of a process that was not handed the variable", got)
	}
	if got := c.Tag(event.ProcID{PID: 1, Start: 7}, event.Exec{EnvTruncated: true}); got != tagA {
		t.Errorf("%q where the names were cut short", got)
	}
}

func TestTagsOfAStormAreNotLookedFor(t *testing.T) {
	c := New(Config{Proc: fstest.MapFS{}})
	c.spoken.Store(true)
	for range 2 * tagsASecond {
		c.Tag(event.ProcID{PID: 1}, event.Exec{EnvNames: []string{variable}})
	}
	if c.dropped["tags of processes that came too fast to be looked at"] == 0 {
		t.Error("there is no limit, or it is not told")
	}
}

func FuzzParse(f *testing.F) {
	for _, line := range []string{hello, begin, `{"v":1,"ev":"tag","session":"s1","tag":"` + tagA + `","lost":3}`, `{"v":1e0,"ev":"end","session":"\ud800","call":"c"}`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := parse(line)
		if err != nil {
			return
		}
		p := m.phase()
		if m.Event == "tag" && !isTag(p.Tag) || m.Event != "tag" && p.Tag != "" || len(p.Session)+len(p.ID) > 2*maxText {
			t.Errorf("%q is %+v", line, p)
		}
	})
}

func FuzzFindTagKeepsNothingElse(f *testing.F) {
	f.Add([]byte("A=b\x00CLAWWATCH_CALL=" + tagA + "\x00"))
	f.Add([]byte("CLAWWATCH_CALL=secret\x00"))
	f.Fuzz(func(t *testing.T, environ []byte) {
		if got := findTag(environ); got != "" && got != Other && !isTag(got) {
			t.Errorf("%q", got)
		}
	})
}
