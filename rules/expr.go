package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
)

// Bounds of one expression. Together with what inspect refuses they keep the
// work of an evaluation in proportion to the event: no expression can build or
// walk more than a small multiple of what it is given.
const (
	maxSource    = 16 << 10 // bytes; the parser recurses
	maxNodes     = 300
	memoryBudget = 10_000
)

// allowed are the built-in functions that a rule may use.
var allowed = []string{"all", "any", "none", "one", "count", "len", "lower", "upper", "trim", "hasPrefix", "hasSuffix"}

// kinds are the kinds that records have: all but the signals between collectors, agent and pipeline.
var kinds = []event.Kind{
	event.KindFork, event.KindExec, event.KindExit, event.KindHeir,
	event.KindFileOpen, event.KindFileCreate, event.KindFileRename, event.KindFileDelete,
	event.KindFileLink, event.KindFileAttr, event.KindFileRead, event.KindFileWrite,
	event.KindConnect, event.KindAccept, event.KindClose, event.KindListen, event.KindSend, event.KindSocket,
	event.KindDNS, event.KindTLSName, event.KindHTTP, event.KindEnvRead,
	event.KindAccess, event.KindCredentials, event.KindNamespace,
	event.KindGateway, event.KindToolCall, event.KindToolResult, event.KindToolEffects, event.KindLLMCall, event.KindSessionStart,
	event.KindSkillPresent, event.KindSkillInstalled, event.KindSkillUpdated, event.KindSkillRemoved,
	event.KindLost, event.KindCoverage,
}

// compile compiles source for an environment like env, with the lists and macros of
// words. The error is a *yamlfile.InnerError with the place in the source.
func compile(source string, env any, words *vocabulary, more ...expr.Option) (*vm.Program, *inspector, error) {
	if len(source) > maxSource {
		return nil, nil, fmt.Errorf("an expression has at most %d bytes", maxSource)
	}
	plain, units, err := quantities(source)
	if err != nil {
		return nil, nil, err
	}
	seen := &inspector{source: source}
	grown := &expander{units: units, words: words, spent: newBudget(), seen: seen}
	options := append([]expr.Option{expr.Env(env), expr.MaxNodes(maxNodes), expr.DisableAllBuiltins(), expr.Patch(grown), expr.Patch(seen)}, more...)
	options = append(options, functions()...)
	for _, name := range allowed {
		options = append(options, expr.EnableBuiltin(name))
	}
	grown.options = options
	program, err := expr.Compile(plain, options...)
	if seen.words = grown.spent.words; err == nil && grown.spent.total() > maxNodes {
		seen.err = &yamlfile.InnerError{Line: 1, Column: 1, Message: tooLarge}
	}
	if seen.err != nil {
		return nil, nil, seen.err
	}
	if err != nil {
		var at *file.Error
		if !errors.As(err, &at) {
			return nil, nil, err
		}
		return nil, nil, &yamlfile.InnerError{Line: max(at.Line, 1), Column: at.Column + 1, Message: asWritten(at.Message, units)}
	}
	if err := affordable(program.Node()); err != nil {
		return nil, nil, err
	}
	return program, seen, nil
}

// An inspector looks at the tree of an expression before it is compiled: it
// refuses what could run away and learns which kinds and fields it is about.
type inspector struct {
	source      string
	err         error
	kinds       []event.Kind // for which it can be true, as far as it says so plainly; nil: any
	tiers       []string     // of file.tier, likewise
	commandLine bool         // a command line is asked for
	words       []string     // lists and macros that it uses, also by way of others
}

