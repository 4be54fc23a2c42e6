package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/rules"
)

const trialRules = `rules:
  - name: reads
    description: reads
    severity: low
    condition: kind == "file.open" and file.operation == "read" and acting
    message: "{who} read {file.path}"
  - name: nothing
    description: nothing
    severity: low
    condition: kind == "process.fork"
    message: nothing
  - name: anybody
    description: anybody
    severity: info
    condition: kind in ["network.connect", "sensor.lost"]
    message: anybody
`

func trialFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "trial.yaml")
	if err := os.WriteFile(file, []byte(trialRules), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestABacktestCountsWhatTheStoreHolds(t *testing.T) {
	socket := seededAgent(t)
	file := trialFile(t)
	got, err := askVerb(t, newRulesBacktestCmd(), socket, "--since", "2026-11-22", file)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"RULE SEVERITY SKILL HITS ALERTS FIRST LAST EXAMPLE",
		"anybody info - 1 1 11-22 07:00:11 11-22 07:00:11 01KANB3K80DDDD",
		"anybody info weather or news? 1 1 11-22 07:00:10 11-22 07:00:10 01KANB3K80CCCC",
		"anybody info weather 1 1 11-22 07:00:07 11-22 07:00:07 01KANB3K809999",
		"reads low weather 2 2 11-22 07:00:05 11-22 07:00:05 01KANB3K806666",
		"15 events judged; no hits: nothing",
	}
	var lines []string
	for l := range strings.Lines(got) {
		lines = append(lines, strings.Join(strings.Fields(l), " "))
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}

	got, err = askVerb(t, newRulesBacktestCmd(), socket, "--since", "2026-11-22", "--skill", "weather", "--json", filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	var all []tally
	for l := range strings.Lines(got) {
		var x tally
		if err := json.Unmarshal([]byte(l), &x); err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	if len(all) != 3 || all[1].Rule != "reads" || all[1].Hits != 2 || all[1].Dir != "/home/dev/.openclaw/skills/weather" || all[2].Hits != 0 {
		t.Errorf("%+v", all)
	}
}

// The rules in force find in the store what the agent found.
func TestABacktestOfTheRulesInForce(t *testing.T) {
	got, err := askVerb(t, newRulesBacktestCmd(), seededAgent(t), "--since", "2026-11-22", "--config", os.DevNull)
	if err != nil || !strings.Contains(got, "unapproved-endpoint") || !strings.Contains(got, "llm-auth-failure") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestABacktestOfAFileSaysWhatItCouldNotRead(t *testing.T) {
	var lines []string
	records, _ := storySoFar()
	for _, r := range append(records, records[6]) { // one is there twice
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(text))
	}
	file := filepath.Join(t.TempDir(), "x.jsonl")
	if err := os.WriteFile(file, []byte(strings.Join(append(lines, "\x1b[31m"), "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := askVerb(t, newRulesBacktestCmd(), "/nowhere", "--events", file, trialFile(t))
	var amiss notWell
	if !errors.As(err, &amiss) || !strings.Contains(err.Error(), "1 line of") || strings.Contains(got, "\x1b") {
		t.Errorf("error %v\n%q", err, got)
	}
	if !strings.Contains(got, "x.jsonl:17: parse event: ") || !strings.Contains(got, "16 events judged") {
		t.Errorf("%s", got)
	}
}

func TestABacktestSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(broken, []byte("rules:\n  - name: unapproved-endpoint\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"broken.yaml:2":       {broken},
		"no such file":        {filepath.Join(dir, "gone.yaml")},
		"no *.yaml in":        {t.TempDir()},
		"no agent answers":    {},
		"read --since":        {"--since", "soon"},
		"a file of events is": {"--events", dir},
	} {
		if _, err := askVerb(t, newRulesBacktestCmd(), filepath.Join(dir, "sock"), args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// Names without end do not fill the memory.
func TestABacktestIsBounded(t *testing.T) {
	b := newBacktest(rules.Builtin(), policy.Default())
	for i := range maxTallies + 100 {
		b.tally(event.RuleRef{Name: "r"}, &event.Attribution{Gateway: "g", Skill: &event.SkillID{Name: fmt.Sprint(i)}}).Hits++
	}
	if n := len(b.tallies); n != maxTallies+1 || b.tally(event.RuleRef{Name: "r"}, &event.Attribution{Gateway: "other"}).Hits != 100 {
		t.Errorf("%d tallies", n)
	}
}
