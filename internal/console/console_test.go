package console_test

import (
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/console"
	"github.com/clawwatch/clawwatch/internal/event"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC
	m.Run()
}

func TestAnAlertIsTwoLinesThatSayWhoWhatAndHowSure(t *testing.T) {
	a := event.Alert{
		ID: "01JABC", Time: time.Date(2026, 11, 22, 7, 0, 1, 0, time.UTC), Rule: event.RuleRef{Name: "unapproved-endpoint", Severity: event.High},
		Message: "skill weather sent 1.2 kB to 192.0.2.1:443, which is not approved", Count: 3, Suppressed: 2,
		Attribution: &event.Attribution{Skill: &event.SkillID{Name: "weather"}, Confidence: event.Certain},
	}
	want := "2026-11-22 07:00:01  HIGH      unapproved-endpoint  weather (certain)  01JABC\n" +
		"    skill weather sent 1.2 kB to 192.0.2.1:443, which is not approved (3 events, 2 like it suppressed)"
	if got := console.FormatAlert(a, false); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if got := console.FormatAlert(a, true); !strings.Contains(got, "\x1b[31mHIGH    \x1b[0m") {
		t.Errorf("no colour: %q", got)
	}
}

func TestHostileTextCannotMoveTheCursor(t *testing.T) {
	evil := "we\x1b[2Jather\n\u202eFAKE\x9b31m\r"
	a := event.Alert{
		ID: evil, Rule: event.RuleRef{Name: evil, Severity: event.Severity(evil)}, Message: evil,
		Attribution: &event.Attribution{Skill: &event.SkillID{Name: evil}, Confidence: event.Weak},
	}
	got := console.FormatAlert(a, false)
	if strings.ContainsAny(got, "\x1b\r\u009b\u202e") || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q", got)
	}
}

func TestWhoseNamesCandidatesWhereThereIsNoSkill(t *testing.T) {
	c := func(names ...string) *event.Attribution {
		a := &event.Attribution{Confidence: event.Ambiguous}
		for _, n := range names {
			a.Candidates = append(a.Candidates, event.SkillID{Name: n})
		}
		return a
	}
	for want, a := range map[string]*event.Attribution{
		"no agent":                            nil,
		"no skill":                            {Confidence: event.None},
		"a or b (ambiguous)":                  c("a", "b"),
		"a or b or c or 2 others (ambiguous)": c("a", "b", "c", "d", "e"),
	} {
		if got := console.Whose(a); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestBytesReadAsAPersonWouldSayThem(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1200: "1.2 kB", 9_960: "10 kB", 999_600: "1.0 MB", 10_000_000: "10 MB", 1 << 63: "9.2 EB"} {
		if got := console.Bytes(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
