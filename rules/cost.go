package rules

import (
	"fmt"

	"github.com/expr-lang/expr/ast"
)

// The cost of an expression is the time that one evaluation can take at worst, in
// units of about 16 µs: what it takes to look through 16 KiB of text once. Sensors
// give at most 256 KiB of arguments in all; other texts are about as long as that one.
const (
	maxCost     = 60_000 // about a second
	patternCost = 700    // Go's patterns may take that much longer than a comparison
	listTexts   = 16     // what all elements of a list of the event are together
	listItems   = maxArgs
)

// affordable refuses an expression that can take longer than a second.
func affordable(n ast.Node) error {
	if c := costOf(n, scale{1, 1}); c > maxCost {
		return fmt.Errorf("one evaluation could take seconds: %d times what is allowed; use fewer patterns (a|b is one) and comparisons in a predicate over a list", (c+maxCost-1)/maxCost)
	}
	return nil
}

// A scale is how often something is done with a text: an element of the list that is
// being looked through, or any other.
type scale struct{ element, other int }

func (s scale) of(n ast.Node) int {
	if ast.Find(n, func(n ast.Node) bool { _, ok := n.(*ast.PointerNode); return ok }) != nil {
		return s.element
	}
	return s.other
}

func costOf(n ast.Node, s scale) int {
	sum := func(nodes ...ast.Node) int {
		total := 0
		for _, sub := range nodes {
			if sub != nil {
				total += costOf(sub, s)
			}
		}
		return total
	}
	switch n := n.(type) {
	case *ast.UnaryNode:
		return sum(n.Node)
	case *ast.BinaryNode:
		return sum(n.Left, n.Right) + s.of(n.Left)*costOfOperator(n.Operator)
	case *ast.ConditionalNode:
		return sum(n.Cond, n.Exp1, n.Exp2)
	case *ast.BuiltinNode:
		if p, ok := n.Arguments[len(n.Arguments)-1].(*ast.PredicateNode); ok {
			return sum(n.Arguments[0]) + costOf(p.Node, s.times(n.Arguments[0]))
		}
		return sum(n.Arguments...) + s.of(n)
	case *ast.CallNode:
		return sum(n.Arguments...) + s.of(n)*patternsOf(n)
	case *ast.ArrayNode:
		return sum(n.Nodes...)
	case *ast.MemberNode:
		return sum(n.Node, n.Property)
	case *ast.SliceNode:
		return sum(n.Node, n.From, n.To)
	case *ast.ChainNode:
		return sum(n.Node)
	case *ast.PredicateNode:
		return sum(n.Node)
	}
	return 0
}

// patternsOf gives how many patterns are tried one by one.
func patternsOf(n *ast.CallNode) int {
	if name, ok := n.Callee.(*ast.IdentifierNode); ok && name.Value == "glob" && len(n.Arguments) > 1 {
		if c, ok := n.Arguments[1].(*ast.ConstantNode); ok {
			if p, ok := c.Value.(*prepared); ok {
				return len(p.patterns)
			}
		}
	}
	return 1
}

func costOfOperator(operator string) int {
	switch operator {
	case "matches":
		return patternCost
	case "contains", "startsWith", "endsWith", "in", "+", "==", "!=":
		return 1
	}
	return 0
}

// times is the scale of a predicate over a list.
func (s scale) times(list ast.Node) scale {
	length := -1
	switch l := list.(type) {
	case *ast.ArrayNode:
		length = len(l.Nodes)
	case *ast.ConstantNode:
		if values, ok := l.Value.([]any); ok {
			length = len(values)
		}
	}
	if length >= 0 {
		return scale{s.other * length, s.other * length}
	}
	return scale{s.other * listTexts, s.other * listItems}
}
