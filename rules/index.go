package rules

import (
	"math"

	"github.com/clawwatch/clawwatch/internal/event"
)

// An index tells which rules of a kind a record may fulfil. Of what a condition
// needs, the part that the fewest records have is looked up: that a field is one of
// some texts or numbers, or that one of some texts is in it. The rest is checked for
// the rules that are left, and only what passes is evaluated. A rule of which nothing
// is known to be needed is always evaluated.
type index struct {
	rules    []*rule
	checks   []check
	heavy    []bool // a check that may take as long as an evaluation
	always   marks
	marks    marks
	texts    []*lookup[*text, string]
	numbers  []*lookup[*int, int]
	lists    []*lookup[*[]string, string] // by their elements
	scanners []*scanner
}

// A lookup gives the rules for each value of a field.
type lookup[F, V comparable] struct {
	field F
	fold  bool
	rules map[V][]int
}

func newIndex(rules []*rule, kind event.Kind, env *Env) *index {
	x := &index{rules: rules, checks: make([]check, len(rules)), heavy: make([]bool, len(rules)), always: make(marks, (len(rules)+63)/64)}
	x.marks = make(marks, len(x.always))
	b := newBinder(env)
	for i, r := range rules {
		needed := b.settle(r.Condition.need, kind)
		if needed.op == never {
			continue
		}
		key, rest := keyOf(needed)
		if key == nil {
			x.always.set([]int{i})
		}
		for _, t := range key {
			x.add(b, t, i)
		}
		x.checks[i], x.heavy[i] = b.bind(rest), rest.weight() > maxLight
	}
	return x
}

func (x *index) add(b *binder, t *test, rule int) {
	switch t.how {
	case equal:
		l := lookupOf(&x.texts, b.text(t.field), t.fold)
		for _, s := range t.texts {
			l.rules[s] = append(l.rules[s], rule)
		}
	case number:
		l := lookupOf(&x.numbers, b.fields[t.field].(*int), false)
		for _, s := range t.spans {
			l.rules[s.from] = append(l.rules[s.from], rule)
		}
	case hasElement:
		l := lookupOf(&x.lists, b.fields[t.field].(*[]string), false)
		for _, s := range t.inner.test.texts {
			l.rules[s] = append(l.rules[s], rule)
		}
	default:
		s := x.scanner(b.text(t.field), t.fold)
		for _, text := range t.texts {
			s.add(needleKey{t.how, text}, rule)
		}
		s.longS = s.longS || t.longS
	}
}

func lookupOf[F, V comparable](all *[]*lookup[F, V], field F, fold bool) *lookup[F, V] {
	for _, l := range *all {
		if l.field == field && l.fold == fold {
			return l
		}
	}
	l := &lookup[F, V]{field, fold, map[V][]int{}}
	*all = append(*all, l)
	return l
}

func (x *index) scanner(of *text, fold bool) *scanner {
	for _, s := range x.scanners {
		if s.of == of && s.fold == fold {
			return s
		}
	}
	s := newScanner(of, fold)
	x.scanners = append(x.scanners, s)
	return s
}

// candidates gives the numbers of the rules that what is in the Env may fulfil, in
// their order, before their checks.
func (x *index) candidates(yield func(int) bool) {
	copy(x.marks, x.always)
	for _, l := range x.texts {
		x.marks.set(l.rules[l.field.get(l.fold)])
	}
	for _, l := range x.numbers {
		x.marks.set(l.rules[*l.field])
	}
	for _, l := range x.lists {
		for _, s := range *l.field {
			x.marks.set(l.rules[s])
		}
	}
	for _, s := range x.scanners {
		s.scan(x.marks)
	}
	x.marks.all(yield)
}

// maxLight is the weight of a check that is not worth a look at the clock.
const maxLight = 32

// weight is about how many comparisons a need takes.
func (n *need) weight() int {
	w := 0
	for _, sub := range n.of {
		w += sub.weight()
	}
	if t := n.test; t != nil {
		w += 1 + len(t.texts)
		if t.match != nil {
			w += 8
		}
		if t.inner != nil {
			w += 8 * t.inner.weight()
		}
	}
	return w
}

// keyOf chooses what of a need is looked up: tests of which one holds wherever the
// need does; nil: there are none. The rest is what is still to be checked.
func keyOf(n *need) (key []*test, rest *need) {
	parts := []*need{n}
	if n.op == all {
		parts = n.of
	}
	best, least := -1, 0.9
	for i, part := range parts {
		if k := keys(part); k != nil && commonness(k) < least {
			best, least, key = i, commonness(k), k
		}
	}
	var left []*need
	for i, part := range parts {
		if i != best || !settledBy(part) {
			left = append(left, part)
		}
	}
	return key, join(all, left...)
}

// keys gives tests that can be looked up, of which one holds wherever n does.
func keys(n *need) []*test {
	switch n.op {
	case one:
		if n.test.canBeKey() {
			return []*test{n.test}
		}
	case some:
		var union []*test
		for _, sub := range n.of {
			k := keys(sub)
			if k == nil {
				return nil
			}
			union = append(union, k...)
		}
		return union
	case all:
		var best []*test
		for _, sub := range n.of {
			if k := keys(sub); k != nil && (best == nil || commonness(k) < commonness(best)) {
				best = k
			}
		}
		return best
	}
	return nil
}

// settledBy reports whether n holds wherever one of its keys does.
func settledBy(n *need) bool {
	if n.op == some {
		for _, sub := range n.of {
			if !settledBy(sub) {
				return false
			}
		}
		return true
	}
	return n.op == one
}

func (t *test) canBeKey() bool {
	switch {
	case t.how == hasElement:
		in := t.inner
		return !t.not && in.op == one && !in.test.not && in.test.field == element && in.test.how == equal && !in.test.fold
	case t.not || t.field == element || len(t.texts)+len(t.spans) == 0:
		return false
	case t.how == number:
		for _, s := range t.spans {
			if s.from != s.to {
				return false
			}
		}
		return true
	}
	return t.how == equal || t.how == contains || t.how == starts || t.how == ends
}

// usual are fields of few values: what is asked of them is true of many records.
var usual = map[string]bool{
	"network.transport": true, "network.direction": true, "network.family": true, "network.errno": true, "network.service": true,
	"file.operation": true, "file.tier": true, "file.attribute": true, "process.role": true, "process.user": true, "process.errand": true,
	"skill.confidence": true, "skill.name": true, "session.channel": true, "session.id": true, "tool.name": true, "env.method": true, "access.method": true,
}

// commonness guesses the share of records for which one of the tests holds.
func commonness(tests []*test) float64 {
	without := 1.0
	for _, t := range tests {
		if t.how == hasElement {
			without *= 0.9
		}
		for _, s := range t.texts {
			switch p := 0.5 / float64(1+len(s)); {
			case s == "" || usual[t.field]:
				without *= 0.6
			case t.how == equal:
				without *= 0.99
			case t.how == starts:
				without *= 1 - math.Min(1, 2*p)
			default:
				without *= 1 - p
			}
		}
		for range t.spans {
			without *= 0.97
		}
	}
	return 1 - without
}
