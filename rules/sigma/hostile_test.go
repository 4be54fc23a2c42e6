package sigma

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

func TestWhatIsNoRuleIsSaid(t *testing.T) {
	for text, reason := range map[string]string{
		"":                               "it is no Sigma rule",
		"[]":                             "it is no Sigma rule",
		"title: T":                       "title and detection are wanted",
		"detection: {condition: a}":      "title and detection are wanted",
		"a: b\na: c":                     "already defined",
		"\xff":                           "not UTF-8",
		"title: T\n---\ntitle: U":        "a second document",
		strings.Repeat("#\n", MaxFile):   "bytes, at most",
		strings.Repeat("[", 2000):        "nested too deep",
		"x: &a [1]\ndetection: {b: *a}":  "anchors",
		"x: &a {y: z}\nd:\n  <<: *a\n":   "anchors",
		"d:\n  <<: {LogonId: 0}\n":       "a key must be a plain word",
		"d:\n  ? [x]\n  : y\n":           "invalid key",
		"title: T\ncorrelation: {a: b}":  "only rules about single events",
		"title: T\naction: global":       "only rules about single events",
		"title: T\nfilter: {a: b}\n":     "only rules about single events",
		logSource("product: windows"):    "product windows, and not linux",
		logSource("service: auditd"):     "service auditd: a log",
		logSource("category: webserver"): `category "webserver" is not read`,
		logSource("category: process_creation}\nstatus: deprecated\nx: {y: z"): "its authors call it deprecated",
		logSource("category: network_connection}\ndetection2: {y: z"):          "",
	} {
		_, err := Convert("r.yml", []byte(text), free)
		if reason == "" && err != nil || reason != "" && (err == nil || !strings.Contains(err.Error(), reason)) {
			t.Errorf("%.60q: %v, want %s", text, err, reason)
		}
	}
}

func logSource(s string) string {
	return "title: T\nlogsource: {" + s + "}\ndetection: {a: {Image: x}, condition: a}\n"
}

// A selection about who began a connection is decided when it is translated.
func TestInitiatedIsDecidedByTheKind(t *testing.T) {
	for detection, want := range map[string]string{
		"{a: {Initiated: 'true'}, condition: a}":                                                   "the condition is always true",
		"{a: {Initiated: 'false', SourcePort: 5}, condition: a}":                                   "[network.accept] network.transport in [\"tcp\", \"udp\"] and network.peer_port == 5",
		"{a: {Initiated: 'false'}, b: {Image: /x}, condition: not a and b}":                        "[network.connect] network.transport in [\"tcp\", \"udp\"] and lower(process.executable) == \"/x\"",
		"{a: {Initiated: maybe}, condition: a}":                                                    "the condition is never true",
		"{a: {DestinationHostname: null, Initiated: 'false'}, b: {Image: /x}, condition: a and b}": "[network.accept] network.transport in [\"tcp\", \"udp\"] and lower(process.executable) == \"/x\"",
	} {
		got := ""
		r, err := Convert("r.yml", []byte("title: T\nlogsource: {category: network_connection}\ndetection: "+detection), free)
		if err != nil {
			got = err.Error()
		} else {
			got = load(t, r).Kinds
		}
		if got != want {
			t.Errorf("%s:\n%s\nwant\n%s", detection, got, want)
		}
	}
}

// loaded is a rule as it was read again; Kinds are with the condition.
type loaded struct {
	rules.Rule
	Kinds string
}

func load(t *testing.T, r *Rule) loaded {
	t.Helper()
	set, err := rules.Load(rules.Source{Name: r.Name, Data: r.YAML})
	if err != nil {
		t.Fatalf("%v\n%s", err, r.YAML)
	}
	one := set.Rules()[0]
	return loaded{one, fmt.Sprint(one.Kinds) + " " + one.Condition}
}

