package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

const usesDir = "/s/weather"

// done is a record of what the weather skill did in second n.
func done(n int, c event.Confidence, kind event.Kind, fill func(*event.Record)) event.Record {
	r := event.Record{
		ID: id(n), Time: epoch.Add(time.Duration(n) * time.Second), Kind: kind, Source: event.SourceEBPF,
		Process: &event.Process{PID: 41, StartTime: 410, Role: event.RoleTool},
		Attribution: &event.Attribution{
			Gateway: "/g", ToolCall: "call_1", Skill: &event.SkillID{Name: "weather", Dir: usesDir}, Confidence: c,
			Evidence: []event.Evidence{{Kind: "lineage", Detail: "descends"}},
		},
	}
	fill(&r)
	return r
}

func ran(n int, c event.Confidence, path string, script ...string) event.Record {
	return done(n, c, event.KindExec, func(r *event.Record) {
		r.Process.Executable = &event.Executable{Path: path}
		if len(script) > 0 {
			r.Process.Script = &event.Script{Path: script[0], Source: event.ScriptFile}
		}
	})
}

func connected(n int, address string, port uint16, host, source string) event.Record {
	return done(n, event.Strong, event.KindConnect, func(r *event.Record) {
		r.Network = &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: address, PeerPort: port, Host: host, HostSource: source}
	})
}

func weatherDeclares(n int, d event.Declared) event.Record {
	return event.Record{
		ID: id(n), Time: epoch.Add(time.Duration(n) * time.Second), Kind: event.KindSkillPresent, Source: event.SourceSkills,
		Attribution: &event.Attribution{Gateway: "/g"},
		Skill:       &event.SkillChange{ID: event.SkillID{Name: "weather", Version: "1.0", SHA256: fmt.Sprint("hash", n), Dir: usesDir}, Declares: &d},
	}
}

// profileText says a profile in one line.
func profileText(t *testing.T, s *store.Store) string {
	t.Helper()
	all, err := s.Profiles(context.Background(), store.Query{Skill: "weather"})
	if err != nil || len(all) != 1 {
		t.Fatalf("%d profiles, %v", len(all), err)
	}
	var parts []string
	for _, c := range []store.Compared{all[0].Programs, all[0].Variables, all[0].Hosts} {
		var b strings.Builder
		for _, u := range c.Used {
			fmt.Fprintf(&b, "=%s*%d ", u.Name, u.Count)
		}
		for _, u := range c.Undeclared {
			fmt.Fprintf(&b, "+%s*%d ", u.Name, u.Count)
		}
		for _, name := range c.Unseen {
			fmt.Fprintf(&b, "-%s ", name)
		}
		parts = append(parts, strings.TrimSpace(b.String()))
	}
	return strings.Join(parts, " | ")
}

func TestAProfileSetsWhatIsDeclaredAgainstWhatIsUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	s := open(t, path, store.Limits{})
	env := func(n int, method event.EnvMethod, names ...string) event.Record {
		return done(n, event.Certain, event.KindEnvRead, func(r *event.Record) { r.Env = &event.Env{Method: method, Names: names} })
	}
	shell := ran(2, event.Certain, "/usr/bin/bash")
	shell.Attribution.Evidence = nil // the root: it does not descend from one
	add(t, s, []event.Record{
		weatherDeclares(1, event.Declared{Bins: []string{"jq", "python3", "awk"}, Envs: []string{"WEATHER_KEY", "OTHER"}, Hosts: []string{"example.com", "never.example"}}),
		shell,
		ran(3, event.Certain, "/usr/bin/python3.11", usesDir+"/scripts/w.py"),
		ran(4, event.Strong, "/usr/bin/python3.11", "/usr/bin/pip"),
		ran(5, event.Strong, usesDir+"/bin/own"),
		ran(6, event.Weak, "/usr/bin/curl"),
		ran(7, event.Certain, "/usr/bin/mawk"),
		ran(8, event.Certain, "/usr/bin/mawk"),
		env(9, event.EnvExec, "WEATHER_KEY", "OTHER"),
		env(10, event.EnvGetenv, "WEATHER_KEY"),
		env(11, event.EnvShell, "GH_TOKEN"),
		done(12, event.Strong, event.KindDNS, func(r *event.Record) {
			r.DNS = &event.DNS{Name: "api.example.com", Server: "192.0.2.53", Trusted: true}
		}),
		connected(13, "192.0.2.53", 53, "", ""),
		connected(14, "198.51.100.53", 53, "", ""),
		connected(15, "192.0.2.1", 443, "api.example.com", "dns"),
		connected(16, "192.0.2.2", 443, "example.com", "tls_sni"),
		done(17, event.Strong, event.KindToolCall, func(r *event.Record) { r.Process, r.Tool = nil, &event.Tool{Name: "exec"} }),
	})
	const want = "=mawk*2 =python3.11*1 +pip*1 -jq | =WEATHER_KEY*1 +GH_TOKEN*1 -OTHER | =api.example.com*1 +192.0.2.2*1 +198.51.100.53 port 53*1 -never.example"
	if got := profileText(t, s); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	all, err := s.Profiles(context.Background(), store.Query{Skill: "weather"})
	if err != nil || len(all[0].Calls) != 1 || all[0].Calls[0].Name != "exec" || !all[0].LastUse.Equal(epoch.Add(17*time.Second)) || len(all[0].Versions) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	if u := all[0].Hosts.Undeclared[0]; u.Detail != "example.com" {
		t.Errorf("what the process called the host is lost: %+v", u)
	}
	// The same after a restart.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := profileText(t, open(t, path, store.Limits{})); got != want {
		t.Errorf("after a restart: %s", got)
	}
}

