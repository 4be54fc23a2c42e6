package yamlfile

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type word string

func (w *word) UnmarshalText(b []byte) error {
	if i := strings.Index(string(b), "bad"); i >= 0 {
		line := 1 + strings.Count(string(b[:i]), "\n")
		return &InnerError{Line: line, Column: i - strings.LastIndexByte(string(b[:i]), '\n'), Message: "this word is bad"}
	}
	*w = word(b)
	return nil
}

type item struct {
	Name  string   `yaml:"name"`
	Ports []uint16 `yaml:"ports"`
}

func (i *item) UnmarshalText(b []byte) error { i.Name = string(b); return nil }

func (i *item) Validate() error {
	if i.Name == "" {
		return errors.New("name is missing")
	}
	return nil
}

type placed struct {
	At Pos
	A  int `yaml:"a"`
}

func TestAMappingKnowsItsPlace(t *testing.T) {
	var got struct {
		List []placed `yaml:"list"`
	}
	data := []byte("list:\n  - a: 1\n  - a: 2\n")
	if err := Decode("f.yaml", data, &got); err != nil {
		t.Fatal(err)
	}
	const want = "f.yaml:3:5: no\n  3 |   - a: 2\n    |     ^"
	if err := ErrorAt("f.yaml", data, got.List[1].At, "no"); err.Error() != want {
		t.Errorf("got %v", err)
	}
}

type document struct {
	Count int        `yaml:"count"`
	On    bool       `yaml:"on"`
	Word  word       `yaml:"word"`
	Items List[item] `yaml:"items"`
	Names []string   `yaml:"names"`
	Any   Raw        `yaml:"any"`
}

func TestWhatTheFileDoesNotSayStays(t *testing.T) {
	tests := map[string]struct {
		in   string
		want document
	}{
		"nothing at all":      {"", document{Count: 7, Items: List[item]{Items: []item{{Name: "a"}}}}},
		"comments only":       {"# hello\n", document{Count: 7, Items: List[item]{Items: []item{{Name: "a"}}}}},
		"key without a value": {"count:\n", document{Count: 7, Items: List[item]{Items: []item{{Name: "a"}}}}},
		"a list replaces":     {"items: [b, {name: c, ports: [1, 2]}]\n", document{Count: 7, Items: List[item]{Items: []item{{Name: "b"}, {Name: "c", Ports: []uint16{1, 2}}}}}},
		"an empty list empties": {
			"items: []\n", document{Count: 7, Items: List[item]{Items: []item{}}},
		},
		"extend adds": {"items:\n  extend:\n    - b\n", document{Count: 7, Items: List[item]{Extends: true, Items: []item{{Name: "a"}, {Name: "b"}}}}},
		"raw keeps":   {"any: {a: [1, x, true, null]}\n", document{Count: 7, Items: List[item]{Items: []item{{Name: "a"}}}, Any: Raw{map[string]any{"a": []any{uint64(1), "x", true, nil}}}}},
		"scalars":     {"count: 3\non: true\nword: good\nnames: [a, \"1\", 2]\n", document{Count: 3, On: true, Word: "good", Names: []string{"a", "1", "2"}, Items: List[item]{Items: []item{{Name: "a"}}}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := document{Count: 7, Items: List[item]{Items: []item{{Name: "a"}}}}
			if err := Decode("f.yaml", []byte(tt.in), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAllMistakesAreReportedWithTheirPlace(t *testing.T) {
	const in = `count: many
onn: true
on: 1
word: "so bad"
items:
  - ports: [80, 70000]
  - ports: [80]
  - {name: x, nam: y}
names: {a: b}
any: &x 1
`
	const want = `f.yaml:1:8: a whole number is wanted
  1 | count: many
    |        ^
f.yaml:2:1: unknown key "onn"; known are any, count, items, names, on, word
  2 | onn: true
    | ^
f.yaml:3:5: true or false is wanted
  3 | on: 1
    |     ^
f.yaml:4:11: this word is bad
  4 | word: "so bad"
    |           ^
f.yaml:6:17: a whole number from 0 to 65535 is wanted
  6 |   - ports: [80, 70000]
    |                 ^
f.yaml:7:5: name is missing
  7 |   - ports: [80]
    |     ^
f.yaml:8:15: unknown key "nam"; known are name, ports
  8 |   - {name: x, nam: y}
    |               ^
f.yaml:9:8: a list is wanted, found keys with values
  9 | names: {a: b}
    |        ^
f.yaml:10:6: anchors, aliases, merges and tags are not read here
  10 | any: &x 1
     |      ^`
	var got document
	err := Decode("f.yaml", []byte(in), &got)
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestAMistakeInABlockIsPointedAt(t *testing.T) {
	var got document
	err := Decode("f.yaml", []byte("count: 1\nword: |\n  all is well\n  but bad here\n"), &got)
	const want = "f.yaml:4:7: this word is bad\n  4 |   but bad here\n    |       ^"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestFilesThatCannotBeReadAreRefused(t *testing.T) {
	tests := map[string]string{
		"syntax":          "count: [1\n",
		"given twice":     "count: 1\ncount: 2\n",
		"two documents":   "count: 1\n---\ncount: 2\n",
		"not a mapping":   "- 1\n",
		"too large":       strings.Repeat("#", MaxSize+1),
		"brackets":        "any: " + strings.Repeat("[", 100_000),
		"compact lists":   strings.Repeat("- ", 100_000),
		"more than depth": "any: " + strings.Repeat("[", 50) + strings.Repeat("]", 50) + "\n",
		"alias":           "names: [*x]\n",
		"tag":             "count: !!int 3\n",
		"extend and more": "items: {extend: [a], replace: [b]}\n",
	}
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			var got document
			err := Decode("f.yaml", []byte(in), &got)
			if err == nil || !strings.HasPrefix(err.Error(), "f.yaml:") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("count: 1\nitems: {extend: [a]}\n")
	f.Add("word: |\n  bad\n")
	f.Add("any: {a: [1, x, 1.5, true, null, .inf]}\n? k\n: v\n")
	f.Fuzz(func(t *testing.T, s string) {
		var got document
		if err := Decode("f", []byte(s), &got); err != nil && !strings.HasPrefix(err.Error(), "f:") {
			t.Errorf("error without a place: %v", err)
		}
	})
}

// What Raw cannot keep is a mistake, and not left out.
func TestRawLosesNoKey(t *testing.T) {
	for in, want := range map[string]string{
		"any:\n  <<: {a: b}\n  c: d\n":        "f.yaml:2:3: a key must be a plain word",
		"any: {a: {<<: *x}}\n":                "a key must be a plain word",
		"any: {\"a\": 1, 'a': 2}\n":           "already defined",
		"any:\n  - a: 1\n    a: 2\n":          "already defined",
		"any:\n  - a: &x 1\n    b: *x\n":      "anchors, aliases, merges and tags are not read here",
		"any: {a: !!binary aGVsbG8=, b: c}\n": "anchors, aliases, merges and tags are not read here",
	} {
		var got document
		if err := Decode("f.yaml", []byte(in), &got); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
	var got document
	if err := Decode("f.yaml", []byte("any: {a: , b: null, 5: x}\n"), &got); err != nil || !cmp.Equal(got.Any.Value, map[string]any{"a": nil, "b": nil, "5": "x"}) {
		t.Errorf("%v, %v", got.Any, err)
	}
}
