package rules

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
)

// A Word is a list or a macro that a condition uses.
type Word struct {
	Name string
	List []string // of a list: its items
	Text string   // of a macro: its expression
}

// A vocabulary is the lists and macros of all files. They share their names.
type vocabulary struct {
	lists  map[string]*wordList
	macros map[string]*macro
	errs   []error
}

const maxItems = 10_000 // of a list

// A wordList is texts, or numbers.
type wordList struct {
	file  string
	items []any // string or int, all the same

	changed bool // a file that is not built in adds to it
}

// A macro is an expression that has a name.
type macro struct {
	file  string
	text  *yamlfile.Scalar
	state macroState
}

type macroState int

const (
	unchecked macroState = iota
	checking             // by what it uses: whoever comes here again goes in a circle
	sound
	broken // and reported
)

// errBroken says that a macro has a mistake, which is reported at the macro.
var errBroken = errors.New("a macro has a mistake")

func (v *vocabulary) report(err error) {
	if err != nil {
		v.errs = append(v.errs, err)
	}
}

// learn takes in the lists and macros of all files, and what files add to lists of
// others. The error joins the mistakes.
func (v *vocabulary) learn(docs []*document) error {
	for _, doc := range docs {
		for _, e := range doc.Lists {
			if !e.Value.Extends {
				v.report(v.define(doc, e.Key, e.At))
				v.lists[e.Key] = &wordList{file: doc.file.Name}
				v.report(v.lists[e.Key].add(doc, e))
			}
		}
		for _, e := range doc.Macros {
			v.report(v.define(doc, e.Key, e.At))
			v.macros[e.Key] = &macro{file: doc.file.Name, text: &e.Value}
			if !e.Value.Given() {
				v.macros[e.Key].state = broken
			}
		}
	}
	for _, doc := range docs {
		for _, e := range doc.Lists {
			switch list := v.lists[e.Key]; {
			case !e.Value.Extends:
			case list == nil:
				v.report(doc.mistake(e.At, "there is no list %q to extend", e.Key))
			default:
				list.changed = list.changed || !doc.file.builtin
				v.report(list.add(doc, e))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.macros)) {
		_ = v.check(v.macros[name]) // it is reported
	}
	return errors.Join(v.errs...)
}

var wordName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// define judges a name that a file gives.
func (v *vocabulary) define(doc *document, name string, at yamlfile.Pos) error {
	if !wordName.MatchString(name) {
		return doc.mistake(at, "a list or macro is named by lower-case letters, digits and _, such as package_managers")
	}
	if reserved(name) {
		return doc.mistake(at, "%s is a field, a function or a word of the language already", name)
	}
	if list := v.lists[name]; list != nil {
		return doc.mistake(at, "list %s is defined in %s already; lists: {%s: {extend: […]}} adds to it", name, list.file, name)
	}
	if m := v.macros[name]; m != nil {
		return doc.mistake(at, "macro %s is defined in %s already", name, m.file)
	}
	return nil
}

// reserved reports whether a name means something in conditions or messages.
func reserved(name string) bool {
	if slices.Contains(allowed, name) || slices.ContainsFunc(Functions(), func(f Function) bool { return f.Name == name }) ||
		slices.Contains([]string{"bytes", "list", "text", "and", "or", "not", "in", "contains", "matches", "let", "if", "else", "true", "false", "nil"}, name) {
		return true
	}
	return slices.ContainsFunc(reflect.VisibleFields(reflect.TypeFor[Words]()), func(f reflect.StructField) bool { return f.Tag.Get("expr") == name })
}

func (l *wordList) add(doc *document, e *yamlfile.Entry[yamlfile.List[yamlfile.Raw]]) error {
	for i, raw := range e.Value.Items {
		var item any
		switch x := raw.Value.(type) {
		case string:
			item = x
		case int64:
			item = int(x)
		case uint64:
			item = int(x)
		}
		if item == nil || len(l.items) > 0 && reflect.TypeOf(item) != reflect.TypeOf(l.items[0]) {
			return doc.mistake(e.At, "item %d of %s: a list is texts, or whole numbers, and not both", i+1, e.Key)
		}
		l.items = append(l.items, item)
	}
	if len(l.items) > maxItems {
		return doc.mistake(e.At, "list %s has %d items, at most %d are read", e.Key, len(l.items), maxItems)
	}
	return nil
}

// check compiles a macro by itself, so that a mistake is shown at its place there, and
// once.
func (v *vocabulary) check(m *macro) error {
	switch m.state {
	case sound:
		return nil
	case broken:
		return errBroken
	case checking:
		return errors.New("a macro must not lead back to itself")
	}
	m.state = checking
	_, _, err := compile(m.text.Text, Env{}, v)
	if err == nil {
		m.state = sound
		return nil
	}
	m.state = broken
	if !errors.Is(err, errBroken) {
		v.report(m.text.Mistake(err))
	}
	return errBroken
}

// Words describes all lists and macros, by name.
func (s *Set) Words() []Word {
	return s.vocabulary.used(slices.Sorted(maps.Keys(s.vocabulary.all())))
}

func (v *vocabulary) all() map[string]bool {
	all := map[string]bool{}
	for name := range v.lists {
		all[name] = true
	}
	for name := range v.macros {
		all[name] = true
	}
	return all
}

// used describes lists and macros of these names.
func (v *vocabulary) used(names []string) []Word {
	var all []Word
	for _, name := range names {
		w := Word{Name: name}
		if l := v.lists[name]; l != nil {
			w.List = []string{}
			for _, item := range l.items {
				w.List = append(w.List, fmt.Sprint(item))
			}
		} else {
			w.Text = strings.TrimSpace(v.macros[name].text.Text)
		}
		all = append(all, w)
	}
	return all
}

// A budget counts the nodes of an expression as it is with its macros. A list counts
// as one where it is looked up (in, or an argument of our functions), and by its
// items where they are gone through.
type budget struct {
	nodes int
	lists map[*ast.ArrayNode]int // by items
	words []string
}

func newBudget() *budget { return &budget{lists: map[*ast.ArrayNode]int{}} }

func (b *budget) total() int {
	n := b.nodes
	for _, items := range b.lists {
		n += items
	}
	return n
}

var tooLarge = fmt.Sprintf("with its macros and lists the expression has more than %d parts", maxNodes)

// An expander puts into the tree of an expression what its names stand for.
type expander struct {
	units   map[int]quantity
	words   *vocabulary // nil: no lists and macros
	spent   *budget
	seen    *inspector
	options []expr.Option // that the expression is compiled with
	use     ast.Node      // of a macro: where the expression uses it
}

// Visit implements ast.Visitor.
func (x *expander) Visit(node *ast.Node) {
	x.spent.nodes++
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		x.name(node, n)
	case *ast.BinaryNode:
		if n.Operator == "in" || n.Operator == "not in" {
			x.lookedUp(n.Right)
		}
	case *ast.CallNode:
		for _, arg := range n.Arguments {
			x.lookedUp(arg)
		}
	}
}

