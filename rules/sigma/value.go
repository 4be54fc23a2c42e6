package sigma

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// modifiers are what follows a field behind bars.
type modifiers struct {
	place             string // contains, startswith, endswith
	compare           string // re, cidr, exists, lt, lte, gt, gte
	flags             string // of re
	all, cased        bool
	wide, offset, b64 bool
	windash           bool
}

func (t *translator) modifiers(names []string) (m modifiers, ok bool) {
	for _, name := range names {
		switch name {
		case "contains", "startswith", "endswith":
			if m.place != "" {
				return m, false
			}
			m.place = name
		case "re", "cidr", "exists", "lt", "lte", "gt", "gte":
			if m.compare != "" {
				return m, false
			}
			m.compare = name
		case "i", "ignorecase", "m", "multiline", "s", "dotall":
			m.flags += map[byte]string{'i': "i", 'm': "m", 's': "s", 'd': "s"}[name[0]]
		case "all":
			m.all = true
		case "cased":
			m.cased = true
		case "wide", "utf16le":
			m.wide = true
		case "base64":
			m.b64 = true
		case "base64offset":
			m.b64, m.offset = true, true
		case "windash":
			m.windash = true
		default:
			t.problem("modifier %s cannot be expressed", quoted(name))
			return m, true
		}
	}
	textual := m.place != "" || m.b64 || m.wide || m.windash
	return m, (m.compare == "" || !textual) && (m.flags == "" || m.compare == "re") && (!m.wide || m.b64)
}

// item is one field with its modifiers and values; no field: words, which are
// looked for in every text of the event.
func (t *translator) item(key string, value any) *node {
	parts := strings.Split(key, "|")
	m, ok := t.modifiers(parts[1:])
	if !ok {
		return t.problem("modifiers %s cannot be expressed together", quoted(strings.Join(parts[1:], "|")))
	}
	values, ok := value.([]any)
	if !ok {
		values = []any{value}
	}
	if len(values) == 0 {
		return t.problem("an empty list of values")
	}
	if parts[0] == "" {
		return t.words(m, values)
	}
	f, ok := t.category.fields[parts[0]]
	if !ok {
		return t.problem("field %s is not known of %s", quoted(parts[0]), t.category.name)
	}
	return t.field(f, m, values)
}

func (t *translator) words(m modifiers, values []any) *node {
	if m.compare != "" && m.compare != "re" || m.place != "" {
		return t.problem("words without a field have modifiers that cannot be expressed")
	}
	if m.compare == "" {
		m.place = "contains"
	}
	var each []*node
	for _, v := range values {
		if v == nil || v == "" {
			return t.problem("an empty word without a field")
		}
		var some []*node
		for _, name := range []string{"Image", "CommandLine", "CurrentDirectory", "User", "ParentImage", "ParentCommandLine", "TargetFilename", "SourceFilename", "DestinationIp", "DestinationHostname", "QueryName"} {
			if f, ok := t.category.fields[name]; ok {
				some = append(some, t.field(f, m, []any{v}))
			}
		}
		each = append(each, either(some...))
	}
	return m.join(each)
}

// join is "or" of values, or "and" with the modifier all.
func (m modifiers) join(each []*node) *node {
	if m.all {
		return both(each...)
	}
	return either(each...)
}

func (t *translator) field(f field, m modifiers, values []any) *node {
	switch {
	case m.compare == "exists":
		return t.exists(f, values)
	case f.kind == isNumber:
		return t.number(f, m, values)
	case m.compare == "cidr":
		return t.networks(f, m, values)
	case m.compare == "re":
		return t.patterns(f, m, values)
	case m.compare != "":
		return t.problem("modifier %s of a text", quoted(m.compare))
	}
	var each []*node
	var globs []glob
	for _, v := range values {
		switch s, ok := textOf(v); {
		case v == nil:
			each = append(each, f.missing())
		case !ok:
			return t.problem("a value that is no single value")
		default:
			globs = append(globs, t.globs(m, s)...)
		}
	}
	switch f.kind {
	case isTrue, isFalse, isAbsent:
		for _, g := range globs {
			each = append(each, constant(f.kind != isAbsent && g.match(map[fieldKind]string{isTrue: "true", isFalse: "false"}[f.kind])))
		}
		return m.join(each)
	}
	if m.all && (m.offset || m.windash) {
		return t.problem("modifier all of values that have several forms")
	}
	return m.join(append(each, t.compare(f, m, globs)...))
}

// present is true where an event has the field.
func (f field) present() *node {
	n := f.missing()
	if n.op == opLeaf {
		return leaf(strings.Replace(n.text, " == ", " != ", 1))
	}
	return negate(n)
}

// missing is true where an event does not have the field.
func (f field) missing() *node {
	switch f.kind {
	case isTrue, isFalse:
		return constant(false)
	case isAbsent:
		return constant(true)
	case isNumber:
		return leaf(f.expr + " == 0")
	}
	return leaf(f.expr + ` == ""`)
}

