package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

func TestARuleThatIsLeftOutIsToldOfUntilTheRulesAreLoadedAnew(t *testing.T) {
	set, err := rules.Load(rules.Source{Name: "a", Data: []byte(`rules: [{name: fails, description: d, severity: low, message: m, condition: 'process.args[9] == "x"'}]`)})
	if err != nil {
		t.Fatal(err)
	}
	out, now := leftOut{}, time.Unix(1, 0)
	if all := out.say(set, now); all != nil {
		t.Errorf("said %v of a rule that was not asked yet", all)
	}
	for range 200 {
		set.Eval(rules.Input{Record: &event.Record{Kind: event.KindExec, Process: &event.Process{PID: 7}}})
	}
	all := slices.Concat(out.say(set, now), out.say(set, now), out.anew(now), out.anew(now))
	if len(all) != 2 {
		t.Fatalf("said %v", all)
	}
	first, last := all[0].Body.(event.Coverage), all[1].Body.(event.Coverage)
	if first.Probe != "rule fails" || first.Fidelity != "sampled" || !strings.HasPrefix(first.Reason, "100 of 100 evaluations failed") || !strings.HasSuffix(first.Reason, "left out for some seconds") {
		t.Errorf("%+v", first)
	}
	if last.Probe != "rule fails" || last.Fidelity != "complete" || last.Reason != "" {
		t.Errorf("%+v", last)
	}
}
