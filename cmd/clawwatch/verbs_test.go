package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/api"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

var update = flag.Bool("update", false, "write the golden files of the verbs anew")

// Golden files are written in UTC. It is set before anything runs, because
// whatever asks for the time reads it.
var _ = func() bool { time.Local = time.UTC; return true }()

// askVerb runs one verb as the command line would, against a socket.
func askVerb(t *testing.T, cmd *cobra.Command, socket string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{"--socket", socket}, args...))
	err := cmd.ExecuteContext(context.Background())
	return out.String(), err
}

// seededAgent serves what storySoFar tells, and returns the socket.
func seededAgent(t *testing.T) string {
	t.Helper()
	path, _ := growingAgent(t)
	return path
}

// growingAgent is a seededAgent with its store, which the test may add to.
func growingAgent(t *testing.T) (string, *store.Store) {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(filepath.Join(dir, "events.db"), store.Limits{Now: func() time.Time { return storyBegin.Add(time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(storySoFar()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "clawwatch.sock")
	l, err := api.Listen(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.New(s, func(context.Context, bool) any { return nil }).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return path, s
}

var storyBegin = time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)

// storySoFar: in a session, the weather skill's script reads a secret, sends it
// off and is caught; another process cannot be told from two skills'.
func storySoFar() ([]event.Record, []event.Alert) {
	at := func(seconds int) time.Time { return storyBegin.Add(time.Duration(seconds) * time.Second) }
	id := func(n string) string { return "01KANB3K80" + strings.Repeat(n, 16) }
	weather := &event.SkillID{Name: "weather", Version: "1.2.0", SHA256: strings.Repeat("ab", 32), Root: "/home/dev/.openclaw/skills", Dir: "/home/dev/.openclaw/skills/weather"}
	base := event.Attribution{Gateway: "/home/dev/.openclaw", Agent: "main", Session: "0193aaaa-8c1d", SessionKey: "agent:main:main", Run: "run-7", ToolCall: "call_81"}
	sure, unsure := base, base
	sure.Skill, sure.Confidence = weather, event.Certain
	sure.Evidence = []event.Evidence{{Kind: "script_path", Detail: weather.Dir + "/scripts/w.py\x1b[31m", Time: at(4), Source: event.FromKernel}, {Kind: "rejected", Detail: "news was read before this run too, but no script of it is in this process's lineage", Source: event.FromTranscript}, {Kind: "exec_argv", Detail: "the command of tool call call_81"}}
	unsure.Confidence, unsure.Candidates = event.Ambiguous, []event.SkillID{*weather, {Name: "news", Dir: "/home/dev/.openclaw/skills/news"}}
	node := event.Ancestor{PID: 812, Executable: "/usr/bin/node"}
	sh := &event.Process{PID: 4300, StartTime: 900, ParentPID: 812, ParentStart: 10, Executable: &event.Executable{Path: "/usr/bin/bash"}, CommandArgs: []string{"sh", "-c", "python3 w.py Berlin"}, Cwd: "/home/dev", User: &event.User{ID: 1000, Name: "dev"}, Role: event.RoleTool, Ancestors: []event.Ancestor{node}}
	py := &event.Process{PID: 4321, StartTime: 910, ParentPID: 4300, ParentStart: 900, Executable: &event.Executable{Path: "/usr/bin/python3"}, CommandArgs: []string{"python3", "w.py", "Ber\x1b[2Jlin"}, Cwd: "/home/dev", User: &event.User{ID: 1000, Name: "dev"}, Role: event.RoleTool, Ancestors: []event.Ancestor{{PID: 4300, Executable: "/usr/bin/bash"}, node}}
	ended := *py
	ended.ExitCode = new(int)
	odd := &event.Process{PID: 4400, StartTime: 950, ParentPID: 812, ParentStart: 10, Executable: &event.Executable{Path: "/usr/bin/curl"}, Ancestors: []event.Ancestor{node}}
	sent, received := uint64(1234), uint64(56)
	file := func(n string, s int, operation, path string) event.Record {
		return event.Record{ID: id(n), Time: at(s), Kind: event.KindFileOpen, Source: event.SourceEBPF, Process: py, Attribution: &sure, File: &event.File{Path: path, Operation: operation}}
	}
	installed := storyBegin.Add(-48 * time.Hour)
	return []event.Record{
			{ID: id("0"), Time: at(-9), Kind: event.KindSkillPresent, Source: event.SourceSkills, Attribution: &event.Attribution{Gateway: base.Gateway}, Skill: &event.SkillChange{ID: *weather, Installer: "clawhub", Installed: &installed, Owner: &event.User{ID: 1000, Name: "dev"}, Declares: &event.Declared{Bins: []string{"curl", "python3"}, Envs: []string{"WEATHER_API_KEY"}, Hosts: []string{"wttr.in"}}}},
			{ID: id("1"), Time: at(0), Kind: event.KindSessionStart, Source: event.SourceOpenClaw, Attribution: &base, Session: &event.Session{Key: "agent:main:main", Channel: "telegram", Actor: "alice"}},
			{ID: id("2"), Time: at(1), Kind: event.KindLLMCall, Source: event.SourceOpenClaw, Attribution: &base, LLM: &event.LLM{Provider: "anthropic", Model: "claude", InputTokens: 1200, OutputTokens: 80}, Sensitive: []event.Sensitive{{Type: "payment-card", Place: event.InPrompt, Digest: "0a1b2c3d", Count: 2}, {Type: "iban", Place: event.InResponse, Digest: "4e5f6a7b", Count: 1}}},
			{ID: id("3"), Time: at(2), Kind: event.KindLLMCall, Source: event.SourceOpenClaw, Attribution: &base, LLM: &event.LLM{Provider: "anthropic", Model: "claude", StatusCode: 401, ErrorType: "authentication_error"}},
			{ID: id("4"), Time: at(3), Kind: event.KindExec, Source: event.SourceEBPF, Process: sh, Attribution: &sure},
			{ID: id("5"), Time: at(4), Kind: event.KindExec, Source: event.SourceEBPF, Process: py, Attribution: &sure},
			file("6", 5, "read", "/usr/lib/python3/os.py"),
			file("7", 5, "read", "/home/dev/.env"),
			file("8", 6, "write", "/tmp/\u202eout"),
			{ID: id("9"), Time: at(7), Kind: event.KindConnect, Source: event.SourceEBPF, Process: py, Attribution: &sure, Network: &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: "192.0.2.1", PeerPort: 443, Host: "evil.example"}},
			{ID: id("A"), Time: at(8), Kind: event.KindClose, Source: event.SourceEBPF, Process: py, Attribution: &sure, Network: &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: "192.0.2.1", PeerPort: 443, Host: "evil.example", BytesSent: &sent, BytesReceived: &received}},
			{ID: id("B"), Time: at(9), Kind: event.KindExit, Source: event.SourceEBPF, Process: &ended, Attribution: &sure},
			{ID: id("C"), Time: at(10), Kind: event.KindConnect, Source: event.SourceEBPF, Process: odd, Attribution: &unsure, Network: &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: "2001:db8::1", PeerPort: 80, Errno: 111}},
			{ID: id("G"), Time: at(12), Kind: event.KindToolEffects, Source: event.SourceAgent, Attribution: &sure, Tool: &event.Tool{Name: "exec", CallID: "call_81"}, Effects: &event.Effects{Processes: 2, FilesRead: 3, UnexplainedReads: 1, Examples: []string{"read /home/dev/\x1b[31m.env"}}},
			{ID: id("D"), Time: at(11), Kind: event.KindLost, Source: event.SourceEBPF, Sensor: &event.Sensor{Of: event.KindFileOpen, Lost: 12, Reason: "ring full"}},
		}, []event.Alert{{
			ID: id("E"), Time: at(8), Rule: event.RuleRef{Name: "unapproved-endpoint", Severity: event.High, Tags: []string{"attack.t1048.003", "ast01"}},
			Message: "skill weather sent 1.2 kB to 192.0.2.1:443, which is not approved", Attribution: &sure, Process: py,
			Events: []string{id("7"), id("A"), "01GONE0000" + strings.Repeat("0", 16)}, Count: 3, Suppressed: 1,
		}}
}

func TestVerbsPrintWhatAPersonNeeds(t *testing.T) {
	socket := seededAgent(t)
	for name, c := range map[string]struct {
		cmd  *cobra.Command
		args []string
	}{
		"events":           {newEventsCmd(), nil},
		"events-of-a-rule": {newEventsCmd(), []string{"--rule", "unapproved-endpoint"}},
		"events-newest":    {newEventsCmd(), []string{"--limit", "2", "--kind", "file.*"}},
		"alerts":           {newAlertsCmd(), nil},
		"llm":              {newLLMCmd(), nil},
		"skills":           {newSkillsCmd(), nil},
		"skill":            {newSkillsCmd(), []string{"weather"}},
		"sessions":         {newSessionsCmd(), nil},
		"processes":        {newProcessesCmd(), []string{"--since", "2026-11-22"}},
		"tree":             {newTreeCmd(), []string{"--since", "2026-11-22"}},
		"tree-of-skill":    {newTreeCmd(), []string{"--skill", "weather"}},
		"tree-of-pid":      {newTreeCmd(), []string{"4321"}},
		"tree-of-nothing":  {newTreeCmd(), []string{"--skill", "nobody"}},
		"why-alert":        {newWhyCmd(), []string{"01KANB3K80E"}},
		"why-event":        {newWhyCmd(), []string{"01kanb3k80a"}},
		"why-ambiguous":    {newWhyCmd(), []string{"01KANB3K80C"}},
		"why-nobody":       {newWhyCmd(), []string{"01KANB3K80D"}},
		"why-sensitive":    {newWhyCmd(), []string{"01KANB3K802"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := askVerb(t, c.cmd, socket, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			if strings.ContainsAny(got, "\x1b\u202e") {
				t.Errorf("hostile text came through: %q", got)
			}
			golden := filepath.Join("testdata", "verbs", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestVerbsPrintOneObjectALineWithJSON(t *testing.T) {
	socket := seededAgent(t)
	for name, c := range map[string]struct {
		cmd   *cobra.Command
		args  []string
		lines int
	}{
		"events":    {newEventsCmd(), nil, 15},
		"alerts":    {newAlertsCmd(), nil, 1},
		"llm":       {newLLMCmd(), []string{"--limit", "0"}, 2},
		"skills":    {newSkillsCmd(), nil, 1},
		"skill":     {newSkillsCmd(), []string{"weather"}, 1},
		"sessions":  {newSessionsCmd(), nil, 1},
		"processes": {newProcessesCmd(), []string{"--since", "2026-11-22"}, 3},
		"tree":      {newTreeCmd(), []string{"--skill", "weather"}, 1},
		"why":       {newWhyCmd(), []string{"01KANB3K80E"}, 1},
	} {
		got, err := askVerb(t, c.cmd, socket, append(c.args, "--json")...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
		if len(lines) != c.lines {
			t.Errorf("%s: %d lines, want %d", name, len(lines), c.lines)
		}
		for _, l := range lines {
			if !json.Valid([]byte(l)) || l[0] != '{' {
				t.Errorf("%s: no object: %s", name, l)
			}
		}
	}
}

func TestEventsComeOldestFirstWhateverTheLimit(t *testing.T) {
	socket := seededAgent(t)
	for _, limit := range []string{"0", "100"} {
		got, err := askVerb(t, newEventsCmd(), socket, "--json", "--limit", limit)
		if err != nil {
			t.Fatal(err)
		}
		var last time.Time
		for l := range strings.Lines(got) {
			var r event.Record
			if err := json.Unmarshal([]byte(l), &r); err != nil {
				t.Fatal(err)
			}
			if r.Time.Before(last) {
				t.Errorf("limit %s: %s is out of order", limit, r.ID)
			}
			last = r.Time
		}
	}
}

func TestVerbsSayWhatWentWrongAndWhatMayHelp(t *testing.T) {
	socket := seededAgent(t)
	nobody := filepath.Join(t.TempDir(), "nobody.sock")
	for name, c := range map[string]struct {
		cmd    *cobra.Command
		socket string
		args   []string
		text   string
		hint   string
		status int // 0: none of its own, so 1
	}{
		"no agent":            {newAlertsCmd(), nobody, nil, "list alerts: no agent answers at " + nobody, "systemctl start clawwatch", 0},
		"no agent for a tree": {newTreeCmd(), nobody, nil, "show tree: no agent answers", "clawwatch run", 0},
		"no such ID":          {newWhyCmd(), socket, []string{"01KANB3K80F"}, "not found", "print IDs", 0},
		"many IDs":            {newWhyCmd(), socket, []string{"01KANB3K80"}, "more than one", "more characters", 0},
		"no ID":               {newWhyCmd(), socket, nil, "read ID: want one, got 0", "", 2},
		"bad time":            {newEventsCmd(), socket, []string{"--since", "yesterday"}, "read --since", "", 2},
		"bad limit":           {newEventsCmd(), socket, []string{"--limit", "-1"}, "read --limit", "", 2},
		"bad kind":            {newEventsCmd(), socket, []string{"--kind", "x y"}, "read --kind", "", 2},
		"times reversed":      {newEventsCmd(), socket, []string{"--since", "1m", "--until", "2m"}, "--since is not before", "", 2},
		"endless and ended":   {newEventsCmd(), socket, []string{"--follow", "--until", "1m"}, "--follow", "", 2},
		"followed rule":       {newEventsCmd(), socket, []string{"--follow", "--rule", "x"}, "alerts --follow", "", 2},
		"bad PID":             {newTreeCmd(), socket, []string{"0x1"}, "read PID", "", 2},
		"two PIDs":            {newTreeCmd(), socket, []string{"1", "2"}, "read PID", "", 2},
		"an argument":         {newAlertsCmd(), socket, []string{"weather"}, "unexpected argument", "", 2},
		"no such skill":       {newSkillsCmd(), socket, []string{"nob\x1body"}, "show skill nob\\x1body: not found", "lists their names", 0},
		"two skills":          {newSkillsCmd(), socket, []string{"a", "b"}, "read NAME: more than one", "", 2},
	} {
		_, err := askVerb(t, c.cmd, c.socket, c.args...)
		if err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: error %v, want %q", name, err, c.text)
			continue
		}
		var h interface{ Hint() string }
		if c.hint != "" && (!errors.As(err, &h) || !strings.Contains(h.Hint(), c.hint)) {
			t.Errorf("%s: no hint %q", name, c.hint)
		}
		var s interface{ ExitStatus() int }
		if got := errors.As(err, &s); got != (c.status != 0) || got && s.ExitStatus() != c.status {
			t.Errorf("%s: status of its own %v, want %d", name, got, c.status)
		}
	}
}

// Chains and loops of parents, as reused numbers and lost forks make them, end.
func TestATreeOfAnyShapeEnds(t *testing.T) {
	var all store.Activities
	for i := range int32(500) {
		all.Processes = append(all.Processes, store.Activity{Process: event.Process{PID: i + 1, StartTime: 1, ParentPID: i, ParentStart: 1}})
	}
	a := store.Activity{Process: event.Process{PID: 1001, StartTime: 1, ParentPID: 1002, ParentStart: 1}}
	b := store.Activity{Process: event.Process{PID: 1002, StartTime: 1, ParentPID: 1001, ParentStart: 1}}
	all.Processes = append(all.Processes, a, b)
	var out bytes.Buffer
	for _, pid := range []int32{0, 1, 1001, 7777} {
		printTree(&printer{w: &out}, all, pid)
	}
	if n := strings.Count(out.String(), "\n"); n < maxDepth || n > 1000 {
		t.Errorf("%d lines", n)
	}
}

func TestColumnsFitTheLine(t *testing.T) {
	columns := []column{{"A", 5}, {"B", 3}, {"C", 0}}
	p := &printer{width: 40}
	if got, want := p.layout(columns, []string{"höchst", "b", strings.Repeat("c", 50)}), "höch…  b    "+strings.Repeat("c", 27)+"…"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := (&printer{}).layout(columns, []string{"a", "b", strings.Repeat("c", 500)}); len(got) != 512 {
		t.Errorf("a pipe gets it whole: %d bytes", len(got))
	}
}
