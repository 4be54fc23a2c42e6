package doors

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table in README.md")

const (
	readme = "../../README.md"
	begin  = "<!-- doors -->\n"
	end    = "<!-- end of doors -->"
)

func TestTheTableInREADMEIsCurrent(t *testing.T) {
	b, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", readme)
	}
	want := before + begin + table() + end + after
	if *update {
		if err := os.WriteFile(readme, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(b) {
		t.Errorf("%s does not have the table; run: make docs", readme)
	}
}

// table has one row a family, and under it those doors that a back end does not
// simply see.
func table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| door | %s |\n|---|%s\n", strings.Join(Backends, " | "), strings.Repeat("---|", len(Backends)))
	row := func(name string, cells []string) { fmt.Fprintf(&b, "| %s | %s |\n", name, strings.Join(cells, " | ")) }
	family := ""
	for _, d := range All() {
		if d.Family != family {
			family = d.Family
			row("**"+family+"**", counts(family))
		}
		var cells []string
		for _, backend := range Backends {
			cells = append(cells, string(d.Want(backend)))
		}
		if slices.ContainsFunc(cells, func(c string) bool { return c != string(Seen) }) {
			row(d.Name, cells)
		}
	}
	return b.String()
}

// counts are how many doors of a family have which result.
func counts(family string) []string {
	var cells []string
	for _, backend := range Backends {
		n := map[Result]int{}
		for _, d := range All() {
			if d.Family == family {
				n[d.Want(backend)]++
			}
		}
		var parts []string
		for _, r := range []Result{Seen, Reported, Either, Documented} {
			if n[r] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", n[r], r))
			}
		}
		cells = append(cells, strings.Join(parts, ", "))
	}
	return cells
}

func TestEveryKnownGapIsDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/known-limitations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range All() {
		known := false
		for _, r := range d.Except {
			known = known || r == Documented
		}
		if known != (d.Limit != "") {
			t.Errorf("%s: a known gap has a line of documentation, and nothing else has", d.Name)
		}
		if known && !strings.Contains(string(b), "\n- "+d.Limit) {
			t.Errorf("%s: docs/known-limitations.md has no line %q", d.Name, d.Limit)
		}
	}
}

func TestDoorsHaveNamesOfTheirOwn(t *testing.T) {
	names := map[string]bool{}
	for _, d := range all() {
		if names[d.Name] {
			t.Errorf("two doors are called %s", d.Name)
		}
		names[d.Name] = true
	}
}
