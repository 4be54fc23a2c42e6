package sigma

import (
	"slices"
	"strings"
)

type op int

const (
	opLeaf op = iota
	opAnd
	opOr
	opNot
	opAlways
	opNever
)

// A node is a part of a condition. Nodes are shared where a selection is named
// twice, and never changed.
type node struct {
	op   op
	text string // of a leaf: a comparison in the language of rules
	kids []*node
	slow bool // it looks through command lines
}

func leaf(text string) *node {
	return &node{op: opLeaf, text: text, slow: strings.Contains(text, "command_line")}
}

func constant(yes bool) *node {
	if yes {
		return &node{op: opAlways}
	}
	return &node{op: opNever}
}

// both is true where all the nodes are.
func both(kids ...*node) *node { return join(opAnd, opAlways, opNever, kids) }

// either is true where one of the nodes is.
func either(kids ...*node) *node { return join(opOr, opNever, opAlways, kids) }

func join(o, neutral, absorbing op, kids []*node) *node {
	n := &node{op: o}
	for _, k := range kids {
		switch k.op {
		case neutral:
		case absorbing:
			return k
		case o:
			n.kids = append(n.kids, k.kids...)
		default:
			n.kids = append(n.kids, k)
		}
	}
	n.slow = slices.ContainsFunc(n.kids, func(k *node) bool { return k.slow })
	if o == opAnd { // a program's name is compared quickly, and mostly is another
		slices.SortStableFunc(n.kids, func(a, b *node) int { return rank(a) - rank(b) })
	}
	switch len(n.kids) {
	case 0:
		return &node{op: neutral}
	case 1:
		return n.kids[0]
	}
	return n
}

func rank(n *node) int {
	if n.slow {
		return 1
	}
	return 0
}

func negate(n *node) *node {
	switch n.op {
	case opAlways, opNever:
		return constant(n.op == opNever)
	case opNot:
		return n.kids[0]
	}
	return &node{op: opNot, kids: []*node{n}, slow: n.slow}
}

// inline is the condition on one line.
func (n *node) inline() string {
	b := new(lines)
	b.write(n, 0)
	return b.String()
}

// pretty is the condition as a person would write it.
func (n *node) pretty() string {
	b := &lines{narrow: 100}
	b.write(n, 0)
	return b.String()
}

// lines writes conditions, and stops behind maxText: a selection that is named
// again and again could make a large text of a small file.
type lines struct {
	strings.Builder
	narrow int // characters of a line that need not be broken; 0: none is
}

func (b *lines) fits(n *node) bool { return b.narrow == 0 || n.width(b.narrow) <= b.narrow }

func (b *lines) write(n *node, depth int) {
	if b.Len() > maxText {
		return
	}
	switch n.op {
	case opLeaf:
		b.WriteString(n.text)
	case opNot:
		b.WriteString("not ")
		b.group(n.kids[0], depth)
	case opAnd, opOr:
		word := map[op]string{opAnd: " and", opOr: " or"}[n.op]
		gap := " "
		if !b.fits(n) {
			gap = "\n" + strings.Repeat("  ", depth)
		}
		for i, k := range n.kids {
			if i > 0 {
				b.WriteString(word + gap)
			}
			if k.op == opAnd || k.op == opOr {
				b.group(k, depth)
			} else {
				b.write(k, depth)
			}
		}
	}
}

// group writes a node in parentheses.
func (b *lines) group(n *node, depth int) {
	if b.fits(n) {
		b.WriteString("(")
		b.write(n, depth)
		b.WriteString(")")
		return
	}
	b.WriteString("(\n" + strings.Repeat("  ", depth+1))
	b.write(n, depth+1)
	b.WriteString("\n" + strings.Repeat("  ", depth) + ")")
}

// width is about how many characters the node takes on one line; no further than
// most is counted.
func (n *node) width(most int) int {
	w := len(n.text)
	for _, k := range n.kids {
		if w > most {
			break
		}
		w += k.width(most-w) + 5
	}
	return w
}
