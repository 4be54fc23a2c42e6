package osquery_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clawwatch/clawwatch/exporters/osquery"
	"github.com/clawwatch/clawwatch/internal/api"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
	"github.com/clawwatch/clawwatch/internal/tables"
	"github.com/clawwatch/clawwatch/testdata/osqueryd"
)

// A bench is an agent's store behind its socket, an extension, and an osqueryd.
type bench struct {
	*testing.T
	dir    string
	store  *store.Store
	osq    *osqueryd.Server
	log    buffer
	status any

	mu    sync.Mutex
	asked []string // requests that the agent got
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start starts them all; withAgent false: all but the agent's socket.
func start(t *testing.T, withAgent bool) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("", "osq") // socket paths are short
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, dir: dir, status: map[string]any{"coverage": []event.Coverage{
		{Probe: "ebpf", Kinds: []event.Kind{event.KindExec, event.KindFileOpen}, Fidelity: "complete"},
		{Probe: "getenv", Fidelity: "none", Reason: "no uprobes"},
	}}}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if b.store, err = store.Open(filepath.Join(dir, "events.db"), store.Limits{MaxAge: 20 * 365 * 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.store.Close(); err != nil {
			t.Error(err)
		}
	})
	if withAgent {
		b.serveAgent()
	}
	b.startOsqueryd()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- osquery.Run(ctx, osquery.Config{
			Socket: b.socket(), Timeout: time.Second, Interval: 300 * time.Millisecond,
			Agent: api.Dial(filepath.Join(dir, "agent")), Version: "test", Log: slog.New(slog.NewTextHandler(&b.log, nil)),
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := b.osq.Kill(); err != nil {
			t.Errorf("kill osqueryd: %v", err)
		}
	})
	b.wait()
	return b
}

func (b *bench) socket() string { return filepath.Join(b.dir, "em") }

func (b *bench) startOsqueryd() {
	b.Helper()
	var err error
	if b.osq, err = osqueryd.Start(b.socket()); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) wait() {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.osq.Wait(ctx, len(tables.All())); err != nil {
		b.Fatalf("%v; the extension says:\n%s", err, b.log.String())
	}
}

// serveAgent answers for the agent, and notes what it was asked.
func (b *bench) serveAgent() {
	answer := api.New(b.store, func(context.Context, bool) any { return b.status }).Handler()
	b.serve(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		b.asked = append(b.asked, r.URL.Path+"?"+r.URL.RawQuery)
		b.mu.Unlock()
		answer.ServeHTTP(w, r)
	})
}

func (b *bench) serve(answer http.HandlerFunc) {
	b.Helper()
	l, err := net.Listen("unix", filepath.Join(b.dir, "agent"))
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: answer}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	b.Cleanup(func() { _ = srv.Close(); <-done })
}

func (b *bench) fill(records []event.Record, alerts ...event.Alert) {
	b.Helper()
	if err := b.store.Append(records, alerts); err != nil {
		b.Fatal(err)
	}
}

// query runs a statement and returns its rows as text, cells parted by "|".
func (b *bench) query(statement string) []string {
	b.Helper()
	b.mu.Lock()
	b.asked = nil
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, rows, err := b.osq.Select(ctx, statement)
	if err != nil {
		b.Fatalf("%s: %v", statement, err)
	}
	var lines []string
	for _, row := range rows {
		var cells []string
		for _, v := range row {
			cells = append(cells, fmt.Sprint(v))
		}
		lines = append(lines, strings.Join(cells, "|"))
	}
	return lines
}

// requests are those of the last query, as "PATH name=value …".
func (b *bench) requests() []string {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, r := range b.asked {
		u, err := url.Parse(r)
		if err != nil {
			b.Fatal(err)
		}
		var parts []string
		for name, values := range u.Query() {
			if name != "limit" {
				parts = append(parts, name+"="+values[0])
			}
		}
		slices.Sort(parts)
		all = append(all, strings.Join(append([]string{u.Path}, parts...), " "))
	}
	return all
}

func (b *bench) expect(statement string, want ...string) {
	b.Helper()
	if diff := cmp.Diff(want, b.query(statement)); diff != "" {
		b.Errorf("%s (-want +got):\n%s\nthe extension says:\n%s", statement, diff, b.log.String())
	}
}