// Visit implements ast.Visitor. The root comes last.
func (i *inspector) Visit(node *ast.Node) {
	i.kinds = nil
	if names := valuesOf(*node, isKind); names != nil {
		i.kinds = make([]event.Kind, len(names))
		for k, name := range names {
			i.kinds[k] = event.Kind(name)
		}
	}
	i.tiers = valuesOf(*node, isTier)
	switch n := (*node).(type) {
	case *ast.VariableDeclaratorNode:
		i.refuse(n, "let is not allowed")
	case *ast.SequenceNode:
		i.refuse(n, "one expression is wanted, not a sequence")
	case *ast.BuiltinNode: // the parser takes some that are disabled
		if !slices.Contains(allowed, n.Name) {
			i.refuse(n, "unknown name "+n.Name)
		}
	case *ast.PredicateNode:
		if ast.Find(n.Node, isPredicate) != nil {
			i.refuse(n, "a predicate within a predicate is not allowed")
		}
	case *ast.MemberNode:
		if p, ok := n.Property.(*ast.StringNode); ok && (p.Value == "command_line" || p.Value == "parent_command_line") {
			i.commandLine = true
		}
	case *ast.CallNode:
		i.call(n)
	case *ast.IdentifierNode:
		if strings.HasPrefix(n.Value, "$") {
			i.refuse(n, n.Value+" is not allowed")
		}
	case *ast.BinaryNode:
		i.binary(n)
	}
}

func isPredicate(n ast.Node) bool { _, ok := n.(*ast.PredicateNode); return ok }

func (i *inspector) binary(n *ast.BinaryNode) {
	switch n.Operator {
	case "..":
		i.refuse(n, "ranges are not allowed")
	case "matches":
		if _, ok := n.Right.(*ast.StringNode); !ok {
			i.refuse(n.Right, "matches wants a pattern that is written out")
		}
	case "==", "!=", "in", "not in":
		for _, name := range compared(n, isKind) {
			if !slices.Contains(kinds, event.Kind(name.Value)) {
				i.refuse(name, fmt.Sprintf("unknown kind %q", name.Value))
			}
		}
	}
}

func (i *inspector) refuse(n ast.Node, message string) {
	if i.err != nil {
		return
	}
	before := []rune(i.source)
	i.err = placed(before[:min(n.Location().From, len(before))], message)
}

// valuesOf gives the values of a field for which n can be true; nil: any.
func valuesOf(n ast.Node, isField func(ast.Node) bool) []string {
	b, ok := n.(*ast.BinaryNode)
	if !ok {
		return nil
	}
	switch b.Operator {
	case "==", "in":
		var found []string
		for _, name := range compared(b, isField) {
			found = append(found, name.Value)
		}
		return found
	case "&&", "and":
		left, right := valuesOf(b.Left, isField), valuesOf(b.Right, isField)
		switch {
		case left == nil:
			return right
		case right == nil:
			return left
		}
		return slices.DeleteFunc(left, func(v string) bool { return !slices.Contains(right, v) })
	case "||", "or":
		if left, right := valuesOf(b.Left, isField), valuesOf(b.Right, isField); left != nil && right != nil {
			return append(left, right...)
		}
	}
	return nil
}

// compared gives the texts that a comparison of a field is about.
func compared(b *ast.BinaryNode, isField func(ast.Node) bool) []*ast.StringNode {
	left, right := b.Left, b.Right
	if !isField(left) {
		left, right = right, left
	}
	if !isField(left) {
		return nil
	}
	switch right := right.(type) {
	case *ast.StringNode:
		return []*ast.StringNode{right}
	case *ast.ArrayNode:
		var names []*ast.StringNode
		for _, n := range right.Nodes {
			if s, ok := n.(*ast.StringNode); ok {
				names = append(names, s)
			}
		}
		if len(names) == len(right.Nodes) {
			return names
		}
	}
	return nil
}

func isKind(n ast.Node) bool {
	id, ok := n.(*ast.IdentifierNode)
	return ok && id.Value == "kind"
}

// isTier recognises file.tier.
func isTier(n ast.Node) bool {
	m, ok := n.(*ast.MemberNode)
	if !ok {
		return false
	}
	of, ok := m.Node.(*ast.IdentifierNode)
	name, ok2 := m.Property.(*ast.StringNode)
	return ok && ok2 && of.Value == "file" && name.Value == "tier"
}
