package yamlfile

import (
	"maps"
	"strings"
	"testing"
)

func TestPlacesNamesEveryKeyWithItsLine(t *testing.T) {
	got := Places([]byte("# a comment\nstore:\n  max_size: 1GiB\n  max_age:\notlp:\n  - endpoint: x\n    headers: [{name: a, value: b}]\n  - {endpoint: y}\n"))
	want := map[string]Pos{
		"store": {2, 1}, "store.max_size": {3, 3}, "otlp": {5, 1}, "otlp[0].endpoint": {6, 5}, "otlp[0].headers": {7, 5},
		"otlp[0].headers[0].name": {7, 16}, "otlp[0].headers[0].value": {7, 25}, "otlp[1].endpoint": {8, 6},
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func FuzzPlaces(f *testing.F) {
	f.Add("count: 1\nitems: {extend: [a]}\n")
	f.Add("? k\n: v\n- x")
	f.Add("a: &x [*x]\n<<: *x\n")
	f.Fuzz(func(t *testing.T, s string) {
		for key, at := range Places([]byte(s)) { // must not panic
			if at.Line < 1 || at.Column < 1 {
				t.Errorf("%q is at %v", key, at)
			}
		}
	})
}

func TestEntriesTakeAnyKeysAndScalarsAreJudgedLater(t *testing.T) {
	var got struct {
		Any Entries[Scalar] `yaml:"any"`
	}
	data := []byte("any:\n  b: x y\n  a: |\n    one\n    two\n")
	if err := Decode("f", data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Any) != 2 || got.Any[0].Key != "b" || got.Any[1].Value.Text != "one\ntwo\n" || got.Any[1].At != (Pos{3, 3}) || !got.Any[0].Value.Given() {
		t.Errorf("got %+v", got.Any)
	}
	const want = "f:5:6: no\n  5 |     two\n    |      ^"
	if err := got.Any[1].Value.Mistake(&InnerError{Line: 2, Column: 2, Message: "no"}); err.Error() != want {
		t.Errorf("got %v", err)
	}
	err := Decode("f", []byte("any:\n  b:\n  c: [x]\n"), &got)
	for _, want := range []string{`f:2:3: key "b" has no value`, "f:3:6: a single value is wanted, found a list"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := Decode("f", []byte("any: x\n"), &got); err == nil || !strings.Contains(err.Error(), "f:1:6: keys with values are wanted") {
		t.Errorf("got %v", err)
	}
}
