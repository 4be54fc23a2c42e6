package pipeline

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/internal/redact"
	"github.com/clawwatch/clawwatch/rules"
)

const (
	state     = "/home/dev/.openclaw"
	workspace = state + "/workspace"
	weather   = workspace + "/skills/weather"
	script    = weather + "/scripts/w.sh"
)

// A bench drives a pipeline and keeps what comes out.
type bench struct {
	*Pipeline
	t       *testing.T
	records []event.Record
	alerts  []event.Alert
}

func (b *bench) Record(r event.Record) { b.records = append(b.records, r) }
func (b *bench) Alert(a event.Alert)   { b.alerts = append(b.alerts, a) }

func at(sec float64) time.Time {
	return time.Unix(1_800_000_000, 0).Add(time.Duration(sec * float64(time.Second)))
}

func proc(pid int32) event.ProcID { return event.ProcID{PID: pid, Start: uint64(pid)} }

func newBench(t *testing.T, maxHeld int) *bench {
	b := &bench{t: t}
	n := 0
	b.Pipeline = New(Config{
		Policy: policy.Default(), Rules: rules.Builtin(), Redactor: redact.New([]byte("salt")), Sink: b, MaxHeld: maxHeld,
		NewID:    func(time.Time) string { n++; return fmt.Sprintf("ID%04d", n) },
		UserName: func(uint32) string { return "dev" },
	})
	b.push(0, proc(10), event.GatewayFound{
		ID: state, Role: event.RoleGateway, StateDir: state, Home: "/home/dev", Workspaces: []string{workspace},
		SkillRoots: []string{workspace + "/skills", "/npm/node_modules/openclaw/skills"},
	})
	b.push(0, event.ProcID{}, event.Skill{Gateway: state, ID: event.SkillID{Name: "weather", Dir: weather}, EnvNames: []string{"WEATHER_API_KEY"}})
	b.push(0, proc(11), event.Fork{Parent: proc(10)})
	b.push(0, proc(11), event.Exec{Path: "/usr/bin/node", Args: []string{"node", "/npm/openclaw/dist/process/spawn-broker/worker.js"}, Parent: proc(10)})
	return b
}

func (b *bench) push(sec float64, id event.ProcID, body event.Body) {
	b.Tick(at(sec))
	b.Push(event.Event{Time: at(sec), Proc: id, Body: body})
}

// use lets a session read the skill, and call a command.
func (b *bench) use(sec float64, command string) {
	for i, c := range []event.ToolCall{{Name: "read", Paths: []string{weather + "/SKILL.md"}}, {Name: "exec", Command: command}} {
		c.Gateway, c.Session, c.Run, c.ID = state, "alice", "r1", fmt.Sprintf("call%d", i)
		b.push(sec, event.ProcID{}, c)
	}
}

// run starts a tool call's shell, and the skill's script below it as process 101.
func (b *bench) run(sec float64, command string) {
	b.shell(sec, command)
	b.push(sec, proc(101), event.Fork{Parent: proc(100)})
	b.push(sec, proc(101), event.Exec{Path: "/usr/bin/bash", Args: []string{"bash", script}, Cwd: workspace, Parent: proc(100), EnvNames: []string{"HOME", "WEATHER_API_KEY"}})
	b.push(sec, proc(101), event.FileOpen{Path: script, Read: true})
}

func (b *bench) shell(sec float64, command string) {
	b.push(sec, proc(100), event.Fork{Parent: proc(11)})
	b.push(sec, proc(100), event.Exec{
		Path: "/usr/bin/bash", Args: []string{"/bin/bash", "-c", "eval 'unset OPENCLAW_PREPEND_PATH; " + command + "'"},
		Cwd: workspace, Parent: proc(11), EnvNames: []string{"HOME", "WEATHER_API_KEY"},
	})
}

func (b *bench) find(kind event.Kind, pid int32) []event.Record {
	var found []event.Record
	for _, r := range b.records {
		if r.Kind == kind && (pid == 0 || r.Process != nil && r.Process.PID == pid) {
			found = append(found, r)
		}
	}
	return found
}

