package sigma

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// A translator makes one node of the detection of a rule. What it cannot express
// is a problem; it goes on, to find the others.
type translator struct {
	category  *category
	detection map[string]any
	longest   int // of a list that is written out

	done     map[string]*node // selections
	tokens   []string
	problems []string
}

func (t *translator) problem(format string, args ...any) *node {
	t.problems = append(t.problems, fmt.Sprintf(format, args...))
	return constant(false)
}

// whole translates the condition. A list of them is true where one is.
func (t *translator) whole() *node {
	t.done = map[string]*node{}
	if _, ok := t.detection["timeframe"]; ok {
		return t.problem("timeframe: only single events are judged")
	}
	var some []*node
	switch c := t.detection["condition"].(type) {
	case string:
		some = append(some, t.condition(c))
	case []any:
		for _, one := range c {
			text, ok := one.(string)
			if !ok {
				return t.problem("the condition is not understood")
			}
			some = append(some, t.condition(text))
		}
	default:
		return t.problem("the condition is missing")
	}
	return either(some...)
}

var token = regexp.MustCompile(`[()|]|[^\s()|]+`)

func (t *translator) condition(text string) *node {
	if len(text) > maxCondition {
		return t.problem("the condition is too large")
	}
	t.tokens = token.FindAllString(text, -1)
	if slices.Contains(t.tokens, "|") {
		return t.problem("aggregation: only single events are judged")
	}
	n := t.or(0)
	if len(t.tokens) > 0 && len(t.problems) == 0 {
		return t.problem("the condition is not understood at %s", quoted(t.tokens[0]))
	}
	return n
}

// next gives the next token in lower case, as far as it is a word of the language.
func (t *translator) next() string {
	if len(t.tokens) == 0 {
		return ""
	}
	return strings.ToLower(t.tokens[0])
}

func (t *translator) accept(word string) bool {
	if t.next() != word {
		return false
	}
	t.tokens = t.tokens[1:]
	return true
}

func (t *translator) or(depth int) *node {
	some := []*node{t.and(depth)}
	for t.accept("or") {
		some = append(some, t.and(depth))
	}
	return either(some...)
}

func (t *translator) and(depth int) *node {
	all := []*node{t.not(depth)}
	for t.accept("and") {
		all = append(all, t.not(depth))
	}
	return both(all...)
}

func (t *translator) not(depth int) *node {
	if depth > maxDepth {
		t.tokens = nil
		return t.problem("the condition is nested too deep")
	}
	switch {
	case t.accept("not"):
		return negate(t.not(depth + 1))
	case t.accept("("):
		n := t.or(depth + 1)
		if !t.accept(")") {
			return t.problem("the condition lacks a parenthesis")
		}
		return n
	case len(t.tokens) == 0:
		return t.problem("the condition ends too early")
	}
	word := t.tokens[0]
	t.tokens = t.tokens[1:]
	if t.accept("of") {
		return t.of(strings.ToLower(word))
	}
	if _, ok := t.detection[word]; !ok || word == "condition" {
		return t.problem("the condition names %s, which is not there", quoted(word))
	}
	return t.selection(word)
}

// of is "1 of PATTERN", "any of", "all of"; them is every selection.
func (t *translator) of(quantity string) *node {
	if len(t.tokens) == 0 {
		return t.problem("the condition ends too early")
	}
	pattern := t.tokens[0]
	t.tokens = t.tokens[1:]
	var found []*node
	for _, name := range slices.Sorted(maps.Keys(t.detection)) {
		if name != "condition" && matches(pattern, name) {
			found = append(found, t.selection(name))
		}
	}
	switch {
	case len(found) == 0:
		return t.problem("the condition names %s, which is not there", quoted(pattern))
	case quantity == "all":
		return both(found...)
	case quantity == "1", quantity == "any":
		return either(found...)
	}
	return t.problem("%s of: 1, any and all are read", quoted(quantity))
}

func matches(pattern, name string) bool {
	if pattern == "them" {
		return !strings.HasPrefix(name, "_")
	}
	if strings.ContainsAny(pattern, `?[\`) {
		return pattern == name // path.Match would take these for its own
	}
	ok, err := path.Match(pattern, strings.ReplaceAll(name, "/", "_"))
	return ok && err == nil
}

func (t *translator) selection(name string) *node {
	if n, ok := t.done[name]; ok {
		return n
	}
	n := t.selected(t.detection[name])
	t.done[name] = n
	return n
}

// selected is a mapping, of which all must be true, or a list, of which one.
func (t *translator) selected(value any) *node {
	switch v := value.(type) {
	case map[string]any:
		if len(v) == 0 {
			return t.problem("an empty selection")
		}
		var all []*node
		for _, key := range slices.Sorted(maps.Keys(v)) {
			all = append(all, t.item(key, v[key]))
		}
		return both(all...)
	case []any:
		if len(v) == 0 {
			return t.problem("an empty selection")
		}
		var some []*node
		var words []any
		for _, one := range v {
			if m, ok := one.(map[string]any); ok {
				some = append(some, t.selected(m))
				continue
			}
			words = append(words, one)
		}
		if len(words) > 0 {
			some = append(some, t.item("", words))
		}
		return either(some...)
	}
	return t.item("", value)
}
