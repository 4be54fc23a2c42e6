package rules_test

import (
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/rules"
)

func TestAnAlertSaysWhichVersionOfWhichRulesFoundIt(t *testing.T) {
	const one = "rules:\n  - name: x-x\n    description: d\n    severity: low\n    message: m\n    condition: acting\n"
	a := strings.Replace(one, "x-x", "a", 1)
	b := strings.Replace(strings.Replace(one, "x-x", "b", 1), "severity", "version: 4\n    severity", 1)
	flow := "rules: [{name: f, description: ü, severity: low, message: m, condition: acting}, {name: g, description: ü, severity: low, message: m, condition: acting}]\n"
	type found map[string][3]any // version, digest, ruleset by rule
	load := func(texts ...string) found {
		t.Helper()
		var files []rules.Source
		for i, text := range texts {
			files = append(files, rules.Source{Name: strings.Repeat("f", i+1), Data: []byte(text)})
		}
		set, err := rules.Load(files...)
		if err != nil {
			t.Fatal(err)
		}
		all := found{}
		for _, f := range set.Eval(rules.Input{Record: connect()}) {
			all[f.Rule.Name] = [3]any{f.Rule.Version, f.Rule.Digest, f.Rule.Ruleset}
			if len(f.Rule.Digest) != 16 || f.Rule.Ruleset != set.Digest() || len(set.Digest()) != 16 {
				t.Errorf("%+v", f.Rule)
			}
		}
		return all
	}
	both := load(a, b)
	if both["a"][0] != 1 || both["b"][0] != 4 || both["a"][1] == both["b"][1] {
		t.Errorf("%v", both)
	}
	if again := load(b, a); again["a"] != both["a"] || again["b"] != both["b"] {
		t.Errorf("the order of files makes a difference: %v, %v", again, both)
	}
	joined := load(a + strings.TrimPrefix(b, "rules:\n"))
	if joined["a"][1] != both["a"][1] || joined["b"][1] != both["b"][1] || joined["a"][2] == both["a"][2] {
		t.Errorf("in one file: %v, %v", joined, both)
	}
	changed := load(strings.Replace(a, "message: m", "message: n", 1), b)
	if changed["a"][1] == both["a"][1] || changed["b"][1] != both["b"][1] || changed["b"][2] == both["b"][2] {
		t.Errorf("another message: %v, %v", changed, both)
	}
	if f := load(flow); f["f"][1] == f["g"][1] || load(strings.Replace(flow, "name: g, description: ü", "name: g, description: v", 1))["f"][1] != f["f"][1] {
		t.Errorf("on one line: %v", f)
	}
	for _, wrong := range []string{"0", "-1", "x", "1.5", "99999999999"} {
		if _, err := rules.Load(rules.Source{Name: "r.yaml", Data: []byte(strings.Replace(b, "version: 4", "version: "+wrong, 1))}); err == nil || !strings.Contains(err.Error(), "r.yaml:4:14: a version is a whole number from 1") {
			t.Errorf("version %s: %v", wrong, err)
		}
	}
}
