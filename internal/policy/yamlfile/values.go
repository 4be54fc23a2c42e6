package yamlfile

import (
	"reflect"

	"github.com/goccy/go-yaml/ast"
)

// A List is a list of settings that has a default. A plain list in the file
// replaces the default; a mapping with the single key "extend" adds to it.
type List[T any] struct {
	Items   []T
	Extends bool // it was a mapping with extend
}

func (l *List[T]) items() any { return &l.Items }

func (l *List[T]) extends() { l.Extends = true }

// Entries are a mapping whose keys the file chooses, in its order.
type Entries[T any] []*Entry[T]

// An Entry is one key of such a mapping.
type Entry[T any] struct {
	Key   string
	At    Pos // of the key
	Value T
}

func (e *Entries[T]) entry(key string, at Pos) any {
	more := &Entry[T]{Key: key, At: at}
	*e = append(*e, more)
	return &more.Value
}

// A Scalar is a single value as it stands in the file, to be judged when the whole
// file is known, or several are.
type Scalar struct {
	Text  string
	place func(error) *Error
}

func (s *Scalar) keep(text string, place func(error) *Error) { s.Text, s.place = text, place }

// Given reports whether the file has the value.
func (s *Scalar) Given() bool { return s.place != nil }

// Mistake gives an error its place, inside the value where it is an InnerError.
func (s *Scalar) Mistake(err error) *Error { return s.place(err) }

// Raw is a node as it stands in the file: maps, slices, strings, numbers,
// bools and nil, as encoding/json would give them.
type Raw struct{ Value any }

// Later is a node that is decoded over a value which is known only once the whole
// file is: see Finisher.
type Later struct {
	node  ast.Node
	depth int
	d     *decoder
}

// A Finisher is told when all that a mapping holds has been decoded, mistakes or not.
type Finisher interface{ Finish() }

// Given reports whether the file has the node.
func (l Later) Given() bool { return l.d != nil }

// Decode decodes the node into the struct that dst points to. Mistakes are reported
// with those of the file. It works only while the file is decoded.
func (l Later) Decode(dst any) {
	if l.d != nil {
		l.d.decode(l.node, reflect.ValueOf(dst).Elem(), l.depth)
	}
}

// Placed is any value as Raw gives it, to be judged later like a Scalar.
type Placed struct {
	Value any
	place func(error) *Error
}

// Mistake gives an error the place of the value.
func (p *Placed) Mistake(err error) *Error { return p.place(err) }
