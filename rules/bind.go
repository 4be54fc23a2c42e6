package rules

import (
	"reflect"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A check is a need that looks at the Env of one Set.
type check func() bool

// A binder turns needs into checks for records of one kind.
type binder struct {
	fields  map[string]any // pointers into the Env, by name
	texts   map[string]*text
	element text // of the list that is being looked through
}

func newBinder(env *Env) *binder {
	b := &binder{fields: map[string]any{}, texts: map[string]*text{}}
	b.element.value = new(string)
	pointersOf(b.fields, "", reflect.ValueOf(env).Elem())
	return b
}

// pointersOf finds the fields as Fields names them.
func pointersOf(all map[string]any, at string, v reflect.Value) {
	for i := range v.NumField() {
		name := at + v.Type().Field(i).Tag.Get("expr")
		if v.Field(i).Kind() == reflect.Struct {
			pointersOf(all, name+".", v.Field(i))
			continue
		}
		all[name] = v.Field(i).Addr().Interface()
	}
}

// A text is a field, and the same in lower case, which is made where it is asked for.
type text struct {
	value       *string
	from, lower string
}

func (t *text) get(fold bool) string {
	if !fold {
		return *t.value
	}
	if t.from != *t.value {
		t.from, t.lower = *t.value, strings.ToLower(*t.value)
	}
	return t.lower
}

// text gives the text of a field; nil: it is none.
func (b *binder) text(field string) *text {
	if field == element {
		return &b.element
	}
	value, ok := b.fields[field].(*string)
	if !ok {
		return nil
	}
	if b.texts[field] == nil {
		b.texts[field] = &text{value: value}
	}
	return b.texts[field]
}

// settle takes out of a need what is about the kind and cannot be looked at.
func (b *binder) settle(n *need, kind event.Kind) *need {
	switch n.op {
	case all, some:
		each := make([]*need, len(n.of))
		for i, sub := range n.of {
			each[i] = b.settle(sub, kind)
		}
		return join(n.op, each...)
	case one:
		switch {
		case n.test.field == "kind" && n.test.how == equal && !n.test.fold:
			if slices.Contains(n.test.texts, string(kind)) == n.test.not {
				return &need{op: never}
			}
			return &need{}
		case !b.fits(n.test):
			return &need{}
		case n.test.how == hasElement:
			inner := *n.test
			inner.inner = b.settle(inner.inner, kind)
			return &need{op: one, test: &inner}
		}
	}
	return n
}

// fits reports whether the field is of the type that the test is for.
func (b *binder) fits(t *test) bool {
	ok := false
	switch t.how {
	case isTrue:
		_, ok = b.fields[t.field].(*bool)
	case number:
		_, ok = b.fields[t.field].(*int)
	case hasElement:
		_, ok = b.fields[t.field].(*[]string)
	default:
		ok = b.text(t.field) != nil
	}
	return ok
}

// bind makes the check of a need that is settled.
func (b *binder) bind(n *need) check {
	switch n.op {
	case never:
		return func() bool { return false }
	case all, some:
		each := make([]check, len(n.of))
		for i, sub := range n.of {
			each[i] = b.bind(sub)
		}
		settled := n.op == some
		return func() bool {
			for _, c := range each {
				if c() == settled {
					return settled
				}
			}
			return !settled
		}
	case one:
		c := b.test(n.test)
		if n.test.not {
			return func() bool { return !c() }
		}
		return c
	}
	return func() bool { return true }
}

func (b *binder) test(t *test) check {
	switch t.how {
	case isTrue:
		value := b.fields[t.field].(*bool)
		return func() bool { return *value }
	case number:
		value := b.fields[t.field].(*int)
		return func() bool {
			return slices.ContainsFunc(t.spans, func(s span) bool { return s.from <= *value && *value <= s.to })
		}
	case matched:
		x := b.text(t.field)
		return func() bool { return t.match(x.get(false)) }
	case hasElement:
		list, inner := b.fields[t.field].(*[]string), b.bind(t.inner)
		return func() bool {
			for _, s := range *list {
				if *b.element.value = s; inner() {
					return true
				}
			}
			return false
		}
	}
	return b.comparison(t)
}

func (b *binder) comparison(t *test) check {
	x := b.text(t.field)
	if t.how == equal && len(t.texts) > 8 {
		set := map[string]bool{}
		for _, s := range t.texts {
			set[s] = true
		}
		return func() bool { return set[x.get(t.fold)] }
	}
	compare := map[how]func(s, with string) bool{
		equal: func(s, with string) bool { return s == with }, contains: strings.Contains, starts: strings.HasPrefix, ends: strings.HasSuffix,
	}[t.how]
	return func() bool {
		s := x.get(t.fold)
		found := func(with string) bool { return compare(s, with) }
		if slices.ContainsFunc(t.texts, found) {
			return true
		}
		if !t.longS || !strings.Contains(s, longS) {
			return false
		}
		s = strings.ReplaceAll(s, longS, "s")
		return slices.ContainsFunc(t.texts, found)
	}
}

// longS is the one character besides the Kelvin sign that is the same as one of ASCII
// but for its case; in lower case it stays what it is.
const longS = "ſ"
