package truth

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// said is a clawwatch that saw everything of the small world of lines, and was
// right about it. Tests change one thing in it.
const said = `
{"id":"1","kind":"process.exec","process":{"pid":10,"start_time":100,"executable":{"path":"/bin/deed"}},"attribution":{"gateway":"/g","session_key":"s","skill":{"name":"weather"},"confidence":"certain"}}
{"id":"2","kind":"file.open","process":{"pid":10,"start_time":100},"file":{"path":"/secret","operation":"read"},"attribution":{"gateway":"/g","session_key":"s","skill":{"name":"weather"},"confidence":"strong"}}
{"id":"3","kind":"network.connect","process":{"pid":10,"start_time":100},"network":{"peer_address":"127.0.0.1","peer_port":9},"attribution":{"gateway":"/g","session_key":"s","skill":{"name":"weather"},"confidence":"certain"}}
{"id":"4","kind":"network.close","process":{"pid":10,"start_time":100},"network":{"peer_address":"127.0.0.1","peer_port":9,"bytes_sent":700},"attribution":{"gateway":"/g","session_key":"s","skill":{"name":"weather"},"confidence":"certain"}}
{"id":"5","kind":"env.read","process":{"pid":9,"start_time":90},"env":{"names":["KEY"],"method":"exec"},"attribution":{"gateway":"/g","session_key":"s","skill":{"name":"weather"},"confidence":"certain"}}
{"id":"6","kind":"process.exec","process":{"pid":20,"start_time":200,"executable":{"path":"/bin/deed"}},"attribution":{"gateway":"/g","session_key":"t","confidence":"none"}}
{"id":"7","kind":"llm.call","llm":{"status_code":401},"attribution":{"gateway":"/g","session_key":"t","confidence":"none"}}
{"id":"8","kind":"tool.call","tool":{"call_id":"call_1"},"attribution":{"gateway":"/g","session_key":"s","skill":{"name":"weather"},"confidence":"strong"}}
{"id":"9","kind":"skill.installed","skill":{"id":{"name":"new"}},"attribution":{"gateway":"/g"}}
`

// raised are the alerts of the same clawwatch.
const raised = `
{"id":"a1","rule":{"name":"unapproved-endpoint"},"attribution":{"gateway":"/g","session_key":"s","skill":{"name":"weather"},"confidence":"certain"},"events":["3"]}
{"id":"a2","rule":{"name":"restricted-data-access"},"attribution":{"gateway":"/g","session_key":"s","skill":{"name":"weather"},"confidence":"certain"},"events":["2"]}
{"id":"a3","rule":{"name":"file-outside-approved-directories"},"attribution":{"gateway":"/g","session_key":"s","skill":{"name":"weather"},"confidence":"certain"},"events":["2"]}
{"id":"a4","rule":{"name":"unusual-data-volume"},"attribution":{"gateway":"/g","session_key":"s","skill":{"name":"weather"},"confidence":"certain"},"events":["4"]}
{"id":"a5","rule":{"name":"environment-access"},"attribution":{"gateway":"/g","session_key":"s","skill":{"name":"weather"},"confidence":"certain"},"events":["5"]}
{"id":"a6","rule":{"name":"llm-auth-failure"},"attribution":{"gateway":"/g","session_key":"t"},"events":["7"]}
{"id":"a7","rule":{"name":"skill-installation"},"attribution":{"gateway":"/g"},"events":["9"]}
`

