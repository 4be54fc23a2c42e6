package rules_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/rules"
)

// Every rule that is built in has a test file of its name, and every test file
// a rule.
func TestBuiltinRulesDoAsTheirTestsSay(t *testing.T) {
	set, err := rules.Load(rules.BuiltinFiles()...)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) != len(set.Rules()) {
		t.Fatalf("%d rules, %d test files, %v", len(set.Rules()), len(files), err)
	}
	for _, rule := range set.Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			name := filepath.Join("testdata", rule.Name+".yaml")
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			results, err := set.Test(rules.Source{Name: name, Data: data})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if r.Rule != rule.Name {
					t.Errorf("the file tests %s", r.Rule)
				}
				if r.Err != nil {
					t.Errorf("%s: %v", r.Case, r.Err)
				}
			}
		})
	}
	for _, s := range set.Stats() {
		if s.Matches == 0 || s.Errors > 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestBuiltinRulesAreThoseThatTheProductIsJudgedByAndTheAgentsOwn(t *testing.T) {
	want := []string{
		"agent-instructions-changed high", "agent-memory-changed medium", "agent-socket-access medium", "canary-touched critical", "configuration-rejected high",
		"container-runtime-access high", "cryptominer high", "daily-data-volume medium", "environment-access medium", "file-outside-approved-directories medium", "fileless-execution high",
		"forged-attribution-tag high", "gateway-accessed-from-outside low", "gateway-tampering high", "git-hook-changed medium", "left-behind-file-used low",
		"left-behind-startup-file medium", "llm-auth-failure high", "message-bus-access low", "new-behaviour-after-update medium", "new-program-after-update low", "openclaw-files-touched-from-outside medium",
		"openclaw-identity-taken-from-outside medium", "openclaw-records-unread medium", "openclaw-secrets-read-by-its-user low", "openclaw-secrets-read-from-outside high",
		"openclaw-settings-changed medium", "openclaw-state-modified high", "piped-code-execution medium", "process-injection high",
		"protection-weakened high", "raw-socket medium", "restricted-data-access high", "reverse-shell high", "rule-disabled high", "schedule-changed medium", "secret-then-unapproved-endpoint critical",
		"sensitive-data-in-text medium", "skill-installation medium", "skill-installation-permitted info", "unapproved-endpoint high", "unapproved-skill medium",
		"unusual-data-volume high", "work-handed-over medium",
	}
	var got []string
	for _, r := range rules.Builtin().Rules() {
		got = append(got, r.Name+" "+string(r.Severity))
		if len(r.Kinds) == 0 || !r.Enabled || len(r.Tags) < 2 || len(r.Description) < 100 {
			t.Errorf("%s: %d kinds, enabled %v, tags %v, description of %d", r.Name, len(r.Kinds), r.Enabled, r.Tags, len(r.Description))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// rule makes a file with one rule of the condition.
func rule(condition string) rules.Source {
	return rules.Source{Name: "r.yaml", Data: []byte("rules:\n  - name: x\n    description: d\n    severity: low\n    message: '{who} x'\n    condition: " + condition + "\n")}
}

func connect() *event.Record {
	return &event.Record{
		ID: "1", Kind: event.KindConnect,
		Process: &event.Process{
			PID: 7, Role: event.RoleTool, Executable: &event.Executable{Path: "/usr/bin/curl"}, CommandArgs: []string{"curl", "-s", "http://192.0.2.1"},
			Ancestors: []event.Ancestor{{PID: 6, Executable: "/usr/bin/bash", Args: []string{"bash", "-c", "x"}}},
		},
		Network:     &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: "192.0.2.1", PeerPort: 80},
		Attribution: &event.Attribution{Session: "s", Skill: &event.SkillID{Name: "weather"}, Confidence: event.Certain},
	}
}

func TestConditionsSeeTheRecord(t *testing.T) {
	for _, condition := range []string{
		`kind == "network.connect"`, `process.pid == 7 and process.name == "curl" and process.executable == "/usr/bin/curl"`,
		`process.command_line == "curl -s http://192.0.2.1"`, `any(process.args, # startsWith "http://")`, `"bash" in process.ancestors`,
		`skill.known and skill.name == "weather" and skill.confidence == "certain" and not skill.approved`, `session.id == "s"`,
		`network.peer_port in [80, 443] and network.peer_address matches "^192\\."`, `not network.loopback and not network.approved`,
		`limits.bytes_per_run == 10000000`, `tool.name == "exec" and tool.command contains "curl"`, `session.channel == "telegram"`,
		`run.bytes_sent == 5 and run.previous_bytes_received == 3`, `acting`, `len(process.args) == 3 and count(process.args, # == "-s") == 1`,
		`file.path == "" and env.names == [] and llm.status == 0`, `process.parent_executable == "/usr/bin/bash"`,
		`process.parent_command_line == "bash -c x"`, `dns.name == "" and dns.addresses == []`,
		`cidr(network.peer_address, "198.51.100.0/24", "192.0.2.0/31")`, `not cidr(network.peer_address, "192.0.2.2/31", "::/0")`,
		`not cidr(network.local_address, "0.0.0.0/0", "::/0")`,
	} {
		set, err := rules.Load(rule(`'` + strings.ReplaceAll(condition, `'`, `''`) + `'`))
		if err != nil {
			t.Errorf("%s: %v", condition, err)
			continue
		}
		in := rules.Input{
			Record: connect(), Tool: &event.Tool{Name: "exec", CallID: "c", Command: "curl -s http://192.0.2.1"},
			Session: &event.Session{Key: "k", Channel: "telegram"}, Run: rules.Run{BytesSent: 5, PreviousBytesReceived: 3},
		}
		for range 2 { // what is left of the first must not change the second
			if got := set.Eval(in); len(got) != 1 || got[0].Message != "skill weather x" {
				t.Errorf("%s: %v %+v", condition, got, set.Stats())
			}
		}
	}
}

func TestOnlyRulesOfTheKindAreAsked(t *testing.T) {
	tests := []struct {
		condition string
		kinds     []event.Kind
	}{
		{`kind == "file.open"`, []event.Kind{"file.open"}},
		{`acting and "file.open" == kind`, []event.Kind{"file.open"}},
		{`acting and (kind in ["file.open", "file.create"])`, []event.Kind{"file.open", "file.create"}},
		{`kind == "file.open" or kind == "env.read" and acting`, []event.Kind{"file.open", "env.read"}},
		{`kind == "file.open" or acting`, nil},
		{`not (kind == "file.open")`, nil},
		{`kind != "file.open"`, nil},
		{`acting`, nil},
	}
	for _, tt := range tests {
		set, err := rules.Load(rule(tt.condition))
		if err != nil {
			t.Fatal(err)
		}
		if got := set.Rules()[0].Kinds; !slices.Equal(got, tt.kinds) {
			t.Errorf("%s is for %v", tt.condition, got)
		}
	}
	set, err := rules.Load(rule("not (kind == 'file.open')"))
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Eval(rules.Input{Record: connect()}); len(got) != 1 {
		t.Errorf("a rule for all kinds: %v", got)
	}
}

func TestMistakesAreAllReportedWithTheirPlace(t *testing.T) {
	const first = `rules:
  - name: Bad Name
    description: d
    severity: sever
    kinds: [file.opne]
    condition: |
      kind == "file.open" and
        file.pth == "x"
    message: "{who} and {nobody}"
    tags: [ATTACK]
    enabled: maybe
    sevrity: low
  - name: half
  - {name: twice, description: d, severity: low, message: m, condition: acting}
`
	const second = `rules:
  - {name: twice, description: d, severity: low, message: m, condition: acting and}
`
	_, err := rules.Load(rules.Source{Name: "a.yaml", Data: []byte(first)}, rules.Source{Name: "b.yaml", Data: []byte(second)})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"a.yaml:2:11: a name is lower-case", "a.yaml:4:15: severity is one of", "a.yaml:5:13: unknown kind",
		"a.yaml:8:14: type rules.File has no field pth\n  8 |         file.pth == \"x\"\n    |              ^",
		"a.yaml:9:26: unknown name nobody", "a.yaml:10:12: a tag is", "a.yaml:11:14: true or false", `a.yaml:12:5: unknown key "sevrity"`,
		"a.yaml:13:5: a rule needs condition, description, message, severity as well", "b.yaml:2:",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
	set, err := rules.Load(rule("acting"), rule("acting"))
	if set != nil || err == nil || !strings.Contains(err.Error(), "r.yaml:2:5: rule x is defined in r.yaml already") {
		t.Errorf("two rules of one name: %v", err)
	}
}

func TestConditionsThatCouldRunAwayAreRefused(t *testing.T) {
	for condition, want := range map[string]string{
		`filter(process.args, true) == []`:               "unknown name filter",
		`reduce(process.args, #acc + # + #acc) == ""`:    "unknown name reduce",
		`sum(process.args) > 0`:                          "unknown name",
		`len(1..100000000) > 0`:                          "ranges are not allowed",
		`repeat("a", 1000000000) == ""`:                  "unknown name repeat",
		`let a = "aaaa"; a + a == ""`:                    "let is not allowed",
		`any(process.args, any(process.args, # == "x"))`: "a predicate within a predicate",
		`process.name matches process.cwd`:               "matches wants a pattern that is written out",
		`cidr(network.peer_address, process.name)`:       "cidr wants networks that are written out",
		`cidr(network.peer_address, "10.0.0.0")`:         "is no network",
		`process.name matches "("`:                       "error parsing regexp",
		`process.name`:                                   "expected bool, but got string",
		`process.pid == "x"`:                             "mismatched types",
		`kind == "network.conect"`:                       `unknown kind "network.conect"`,
		`kind in ["file.open", "x"]`:                     `unknown kind "x"`,
		`kind == "file.open" and kind == "env.read"`:     "no kind can fulfil",
		`$env.kind == "file.open"`:                       "is not allowed",
		`now() > now()`:                                  "unknown name now",
		`bytes(3) == ""`:                                 "unknown name bytes",
		strings.Repeat("acting and ", 300) + "acting":    "exceeds maximum allowed nodes",
		strings.Repeat("(", 20_000) + "acting":           "at most 16384 bytes",
		`acting; acting`:                                 "not a sequence",
	} {
		_, err := rules.Load(rule("'" + strings.ReplaceAll(condition, "'", "''") + "'"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %s", condition, err, want)
		}
	}
}

func TestARuleThatFailsStopsNoOther(t *testing.T) {
	set, err := rules.Load(
		rules.Source{Name: "a", Data: []byte("rules: [{name: a-fails, description: d, severity: low, message: m, condition: 'process.args[99] == \"x\"'}]")},
		rules.Source{Name: "b", Data: []byte("rules: [{name: b-message-fails, description: d, severity: low, message: 'arg {process.args[99]} of {process.name}', condition: acting}]")},
		rules.Source{Name: "c", Data: []byte("rules: [{name: c-works, description: d, severity: low, message: m, condition: acting, tags: [t]}]")},
		rules.Source{Name: "d", Data: []byte("rules: [{name: d-off, description: d, severity: low, message: m, condition: acting, enabled: false}]")},
	)
	if err != nil {
		t.Fatal(err)
	}
	got := set.Eval(rules.Input{Record: connect()})
	if len(got) != 2 || got[0].Message != "arg ? of curl" || got[1].Rule.Name != "c-works" || got[1].Rule.Tags[0] != "t" {
		t.Errorf("got %+v", got)
	}
	stats := set.Stats()
	if stats[0].Errors != 1 || stats[0].LastError == "" || stats[1].Errors != 1 || stats[1].Matches != 1 || stats[2].Errors != 0 || stats[3].Matches != 0 {
		t.Errorf("got %+v", stats)
	}
}

func TestMessagesAreOneBoundedPrintableLine(t *testing.T) {
	set, err := rules.Load(rules.Source{Name: "a", Data: []byte(`rules: [{name: a, description: d, severity: low, condition: acting,
  message: "{who} {process.name} {list(process.args)} {process.name + '}'} {endpoint} {bytes(network.bytes_sent)}"}]`)})
	if err != nil {
		t.Fatal(err)
	}
	r := connect()
	r.Attribution.Skill = nil
	for range 20 {
		r.Attribution.Candidates = append(r.Attribution.Candidates, event.SkillID{Name: "evil\n\x1b]0;\u202e" + strings.Repeat("x", 100)})
	}
	r.Process.Executable.Path = "/tmp/" + strings.Repeat("\xff", 5000)
	r.Network.Host = strings.Repeat("h", 5000)
	got := set.Eval(rules.Input{Record: r})
	if len(got) != 1 {
		t.Fatal(got)
	}
	m := got[0].Message
	if len(m) > 600 || strings.ContainsAny(m, "\n\x1b\u202e") || !utf8.ValidString(m) || !strings.Contains(m, "and 15 more") {
		t.Errorf("%d bytes: %q", len(m), m)
	}
}

func TestRecordsWithNothingInThemAreJudged(t *testing.T) {
	set := rules.Builtin()
	for _, r := range rules.Builtin().Rules() {
		for _, k := range r.Kinds {
			set.Eval(rules.Input{Record: &event.Record{Kind: k}})
		}
	}
	for _, s := range set.Stats() {
		if s.Errors > 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestATestThatCannotBeReadSaysWhy(t *testing.T) {
	set := rules.Builtin()
	for text, want := range map[string]string{
		"rule: nope\ncases: [{name: a, quiet: true}]":                                                           "there is no rule nope",
		"rule: skill-installation\ncases: []":                                                                   "a test needs rule and cases",
		"rule: skill-installation\ncases: [{name: a}]":                                                          "either fires",
		"rule: skill-installation\npolicy: 'x: 1'\ncases: [{name: a, quiet: true}]":                             `t#policy:1:1: unknown key "x"`,
		"rule: skill-installation\ncases: [{name: a, quiet: true, event: {kind: skill.installed, proces: {}}}]": `unknown field "proces"`,
		"rule: skill-installation\ncases: [{name: a, quiet: true, event: {kind: skill.instaled}}]":              "unknown kind",
		"rule: skill-installation\ncases: [{name: a, quiet: true, event: {kind: skill.installed, skill: {}}}]":  "fires: skill",
		"rule: skill-installation\ncases: [{name: a, fires: x, event: {kind: skill.present}}]":                  "does not fire",
		"rule: skill-installation\ncases: [{name: a, fires: x, event: {kind: skill.installed}}]":                `says "skill`,
	} {
		results, err := set.Test(rules.Source{Name: "t", Data: []byte(text)})
		for _, r := range results {
			if err == nil {
				err = r.Err
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Whatever stands in a file, it is refused with places or its rules judge records as
// the index and every rule of the kind do, and say one line that can be printed.
func FuzzLoad(f *testing.F) {
	for _, b := range rules.BuiltinFiles() {
		f.Add(string(b.Data))
	}
	f.Add("rules:\n  - {name: x, version: 2, description: \"\\e[2J\\0\", severity: low, message: \"\\e]0;x\\a{who}\\n\", condition: acting, tags: [a], references: [\"\\r\"]}\n")
	f.Fuzz(func(t *testing.T, s string) {
		set, err := rules.Load(rules.Source{Name: "f", Data: []byte(s)})
		if err != nil {
			if set != nil || !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("a mistake without a place: %v", err)
			}
			return
		}
		same(t, set, rules.Input{Record: connect()})
		for _, found := range set.Eval(rules.Input{Record: connect()}) {
			m := found.Message
			if len(m) > 600 || !utf8.ValidString(m) || strings.ContainsFunc(m, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q", m)
			}
		}
	})
}

func FuzzCondition(f *testing.F) {
	f.Add(`kind == "network.connect" and any(process.args, # matches "a+") ? acting : not acting`)
	f.Add(`process.args[1:2] == ["x"] or len(lower(process.command_line)) > 3`)
	f.Fuzz(func(t *testing.T, s string) {
		set, err := rules.Load(rule("|\n      " + strings.ReplaceAll(s, "\n", "\n      ")))
		if err == nil && len(set.Rules()) == 1 {
			same(t, set, rules.Input{Record: connect()})
		}
	})
}

// Conditions are not evaluated where the tier of the file settles them. What
// they would have said is said all the same.
func TestTheTierOfAFileDecidesAsTheConditionWould(t *testing.T) {
	files := map[string]string{
		"public": "/usr/lib/x.so", "internal": "/home/dev/.openclaw/workspace/a", "restricted": "/home/dev/.ssh/id_rsa", "outside": "/srv/x", "none": "",
	}
	for condition, want := range map[string]string{
		`file.tier == "outside"`: "outside",
		`kind == "file.open" and file.tier in ["restricted", "outside"]`:        "outside restricted",
		`file.tier == "public" or file.tier == "internal"`:                      "internal public",
		`file.tier == "public" or file.name == "id_rsa"`:                        "public restricted",
		`not (file.tier == "public")`:                                           "internal none outside restricted",
		`file.tier != "public" and "restricted" == file.tier`:                   "restricted",
		`file.tier == "public" and file.tier == "outside" or process.pid == -1`: "",
		`file.tier == ""`:                                                           "none",
		`file.tier in ["public", file.name]`:                                        "none public",
		`file.tier == "public" ? false : file.tier == "outside"`:                    "outside",
		`any(["public"], # == file.tier)`:                                           "public",
		`(file.tier == "outside") == (file.tier == "restricted")`:                   "internal none public",
		`kind in ["file.open", "process.exit"] and file.tier in ["", "restricted"]`: "none restricted",
	} {
		set, err := rules.Load(rule("'" + strings.ReplaceAll(condition, "'", "''") + "'"))
		if err != nil {
			t.Errorf("%s: %v", condition, err)
			continue
		}
		var got []string
		for tier, path := range files {
			r := connect()
			r.Kind, r.Network = event.KindFileOpen, nil
			if path != "" {
				r.File = &event.File{Path: path, Operation: "read"}
			}
			if len(set.Eval(rules.Input{Record: r, View: devView()})) > 0 {
				got = append(got, tier)
			}
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s is true for %q, want %q", condition, s, want)
		}
	}
}

// devView is the built-in policy for a gateway of the user dev.
func devView() *policy.View {
	const state = "/home/dev/.openclaw"
	return policy.Default().For(event.GatewayFound{StateDir: state, Home: "/home/dev", Workspaces: []string{state + "/workspace"}}, policy.Host{})
}
