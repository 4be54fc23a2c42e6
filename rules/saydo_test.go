package rules_test

import (
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

func TestConditionsSeeWhatACallDidAgainstWhatItSays(t *testing.T) {
	set, err := rules.Load(rule(`'kind == "tool.effects" and acting and tool.name == "exec" and (effects.silent or effects.unexplained > 1 and any(effects.examples, # startsWith "connect "))'`))
	if err != nil {
		t.Fatal(err)
	}
	if got := set.Rules()[0].Kinds; len(got) != 1 || got[0] != event.KindToolEffects {
		t.Errorf("it is for %v", got)
	}
	for name, c := range map[string]struct {
		effects event.Effects
		fires   bool
	}{
		"all explained": {event.Effects{Processes: 3, FilesRead: 20, Hosts: 1}, false},
		"one read":      {event.Effects{UnexplainedReads: 1, Examples: []string{"read /x"}}, false},
		"read and sent": {event.Effects{UnexplainedReads: 1, UnexplainedHosts: 1, Examples: []string{"read /x", "connect 192.0.2.1"}}, true},
		"silent":        {event.Effects{Silent: true, Missing: "no process of it was seen"}, true},
	} {
		r := &event.Record{
			Kind: event.KindToolEffects, Tool: &event.Tool{Name: "exec", CallID: "call_1"}, Effects: &c.effects,
			Attribution: &event.Attribution{ToolCall: "call_1", Skill: &event.SkillID{Name: "weather"}, Confidence: event.Strong},
		}
		if got := len(set.Eval(rules.Input{Record: r})) == 1; got != c.fires {
			t.Errorf("%s: fires %v, %+v", name, got, set.Stats())
		}
	}
}
