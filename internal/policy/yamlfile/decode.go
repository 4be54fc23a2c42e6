package yamlfile

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

type decoder struct {
	name  string
	lines []string
	errs  []*Error
}

// decode stores n in v and reports what does not fit. It does not stop.
func (d *decoder) decode(n ast.Node, v reflect.Value, depth int) {
	if depth > MaxDepth {
		d.report(n, fmt.Errorf("more than %d levels", MaxDepth))
		return
	}
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		d.report(n, errors.New("anchors, aliases, merges and tags are not read here"))
		return
	}
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	switch dst := v.Addr().Interface().(type) {
	case *Raw:
		dst.Value = d.raw(n, depth)
		return
	case *Later:
		*dst = Later{n, depth, d}
		return
	case *Placed:
		dst.Value, dst.place = d.raw(n, depth), func(err error) *Error { return d.mistake(n, err) }
		return
	case listed:
		d.list(n, dst, depth)
		return
	case interface{ entry(string, Pos) any }:
		d.entries(n, dst.entry, depth)
		return
	case interface {
		keep(string, func(error) *Error)
	}:
		text, ok := scalar(n)
		if !ok {
			d.report(n, fmt.Errorf("a single value is wanted, found %s", describe(n)))
			return
		}
		dst.keep(text, func(err error) *Error { return d.mistake(n, err) })
		return
	case encoding.TextUnmarshaler:
		if text, ok := scalar(n); ok {
			if err := dst.UnmarshalText([]byte(text)); err != nil {
				d.report(n, err)
			}
			return
		}
		if v.Kind() != reflect.Struct { // a struct may have a long form as well
			d.report(n, fmt.Errorf("a single value is wanted, found %s", describe(n)))
			return
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, depth)
	case reflect.Slice:
		d.sequence(n, v, depth)
	default:
		d.basic(n, v)
	}
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, depth int) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.report(n, fmt.Errorf("keys with values are wanted, found %s", describe(n)))
		return
	}
	if len(pairs) > 0 {
		setPos(v, pairs[0].Key)
	}
	before := len(d.errs)
	fields, seen := fieldsOf(v.Type()), map[string]bool{}
	for _, pair := range pairs {
		key, ok := scalar(pair.Key)
		field, known := fields[key]
		switch {
		case !ok:
			d.report(pair.Key, errors.New("a key must be a plain word"))
		case !known:
			d.report(pair.Key, fmt.Errorf("unknown key %q; known are %s", clip(key), knownKeys(v.Type())))
		case seen[key]:
			d.report(pair.Key, fmt.Errorf("key %q is given twice", key))
		case pair.Value == nil || pair.Value.Type() == ast.NullType: // key without a value: as if not there
		default:
			d.decode(pair.Value, v.Field(field), depth+1)
		}
		seen[key] = true
	}
	if f, ok := v.Addr().Interface().(Finisher); ok {
		f.Finish()
	}
	if check, ok := v.Addr().Interface().(Validator); ok && len(d.errs) == before {
		if err := check.Validate(); err != nil {
			at := n
			if len(pairs) > 0 {
				at = pairs[0].Key
			}
			d.report(at, err)
		}
	}
}

// setPos notes in a field of type Pos where the mapping begins.
func setPos(v reflect.Value, key ast.Node) {
	for i := range v.NumField() {
		if v.Field(i).Type() == reflect.TypeFor[Pos]() {
			at := key.GetToken().Position
			v.Field(i).Set(reflect.ValueOf(Pos{at.Line, at.Column}))
		}
	}
}

// sequence replaces what v holds.
func (d *decoder) sequence(n ast.Node, v reflect.Value, depth int) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.report(n, fmt.Errorf("a list is wanted, found %s", describe(n)))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		d.decode(item, out.Index(i), depth+1)
	}
	v.Set(out)
}

// listed is a List.
type listed interface {
	items() any
	extends()
}

// list decodes a List: its items replaced, or added to.
func (d *decoder) list(n ast.Node, dst listed, depth int) {
	items := reflect.ValueOf(dst.items()).Elem()
	pairs, ok := pairsOf(n)
	if !ok {
		d.sequence(n, items, depth)
		return
	}
	if len(pairs) == 1 && pairs[0].Value != nil {
		if key, _ := scalar(pairs[0].Key); key == "extend" {
			dst.extends()
			more := reflect.New(items.Type()).Elem()
			d.sequence(pairs[0].Value, more, depth+1)
			whole := reflect.MakeSlice(items.Type(), 0, items.Len()+more.Len())
			items.Set(reflect.AppendSlice(reflect.AppendSlice(whole, items), more))
			return
		}
	}
	d.report(n, errors.New("a list is wanted, or the single key extend with a list"))
}

