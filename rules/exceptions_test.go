package rules_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

// base has a rule that every record of a tool call fulfils.
const base = `
rules:
  - name: base
    description: d
    severity: high
    message: m
    condition: acting
    exceptions:
      - {name: sorts, fields: [skill.name, process.executable], comparisons: [=, under], values: [[weather, /opt]]}
      - {name: ports, fields: [network.peer_port], values: [25, [465]]}
`

func TestAnExceptionTakesOutWhatAllItsFieldsCompareWith(t *testing.T) {
	for text, quiet := range map[string]bool{
		"": false,
		"exceptions: [{rule: base, name: sorts, values: [[weather, /usr/bin]]}]":                                                              true,
		"exceptions: [{rule: base, name: sorts, values: [[weather, /usr/b], [other, /usr]]}]":                                                 false,
		"exceptions: [{rule: base, name: sorts, values: [[[other, weather], [/opt, /usr]]]}]":                                                 true,
		"exceptions: [{rule: base, name: sorts, fields: [skill.name, process.executable], values: [[weather, /usr]]}]":                        true,
		"exceptions: [{rule: base, name: ports, values: [80]}]":                                                                               true,
		"exceptions: [{rule: base, name: ports, values: [81]}]":                                                                               false,
		"exceptions: [{rule: base, name: n, fields: [process.name], values: [curl]}]":                                                         true,
		"exceptions: [{rule: base, name: n, fields: [process.command_line], comparisons: [startsWith], values: ['curl -s ']}]":                true,
		"exceptions: [{rule: base, name: n, fields: [process.args], comparisons: [startsWith], values: [c]}]":                                 false,
		"exceptions: [{rule: base, name: n, fields: [process.args], values: [[[curl, -s, 'http://192.0.2.1']]]}]":                             true,
		"exceptions: [{rule: base, name: n, fields: [env.names], comparisons: [contains], values: [A]}]":                                      false,
		"exceptions: [{rule: base, name: n, fields: [acting, network.peer_address], comparisons: [=, cidr], values: [[true, '::/0']]}]":       false,
		"exceptions: [{rule: base, name: n, fields: [acting, network.peer_address], comparisons: [=, cidr], values: [[true, 192.0.2.0/24]]}]": true,
		"exceptions: [{rule: base, name: n, fields: [process.executable], comparisons: [glob], values: ['/**/c*l']}]":                         true,
		"exceptions: [{rule: base, name: n, fields: [network.host], comparisons: [domain], values: [example.com]}]":                           false,
		"exceptions: [{rule: base, name: n, fields: [process.name], comparisons: [endsWith], values: [rl]}]":                                  true,
		"overrides: [{rule: base, enabled: false}]":                                                                                           true,
	} {
		set, err := rules.Load(source("z", text), source("b", base)) // whichever is read first
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for range 2 {
			if got := len(set.Eval(rules.Input{Record: connect()})) == 0; got != quiet {
				t.Errorf("%s: quiet is %v", text, got)
			}
		}
		if s := set.Stats()[0]; quiet && !strings.HasPrefix(text, "over") && (s.Excepted != 2 || s.Matches != 0) || s.Errors > 0 {
			t.Errorf("%s: %+v", text, s)
		}
	}
}

func TestOverridesChangeRulesOfOtherFiles(t *testing.T) {
	set, err := rules.Load(source("b", base), source("z", "overrides: [{rule: base, severity: low}]"))
	if err != nil {
		t.Fatal(err)
	}
	if found := set.Eval(rules.Input{Record: connect()}); len(found) != 1 || found[0].Rule.Severity != event.Low || set.Rules()[0].Overridden != "z" {
		t.Errorf("got %+v, %+v", found, set.Rules())
	}
	off := strings.Replace(base, "condition: acting", "condition: acting\n    enabled: false", 1)
	if set, err = rules.Load(source("b", off), source("z", "overrides: [{rule: base, enabled: true}]")); err != nil || !set.Rules()[0].Enabled {
		t.Errorf("got %v", err)
	}
}