func (b *bench) fired() []string {
	var names []string
	for _, a := range b.alerts {
		who := ""
		if a.Attribution != nil && a.Attribution.Skill != nil {
			who = a.Attribution.Skill.Name
		}
		names = append(names, strings.TrimSpace(fmt.Sprintf("%s %s %d", a.Rule.Name, who, a.Count)))
	}
	return names
}

func (b *bench) wantFired(want ...string) {
	b.t.Helper()
	if got := b.fired(); !slices.Equal(got, want) {
		b.t.Errorf("fired %q, want %q", got, want)
	}
}

func TestAFactWaitsForTheRecordThatExplainsIt(t *testing.T) {
	b := newBench(t, 0)
	b.run(2, "bash "+script)
	b.push(2.1, proc(101), event.FileOpen{Path: "/home/dev/.ssh/id_ed25519", Read: true})
	b.Tick(at(4))
	if n := len(b.find("", 101)); n != 0 || len(b.alerts) != 0 {
		t.Fatalf("%d records and %d alerts before the tool call is known", n, len(b.alerts))
	}
	b.Push(event.Event{Time: at(1.5), Body: event.ToolCall{Gateway: state, Session: "alice", Run: "r1", ID: "c0", Name: "read", Paths: []string{weather + "/SKILL.md"}}})
	b.Push(event.Event{Time: at(1.6), Body: event.ToolCall{Gateway: state, Session: "alice", Run: "r1", ID: "c1", Name: "exec", Command: "bash " + script}})
	b.Tick(at(4.1))
	opens := b.find(event.KindFileOpen, 101)
	if len(opens) != 2 || opens[1].Attribution.Confidence != event.Certain || opens[1].Attribution.ToolCall != "c1" {
		t.Fatalf("opens %+v", opens)
	}
	b.wantFired("environment-access weather 1", "file-outside-approved-directories weather 1", "restricted-data-access weather 1")
}

func TestARecordThatComesTooLateAmendsUnderTheSameIDs(t *testing.T) {
	b := newBench(t, 0)
	b.shell(2, "cat /etc/shadow")
	b.push(2.1, proc(100), event.FileOpen{Path: "/etc/shadow", Read: true})
	b.Tick(at(9))
	first, alerts := b.find(event.KindFileOpen, 100), b.alerts
	if len(first) != 1 || first[0].Attribution.Session != "" || len(alerts) != 2 {
		t.Fatalf("%+v, %d alerts", first, len(alerts))
	}
	b.Push(event.Event{Time: at(1.6), Body: event.ToolCall{Gateway: state, Session: "alice", Run: "r1", ID: "c1", Name: "exec", Command: "cat /etc/shadow"}})
	b.Tick(at(10))
	again := b.find(event.KindFileOpen, 100)
	if len(again) != 2 || again[1].ID != first[0].ID || !again[1].Amended || again[1].Attribution.Session != "alice" {
		t.Errorf("amended %+v", again[1:])
	}
	for _, a := range b.alerts[2:] {
		if !a.Amended || a.ID != alerts[0].ID && a.ID != alerts[1].ID || a.Attribution.Session != "alice" {
			t.Errorf("amended alert %+v", a)
		}
	}
}

func TestWhatIsHeldIsBounded(t *testing.T) {
	b := newBench(t, 50)
	b.shell(2, "cp -r / /")
	for i := range 500 {
		b.push(2.1, proc(100), event.FileOpen{Path: fmt.Sprint("/usr/share/f", i), Read: true})
	}
	s := b.Stats()
	if s.Held > 50 || s.Overflowed == 0 {
		t.Errorf("%d held, %d let go early", s.Held, s.Overflowed)
	}
	b.Flush()
	if n := len(b.find(event.KindFileOpen, 100)); n != 500 {
		t.Errorf("%d of 500 came out", n)
	}
}

