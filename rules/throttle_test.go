package rules_test

import (
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

func TestAThrottleIsATimeThatARuleCanKeep(t *testing.T) {
	load := func(value string) (*rules.Set, error) {
		return rules.Load(rules.Source{Name: "r.yaml", Data: []byte("rules:\n  - name: r\n    description: r\n    severity: low\n" +
			"    condition: kind == \"process.exit\"\n    message: r\n    throttle: " + value + "\n")})
	}
	for value, want := range map[string]time.Duration{"90s": 90 * time.Second, "10m": 10 * time.Minute, "7d": 7 * 24 * time.Hour} {
		set, err := load(value)
		if err != nil {
			t.Fatal(err)
		}
		found := set.Eval(rules.Input{Record: &event.Record{Kind: event.KindExit}})
		if len(found) != 1 || found[0].Throttle != want {
			t.Errorf("%s: %+v", value, found)
		}
	}
	for _, value := range []string{"soon", "0s", "-1m", "8d", "-1d", "99999999999999999999d", "500ms", "d"} {
		if _, err := load(value); err == nil || !strings.Contains(err.Error(), "r.yaml:7:15: a time from 1s to 7d is wanted") {
			t.Errorf("%s: %v", value, err)
		}
	}
}