func (t *translator) exists(f field, values []any) *node {
	yes, ok := textOf(values[0])
	if len(values) != 1 || !ok || yes != "true" && yes != "false" {
		return t.problem("exists wants true or false")
	}
	if yes == "false" {
		return f.missing()
	}
	return f.present()
}

func (t *translator) number(f field, m modifiers, values []any) *node {
	sign, ok := map[string]string{"": "==", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}[m.compare]
	if !ok || m.place != "" || m.b64 || m.windash {
		return t.problem("a number is compared as a text")
	}
	var each []*node
	var numbers []string
	for _, v := range values {
		s, ok := textOf(v)
		n, err := strconv.ParseInt(s, 10, 64)
		switch {
		case v == nil:
			each = append(each, f.missing())
		case !ok || err != nil:
			return t.problem("%s is no number", quoted(s))
		case sign == "==" && !m.all:
			numbers = append(numbers, strconv.FormatInt(n, 10))
		default:
			each = append(each, leaf(fmt.Sprintf("%s %s %d", f.expr, sign, n)))
		}
	}
	switch len(numbers) {
	case 0:
	case 1:
		each = append(each, leaf(f.expr+" == "+numbers[0]))
	default:
		each = append(each, leaf(f.expr+" in ["+strings.Join(numbers, ", ")+"]"))
	}
	return m.join(each)
}

func (t *translator) networks(f field, m modifiers, values []any) *node {
	if f.kind == isAbsent {
		return constant(false)
	}
	if f.kind != isAddress {
		return t.problem("cidr of what is no address")
	}
	var all []string
	for _, v := range values {
		s, _ := textOf(v)
		if _, err := netip.ParsePrefix(s); err != nil {
			return t.problem("%s is no network", quoted(s))
		}
		all = append(all, literal(s))
	}
	if !m.all {
		return leaf("cidr(" + f.expr + ", " + strings.Join(all, ", ") + ")")
	}
	var each []*node
	for _, s := range all {
		each = append(each, leaf("cidr("+f.expr+", "+s+")"))
	}
	return both(each...)
}

// patterns are regular expressions; they look at case unless told otherwise.
func (t *translator) patterns(f field, m modifiers, values []any) *node {
	switch f.kind {
	case isAbsent:
		return constant(false)
	case isTrue, isFalse:
		return t.problem("a regular expression of what is true or false")
	}
	var each []*node
	for _, v := range values {
		s, ok := textOf(v)
		if m.flags != "" {
			s = "(?" + m.flags + ")" + s
		}
		if _, err := regexp.Compile(s); err != nil || !ok {
			return t.problem("a regular expression with what is not in the language (RE2)")
		}
		each = append(each, leaf(f.expr+" matches "+raw(s)))
	}
	return m.join(each)
}

// textOf gives the text of a single value.
func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case nil, map[string]any, []any:
		return "", false
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return fmt.Sprint(v), true // integers and bools
}

// globs gives the forms that a value is looked for in.
func (t *translator) globs(m modifiers, s string) []glob {
	if s == "" && m.place != "" {
		t.problem("%s nothing", m.place)
	}
	forms := []glob{parseGlob(s)}
	if m.windash {
		forms = dashes(s)
		if forms == nil {
			t.problem("modifier windash with many dashes")
		}
	}
	if m.b64 {
		var encoded []glob
		for _, g := range forms {
			if slices.ContainsFunc(g, func(p piece) bool { return p.wild != 0 }) || len(g) == 0 {
				t.problem("modifier base64 with wildcards, or of nothing")
				continue
			}
			for _, text := range base64s(m, g[0].text) {
				encoded = append(encoded, glob{{text: text}})
			}
		}
		forms = encoded
	}
	for i := range forms {
		forms[i] = forms[i].placed(m.place)
	}
	return forms
}

// base64s encodes a text, with offset as it looks at each of three places.
func base64s(m modifiers, s string) []string {
	data := []byte(s)
	if m.wide {
		data = nil
		for _, u := range utf16.Encode([]rune(s)) {
			data = append(data, byte(u), byte(u>>8))
		}
	}
	if !m.offset {
		return []string{base64.StdEncoding.EncodeToString(data)}
	}
	var all []string
	for i, start := range []int{0, 2, 3} {
		text := base64.StdEncoding.EncodeToString(append(make([]byte, i), data...))
		end := len(text) - []int{0, 3, 2}[(len(data)+i)%3]
		if start < end {
			all = append(all, text[start:end])
		}
	}
	return all
}

var dash = regexp.MustCompile(`\B[-/]\b`)

// dashes gives a value with every dash that a program may take for the sign of an
// option; nil: there are too many.
func dashes(s string) []glob {
	forms, from := []string{""}, 0
	for _, at := range dash.FindAllStringIndex(s, 4) {
		var more []string
		for _, f := range forms {
			for _, d := range []string{"-", "/", "–", "—", "―"} {
				more = append(more, f+s[from:at[0]]+d)
			}
		}
		forms, from = more, at[1]
	}
	if len(forms) > 125 {
		return nil
	}
	all := make([]glob, len(forms))
	for i, f := range forms {
		all[i] = parseGlob(f + s[from:])
	}
	return all
}
