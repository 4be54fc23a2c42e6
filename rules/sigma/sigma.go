// Package sigma turns Sigma rules into rules of clawwatch.
//
// Sigma is the format in which most public detection rules are written. Of it are
// read rules for Linux, or for any product, about what clawwatch sees:
//
//	process_creation    process.exec
//	file_event          files made, written, renamed to, linked, truncated
//	file_delete         file.delete
//	file_rename         file.rename
//	network_connection  network.connect, network.accept (TCP, UDP)
//	dns_query           dns.answer
//
// A rule becomes one condition that means the same: texts are compared without
// regard to case unless the rule says cased, a field that the event does not have
// is never equal to anything. What cannot be said in the language of rules (a
// field that is not known, a modifier, an aggregation) leaves the whole rule out, with
// the reason: a condition that is dropped changes what the rest means.
//
// The text is a stranger's. Files are read by yamlfile and bounded by it; of the
// rest, nothing is trusted: every condition is written anew, and the result is
// compiled before it is given out.
package sigma

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
	"github.com/clawwatch/clawwatch/rules"
)

// MaxFile is how large a Sigma rule may be, in bytes.
const MaxFile = 128 << 10

// Further bounds of one Sigma rule.
const (
	maxCondition = 4 << 10  // bytes of its condition
	maxDepth     = 32       // of parentheses
	maxText      = 15 << 10 // bytes of what becomes of it; the language takes 16 KiB
)

// A Rule is a Sigma rule that was translated.
type Rule struct {
	Name string // in clawwatch: sigma- and the title
	YAML []byte // the file with it
}

// Unsupported is why a rule was left out: each reason once.
type Unsupported []string

func (u Unsupported) Error() string { return strings.Join(u, "; ") }

// Convert translates the Sigma rule in a file. taken tells of names that others
// have. An Unsupported says that the rule cannot be expressed; any other error that
// the file is no Sigma rule.
func Convert(file string, data []byte, taken func(name string) bool) (*Rule, error) {
	h, detection, err := read(file, data)
	if err != nil {
		return nil, err
	}
	c, problems := categoryOf(h)
	if h.status == "deprecated" || h.status == "unsupported" {
		problems = append(problems, "its authors call it "+h.status)
	}
	if len(problems) > 0 {
		return nil, Unsupported(problems)
	}
	h.name = h.uniqueName(taken)
	// Long lists are written as one pattern where the language's bound on an
	// expression calls for it; short ones are easier to read.
	var mistake error
	for _, longest := range []int{40, 4} {
		kinds, text, err := translate(c, detection, longest)
		if err != nil {
			return nil, err
		}
		out := &Rule{Name: h.name, YAML: h.write(c, kinds, text)}
		if mistake = check(out, text); mistake == nil {
			return out, nil
		}
	}
	return nil, Unsupported{"the condition is too large or not understood: " + firstLine(mistake)}
}

// check makes sure that the rule is one, and says what it is to say.
func check(r *Rule, condition string) error {
	set, err := rules.Load(rules.Source{Name: r.Name, Data: r.YAML})
	if err != nil {
		var at *yamlfile.Error
		if errors.As(err, &at) {
			return errors.New(at.Message)
		}
		return err
	}
	if all := set.Rules(); len(all) != 1 || all[0].Name != r.Name || all[0].Condition != condition {
		return errors.New("it cannot be written down")
	}
	return nil
}

func read(file string, data []byte) (*header, map[string]any, error) {
	if len(data) > MaxFile {
		return nil, nil, fmt.Errorf("%d bytes, at most %d are read", len(data), MaxFile)
	}
	if !utf8.Valid(data) {
		return nil, nil, errors.New("the file is not UTF-8")
	}
	var raw yamlfile.Raw
	if err := yamlfile.Decode(file, data, &raw); err != nil {
		var at *yamlfile.Error
		if errors.As(err, &at) {
			return nil, nil, fmt.Errorf("line %d: %s", at.Line, at.Message)
		}
		return nil, nil, err
	}
	top, ok := raw.Value.(map[string]any)
	if !ok {
		return nil, nil, errors.New("it is no Sigma rule")
	}
	for _, key := range []string{"correlation", "action", "filter"} {
		if _, ok := top[key]; ok {
			return nil, nil, Unsupported{fmt.Sprintf("%s: only rules about single events are read", key)}
		}
	}
	h := headerOf(top)
	detection, ok := top["detection"].(map[string]any)
	if !ok || h.title == "" {
		return nil, nil, errors.New("it is no Sigma rule: title and detection are wanted")
	}
	return h, detection, nil
}

// translate gives the kinds and the condition of the rule. Connections have two
// ends: what Sigma calls the destination is the peer or this host.
func translate(c *category, detection map[string]any, longest int) (kinds []string, text string, err error) {
	t := &translator{category: c, detection: detection, longest: longest}
	all := c.kinds
	whole := t.whole()
	if c.inbound != nil {
		in := &translator{category: &category{name: c.name, fields: c.inbound}, detection: detection, longest: longest}
		accepted := in.whole()
		t.problems = append(t.problems, in.problems...)
		switch {
		case accepted.op == opNever:
		case whole.op == opNever:
			whole, all = accepted, []string{"network.accept"}
		case whole.inline() == accepted.inline():
			all = []string{"network.connect", "network.accept"}
		default:
			whole = either(both(leaf(`kind == "network.connect"`), whole), both(leaf(`kind == "network.accept"`), accepted))
			all = []string{"network.connect", "network.accept"}
		}
	}
	switch {
	case len(t.problems) > 0:
	case whole.op == opNever:
		t.problem("the condition is never true")
	case whole.op == opAlways:
		t.problem("the condition is always true")
	}
	if c.guard != "" {
		whole = both(leaf(c.guard), whole)
	}
	if len(t.problems) > 0 {
		slices.Sort(t.problems)
		return nil, "", Unsupported(slices.Compact(t.problems))
	}
	if text = whole.pretty(); len(text) > maxText {
		return nil, "", Unsupported{"the condition is too large"}
	}
	return all, text, nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
