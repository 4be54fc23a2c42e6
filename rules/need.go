package rules

import (
	"math"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// A need is what must hold of a record for a condition to be true, in tests that
// are far cheaper than the condition. It is never more than that: where a part of
// the condition is not understood, nothing is needed of it.
type need struct {
	op   op
	of   []*need // all, some
	test *test   // one
}

type op int

const (
	anything op = iota // nothing is needed
	never              // it cannot be true
	all                // of them hold
	some               // of them holds
	one                // test holds
)

// A test compares one field with what is written out in a rule. It is exact.
type test struct {
	field string // "process.name"; element: of the list that the test is in
	fold  bool   // lower(field) is compared
	not   bool
	how   how
	texts []string          // equal, contains, starts, ends: one of them
	spans []span            // number: within one of them
	match func(string) bool // matched
	inner *need             // element: of one element of the list
	longS bool              // contains: for a pattern, to which ſ is an s
}

type how int

const (
	isTrue how = iota
	equal
	contains
	starts
	ends
	number
	matched
	hasElement
)

// element is the field that stands for one element of a list.
const element = "#"

type span struct{ from, to int }

// needOf derives what must hold for n to give want.
func needOf(n ast.Node, want bool) *need {
	switch n := n.(type) {
	case *ast.BoolNode:
		if n.Value != want {
			return &need{op: never}
		}
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			return needOf(n.Node, !want)
		}
	case *ast.ConditionalNode:
		return join(some,
			join(all, needOf(n.Cond, true), needOf(n.Exp1, want)),
			join(all, needOf(n.Cond, false), needOf(n.Exp2, want)))
	case *ast.BinaryNode:
		return needOfBinary(n, want)
	case *ast.BuiltinNode:
		return needOfBuiltin(n, want)
	case *ast.CallNode:
		if t := called(n); t != nil {
			return exact(t, want)
		}
	default:
		if f, fold := fieldOf(n); f != "" && f != element && !fold {
			return exact(&test{field: f, how: isTrue}, want) // bind checks that it is a bool
		}
	}
	return &need{}
}

func exact(t *test, want bool) *need {
	t.not = !want
	return &need{op: one, test: t}
}

// join makes one need of several, without those that decide nothing.
func join(o op, needs ...*need) *need {
	settled, empty := never, anything // what decides an all, and what is left out of it
	if o == some {
		settled, empty = anything, never
	}
	var of []*need
	for _, n := range needs {
		switch n.op {
		case settled:
			return &need{op: settled}
		case empty:
		case o:
			of = append(of, n.of...)
		default:
			of = append(of, n)
		}
	}
	switch len(of) {
	case 0:
		return &need{op: empty}
	case 1:
		return of[0]
	}
	return &need{op: o, of: of}
}

func needOfBinary(n *ast.BinaryNode, want bool) *need {
	switch n.Operator {
	case "and", "&&":
		return join(map[bool]op{true: all, false: some}[want], needOf(n.Left, want), needOf(n.Right, want))
	case "or", "||":
		return join(map[bool]op{true: some, false: all}[want], needOf(n.Left, want), needOf(n.Right, want))
	case "!=":
		return needOfBinary(&ast.BinaryNode{Operator: "==", Left: n.Left, Right: n.Right}, !want)
	case "matches":
		f, fold := fieldOf(n.Left)
		if pattern, ok := n.Right.(*ast.StringNode); ok && want && f != "" && !fold {
			return needOfPattern(f, pattern.Value)
		}
	case "==", "in", "contains", "startsWith", "endsWith", "<", "<=", ">", ">=":
		if t := compares(n.Operator, n.Left, n.Right); t != nil {
			return exact(t, want)
		}
		if n.Operator == "in" && want {
			return elementIs(n.Left, n.Right)
		}
	}
	return &need{}
}

// compares is the test of a comparison of a field with what is written out; nil: it
// is none.
func compares(operator string, left, right ast.Node) *test {
	f, fold := fieldOf(left)
	if f == "" && operator == "==" {
		left, right = right, left
		f, fold = fieldOf(left)
	}
	if f == "" {
		return nil
	}
	if from, ok := right.(*ast.IntegerNode); ok && !fold {
		if s, ok := spanOf(operator, from.Value); ok {
			return &test{field: f, how: number, spans: []span{s}}
		}
		return nil
	}
	if numbers := numbersOf(right); numbers != nil && operator == "in" && !fold {
		return &test{field: f, how: number, spans: numbers}
	}
	how, ok := map[string]how{"==": equal, "in": equal, "contains": contains, "startsWith": starts, "endsWith": ends}[operator]
	texts, list := textsOf(right)
	if !ok || texts == nil || list != (operator == "in") {
		return nil
	}
	return &test{field: f, fold: fold, how: how, texts: texts}
}

func spanOf(operator string, n int) (span, bool) {
	switch operator {
	case "==":
		return span{n, n}, true
	case "<":
		return span{math.MinInt, n - 1}, n > math.MinInt
	case "<=":
		return span{math.MinInt, n}, true
	case ">":
		return span{n + 1, math.MaxInt}, n < math.MaxInt
	case ">=":
		return span{n, math.MaxInt}, true
	}
	return span{}, false
}

// elementIs is for "text" in field: an element is that text.
func elementIs(left, right ast.Node) *need {
	s, ok := left.(*ast.StringNode)
	f, fold := fieldOf(right)
	if !ok || f == "" || f == element || fold {
		return &need{}
	}
	return exact(&test{field: f, how: hasElement, inner: exact(&test{field: element, how: equal, texts: []string{s.Value}}, true)}, true)
}

