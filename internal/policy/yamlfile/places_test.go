package yamlfile

import (
	"maps"
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
