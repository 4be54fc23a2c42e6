package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/learn"
)

// What is suggested from the store, put in force, leaves nothing to suggest.
func TestASuggestedPolicyIsAPolicy(t *testing.T) {
	socket := seededAgent(t)
	got, err := askVerb(t, newPolicySuggestCmd(), socket, "--since", "2026-11-22", "--config", os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{host: "evil.example", ports: [443], skills: ["weather"]}`, "# 1 time in 1 session, 2026-11-22 07:00, certain, such as 01KANB3K809999",
		"weather: read /home/dev/.env: the policy restricts it", "1 event that may be this skill's",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "2001:db8::1") || strings.ContainsAny(got, "\x1b\u202e") {
		t.Errorf("suggests what is in doubt, or prints what it should not: %q", got)
	}
	file := filepath.Join(t.TempDir(), "suggested.yaml")
	if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err = askVerb(t, newRulesBacktestCmd(), socket, "--since", "2026-11-22", "--skill", "weather", "--config", os.DevNull, "--policy", file)
	if err != nil || strings.Contains(got, "unapproved-endpoint  ") {
		t.Errorf("%v\n%s", err, got)
	}
	got, err = askVerb(t, newPolicySuggestCmd(), socket, "--since", "2026-11-22", "--config", os.DevNull, "--policy", file)
	if err != nil || strings.Contains(got, "- {") {
		t.Errorf("suggests more: %v\n%s", err, got)
	}
}

func TestAProfileIsOneLine(t *testing.T) {
	got, err := askVerb(t, newPolicySuggestCmd(), seededAgent(t), "--since", "2026-11-22", "--json", "--skill", "weather")
	if err != nil {
		t.Fatal(err)
	}
	var p learn.Profile
	if err := json.Unmarshal([]byte(got), &p); err != nil {
		t.Fatal(err)
	}
	if p.Skill.Version != "1.2.0" || p.MaxSent != 1234 || len(p.Hosts) != 1 || len(p.Programs) != 2 || p.Hosts[0].Name != "evil.example" || p.Hosts[0].Allowed {
		t.Errorf("%+v", p)
	}
	got, err = askVerb(t, newPolicySuggestCmd(), seededAgent(t), "--since", "2026-11-22", "--skill", "nobody")
	if err != nil || !strings.Contains(got, "No events of a skill that is sure were found") {
		t.Errorf("%v: %s", err, got)
	}
}

func TestASuggestionFromAFileSaysWhatItCouldNotRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.jsonl")
	if err := os.WriteFile(file, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := askVerb(t, newPolicySuggestCmd(), "/nowhere", "--events", file)
	var amiss notWell
	if !errors.As(err, &amiss) || !strings.Contains(got, "version: 1") || !strings.Contains(got, "x.jsonl:1: parse event") {
		t.Errorf("%v: %s", err, got)
	}
}
