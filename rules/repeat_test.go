package rules_test

import (
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

func TestARuleCanWantSeveralFindings(t *testing.T) {
	load := func(count string) (*rules.Set, error) {
		return rules.Load(rules.Source{Name: "r.yaml", Data: []byte("rules:\n  - name: r\n    description: r\n    severity: low\n" +
			"    condition: kind == \"process.exit\"\n    message: r\n    count: " + count + "\n")})
	}
	for count, want := range map[string]rules.Repeat{
		"{of: 20, within: 1m}":                    {Of: 20, Within: time.Minute, Over: rules.OverSkill},
		"{of: 2, within: 7d, over: session}":      {Of: 2, Within: 7 * 24 * time.Hour, Over: rules.OverSession},
		"{of: 100, within: 90s, over: execution}": {Of: 100, Within: 90 * time.Second, Over: rules.OverExecution},
	} {
		set, err := load(count)
		if err != nil {
			t.Fatal(err)
		}
		if found := set.Eval(rules.Input{Record: &event.Record{Kind: event.KindExit}}); len(found) != 1 || found[0].Repeat != want {
			t.Errorf("%s: %+v", count, found)
		}
	}
	for count, want := range map[string]string{
		"{of: 1, within: 1m}":              "r.yaml:7:13: a count has of, from 2 to 100",
		"{of: 101, within: 1m}":            "r.yaml:7:13: a count has of, from 2 to 100",
		"{of: 3}":                          "r.yaml:7:13: a count has of, from 2 to 100",
		"{of: 3, within: 1ms}":             "r.yaml:7:28: a time from 1s to 7d is wanted",
		"{of: 3, within: 1m, over: world}": "over is one of skill, session, execution",
		"5":                                "r.yaml:7:12: keys with values are wanted",
	} {
		if _, err := load(count); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", count, err)
		}
	}
}