func (x *expander) lookedUp(n ast.Node) {
	if list, ok := n.(*ast.ArrayNode); ok {
		delete(x.spent.lists, list)
	}
}

func (x *expander) name(node *ast.Node, id *ast.IdentifierNode) {
	if q, ok := x.units[id.Location().From]; ok && q.stand == id.Value {
		ast.Patch(node, &ast.IntegerNode{Value: q.value})
		return
	}
	if x.words == nil {
		return
	}
	if list := x.words.lists[id.Value]; list != nil {
		x.learn(id.Value)
		array := list.node(id.Location())
		x.spent.lists[array] = len(array.Nodes)
		*node = array
	} else if m := x.words.macros[id.Value]; m != nil {
		x.learn(id.Value)
		x.macro(node, id, m)
	}
}

func (x *expander) learn(name string) {
	if !slices.Contains(x.spent.words, name) {
		x.spent.words = append(x.spent.words, name)
	}
}

// macro puts a fresh tree of the macro in the place of its name: the compiler
// changes what it is given.
func (x *expander) macro(node *ast.Node, id *ast.IdentifierNode, m *macro) {
	if x.use == nil {
		defer func() { x.use = nil }()
		x.use = id
	}
	if err := x.words.check(m); err != nil {
		if errors.Is(err, errBroken) {
			x.seen.err = err
		}
		x.seen.refuse(x.use, err.Error())
		return
	}
	if x.spent.nodes > maxNodes {
		x.seen.refuse(x.use, tooLarge)
		return
	}
	plain, units, err := quantities(m.text.Text)
	if err != nil {
		x.seen.refuse(x.use, err.Error())
		return
	}
	tree, err := parser.ParseWithConfig(plain, x.config())
	if err != nil {
		x.seen.refuse(x.use, err.Error())
		return
	}
	ast.Walk(&tree.Node, &expander{units: units, words: x.words, spent: x.spent, seen: x.seen, options: x.options, use: x.use})
	ast.Walk(&tree.Node, at(x.use.Location()))
	*node = tree.Node
}

func (x *expander) config() *conf.Config {
	c := conf.CreateNew()
	for _, o := range x.options {
		o(c)
	}
	for name := range c.Disabled {
		delete(c.Builtins, name)
	}
	return c
}

// at puts all nodes at one place.
type at file.Location

// Visit implements ast.Visitor.
func (a at) Visit(node *ast.Node) { (*node).SetLocation(file.Location(a)) }

func (l *wordList) node(where file.Location) *ast.ArrayNode {
	array := &ast.ArrayNode{}
	array.SetLocation(where)
	for _, item := range l.items {
		var n ast.Node
		switch item := item.(type) {
		case string:
			n = &ast.StringNode{Value: item}
		case int:
			n = &ast.IntegerNode{Value: item}
		}
		n.SetLocation(where)
		array.Nodes = append(array.Nodes, n)
	}
	return array
}