func TestVolumeIsCountedOverAllConnectionsOfARunAndAlertsOnce(t *testing.T) {
	b := newBench(t, 0)
	b.use(1, "bash "+script)
	b.run(1.5, "bash "+script)
	for i := range 5 {
		b.push(3+float64(i), proc(101), event.Close{Transport: event.TCP, Peer: netip.MustParseAddrPort("198.51.100.1:443"), Sent: 4_000_000})
	}
	b.Tick(at(30))
	n := 0
	for _, a := range b.alerts {
		if a.Rule.Name == "unusual-data-volume" {
			n++
			if a.Attribution.Skill == nil || a.Attribution.Skill.Name != "weather" {
				t.Errorf("attributed to %+v", a.Attribution)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d alerts for 20 MB in five connections, want 1: %v", n, b.fired())
	}
}

func TestAConnectionIsNamedByWhatItsExecutionAskedTheHostsServerFor(t *testing.T) {
	b := newBench(t, 0)
	server, evil := netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("198.51.100.66")
	b.Host.Resolvers = []netip.Addr{server}
	b.use(1, "bash "+script)
	b.run(1.5, "bash "+script)
	b.Tick(at(3))
	answer := func(from netip.Addr, name, addr string) {
		b.push(3, proc(101), event.DNSAnswer{Server: from, Name: name, Addresses: []netip.Addr{netip.MustParseAddr(addr)}})
	}
	connect := func(addr string) *event.Network {
		b.records = nil
		b.push(3, proc(101), event.Connect{Transport: event.TCP, Peer: netip.AddrPortFrom(netip.MustParseAddr(addr), 443)})
		return b.find(event.KindConnect, 101)[0].Network
	}
	b.alerts = nil
	answer(server, "api.openai.com", "198.51.100.1")
	if n := connect("198.51.100.1"); n.Host != "api.openai.com" || n.HostSource != "dns" {
		t.Errorf("%+v", n)
	}
	if len(b.alerts) != 0 {
		t.Errorf("an endpoint that is approved by name fires %v", b.fired())
	}
	answer(evil, "api.openai.com", "198.51.100.2")
	if n := connect("198.51.100.2"); n.Host != "" {
		t.Errorf("a server of the skill's own is believed: %+v", n)
	}
	answer(server, "drop.example", "198.51.100.3")
	answer(server, "api.openai.com", "198.51.100.3")
	if n := connect("198.51.100.3"); n.Host != "drop.example" {
		t.Errorf("an approved name hides another of the same address: %+v", n)
	}
	b.wantFired("unapproved-endpoint weather 1", "unapproved-endpoint weather 1")
}

func TestRepeatsAreCountedAndNotRepeated(t *testing.T) {
	b := newBench(t, 0)
	b.use(1, "bash "+script)
	b.run(1.5, "bash "+script)
	b.Tick(at(3))
	b.Tick(at(10))
	b.alerts = nil
	for range 1000 {
		b.push(10, proc(101), event.Connect{Transport: event.TCP, Peer: netip.MustParseAddrPort("198.51.100.1:443")})
	}
	b.push(10, proc(101), event.Connect{Transport: event.TCP, Peer: netip.MustParseAddrPort("198.51.100.2:443")})
	b.wantFired("unapproved-endpoint weather 1", "unapproved-endpoint weather 1")
	id := b.alerts[0].ID
	b.alerts = nil
	b.Tick(at(16))
	b.wantFired("unapproved-endpoint weather 1000")
	if a := b.alerts[0]; a.ID != id || !a.Amended || len(a.Events) != maxEvents {
		t.Errorf("counted in %+v", a)
	}
}

func TestAFloodOfFindingsIsCountedAndHidesNoOtherRule(t *testing.T) {
	b := newBench(t, 0)
	b.use(1, "bash "+script)
	b.run(1.5, "bash "+script)
	b.Tick(at(3))
	b.Tick(at(10))
	b.alerts = nil
	for i := range 500 {
		b.push(10, proc(101), event.FileOpen{Path: fmt.Sprint("/data/", i), Read: true})
	}
	b.push(10, proc(101), event.Connect{Transport: event.TCP, Peer: netip.MustParseAddrPort("198.51.100.1:443")})
	if n := len(b.alerts); n != maxGroup+1 || b.alerts[n-1].Rule.Name != "unapproved-endpoint" {
		t.Fatalf("%d alerts, the last one %v", n, b.fired()[n-1])
	}
	last := b.alerts[maxGroup-1].ID
	b.alerts = nil
	b.Tick(at(16))
	if len(b.alerts) != 1 || b.alerts[0].ID != last || b.alerts[0].Suppressed != 500-maxGroup {
		t.Errorf("counted in %+v", b.alerts)
	}
}

func TestASkillThatAppearsIsJoinedWithWhoWroteIt(t *testing.T) {
	b := newBench(t, 0)
	b.use(1, "bash "+script)
	b.run(1.5, "bash "+script)
	dropped := workspace + "/skills/dropped"
	b.push(3, proc(101), event.FileOpen{Path: dropped + "/SKILL.md", Write: true, Create: true})
	b.push(3.5, event.ProcID{}, event.Skill{Change: event.Installed, Gateway: state, ID: event.SkillID{Name: "dropped", Dir: dropped, Root: workspace + "/skills"}})
	b.push(3.6, event.ProcID{}, event.Skill{Change: event.Installed, Gateway: state, ID: event.SkillID{Name: "byhand", Dir: workspace + "/skills/byhand"}})
	b.Tick(at(8)) // somebody might still be found
	got := b.find(event.KindSkillInstalled, 0)
	if len(got) != 2 || got[0].Process == nil || got[0].Process.PID != 101 || got[0].Attribution.Skill.Name != "weather" {
		t.Fatalf("installed %+v", got)
	}
	if got[1].Process != nil || got[1].Attribution.Gateway != state {
		t.Errorf("a skill that nobody was seen to write came from %+v", got[1].Process)
	}
}

func TestASkillOfOpenClawsOwnPluginsIsNoInstallation(t *testing.T) {
	b := newBench(t, 0)
	for dir, want := range map[string]event.Kind{
		"/npm/node_modules/openclaw/dist/extensions/canvas/skills/canvas": event.KindSkillPresent,
		"/home/dev/evil/node_modules/openclaw/dist/skills/canvas":         event.KindSkillInstalled,
	} {
		b.records = nil
		b.push(1, event.ProcID{}, event.Skill{Change: event.Installed, Gateway: state, ID: event.SkillID{Name: "canvas", Dir: dir}})
		b.Flush()
		if n := len(b.find(want, 0)); n != 1 {
			t.Errorf("%s: %+v, want %s", dir, b.records, want)
		}
	}
}

func TestOpenClawsReadsOfItsOwnProgramAreLeftOutAndNothingElse(t *testing.T) {
	b := newBench(t, 0)
	for _, open := range []event.FileOpen{
		{Path: "/usr/lib/x.so", Read: true},
		{Path: "/npm/node_modules/a/index.js", Read: true},
		{Path: "/npm/node_modules/a/index.js", Read: true, Write: true},
		{Path: "/home/dev/.ssh/id_ed25519", Read: true},
	} {
		b.push(1, proc(10), open)
	}
	b.Tick(at(5))
	if got := b.find(event.KindFileOpen, 10); len(got) != 2 || b.Stats().Suppressed != 2 {
		t.Errorf("%d records, %d left out", len(got), b.Stats().Suppressed)
	}
}

func TestNoSecretComesOut(t *testing.T) {
	b := newBench(t, 0)
	const key = "sk-ant-api03-CANARYCANARYCANARYCANARY"
	command := "curl -H \"Authorization: Bearer " + key + "\" https://u:" + key + "@x.example/?api_key=" + key
	b.use(1, command)
	b.shell(1.5, command)
	b.push(1.6, proc(100), event.FileOpen{Path: "/etc/shadow", Read: true})
	b.push(2, event.ProcID{}, event.LLMCall{Gateway: state, Session: "alice", Status: 401, Error: "Incorrect API key provided: " + key, Prompt: "my key is " + key, Response: key})
	b.Tick(at(20))
	b.Flush()
	out, err := json.Marshal([]any{b.records, b.alerts})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "CANARY") {
		i := strings.Index(string(out), "CANARY")
		t.Errorf("a secret comes out: …%s…", out[max(0, i-200):i+10])
	}
	if len(b.records) == 0 || len(b.alerts) == 0 {
		t.Errorf("%d records, %d alerts", len(b.records), len(b.alerts))
	}
}

func TestASnapshotDoesNotRepeatWhatTheSensorSaw(t *testing.T) {
	b := newBench(t, 0)
	b.shell(1, "date")
	b.push(1.1, proc(100), event.Exec{Path: "/usr/bin/bash", Args: []string{"bash"}, Parent: proc(11), Snapshot: true})
	b.push(1.1, proc(50), event.Exec{Path: "/usr/bin/bash", Args: []string{"bash"}, Parent: proc(11), Snapshot: true})
	b.Tick(at(20))
	if n, m := len(b.find(event.KindExec, 100)), len(b.find(event.KindExec, 50)); n != 1 || m != 1 {
		t.Errorf("%d execs of the known process and %d of the other, want one each", n, m)
	}
}

func TestEnvironmentDumpsAreToldFromCommandsRunByEnv(t *testing.T) {
	for _, c := range []struct {
		args  string
		dump  bool
		names string
	}{
		{"env", true, ""},
		{"/usr/bin/env -0", true, ""},
		{"env A=b", true, ""},
		{"env -u HOME", true, ""},
		{"env python3 x.py", false, ""},
		{"env A=b python3", false, ""},
		{"env -i", false, ""},
		{"env -i bash", false, ""},
		{"env -S node x", false, ""},
		{"printenv", true, ""},
		{"printenv API_KEY -0 HOME", true, "API_KEY HOME"},
		{"cat env", false, ""},
		{"", false, ""},
	} {
		names, dump := dumps(strings.Fields(c.args))
		if dump != c.dump || strings.Join(names, " ") != c.names {
			t.Errorf("%q: %v %q", c.args, dump, names)
		}
	}
}

func TestFilesThatHoldAnEnvironmentAreRecognised(t *testing.T) {
	for path, want := range map[string]event.EnvMethod{
		"/proc/41/environ":         event.EnvProcEnviron,
		"/proc/41/task/41/environ": event.EnvProcEnviron,
		"/proc/41/status":          "",
		"/proc/sys/environ":        "",
		"/home/dev/.env":           event.EnvDotenv,
		"/app/.env.production":     event.EnvDotenv,
		"/app/.env.example":        "",
		"/app/.envrc":              event.EnvDotenv,
		"/app/env":                 "",
		"/app/.environment":        "",
	} {
		if got := fromFile(path).Method; got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// Rules know with which arguments the parent ran, and records do not show them.
func TestTheParentsArgumentsAreForRulesAlone(t *testing.T) {
	const secret = "AKIAIOSFODNN7EXAMPLE"
	b := newBench(t, 0)
	b.use(1, "bash "+script)
	b.shell(1, "bash "+script)
	b.push(1, proc(101), event.Fork{Parent: proc(100)})
	b.push(1, proc(101), event.Exec{Path: "/usr/bin/python3", Args: []string{"python3", "-m", "x", secret}, Cwd: workspace, Parent: proc(100)})
	b.push(1, proc(102), event.Fork{Parent: proc(101)})
	b.push(1, proc(101), event.Exec{Path: "/usr/bin/true", Args: []string{"true"}, Cwd: workspace, Parent: proc(100)})
	b.push(1, proc(102), event.Exec{Path: "/usr/bin/id", Args: []string{"id"}, Cwd: workspace, Parent: proc(101)})
	b.Tick(at(10))
	for pid, want := range map[int32]string{101: "eval", 102: "true"} {
		got := b.find(event.KindExec, pid)
		if len(got) == 0 {
			t.Fatalf("no exec of %d", pid)
		}
		up := got[len(got)-1].Process.Ancestors
		if line := strings.Join(up[0].Args, " "); !strings.Contains(line, want) || strings.Contains(line, secret) || up[1].Args != nil {
			t.Errorf("process %d: the parent ran with %q, want %s", pid, line, want)
		}
		if text, err := json.Marshal(got[0]); err != nil || strings.Contains(string(text), `"Args"`) || strings.Contains(string(text), "unset OPENCLAW") {
			t.Errorf("%s, %v", text, err)
		}
	}
	if got := b.find(event.KindFork, 102); len(got) != 1 || !strings.Contains(strings.Join(got[0].Process.Ancestors[0].Args, " "), "python3 -m x [redacted:") {
		t.Errorf("%+v", got)
	}
}