// What was counted for a skill and turns out to be another's, or nobody's, is
// taken back; what stays as it was is counted once.
func TestWhatIsAmendedIsCountedAsItIsNow(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{})
	add(t, s, []event.Record{weatherDeclares(1, event.Declared{}), ran(2, event.Strong, "/usr/bin/curl"), ran(3, event.Strong, "/usr/bin/jq"), ran(4, event.Weak, "/usr/bin/nc")})
	amended := []event.Record{ran(2, event.Strong, "/usr/bin/curl"), ran(3, event.Strong, "/usr/bin/jq"), ran(4, event.Certain, "/usr/bin/nc")}
	for i := range amended {
		amended[i].Amended = true
	}
	amended[1].Attribution.Skill, amended[1].Attribution.Confidence = nil, event.Ambiguous
	add(t, s, amended)
	if got, want := profileText(t, s), "+curl*1 +nc*1 |  | "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Records go, what was used is still known; names without end are not kept.
func TestUsesOutliveRecordsAndAreBounded(t *testing.T) {
	now := epoch.Add(time.Hour)
	s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{MaxAge: 24 * time.Hour, Now: func() time.Time { return now }})
	records := []event.Record{weatherDeclares(1, event.Declared{Bins: []string{"tool0"}}), ran(2, event.Certain, "/usr/bin/tool0")}
	for i := range 400 {
		records = append(records, ran(10+i, event.Certain, fmt.Sprintf("/tmp/x%04d", i)))
	}
	add(t, s, records)
	now = epoch.Add(49 * time.Hour)
	add(t, s, nil)
	if got := ids(t, s, store.Query{}); got != "" {
		t.Errorf("records left: %s", got)
	}
	all, err := s.Profiles(context.Background(), store.Query{})
	if err != nil || len(all) != 1 {
		t.Fatalf("%d profiles, %v", len(all), err)
	}
	if p := all[0].Programs; len(p.Used) != 1 || len(p.Undeclared) > 256 || len(p.Undeclared)+p.More != 400 {
		t.Errorf("%d used, %d undeclared, %d more", len(p.Used), len(p.Undeclared), p.More)
	}
	now = epoch.Add(8 * 24 * time.Hour)
	add(t, s, nil)
	if all, err = s.Profiles(context.Background(), store.Query{}); err != nil || len(all[0].Programs.Undeclared) != 0 {
		t.Errorf("old uses stay: %v", err)
	}
}

// A store that was made before there were uses gets the table, and keeps what
// it holds.
func TestAnOlderStoreLearnsToCountUses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	s := open(t, path, store.Limits{})
	add(t, s, []event.Record{weatherDeclares(1, event.Declared{})})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err == nil {
		_, err = db.Exec(`DROP TABLE uses`)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, store.Limits{})
	add(t, s, []event.Record{ran(2, event.Certain, "/usr/bin/jq")})
	if got, want := profileText(t, s), "+jq*1 |  | "; got != want || s.Recovered() != "" {
		t.Errorf("got %q, want %q; %s", got, want, s.Recovered())
	}
}

// What skills did is known when the agent is started anew.
func TestHabitsAreWhatAllSkillsWereSeenToUse(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{})
	call := done(3, event.Certain, event.KindToolCall, func(r *event.Record) { r.Tool = &event.Tool{Name: "exec", CallID: "c"} })
	other := connected(5, "192.0.2.9", 443, "", "")
	other.Attribution.Gateway = "/h"
	if err := s.Append([]event.Record{
		weatherDeclares(1, event.Declared{}), weatherDeclares(2, event.Declared{}), call, connected(4, "192.0.2.1", 443, "a.example", "dns"), other, ran(6, event.Weak, "/usr/bin/nc"),
	}, nil); err != nil {
		t.Fatal(err)
	}
	got, err := s.Habits(context.Background())
	want := []event.Habit{
		{Gateway: "/g", Dir: usesDir, Calls: 1, Trees: []string{"hash1", "hash2"}, Traits: []event.Trait{
			{What: event.TraitCall, Name: "exec"}, {What: event.TraitHost, Name: "a.example"},
		}},
		{Gateway: "/h", Dir: usesDir, Traits: []event.Trait{{What: event.TraitHost, Name: "192.0.2.9"}}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}
