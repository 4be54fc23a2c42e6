package agent

import (
	"reflect"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

func TestARuleForWhatNothingSeesIsBlind(t *testing.T) {
	set, err := rules.Load(rules.Source{Name: "a.yaml", Data: []byte(`rules:
  - {name: names, description: d, severity: low, message: m, condition: 'kind in ["tls.name", "dns.answer"]'}
  - {name: either, description: d, severity: low, message: m, condition: 'kind in ["tls.name", "network.connect"]'}
  - {name: seen, description: d, severity: low, message: m, condition: kind == "network.connect"}
  - {name: records, description: d, severity: low, message: m, condition: kind == "llm.call"}
  - {name: any-kind, description: d, severity: low, message: m, condition: acting}
  - {name: off, description: d, severity: low, message: m, condition: kind == "tls.name", enabled: false}
`)})
	if err != nil {
		t.Fatal(err)
	}
	got := judgement{rules: set}.blind([]event.Coverage{
		{Probe: "best", Fidelity: "none", Reason: "no BTF"},
		{Probe: "a", Fidelity: "complete", Kinds: []event.Kind{event.KindConnect}},
		{Probe: "b", Fidelity: "none", Kinds: []event.Kind{event.KindConnect, event.KindTLSName, event.KindDNS}, Reason: "not here"},
	})
	want := []BlindRule{
		{"either", []event.Kind{event.KindTLSName}, false},
		{"names", []event.Kind{event.KindTLSName, event.KindDNS}, true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
