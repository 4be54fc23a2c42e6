package rules_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

func source(name, text string) rules.Source { return rules.Source{Name: name, Data: []byte(text)} }

// file is a file of rules with one rule of the condition.
func file(name, words, condition string) rules.Source {
	return source(name, words+"\nrules:\n  - name: "+name+"\n    description: d\n    severity: low\n    message: m\n    condition: "+quote(condition)+"\n")
}

func TestConditionsUseListsAndMacrosOfAllFiles(t *testing.T) {
	const words = `
lists:
  tools: [curl, wget]
  ports: [80, 443]
  homes: [/home, /root]
  nets: [192.0.2.0/24]
  none_yet: []
  mail: [file.open, network.connect]
macros:
  web: network.peer_port in ports and fetcher
  fetcher: process.name in tools
  here: cidr(network.peer_address, nets)
  connects: kind == "network.connect"
  limit: 2 * 1kB
`
	for condition, want := range map[string]bool{
		`process.name in tools`: true, `process.name not in tools`: false, `not (process.name in tools)`: false,
		`network.peer_port in ports`: true, `web and here`: true, `acting and not web`: false, `under(process.cwd, homes, "/opt")`: false,
		`process.name in none_yet`: false, `under(process.executable, none_yet)`: false, `any(tools, # == process.name)`: true,
		`len(process.command_line) < limit`: true, `kind in mail`: true, `(web) == true and (fetcher or here)`: true,
		`any(process.ancestors, # == "bash" and web)`: true, `len(tools) == 2`: true, `process.name in extra`: true, `2kB == limit`: true,
	} {
		set, err := rules.Load(file("x", "", condition), source("a", "lists: {extra: {extend: [curl]}}"), source("w", words), source("e", "lists: {extra: [nc]}"))
		if err != nil {
			t.Errorf("%s: %v", condition, err)
			continue
		}
		if got := len(set.Eval(rules.Input{Record: connect()})) == 1; got != want {
			t.Errorf("%s is %v: %+v", condition, got, set.Stats())
		}
	}
	set, err := rules.Load(source("w", words), file("x", "", "connects and web"))
	if err != nil {
		t.Fatal(err)
	}
	r := set.Rules()[0]
	var names []string
	for _, w := range r.Words {
		names = append(names, w.Name)
	}
	if !slices.Equal(r.Kinds, []event.Kind{"network.connect"}) || !slices.Equal(names, []string{"connects", "web", "ports", "fetcher", "tools"}) || r.Words[2].List[1] != "443" {
		t.Errorf("got %v, %+v", r.Kinds, r.Words)
	}
}

func TestTheBuiltinListsMayBeExtended(t *testing.T) {
	set, err := rules.Load(append(rules.BuiltinFiles(), file("mine", "lists: {package_managers: {extend: [brew]}}", `process.name in package_managers and file_touched`))...)
	if err != nil {
		t.Fatal(err)
	}
	all := set.Rules()
	at := func(name string) rules.Rule {
		return all[slices.IndexFunc(all, func(r rules.Rule) bool { return r.Name == name })]
	}
	if len(at("mine").Kinds) != 8 {
		t.Errorf("kinds are not seen through a macro: %v", at("mine").Kinds)
	}
	r := at("openclaw-files-touched-from-outside")
	if i := slices.IndexFunc(r.Words, func(w rules.Word) bool { return w.Name == "package_managers" }); i < 0 || !slices.Contains(r.Words[i].List, "brew") {
		t.Errorf("got %+v", r.Words)
	}
}

