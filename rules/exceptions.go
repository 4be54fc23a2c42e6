package rules

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
)

// An Exception describes one of a rule to people: an event whose fields compare
// with one row of the values is none of the rule's.
type Exception struct {
	Name        string     `json:"name"`
	Fields      []string   `json:"fields"`
	Comparisons []string   `json:"comparisons"`
	Values      [][]string `json:"values,omitempty"`
}

// An exceptionText is an exception as it stands in a file: in a rule, or with the
// name of one.
type exceptionText struct {
	Rule        string            `yaml:"rule"`
	Name        ruleName          `yaml:"name"`
	Fields      []yamlfile.Scalar `yaml:"fields"`
	Comparisons []yamlfile.Scalar `yaml:"comparisons"`
	Values      []yamlfile.Placed `yaml:"values"`
	At          yamlfile.Pos
}

// Validate is called by yamlfile.
func (t *exceptionText) Validate() error {
	if t.Name == "" {
		return errors.New("an exception needs a name")
	}
	return nil
}

// An exception holds its rows by the value of the first text that is compared with
// =, so that what they cost does not grow with their number.
type exception struct {
	Exception
	columns []column
	key     int // column that the rows are found by; -1: none
	rows    map[string][]row
}

// A column is a field of the Env and how it is compared.
type column struct {
	index []int
	typ   reflect.Type
	how   string
}

// A row has a test for each column; nil: the look-up was it.
type row []func(reflect.Value) bool

// holds reports whether a row compares with the event.
func (x *exception) holds(env reflect.Value) bool {
	at := ""
	if x.key >= 0 {
		at = env.FieldByIndex(x.columns[x.key].index).String()
	}
	return slices.ContainsFunc(x.rows[at], func(r row) bool {
		for i, test := range r {
			if test != nil && !test(env.FieldByIndex(x.columns[i].index)) {
				return false
			}
		}
		return true
	})
}

// excepted reports whether one of the rule's exceptions holds.
func (r *rule) excepted(e *Env) bool {
	if len(r.exceptions) == 0 {
		return false
	}
	env := reflect.ValueOf(e).Elem()
	return slices.ContainsFunc(r.exceptions, func(x *exception) bool { return x.holds(env) })
}

// comparisons with texts; = is also written in.
var comparisons = []string{"=", "in", "under", "glob", "domain", "cidr", "startsWith", "endsWith", "contains"}

// newException reads the fields and comparisons. The error joins the mistakes.
func newException(t *exceptionText) (*exception, error) {
	x := &exception{Exception: Exception{Name: string(t.Name)}, key: -1, rows: map[string][]row{}}
	var errs []error
	if len(t.Comparisons) > 0 && len(t.Comparisons) != len(t.Fields) {
		return nil, t.Comparisons[0].Mistake(fmt.Errorf("%d comparisons for %d fields", len(t.Comparisons), len(t.Fields)))
	}
	for i, f := range t.Fields {
		c := column{how: "="}
		if len(t.Comparisons) > 0 {
			c.how = t.Comparisons[i].Text
		}
		c.index, c.typ = envField(f.Text)
		switch {
		case c.typ == nil:
			errs = append(errs, f.Mistake(fmt.Errorf("there is no field %q", f.Text)))
		case slices.Contains(x.Fields, f.Text):
			errs = append(errs, f.Mistake(fmt.Errorf("field %s is given twice", f.Text)))
		case !slices.Contains(comparisons, c.how):
			errs = append(errs, t.Comparisons[i].Mistake(fmt.Errorf("a comparison is one of %s", strings.Join(comparisons, ", "))))
		case c.how != "=" && c.how != "in" && !isText(c.typ):
			errs = append(errs, t.Comparisons[i].Mistake(fmt.Errorf("%s compares texts, and %s is none", c.how, f.Text)))
		}
		if c.typ != nil && x.key < 0 && c.typ.Kind() == reflect.String && (c.how == "=" || c.how == "in") {
			x.key = i
		}
		x.columns = append(x.columns, c)
		x.Fields, x.Comparisons = append(x.Fields, f.Text), append(x.Comparisons, c.how)
	}
	return x, errors.Join(errs...)
}

