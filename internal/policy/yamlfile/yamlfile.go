// Package yamlfile decodes the files that an operator writes: policy, rules
// and their tests.
//
// It is stricter than YAML. A key that the destination does not have, a value
// of the wrong shape, a key given twice, an anchor, an alias or a tag is a
// mistake, and all the mistakes of a file are reported together, each with
// file, line, column and the line itself. Only an error of YAML syntax hides
// those after it. Files are bounded to MaxSize bytes and MaxDepth levels.
//
// Destinations are structs with `yaml` tags, slices, strings, bools, integers,
// and types with hooks: encoding.TextUnmarshaler takes a scalar, Validator
// judges a whole mapping, List tells "instead of" from "in addition to", Entries
// takes any keys, Raw keeps what is there, Scalar to be judged later, and Pos where
// it was.
package yamlfile

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Limits of a file.
const (
	MaxSize  = 1 << 20 // bytes
	MaxDepth = 32      // levels of mappings and sequences
)

// A Validator judges a mapping after all its fields are decoded. The error is
// reported at the mapping's first key.
type Validator interface{ Validate() error }

// An Error is one mistake in a file.
type Error struct {
	File         string
	Line, Column int // from 1; 0: the file as a whole
	Message      string
	Excerpt      string // the line and a caret under the column; may be empty
}

// Error gives "file:line:column: message" and the excerpt below it.
func (e *Error) Error() string {
	at := e.File
	if e.Line > 0 {
		at = fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
	}
	if e.Excerpt == "" {
		return at + ": " + e.Message
	}
	return at + ": " + e.Message + "\n" + e.Excerpt
}

// An InnerError is a mistake inside a scalar that has a syntax of its own. A
// TextUnmarshaler returns it to have the place inside the scalar pointed at.
type InnerError struct {
	Line, Column int // inside the scalar, from 1; column in characters
	Message      string
}

func (e *InnerError) Error() string { return e.Message }

// A Pos is a place in a file, from 1. A field of this type is set to the first
// key of the mapping that its struct was decoded from.
type Pos struct{ Line, Column int }

// ErrorAt is a mistake that only the caller of Decode could find.
func ErrorAt(name string, data []byte, at Pos, message string) *Error {
	d := &decoder{name: name, lines: splitLines(data)}
	return d.problem(at.Line, at.Column, message)
}

// Decode decodes data into the struct that dst points to. What the file does
// not mention keeps its value. The error joins one *Error a mistake, in the
// order of the file.
func Decode(name string, data []byte, dst any) (err error) {
	d := &decoder{name: name, lines: splitLines(data)}
	if len(data) > MaxSize {
		return &Error{File: name, Message: fmt.Sprintf("%d bytes, at most %d are read", len(data), MaxSize)}
	}
	if line, column := tooDeep(d.lines); line > 0 {
		return d.problem(line, column, "nested too deep")
	}
	defer func() { // the YAML parser on text that it did not foresee
		if r := recover(); r != nil {
			err = &Error{File: name, Message: fmt.Sprintf("not readable as YAML: %v", r)}
		}
	}()
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return d.syntax(err)
	}
	for i, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue // nothing but comments
		}
		if i > 0 {
			d.report(doc.Body, errors.New("a second document; one file holds one"))
			break
		}
		d.decode(doc.Body, reflect.ValueOf(dst).Elem(), 0)
	}
	slices.SortStableFunc(d.errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	joined := make([]error, len(d.errs))
	for i, e := range d.errs {
		joined[i] = e
	}
	return errors.Join(joined...)
}

func splitLines(data []byte) []string { return strings.Split(string(data), "\n") }

// tooDeep finds nesting that the YAML parser, which recurses, must not see. It
// counts brackets in strings too, and so allows far more than MaxDepth.
func tooDeep(lines []string) (line, column int) {
	const most = 1000
	open := 0
	for i, l := range lines {
		compact := 0 // "- - - x" nests without a bracket
		for j := range len(l) {
			switch l[j] {
			case '[', '{':
				open++
			case ']', '}':
				open = max(0, open-1)
			case '-', '?', ':':
				compact++
			}
			if open > most || compact > most {
				return i + 1, j + 1
			}
		}
		if len(l)-len(strings.TrimLeft(l, " ")) > most {
			return i + 1, 1
		}
	}
	return 0, 0
}

func (d *decoder) syntax(err error) error {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		p := y.GetToken().Position
		return d.problem(p.Line, p.Column, y.GetMessage())
	}
	return &Error{File: d.name, Message: err.Error()}
}
