package sigma

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/clawwatch/clawwatch/rules"
)

func free(string) bool { return false }

// Each archive is a Sigma rule, what becomes of it (the file, or the condition),
// and events that it fires for and does not.
func TestConvertedRulesFireForWhatSigmaMeans(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) < 9 {
		t.Fatalf("%d archives: %v", len(names), err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files := map[string][]byte{}
			for _, f := range archive.Files {
				files[f.Name] = f.Data
			}
			got, err := Convert("rule.yml", files["rule.yml"], free)
			if err != nil {
				t.Fatal(err)
			}
			if want, ok := files["want.yaml"]; ok && !bytes.Equal(got.YAML, want) {
				t.Errorf("got:\n%s", got.YAML)
			}
			set, err := rules.Load(rules.Source{Name: got.Name, Data: got.YAML})
			if err != nil {
				t.Fatal(err)
			}
			if want, ok := files["condition"]; ok && set.Rules()[0].Condition != strings.TrimSpace(string(want)) {
				t.Errorf("got:\n%s", set.Rules()[0].Condition)
			}
			results, err := set.Test(rules.Source{Name: "cases.yaml", Data: files["cases.yaml"]})
			if err != nil || len(results) == 0 {
				t.Fatalf("%d cases: %v", len(results), err)
			}
			for _, r := range results {
				if r.Err != nil {
					t.Errorf("%s: %v", r.Case, r.Err)
				}
			}
			if s := set.Stats()[0]; s.Errors > 0 {
				t.Errorf("%d errors, at last %s", s.Errors, s.LastError)
			}
		})
	}
}

// What cannot be expressed leaves the rule out, with the reason.
func TestRulesAreTakenWholeOrNotAtAll(t *testing.T) {
	for detection, reason := range map[string]string{
		"{a: {LogonId: 0}, condition: a}":                                               `field "LogonId" is not known of process_creation`,
		"{a: {Image: x}, b: {Hashes: y}, condition: a or b}":                            `field "Hashes" is not known`,
		"{a: {Image: x}, b: {Hashes: y}, condition: a and not b}":                       `field "Hashes" is not known`,
		"{a: {Image|fieldref: ParentImage}, condition: a}":                              `modifier "fieldref" cannot be expressed`,
		"{a: {Image|expand: '%x%'}, condition: a}":                                      `modifier "expand" cannot be expressed`,
		"{a: {Image|contains|endswith: x}, condition: a}":                               "cannot be expressed together",
		"{a: {Image|re|contains: x}, condition: a}":                                     "cannot be expressed together",
		"{a: {Image|i: x}, condition: a}":                                               "cannot be expressed together",
		"{a: {Image|re: 'x(?=y)'}, condition: a}":                                       "a regular expression with what is not in the language",
		"{a: {Image|cidr: 10.0.0.0/8}, condition: a}":                                   "cidr of what is no address",
		"{a: {Image|lt: 5}, condition: a}":                                              `modifier "lt" of a text`,
		"{a: {ProcessId|contains: 5}, condition: a}":                                    "a number is compared as a text",
		"{a: {ProcessId: five}, condition: a}":                                          `"five" is no number`,
		"{a: {Image|exists: maybe}, condition: a}":                                      "exists wants true or false",
		"{a: {Image|base64: 'x*'}, condition: a}":                                       "base64 with wildcards",
		"{a: {Image|contains: ''}, condition: a}":                                       "contains nothing",
		"{a: {Image|contains: '-a -b -c -d'}, b: {Image: y}, condition: a and b and c}": `names "c", which is not there`,
		"{a: {Image|windash: ' -a -b -c -d '}, condition: a}":                           "windash with many dashes",
		"{a: {Image: {x: y}}, condition: a}":                                            "no single value",
		"{a: {Image: []}, condition: a}":                                                "an empty list of values",
		"{a: {}, condition: a}":                                                         "an empty selection",
		"{a: [], condition: a}":                                                         "an empty selection",
		"{a: ['', x], condition: a}":                                                    "an empty word",
		"{a: {Image: x}}":                                                               "the condition is missing",
		"{a: {Image: x}, condition: a | count() > 5}":                                   "aggregation",
		"{a: {Image: x}, timeframe: 5m, condition: a}":                                  "timeframe",
		"{a: {Image: x}, condition: a near b}":                                          `not understood at "near"`,
		"{a: {Image: x}, condition: (a}":                                                "lacks a parenthesis",
		"{a: {Image: x}, condition: a and}":                                             "ends too early",
		"{a: {Image: x}, condition: 1 of}":                                              "ends too early",
		"{a: {Image: x}, condition: 1 of b*}":                                           `names "b*", which is not there`,
		"{a: {Image: x}, condition: 2 of them}":                                         `"2" of`,
		"{a: {Image: x}, condition: condition}":                                         "which is not there",
		"{a: {Image: x}, condition: [a, {b: c}]}":                                       "the condition is not understood",
		"{a: {Image: x}, condition: a or not a and not '*'}":                            "which is not there",
		"{a: {Image|exists: true}, b: {Image: x}, condition: " + strings.Repeat("(", 40) + "a" + strings.Repeat(")", 40) + "}": "nested too deep",
		"{a: {Image: x}, condition: '" + strings.Repeat("not ", 40) + "a'}":                                                    "nested too deep",
		"{a: {Image: x}, condition: '" + strings.Repeat("a or ", 1000) + "a'}":                                                 "the condition is too large",
		"{a: {Image: x}, condition: '" + strings.Repeat("a or ", 100) + "a'}":                                                  "exceeds maximum allowed nodes",
	} {
		_, err := Convert("r.yml", creation(detection), free)
		var why Unsupported
		if !errors.As(err, &why) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v, want %s", detection, err, reason)
		}
	}
}

// creation is a rule with this detection.
func creation(detection string) []byte {
	return []byte("title: T\nlogsource: {product: linux, category: process_creation}\ndetection: " + detection + "\n")
}