func isText(t reflect.Type) bool {
	return t.Kind() == reflect.String || t.Kind() == reflect.Slice
}

// envField finds a field of the Env by the name that conditions have for it.
func envField(name string) (index []int, typ reflect.Type) {
	t := reflect.TypeFor[Env]()
	for part := range strings.SplitSeq(name, ".") {
		if t.Kind() != reflect.Struct {
			return nil, nil
		}
		at := slices.IndexFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return f.Tag.Get("expr") == part })
		if at < 0 {
			return nil, nil
		}
		index, t = append(index, at), t.Field(at).Type
	}
	if t.Kind() == reflect.Struct {
		return nil, nil
	}
	return index, t
}

// add takes in rows of values. The error joins the mistakes.
func (x *exception) add(values []yamlfile.Placed) error {
	var errs []error
	for _, v := range values {
		cells, ok := v.Value.([]any)
		if !ok && len(x.columns) == 1 {
			cells = []any{v.Value}
		}
		if len(cells) != len(x.columns) {
			errs = append(errs, v.Mistake(fmt.Errorf("%s wants rows of %d values: one each for %s", x.Name, len(x.columns), strings.Join(x.Fields, ", "))))
			continue
		}
		if err := x.addRow(cells); err != nil {
			errs = append(errs, v.Mistake(err))
		}
	}
	return errors.Join(errs...)
}

func (x *exception) addRow(cells []any) error {
	tests, shown, keys := make(row, len(cells)), make([]string, len(cells)), []string{""}
	for i, cell := range cells {
		alternatives, ok := cell.([]any)
		if !ok {
			alternatives = []any{cell}
		}
		if len(alternatives) == 0 {
			return fmt.Errorf("no value for %s", x.Fields[i])
		}
		test, texts, err := x.columns[i].test(alternatives)
		if err != nil {
			return fmt.Errorf("%s: %w", x.Fields[i], err)
		}
		if tests[i] = test; i == x.key {
			tests[i], keys = nil, texts
		}
		shown[i] = strings.Join(texts, " | ")
	}
	for _, key := range keys {
		x.rows[key] = append(x.rows[key], tests)
	}
	x.Values = append(x.Values, shown)
	return nil
}

// test makes the test of a column for some values, one of which is enough.
func (c column) test(values []any) (test func(reflect.Value) bool, texts []string, err error) {
	for _, v := range values {
		text := fmt.Sprint(v)
		switch c.typ.Kind() {
		case reflect.Int:
			if _, isInt := v.(int64); !isInt {
				if _, isUint := v.(uint64); !isUint {
					return nil, nil, fmt.Errorf("%q is no whole number", text)
				}
			}
		case reflect.Bool:
			if _, isBool := v.(bool); !isBool {
				return nil, nil, fmt.Errorf("%q is neither true nor false", text)
			}
		default:
			if s, isString := v.(string); !isString || s == "" {
				return nil, nil, fmt.Errorf("%q is no text: quote what looks like a number, and leave out what is empty, as what is not known is", text)
			}
		}
		texts = append(texts, text)
	}
	if !isText(c.typ) {
		return func(v reflect.Value) bool { return slices.Contains(texts, fmt.Sprint(v.Interface())) }, texts, nil
	}
	match, err := matchText(c.how, texts)
	if err != nil {
		return nil, nil, err
	}
	if c.typ.Kind() == reflect.String {
		return func(v reflect.Value) bool { return match(v.String()) }, texts, nil
	}
	return func(v reflect.Value) bool { // a list that has something else as well is no exception
		for i := range v.Len() {
			if !match(v.Index(i).String()) {
				return false
			}
		}
		return v.Len() > 0
	}, texts, nil
}

func matchText(how string, texts []string) (func(string) bool, error) {
	compare := map[string]func(s, with string) bool{"startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix, "contains": strings.Contains}[how]
	if compare != nil {
		return func(s string) bool {
			return slices.ContainsFunc(texts, func(with string) bool { return compare(s, with) })
		}, nil
	}
	all := Functions()
	if i := slices.IndexFunc(all, func(f Function) bool { return f.Name == how }); i >= 0 {
		return all[i].prepare(texts)
	}
	return func(s string) bool { return slices.Contains(texts, s) }, nil
}