func TestMistakesInExceptionsAndOverridesHaveTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"exceptions:\n  - {rule: nope, name: x, fields: [acting]}":                                                                                                    `z:2:6: there is no rule "nope"`,
		"exceptions:\n  - {rule: base, name: x, values: [1]}":                                                                                                         "z:2:6: rule base has no exception x; a new one needs fields",
		"exceptions:\n  - {rule: base, fields: [acting]}":                                                                                                             "z:2:6: an exception needs a name",
		"exceptions:\n  - {rule: base, name: x, fields: [skill.nme]}":                                                                                                 "z:2:36: there is no field \"skill.nme\"\n  2 |   - {rule: base, name: x, fields: [skill.nme]}\n    |                                    ^",
		"exceptions:\n  - {rule: base, name: x, fields: [skill]}":                                                                                                     `there is no field "skill"`,
		"exceptions:\n  - {rule: base, name: x, fields: [acting, acting]}":                                                                                            "z:2:44: field acting is given twice",
		"exceptions:\n  - {rule: base, name: x, fields: [acting], comparisons: [=, =]}":                                                                               "2 comparisons for 1 fields",
		"exceptions:\n  - {rule: base, name: x, fields: [acting], comparisons: [like]}":                                                                               "z:2:59: a comparison is one of",
		"exceptions:\n  - {rule: base, name: x, fields: [process.pid], comparisons: [under]}":                                                                         "z:2:64: under compares texts, and process.pid is none",
		"exceptions:\n  - {rule: base, name: sorts, fields: [acting], values: [true]}":                                                                                "exception sorts of base compares skill.name, process.executable by =, under",
		"exceptions:\n  - {rule: base, name: sorts, values: [[weather]]}":                                                                                             "z:2:40: sorts wants rows of 2 values: one each for skill.name, process.executable",
		"exceptions:\n  - {rule: base, name: sorts, values: [x]}":                                                                                                     "sorts wants rows of 2 values",
		"exceptions:\n  - {rule: base, name: sorts, values: [[x, usr]]}":                                                                                              `process.executable: "usr" is no directory`,
		"exceptions:\n  - {rule: base, name: sorts, values: [[x, []]]}":                                                                                               "no value for process.executable",
		"exceptions:\n  - {rule: base, name: sorts, values: [['', /usr]]}":                                                                                            `skill.name: "" is no text`,
		"exceptions:\n  - {rule: base, name: sorts, values: [[1, /usr]]}":                                                                                             `skill.name: "1" is no text: quote`,
		"exceptions:\n  - {rule: base, name: ports, values: [http]}":                                                                                                  `network.peer_port: "http" is no whole number`,
		"exceptions:\n  - {rule: base, name: x, fields: [acting], values: [yes please]}":                                                                              "is neither true nor false",
		"overrides:\n  - {rule: nope, enabled: false}":                                                                                                                `z:2:6: there is no rule "nope"`,
		"overrides:\n  - {rule: base}":                                                                                                                                "z:2:6: an override has the name of a rule, and enabled or severity",
		"overrides:\n  - {rule: base, enabled: maybe}":                                                                                                                "z:2:27: true or false is wanted",
		"overrides:\n  - {rule: base, severity: huge}":                                                                                                                "severity is one of",
		"overrides:\n  - {rule: base, enabled: false}\n  - {rule: base, severity: low}":                                                                               "z:3:6: rule base is overridden in z already",
		"rules:\n  - {name: y, description: d, severity: low, message: m, condition: acting, exceptions: [{name: a}]}":                                                "an exception needs fields",
		"rules:\n  - {name: y, description: d, severity: low, message: m, condition: acting, exceptions: [{rule: base, name: a, fields: [acting]}]}":                  "is for no other rule",
		"rules:\n  - {name: y, description: d, severity: low, message: m, condition: acting, exceptions: [{name: a, fields: [acting]}, {name: a, fields: [acting]}]}": "exception a is given twice",
	} {
		_, err := rules.Load(source("b", base), source("z", text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count("\n"+err.Error(), "\nz:") != 1 {
			t.Errorf("%s\n%v, want %s", text, err, want)
		}
	}
}

// What files change of the built-in rules is tried with them, and nothing else is.
func TestFilesAreTriedWithTheBuiltInRulesThatTheyChange(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"rules":       {`rules: [{name: mine, description: d, severity: low, condition: process.name in editors, message: m}]`, []string{"mine"}},
		"exceptions":  {`exceptions: [{rule: raw-socket, name: mine, fields: [process.name], values: [[ping]]}]`, []string{"raw-socket"}},
		"overrides":   {`overrides: [{rule: raw-socket, severity: low}]`, []string{"raw-socket"}},
		"more values": {`exceptions: [{rule: container-runtime-access, name: skills, values: [[deploy, /run/docker.sock]]}]`, []string{"container-runtime-access"}},
		"lists":       {`lists: {editors: {extend: [zile]}}`, []string{"openclaw-files-touched-from-outside"}},
		"nothing":     {`lists: {mine: [a]}`, nil},
	} {
		set, err := rules.Try(rules.Source{Name: "mine.yaml", Data: []byte(test.text)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, r := range set.Rules() {
			got = append(got, r.Name)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