func needOfBuiltin(n *ast.BuiltinNode, want bool) *need {
	if (n.Name == "hasPrefix" || n.Name == "hasSuffix") && len(n.Arguments) == 2 {
		operator := map[string]string{"hasPrefix": "startsWith", "hasSuffix": "endsWith"}[n.Name]
		return needOfBinary(&ast.BinaryNode{Operator: operator, Left: n.Arguments[0], Right: n.Arguments[1]}, want)
	}
	if len(n.Arguments) != 2 || !want {
		return &need{}
	}
	predicate, ok := n.Arguments[1].(*ast.PredicateNode)
	if !ok {
		return &need{}
	}
	if texts, _ := textsOf(n.Arguments[0]); texts != nil && (n.Name == "any" || n.Name == "all") {
		o := map[string]op{"any": some, "all": all}[n.Name]
		return needOfEach(o, texts, predicate.Node)
	}
	f, fold := fieldOf(n.Arguments[0])
	if f == "" || f == element || fold || n.Name != "any" {
		return &need{}
	}
	return exact(&test{field: f, how: hasElement, inner: needOf(predicate.Node, true)}, true)
}

// needOfEach is for any(["a", "b"], field contains #): one test with all the texts.
func needOfEach(o op, texts []string, predicate ast.Node) *need {
	b, ok := predicate.(*ast.BinaryNode)
	if !ok {
		return &need{}
	}
	right, isElement := b.Right.(*ast.PointerNode)
	f, _ := fieldOf(b.Left)
	if !isElement || right.Name != "" || f == element {
		return &need{}
	}
	var each []*need
	for _, s := range texts {
		t := compares(b.Operator, b.Left, &ast.StringNode{Value: s})
		if t == nil {
			return &need{}
		}
		each = append(each, exact(t, true))
	}
	if o == some && len(each) > 0 {
		first := each[0].test
		return exact(&test{field: first.field, fold: first.fold, how: first.how, texts: texts}, true)
	}
	return join(o, each...)
}

// called is the test of one of our functions of a field and what is written out.
func called(n *ast.CallNode) *test {
	if len(n.Arguments) != 2 {
		return nil
	}
	f, fold := fieldOf(n.Arguments[0])
	c, ok := n.Arguments[1].(*ast.ConstantNode)
	if !ok || f == "" || fold {
		return nil
	}
	p, ok := c.Value.(*prepared)
	if !ok {
		return nil
	}
	return &test{field: f, how: matched, match: p.match}
}

// needOfPattern finds texts without which a pattern does not match.
func needOfPattern(field, pattern string) *need {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return &need{}
	}
	return literalsOf(field, parsed)
}

func literalsOf(field string, r *syntax.Regexp) *need {
	switch r.Op {
	case syntax.OpLiteral:
		fold := r.Flags&syntax.FoldCase != 0
		text := string(r.Rune)
		if fold {
			text = strings.ToLower(text)
		}
		if strings.ContainsFunc(text, func(c rune) bool { return c > 0x7e }) { // U+FFFD matches what is no UTF-8
			return &need{}
		}
		return exact(&test{field: field, fold: fold, how: contains, texts: []string{text}, longS: fold}, true)
	case syntax.OpCapture, syntax.OpPlus:
		return literalsOf(field, r.Sub[0])
	case syntax.OpRepeat:
		if r.Min > 0 {
			return literalsOf(field, r.Sub[0])
		}
	case syntax.OpConcat, syntax.OpAlternate:
		each := make([]*need, len(r.Sub))
		for i, s := range r.Sub {
			each[i] = literalsOf(field, s)
		}
		return join(map[syntax.Op]op{syntax.OpConcat: all, syntax.OpAlternate: some}[r.Op], each...)
	}
	return &need{}
}

// fieldOf gives the name of the field that n is, and whether it is lower(field).
func fieldOf(n ast.Node) (name string, fold bool) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return n.Value, false
	case *ast.PointerNode:
		if n.Name == "" {
			return element, false
		}
	case *ast.MemberNode:
		of, ok := n.Node.(*ast.IdentifierNode)
		property, ok2 := n.Property.(*ast.StringNode)
		if ok && ok2 && !n.Optional {
			return of.Value + "." + property.Value, false
		}
	case *ast.BuiltinNode:
		if n.Name == "lower" && len(n.Arguments) == 1 {
			name, fold = fieldOf(n.Arguments[0])
			return name, name != "" && !fold
		}
	}
	return "", false
}

// textsOf gives texts that are written out, one or a list; nil: it is something else.
func textsOf(n ast.Node) (texts []string, list bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return []string{n.Value}, false
	case *ast.ArrayNode:
		for _, item := range n.Nodes {
			s, ok := item.(*ast.StringNode)
			if !ok {
				return nil, true
			}
			texts = append(texts, s.Value)
		}
		return texts, true
	case *ast.ConstantNode:
		switch v := n.Value.(type) {
		case string:
			return []string{v}, false
		case map[string]struct{}:
			for s := range v {
				texts = append(texts, s)
			}
			slices.Sort(texts)
			return texts, true
		case []string:
			return v, true
		case []any:
			for _, item := range v {
				s, ok := item.(string)
				if !ok {
					return nil, true
				}
				texts = append(texts, s)
			}
			return texts, true
		}
	}
	return nil, false
}

func numbersOf(n ast.Node) []span {
	c, ok := n.(*ast.ConstantNode)
	if !ok {
		return nil
	}
	set, ok := c.Value.(map[int]struct{})
	if !ok {
		return nil
	}
	var spans []span
	for v := range set {
		spans = append(spans, span{v, v})
	}
	return spans
}