func (b *bench) expectRequests(want ...string) {
	b.Helper()
	if diff := cmp.Diff(want, b.requests()); diff != "" {
		b.Errorf("asked of the agent (-want +got):\n%s", diff)
	}
}

// epoch is 1795330800 seconds after 1970.
var epoch = time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)

func id(n int) string { return fmt.Sprintf("01J%023d", n) }

func at(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }

func by(skill string) *event.Attribution {
	return &event.Attribution{
		Gateway: "/home/dev/.openclaw", Agent: "main", Session: "ses-1", SessionKey: "agent:main:main", ToolCall: "call_1",
		Skill: &event.SkillID{Name: skill, Version: "1.2.0"}, Confidence: event.Strong,
		Evidence: []event.Evidence{{Kind: "script_path", Detail: "/s/w.py"}, {Kind: "lineage", Detail: "child of 40"}},
	}
}

func process(pid int32) *event.Process {
	return &event.Process{
		PID: pid, StartTime: 7, ParentPID: 40, Executable: &event.Executable{Path: "/usr/bin/curl"}, CommandArgs: []string{"curl", "-s"},
		Cwd: "/tmp", User: &event.User{ID: 1000, Name: "dev"},
	}
}

// day is a little of everything.
func day() ([]event.Record, event.Alert) {
	sent, exit := uint64(812), 3
	exited := process(42)
	exited.ExitCode = &exit
	records := []event.Record{
		{
			ID: id(1), Time: at(0), Kind: event.KindSessionStart, Source: event.SourceOpenClaw, Session: &event.Session{Key: "agent:main:main", Channel: "telegram", Actor: "ann"},
			Attribution: &event.Attribution{Session: "ses-1", Agent: "main", Gateway: "/home/dev/.openclaw"},
		},
		{
			ID: id(2), Time: at(1), Kind: event.KindSkillInstalled, Source: event.SourceSkills, Skill: &event.SkillChange{ID: event.SkillID{Name: "weather", Version: "1.2.0", Dir: "/s/weather"}, Installer: "clawhub", Owner: &event.User{Name: "dev"}},
			Attribution: &event.Attribution{Gateway: "/home/dev/.openclaw"},
		},
		{ID: id(3), Time: at(2), Kind: event.KindExec, Source: event.SourceEBPF, Process: process(41), Attribution: by("weather")},
		{ID: id(4), Time: at(3), Kind: event.KindFileOpen, Source: event.SourceEBPF, Process: process(41), Attribution: by("weather"), File: &event.File{Path: "/home/dev/.ssh/id_rsa", Operation: "read"}},
		{ID: id(5), Time: at(4), Kind: event.KindFileRename, Source: event.SourceEBPF, Process: process(41), Attribution: by("weather"), File: &event.File{Path: "/tmp/b", OldPath: "/tmp/a", Operation: "rename", Owner: &event.User{ID: 1000, Name: "dev"}}},
		{ID: id(6), Time: at(5), Kind: event.KindConnect, Source: event.SourceEBPF, Process: process(42), Attribution: by("mail"), Network: &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: "192.0.2.1", PeerPort: 443}},
		{ID: id(7), Time: at(6), Kind: event.KindClose, Source: event.SourceEBPF, Process: process(42), Attribution: by("mail"), Network: &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: "192.0.2.1", PeerPort: 443, BytesSent: &sent}},
		{ID: id(8), Time: at(7), Kind: event.KindEnvRead, Source: event.SourceAgent, Process: process(41), Attribution: by("weather"), Env: &event.Env{Names: []string{"WEATHER_API_KEY", "HOME"}, Referenced: []string{"WEATHER_API_KEY"}, Method: event.EnvDump}},
		{ID: id(9), Time: at(8), Kind: event.KindLLMCall, Source: event.SourceOpenClaw, LLM: &event.LLM{Provider: "anthropic", Model: "m", InputTokens: 12, OutputTokens: 5, Prompt: "private"}, Attribution: &event.Attribution{Session: "ses-1"}},
		{ID: id(10), Time: at(9), Kind: event.KindExit, Source: event.SourceEBPF, Process: exited, Attribution: by("mail")},
	}
	return records, event.Alert{
		ID: id(20), Time: at(3), Rule: event.RuleRef{Name: "restricted-data-access", Severity: event.High, Tags: []string{"attack.t1552"}},
		Message: "skill weather read a key", Attribution: by("weather"), Process: process(41), Events: []string{id(4)}, Count: 1,
	}
}