func TestMistakesInListsAndMacrosHaveTheirPlace(t *testing.T) {
	for text, want := range map[string][]string{
		"macros:\n  a: b and acting\n  b: c\n  c: acting or a":            {"f:4:16: a macro must not lead back to itself"},
		"macros:\n  a: acting and a":                                      {"f:2:17: a macro must not lead back to itself\n  2 |   a: acting and a\n    |                 ^"},
		"macros:\n  a: b\n  b: file.pth == 1":                             {"f:3:11: type rules.File has no field pth"},
		"macros:\n  a: |\n    acting and\n      10XB > 3":                 {`f:4:7: "10XB": a size`},
		"macros:\n  a: nobody":                                            {"f:2:6: unknown name nobody"},
		"macros:\n  a: \"any(process.args, any(process.args, # == ''))\"": {"a predicate within a predicate"},
		"macros:\n  a: [acting]":                                          {"f:2:6: a single value is wanted"},
		"macros:\n  a:":                                                   {`f:2:3: key "a" has no value`},
		"macros:\n  kind: acting":                                         {"f:2:3: kind is a field, a function or a word of the language"},
		"macros: {under: acting}":                                         {"under is a field, a function"},
		"lists: {who: [a]}":                                               {"who is a field, a function"},
		"lists: {Big: [a]}":                                               {"f:1:9: a list or macro is named by"},
		"lists:\n  a: [x]\nmacros:\n  a: acting":                          {"f:4:3: list a is defined in f already"},
		"lists: {a: [x, 1]}":                                              {"f:1:9: item 2 of a: a list is texts, or whole numbers"},
		"lists: {a: [[x]]}":                                               {"item 1 of a"},
		"lists: {a: [1.5]}":                                               {"item 1 of a"},
		"lists: {a: x}":                                                   {"a list is wanted, found the single value x"},
		"lists: {a: {extend: [x]}}":                                       {`f:1:9: there is no list "a" to extend`},
		"lists: {a: [x]}\nmacros: {b: 'process.pid in a'}":                {"cannot use"},
		"lists: {a: ['/x/..']}\nmacros:\n  b: under(file.path, a)":        {`f:3:23: "/x/.." is no directory`},
	} {
		_, err := rules.Load(source("f", text))
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s\n%v, want %s", text, err, w)
			}
		}
		if err != nil && strings.Count("\n"+err.Error(), "\nf:") != len(want) {
			t.Errorf("%s\nis reported more than once: %v", text, err)
		}
	}
	_, err := rules.Load(source("a", "lists: {x: [a]}\nmacros: {y: acting}"), source("b", "lists: {x: [b]}\nmacros: {y: acting, broken: file.pth}"), file("c", "", "broken or y and process.name in x"))
	if err == nil || strings.Count(err.Error(), "\n") > 10 || !strings.Contains(err.Error(), "b:1:9: list x is defined in a already") ||
		!strings.Contains(err.Error(), "b:2:10: macro y is defined in a already") || !strings.Contains(err.Error(), "b:2:34: type rules.File has no field pth") || strings.Contains(err.Error(), "c:") {
		t.Errorf("got %v", err)
	}
}

func TestTheExpressionWithItsMacrosIsBounded(t *testing.T) {
	var words strings.Builder
	words.WriteString("macros:\n  m0: acting and stranger\n")
	for i := range 40 {
		fmt.Fprintf(&words, "  m%d: m%d and m%d\n", i+1, i, i)
	}
	_, err := rules.Load(file("f", words.String(), "m40"))
	if err == nil || !strings.Contains(err.Error(), "more than 300 parts") {
		t.Errorf("macros that double: %.300v", err)
	}
	items := "lists:\n  many:\n" + strings.Repeat("    - x\n", 400)
	if _, err := rules.Load(file("f", items, "process.name in many and under(process.cwd, '/x')")); err != nil {
		t.Errorf("a list that is looked up: %v", err)
	}
	if _, err := rules.Load(file("f", items, "any(many, # == process.name)")); err == nil || !strings.Contains(err.Error(), "more than 300 parts") {
		t.Errorf("a list that is gone through: %v", err)
	}
	if _, err := rules.Load(source("f", "lists:\n  many:\n"+strings.Repeat("    - x\n", 10_001))); err == nil || !strings.Contains(err.Error(), "at most 10000") {
		t.Errorf("a list without an end: %v", err)
	}
}