func world(t *testing.T, events, alerts string) Input {
	t.Helper()
	in := Input{
		Labels: map[string]Label{
			"k1": {Scenario: "weather", Gateway: "/g", Session: "s", Skill: "weather"},
			"k2": {Scenario: "bare", Gateway: "/g", Session: "t"},
			"k3": {Scenario: "notes", Gateway: "/g", Session: "u", Skill: "notes"},
			"k4": {Scenario: "person", Gateway: "/g"},
		},
		Lines: []Line{
			{Label: "k1", Op: "exec", Proc: Proc{10, 100}, Exe: "/bin/deed"},
			{Label: "k1", Op: "read", Proc: Proc{10, 100}, Path: "/secret"},
			{Label: "k1", Op: "connect", Proc: Proc{10, 100}, Peer: "127.0.0.1:9", Bytes: 700},
			{Label: "k1", Op: "close", Proc: Proc{10, 100}, Peer: "127.0.0.1:9", Bytes: 700},
			{Label: "k1", Op: "env", Proc: Proc{10, 100}, Ancestors: []Proc{{9, 90}}, Name: "KEY"},
			{Label: "k2", Op: "exec", Proc: Proc{20, 200}, Exe: "/bin/deed"},
			{Label: "k2", Op: "llm", Status: 401},
			{Label: "k1", Op: "tool", ID: "call_1"},
			{Label: "k4", Op: "installed", Name: "new"},
		},
		Expect: []Expect{
			{Label: "k1", Rule: "unapproved-endpoint"},
			{Label: "k2", Rule: "llm-auth-failure"},
			{Label: "k4", Rule: "skill-installation", Installed: "new"},
		},
		Quiet: []string{"notes"}, Rules: Judged, Enough: Enough,
	}
	var err error
	if in.Events, err = Decode[Event](strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	if in.Alerts, err = Decode[Alert](strings.NewReader(alerts)); err != nil {
		t.Fatal(err)
	}
	return in
}

func TestEverythingSeenAndRightPasses(t *testing.T) {
	r := Compare(world(t, said, raised))
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if r.Deeds != 5 || r.Sure != 5 || len(r.Doubts) != 0 {
		t.Errorf("%d deeds, %d sure, doubts %q; want 5, 5, none", r.Deeds, r.Sure, r.Doubts)
	}
	for _, want := range []string{"weather   6         6     6", "all       9         9     9", "100.0 %"} {
		if !strings.Contains(r.Table(), want) {
			t.Errorf("no %q in\n%s", want, r.Table())
		}
	}
}

// Each case is a clawwatch that is wrong in one way.
func TestOneThingWrongFails(t *testing.T) {
	sure := `"session_key":"s","skill":{"name":"weather"},"confidence":"certain"`
	for _, tt := range []struct{ name, line, old, new, want string }{
		{"event missing", `"id":"2"`, `file.open`, `file.delete`, "missing: weather"},
		{"other process", `"id":"1"`, `"start_time":100`, `"start_time":101`, "missing: weather"},
		{"other path", `"id":"2"`, `/secret`, `/secreta`, "missing: weather"},
		{"other operation", `"id":"2"`, `"read"`, `"write"`, "missing: weather"},
		{"other executable", `"id":"1"`, `/bin/deed`, `/bin/dee`, "missing: weather"},
		{"other peer", `"id":"3"`, `"peer_port":9`, `"peer_port":8`, "missing: weather"},
		{"bytes short", `"id":"4"`, `700`, `699`, "said 699 bytes"},
		{"no status", `"id":"7"`, `401`, `500`, "missing: bare"},
		{"other call", `"id":"8"`, `call_1`, `call_2`, "missing: weather"},
		{"other skill installed", `"id":"9"`, `"new"`, `"old"`, "missing: person"},
		{"other skill", `"id":"1"`, `"weather"`, `"notes"`, "wrong: weather"},
		{"other skill, weakly", `"id":"1"`, `"weather"},"confidence":"certain"`, `"notes"},"confidence":"weak"`, "wrong: weather"},
		{"other session", `"id":"1"`, `"session_key":"s"`, `"session_key":"t"`, "wrong: weather"},
		{"other gateway", `"id":"1"`, `"/g"`, `"/h"`, "wrong: weather"},
		{"candidates without it", `"id":"1"`, sure, `"session_key":"s","confidence":"ambiguous","candidates":[{"name":"a"},{"name":"b"}]`, "wrong: weather"},
		{"skill where there is none", `"id":"6"`, `"confidence":"none"`, `"skill":{"name":"weather"},"confidence":"strong"`, "wrong: bare"},
		{"too few sure", `"id":"1"`, `certain`, `weak`, "4 of 5 deeds"},
		{"ID twice", `"id":"2"`, `"id":"2"`, `"id":"1"`, "there twice"},
		{"alert missing", `"id":"a1"`, `unapproved-endpoint`, `some-rule`, "rule unapproved-endpoint never fired"},
		{"alert of another skill", `"id":"a1"`, `"weather"`, `"notes"`, "names a skill that was not in use"},
		{"alert of no skill", `"id":"a1"`, sure, `"session_key":"s"`, "missing: alert unapproved-endpoint"},
		{"alert of another install", `"id":"a7"`, `"9"`, `"8"`, "missing: alert skill-installation new"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Compare(world(t, change(t, said, tt.line, tt.old, tt.new), change(t, raised, tt.line, tt.old, tt.new))).Err()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// change replaces text in the one line that has the id, if it is here at all.
func change(t *testing.T, text, id, old, now string) string {
	t.Helper()
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.Contains(l, id+",") {
			if lines[i] = strings.Replace(l, old, now, 1); lines[i] == l {
				t.Fatalf("no %s in %s", old, l)
			}
		}
	}
	return strings.Join(lines, "\n")
}

func TestWhatIsNotInTheTruthMayNotNameAStranger(t *testing.T) {
	stray := `{"id":"x","kind":"process.exec","process":{"pid":77,"start_time":7},"attribution":{"gateway":"/g","session_key":"s","skill":{"name":"notes"},"confidence":"certain"}}`
	if err := Compare(world(t, said+stray, raised)).Err(); err == nil || !strings.Contains(err.Error(), "no such skill in use") {
		t.Errorf("got %v", err)
	}
}

func TestAlertInQuietScenarioFails(t *testing.T) {
	noise := `{"id":"x","rule":{"name":"environment-access"},"attribution":{"gateway":"/g","session_key":"u"}}`
	if err := Compare(world(t, said, raised+noise)).Err(); err == nil || !strings.Contains(err.Error(), "where none may be") {
		t.Errorf("got %v", err)
	}
}

func TestDoubtIsNoFaultWhileItIsRare(t *testing.T) {
	in := world(t, said, raised)
	for i := range 60 { // the one doubt is one of 65 now
		p := Proc{int32(1000 + i), 1}
		in.Lines = append(in.Lines, Line{Label: "k1", Op: "exec", Proc: p, Exe: "/bin/deed"})
		e := in.Events[0]
		e.ID, e.Process.Proc = fmt.Sprint("n", i), p
		in.Events = append(in.Events, e)
	}
	in.Events[1].Attribution = &Attribution{Gateway: "/g", Session: "s", Confidence: "ambiguous", Candidates: []Skill{{Name: "notes"}, {Name: "weather"}}}
	r := Compare(in)
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	if len(r.Doubts) != 1 || !strings.Contains(r.Doubts[0], "ambiguous: weather") {
		t.Errorf("doubts: %q", r.Doubts)
	}
}

func TestClaimsBecomeWhatMustBeSeen(t *testing.T) {
	for _, tt := range []struct {
		claim Claim
		want  string
	}{
		{Claim{Op: "exec"}, "exec"},
		{Claim{Op: "exec", Parent: true}, "exec"},
		{Claim{Op: "read", Args: []string{"/a"}}, "exec read"},
		{Claim{Op: "read", Args: []string{"/a"}, Parent: true}, "read"},
		{Claim{Op: "read", Args: []string{"/a/.env"}}, "exec read dotenv"},
		{Claim{Op: "connect", Args: []string{"127.0.0.1:9", "5"}}, "exec connect close"},
		{Claim{Op: "get", Args: []string{"127.0.0.1:9"}}, "exec connect close"},
		{Claim{Op: "meet", Args: []string{"m", "2"}}, "exec"},
		{Claim{Op: "rename", Args: []string{"/a"}}, "error"},
		{Claim{Op: "nonsense"}, "error"},
	} {
		lines, err := tt.claim.Lines(Proc{1, 2}, nil, "/bin/deed", time.Time{})
		var ops []string
		for _, l := range lines {
			ops = append(ops, l.Op)
		}
		got := strings.Join(ops, " ")
		if err != nil {
			got = "error"
		}
		if got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.claim, got, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(said))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := Decode[Event](strings.NewReader(string(b)))
		if err == nil {
			Compare(Input{Events: events})
		}
	})
}

func TestALimitIsWhatALabelMayBeAtWorst(t *testing.T) {
	weak := strings.ReplaceAll(said, `"confidence":"strong"`, `"confidence":"weak"`)
	for limit, fails := range map[Verdict]bool{Right: true, Unsure: false, None: false} {
		in := world(t, weak, raised)
		in.Enough, in.Limits = 0, map[string]Limit{"k1": {Worst: limit}}
		if err := Compare(in).Err(); (err != nil) != fails {
			t.Errorf("limit %s: %v", limit, err)
		}
	}
}

func TestADoubtWithAReasonIsCountedForItself(t *testing.T) {
	weak := strings.ReplaceAll(said, `"confidence":"strong"`, `"confidence":"weak"`)
	for why, fails := range map[string]bool{"nobody can know": false, "": true} {
		in := world(t, weak, raised)
		in.Limits = map[string]Limit{"k1": {Unsure, why}}
		r := Compare(in)
		if err := r.Err(); (err != nil) != fails {
			t.Errorf("reason %q: %v", why, err)
		}
		if !fails && (r.Known[why] != 1 || !strings.Contains(r.Table(), "1 in doubt, as nobody can know\nof the other 4: 100.0 %")) {
			t.Errorf("known %v in\n%s", r.Known, r.Table())
		}
		var twice Report
		twice.Add(r)
		twice.Add(r)
		if twice.Deeds != 2*r.Deeds || twice.Known[why] != 2*r.Known[why] || len(twice.Rows) != 2*len(r.Rows) {
			t.Errorf("twice the same is %+v", twice)
		}
	}
}

func TestASkillOfTheSameNameElsewhereIsWrong(t *testing.T) {
	in := world(t, said, raised)
	l := in.Labels["k1"]
	l.Dir = "/skills/weather"
	in.Labels["k1"] = l
	if err := Compare(in).Err(); err == nil || !strings.Contains(err.Error(), "wrong") {
		t.Errorf("got %v", err)
	}
}