func TestEveryTableHasItsRows(t *testing.T) {
	b := start(t, true)
	records, alert := day()
	b.fill(records, alert)
	for _, c := range []struct {
		statement string
		want      []string
	}{
		{"SELECT count(*), min(time), max(time) FROM clawwatch_events", []string{"10|1795330800|1795330809"}},
		{
			"SELECT kind, operation, target FROM clawwatch_events WHERE pid = 42 ORDER BY time",
			[]string{"network.connect|outbound|192.0.2.1:443", "network.close|outbound|192.0.2.1:443", "process.exit|<nil>|<nil>"},
		},
		{
			"SELECT id, datetime, rule, severity, message, tags, events, count, suppressed, pid, skill, confidence, evidence, gateway FROM clawwatch_alerts",
			[]string{id(20) + `|2026-11-22T07:00:03Z|restricted-data-access|high|skill weather read a key|["attack.t1552"]|["` + id(4) + `"]|1|0|41|weather|strong|script_path: /s/w.py; lineage: child of 40|/home/dev/.openclaw`},
		},
		{
			"SELECT pid, executable, cmdline, cwd, uid, username, parent_pid, files_read, files_changed, exited, exit_code, bytes_sent, skill FROM clawwatch_processes WHERE time >= 1795330800 ORDER BY pid",
			[]string{"41|/usr/bin/curl|curl -s|/tmp|1000|dev|40|1|1|0|<nil>|0|weather", "42|/usr/bin/curl|curl -s|/tmp|1000|dev|40|0|0|1|3|812|mail"},
		},
		{
			"SELECT skill, skill_version, directory, installer, username, change, removed, alerts FROM clawwatch_skills",
			[]string{"weather|1.2.0|/s/weather|clawhub|dev|skill.installed|0|1"},
		},
		{
			"SELECT kind, transport, peer_address, peer_port, bytes_sent, bytes_received FROM clawwatch_connections ORDER BY time",
			[]string{"network.connect|tcp|192.0.2.1|443|<nil>|<nil>", "network.close|tcp|192.0.2.1|443|812|<nil>"},
		},
		{
			"SELECT operation, path, old_path, directory FROM clawwatch_files ORDER BY time",
			[]string{"read|/home/dev/.ssh/id_rsa|<nil>|0", "rename|/tmp/b|/tmp/a|0"},
		},
		{"SELECT method, names, referenced FROM clawwatch_env_reads", []string{`dump|["WEATHER_API_KEY","HOME"]|["WEATHER_API_KEY"]`}},
		{"SELECT provider, model, input_tokens, output_tokens, status_code FROM clawwatch_llm_calls", []string{"anthropic|m|12|5|<nil>"}},
		{"SELECT session, session_key, agent, channel, actor, alerts FROM clawwatch_sessions", []string{"ses-1|agent:main:main|main|telegram|ann|1"}},
		{
			"SELECT probe, kinds, fidelity, reason FROM clawwatch_coverage",
			[]string{"agent|<nil>|complete|<nil>", `ebpf|["process.exec","file.open"]|complete|<nil>`, "getenv|<nil>|none|no uprobes"},
		},
	} {
		b.expect(c.statement, c.want...)
	}
}

func TestTablesJoinAndGroup(t *testing.T) {
	b := start(t, true)
	records, alert := day()
	b.fill(records, alert)
	b.expect("SELECT skill, count(*) FROM clawwatch_events WHERE skill IS NOT NULL GROUP BY skill ORDER BY skill", "mail|3", "weather|4")
	b.expect("SELECT a.rule, p.pid, p.cmdline FROM clawwatch_alerts a JOIN clawwatch_processes p ON p.pid = a.pid AND p.start_time = a.start_time",
		"restricted-data-access|41|curl -s")
	b.expectRequests("/v1/alerts", "/v1/processes pid=41")
	b.expect("SELECT a.rule, e.target FROM clawwatch_alerts a, json_each(a.events) i JOIN clawwatch_events e ON e.id = i.value",
		"restricted-data-access|/home/dev/.ssh/id_rsa")
	b.expectRequests("/v1/alerts", "/v1/why/"+id(4))
	b.expect("SELECT s.skill, s.installer, sum(c.bytes_sent) FROM clawwatch_connections c JOIN clawwatch_skills s USING (skill) GROUP BY s.skill")
}