// What a stranger writes stays text: no key, no expression, no sequence for a terminal.
func TestTextOfStrangersStaysText(t *testing.T) {
	text := `title: "T' \e[31m {1/0}\nenabled: false #"
id: "x\n  - name: evil"
description: "  first\n    enabled: false\n\n- name: evil\n\ttab \e[31m\n# end: |\n..."
author: "A\u2028B"
references: ["'\nenabled: false", "# x", 5, null, {a: b}]
tags: [attack.t1059, "a, b", "]", ATTACK.T1059, 5]
level: "critical\nx"
falsepositives: "one, only"
logsource: {category: process_creation}
detection:
    a:
        CommandLine|contains: "\" or true or \"\n\e` + "`" + `\\x"
    b:
        CommandLine|re: "` + "`" + ` or \\n|\t"
    condition: a or b
`
	r, err := Convert("r.yml", []byte(text), free)
	if err != nil {
		t.Fatal(err)
	}
	got := load(t, r)
	if !got.Enabled || got.Severity != event.Medium || len(got.Tags) != 1 || len(got.References) != 3 {
		t.Errorf("%+v\n%s", got, r.YAML)
	}
	if strings.ContainsAny(string(r.YAML), "\x1b\t\u2028") || !strings.Contains(got.Description, "Tags that have no form here: a, b, ], 5") {
		t.Errorf("%s", r.YAML)
	}
	set, err := rules.Load(rules.Source{Name: r.Name, Data: r.YAML})
	if err != nil {
		t.Fatal(err)
	}
	for line, fires := range map[string]bool{"x": false, "a \" or true or \"\n\x1b`\\x b": true, "` or \n": true, "\t": true} {
		found := set.Eval(rules.Input{Record: &event.Record{Kind: event.KindExec, Process: &event.Process{PID: 7, CommandArgs: []string{line}}}})
		if len(found) == 1 != fires {
			t.Errorf("%q: %v", line, found)
		}
		if fires && !strings.Contains(found[0].Message, "(1/0)") {
			t.Errorf("%q", found[0].Message)
		}
	}
}

func TestNamesAreOneForEachRule(t *testing.T) {
	taken := map[string]bool{}
	for _, c := range []struct{ title, id, want string }{
		{"A  Name (of $1)", "", "sigma-a-name-of-1"},
		{"a name of 1", "12345678-9abc", "sigma-a-name-of-1-12345678"},
		{"a name, of 1", "12345678-9abc", "sigma-a-name-of-1-12345678-2"},
		{"A name of 1!", "", "sigma-a-name-of-1-2"},
		{"Übung", "", "sigma-bung"},
		{"漢字", "", "sigma"},
		{strings.Repeat("long word ", 20), "", "sigma-long-word-long-word-long-word-long-word-long-word-long"},
		{strings.Repeat("x", 100), "", "sigma-" + strings.Repeat("x", 58)},
		{strings.Repeat("x", 100), "abcdefgh-", "sigma-" + strings.Repeat("x", 44) + "-abcdefgh"},
	} {
		h := &header{title: c.title, id: c.id}
		got := h.uniqueName(func(n string) bool { return taken[n] })
		if taken[got] = true; got != c.want {
			t.Errorf("%s: %s, want %s", c.title, got, c.want)
		}
	}
}

// A list that is too long to be written out is one pattern, with the same meaning.
func TestLongListsBecomePatterns(t *testing.T) {
	var values []string
	for i := range 400 {
		values = append(values, fmt.Sprintf("'*/x.%d'", i))
	}
	r, err := Convert("r.yml", creation("{a: {Image: ["+strings.Join(values, ", ")+"]}, condition: a}"), free)
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Load(rules.Source{Name: r.Name, Data: r.YAML})
	if err != nil {
		t.Fatal(err)
	}
	for path, fires := range map[string]bool{"/x.7": true, "/opt/X.399": true, "/x.400": false, "/xy7": false, "/x.7/y": false} {
		rec := &event.Record{Kind: event.KindExec, Process: &event.Process{PID: 7, Executable: &event.Executable{Path: path}}}
		if got := len(set.Eval(rules.Input{Record: rec})) == 1; got != fires {
			t.Errorf("%s: %v\n%s", path, got, r.YAML)
		}
	}
}

// A small file cannot make a large condition, nor take long.
func FuzzConvert(f *testing.F) {
	f.Add([]byte("title: T\nlogsource: {category: process_creation}\ndetection: {a: {Image|endswith: [x, '*y?']}, condition: not 1 of a*}"))
	f.Add([]byte("title: T\nlogsource: {category: network_connection}\ndetection: {a: {DestinationIp|cidr: 10.0.0.0/8}, b: [w], condition: (a or b) and not a}"))
	f.Add([]byte("title: T\nlogsource: {category: file_event}\ndetection: {a: {CommandLine|windash|base64offset|contains: ' -x'}, condition: [a]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Convert("r.yml", data, free)
		var why Unsupported
		switch {
		case errors.As(err, &why) && len(why) == 0:
			t.Error("a rule is left out for no reason")
		case err == nil && len(r.YAML) > 4*len(data)+maxText*2:
			t.Errorf("%d bytes of %d", len(r.YAML), len(data))
		case err == nil:
			load(t, r)
		}
	})
}