// entries decodes a mapping of any keys.
func (d *decoder) entries(n ast.Node, entry func(string, Pos) any, depth int) {
	pairs, ok := pairsOf(n)
	if !ok {
		d.report(n, fmt.Errorf("keys with values are wanted, found %s", describe(n)))
		return
	}
	seen := map[string]bool{}
	for _, pair := range pairs {
		key, ok := scalar(pair.Key)
		switch {
		case !ok:
			d.report(pair.Key, errors.New("a key must be a plain word"))
		case seen[key]:
			d.report(pair.Key, fmt.Errorf("key %q is given twice", clip(key)))
		case pair.Value == nil || pair.Value.Type() == ast.NullType:
			d.report(pair.Key, fmt.Errorf("key %q has no value", clip(key)))
		default:
			at := pair.Key.GetToken().Position
			d.decode(pair.Value, reflect.ValueOf(entry(key, Pos{at.Line, at.Column})).Elem(), depth+1)
		}
		seen[key] = true
	}
}

func (d *decoder) basic(n ast.Node, v reflect.Value) {
	text, ok := scalar(n)
	if !ok {
		d.report(n, fmt.Errorf("a single value is wanted, found %s", describe(n)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.report(n, errors.New("true or false is wanted"))
			return
		}
		v.SetBool(b.Value)
	case reflect.Int, reflect.Int64:
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			d.report(n, errors.New("a whole number is wanted"))
			return
		}
		v.SetInt(i)
	case reflect.Uint16:
		u, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			d.report(n, errors.New("a whole number from 0 to 65535 is wanted"))
			return
		}
		v.SetUint(u)
	default:
		d.report(n, fmt.Errorf("%s cannot be read from a file", v.Type()))
	}
}

// raw gives the node as plain Go values.
func (d *decoder) raw(n ast.Node, depth int) any {
	if depth > MaxDepth {
		d.report(n, fmt.Errorf("more than %d levels", MaxDepth))
		return nil
	}
	if pairs, ok := pairsOf(n); ok {
		m := make(map[string]any, len(pairs))
		for _, p := range pairs {
			key, ok := scalar(p.Key)
			if _, twice := m[key]; !ok || twice {
				d.report(p.Key, errors.New("a key must be a plain word, and given once"))
				continue
			}
			m[key] = nil
			if p.Value != nil {
				m[key] = d.raw(p.Value, depth+1)
			}
		}
		return m
	}
	switch n := n.(type) {
	case *ast.SequenceNode:
		s := make([]any, len(n.Values))
		for i, item := range n.Values {
			s[i] = d.raw(item, depth+1)
		}
		return s
	case *ast.IntegerNode:
		return n.Value
	case *ast.FloatNode:
		return n.Value
	case *ast.BoolNode:
		return n.Value
	case *ast.NullNode:
		return nil
	}
	text, ok := scalar(n)
	if !ok {
		d.report(n, errors.New("anchors, aliases, merges and tags are not read here"))
	}
	return text
}

// report notes a mistake at n, or at a place inside the scalar n.
func (d *decoder) report(n ast.Node, err error) { d.errs = append(d.errs, d.mistake(n, err)) }

func (d *decoder) mistake(n ast.Node, err error) *Error {
	line, column := 1, 1
	if t := n.GetToken(); t != nil && t.Position != nil {
		line, column = t.Position.Line, t.Position.Column
	}
	var inner *InnerError
	if errors.As(err, &inner) {
		line, column = d.inside(n, line, column, inner)
	}
	return d.problem(line, column, err.Error())
}

// inside finds the place of a mistake in the text of a scalar. In a folded or
// escaped scalar, text and file do not run in step; the scalar's start stands
// in for the place.
func (d *decoder) inside(n ast.Node, line, column int, at *InnerError) (int, int) {
	switch n := n.(type) {
	case *ast.LiteralNode:
		if !strings.HasPrefix(n.Start.Value, "|") {
			return line, column
		}
		for first := line; first < len(d.lines); first++ {
			if text := strings.TrimLeft(d.lines[first], " "); text != "" {
				return line + at.Line, len(d.lines[first]) - len(text) + at.Column
			}
		}
	case *ast.StringNode:
		if at.Line != 1 || line > len(d.lines) || column > len(d.lines[line-1]) {
			return line, column
		}
		quoted := 0
		if c := d.lines[line-1][column-1]; c == '"' || c == '\'' {
			quoted = 1
		}
		return line, column + quoted + at.Column - 1
	}
	return line, column
}

func (d *decoder) problem(line, column int, message string) *Error {
	e := &Error{File: d.name, Line: line, Column: column, Message: message}
	if line < 1 || line > len(d.lines) {
		return e
	}
	text := strings.ToValidUTF8(strings.TrimRight(d.lines[line-1], "\r"), "?")
	if utf8.RuneCountInString(text) > 200 {
		return e // nothing that a person would look at
	}
	text = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	number := strconv.Itoa(line)
	e.Excerpt = fmt.Sprintf("  %s | %s\n  %s | %s^", number, text, strings.Repeat(" ", len(number)), strings.Repeat(" ", max(0, column-1)))
	return e
}