func TestConstraintsReachTheStore(t *testing.T) {
	b := start(t, true)
	records, alert := day()
	b.fill(records, alert)
	for _, c := range []struct {
		statement string
		want      []string
		requests  []string
	}{
		{
			"SELECT id FROM clawwatch_events WHERE time >= 1795330802 AND time < 1795330804 ORDER BY id",
			[]string{id(3), id(4)},
			[]string{"/v1/events since=2026-11-22T07:00:02Z until=2026-11-22T07:00:04Z"},
		},
		{
			"SELECT id FROM clawwatch_events WHERE time = '1795330802'",
			[]string{id(3)},
			[]string{"/v1/events since=2026-11-22T07:00:02Z until=2026-11-22T07:00:03Z"},
		},
		{
			"SELECT id FROM clawwatch_events WHERE skill = 'weather' AND kind = 'process.exec' AND pid = 41 AND session = 'ses-1'",
			[]string{id(3)},
			[]string{"/v1/events kind=process.exec pid=41 session=ses-1 skill=weather"},
		},
		{"SELECT id FROM clawwatch_events WHERE kind LIKE 'network.%' ORDER BY id", []string{id(6), id(7)}, []string{"/v1/events kind=network.*"}},
		{"SELECT id FROM clawwatch_files WHERE kind = 'file.rename'", []string{id(5)}, []string{"/v1/events kind=file.rename"}},
		{"SELECT id FROM clawwatch_files WHERE path = '/tmp/b'", []string{id(5)}, []string{"/v1/events kind=file.*"}},
		{"SELECT pid FROM clawwatch_processes WHERE skill IN ('mail', 'none')", []string{"42"}, []string{"/v1/processes skill=mail", "/v1/processes skill=none"}},
		{
			"SELECT id FROM clawwatch_alerts WHERE rule = 'restricted-data-access' AND gateway = '/home/dev/.openclaw'",
			[]string{id(20)},
			[]string{"/v1/alerts gateway=/home/dev/.openclaw rule=restricted-data-access"},
		},
		{"SELECT session FROM clawwatch_sessions WHERE session_key = 'agent:main:main'", []string{"ses-1"}, []string{"/v1/sessions session=agent:main:main"}},
		{"SELECT skill FROM clawwatch_skills WHERE skill = 'weather'", []string{"weather"}, []string{"/v1/skills skill=weather"}},
		{"SELECT id FROM clawwatch_alerts WHERE id = '" + id(4) + "'", nil, []string{"/v1/why/" + id(4)}}, // it is a record's
		{"SELECT id FROM clawwatch_files WHERE kind = 'network.close'", nil, nil},                         // nothing to ask
		{"SELECT id FROM clawwatch_events WHERE time > 1795330802 AND time < 1795330803", nil, nil},
		{"SELECT id FROM clawwatch_events WHERE id = '../status'", nil, nil},
	} {
		b.expect(c.statement, c.want...)
		b.expectRequests(c.requests...)
	}
}

func TestAHundredThousandRowsAreCutAndSaidSo(t *testing.T) {
	b := start(t, true)
	const all = 100_000
	for n := 0; n < all; n += 1000 {
		var records []event.Record
		for i := range 1000 {
			skill := "weather"
			if (n+i)%1000 == 0 {
				skill = "mail"
			}
			records = append(records, event.Record{
				ID: id(n + i), Time: at(n + i), Kind: event.KindFileOpen, Source: event.SourceEBPF,
				Process: process(41), Attribution: by(skill), File: &event.File{Path: "/etc/hostname", Operation: "read"},
			})
		}
		b.fill(records)
	}
	// The answer is cut by rows, or by time on a slow machine; it is the newest.
	rows := b.query("SELECT id FROM clawwatch_events ORDER BY id DESC")
	if len(rows) == 0 || len(rows) > 10_000 || rows[0] != id(all-1) {
		t.Errorf("an unbounded query gave %d rows, beginning with %v", len(rows), rows[:min(1, len(rows))])
	}
	if said := b.query("SELECT reason FROM clawwatch_coverage WHERE probe = 'osquery'"); len(said) != 1 || !strings.Contains(said[0], "clawwatch_events") || !strings.Contains(said[0], "narrow") {
		t.Errorf("clawwatch_coverage says of it %q", said)
	}
	if !strings.Contains(b.log.String(), "answer is not whole") {
		t.Errorf("the log says nothing of it:\n%s", b.log.String())
	}
	b.expect("SELECT count(*) FROM clawwatch_files WHERE skill = 'mail'", "100")
	b.expect("SELECT count(*), min(id) FROM clawwatch_files WHERE time BETWEEN 1795330810 AND 1795331809", "1000|"+id(10))
}

func TestTheExtensionComesBackAfterOsquerydDoes(t *testing.T) {
	b := start(t, true)
	records, alert := day()
	b.fill(records, alert)
	for range 2 {
		if err := b.osq.Kill(); err != nil {
			t.Fatal(err)
		}
		b.startOsqueryd()
		b.wait()
		b.expect("SELECT count(*) FROM clawwatch_events", "10")
	}
}

func TestAnAbsentAgentIsNoRowsAndNoError(t *testing.T) {
	b := start(t, false)
	for _, table := range tables.All() {
		if table.Name != "clawwatch_coverage" {
			b.expect("SELECT count(*) FROM "+table.Name, "0")
		}
	}
	agent := "no agent answers at " + filepath.Join(b.dir, "agent")
	b.expect("SELECT fidelity, reason FROM clawwatch_coverage WHERE probe = 'agent'", "none|"+agent)
	b.query("SELECT * FROM clawwatch_events")
	if n := strings.Count(b.log.String(), "table=clawwatch_events"); n != 1 {
		t.Errorf("logged %d times that the agent is away, want 1:\n%s", n, b.log.String())
	}
	b.serveAgent() // and when it comes
	records, alert := day()
	b.fill(records, alert)
	b.expect("SELECT count(*) FROM clawwatch_events", "10")
}

func TestAnAgentThatHangsIsNotWaitedForForever(t *testing.T) {
	b := start(t, false)
	records, _ := day()
	b.serve(func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewEncoder(w).Encode(records[0]); err != nil {
			t.Error(err)
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	})
	b.expect("SELECT id FROM clawwatch_events", id(1)) // what came
	if !strings.Contains(b.log.String(), "only 1 rows within 4s") {
		t.Errorf("the log does not say that there may be more:\n%s", b.log.String())
	}
}

func TestHostileTextIsHarmless(t *testing.T) {
	b := start(t, true)
	bad := "we\x1b[2Jather\x00\n\u202eexe"
	attribution := by(bad)
	b.fill([]event.Record{
		{ID: id(1), Time: at(0), Kind: event.KindFileOpen, Process: process(41), Attribution: attribution, File: &event.File{Path: "/tmp/\x07\r" + strings.Repeat("x", 10_000), Operation: "read"}},
		{ID: id(2), Time: at(1), Kind: event.KindEnvRead, Process: process(41), Attribution: attribution, Env: &event.Env{Names: []string{"A\x1b\"B", strings.Repeat("N", 10_000)}, Method: event.EnvDump}},
	}, event.Alert{ID: id(3), Time: at(1), Rule: event.RuleRef{Name: "r"}, Message: "\x1b]0;owned\x07", Attribution: attribution, Process: process(41), Events: []string{id(1)}})
	for _, table := range tables.All() {
		for _, row := range b.query("SELECT * FROM " + table.Name) {
			if i := strings.IndexFunc(row, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x202e || r == 0xfffd }); i >= 0 {
				t.Errorf("%s: a row has %q", table.Name, row[i:min(len(row), i+20)])
			}
		}
	}
	b.expect("SELECT length(path) <= 4096, path GLOB '*…' FROM clawwatch_files", "1|1")
	b.expect("SELECT json_valid(names), json_array_length(names) FROM clawwatch_env_reads", "1|2")
	// A name that had to be escaped joins all the same.
	b.expect("SELECT e.id FROM clawwatch_alerts a JOIN clawwatch_files e ON e.skill = a.skill", id(1))
}
