package tables

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/osquery.md anew")

const (
	document = "../../docs/osquery.md"
	marker   = "<!-- From here on this file is written by: go test ./internal/tables -update -->\n"
)

func TestTheDocumentHasTheTablesAsTheyAre(t *testing.T) {
	have, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	head, _, found := strings.Cut(string(have), marker)
	if !found {
		t.Fatalf("%s has no line %s", document, marker)
	}
	want := head + marker + reference()
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(have) != want {
		t.Errorf("%s is not what the tables are; write it with: go test ./internal/tables -update", document)
	}
}

// reference is a section for each table.
func reference() string {
	var b strings.Builder
	for _, t := range All() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| column | type | pushed down | what it is |\n|---|---|---|---|\n", t.Name, t.Description)
		for _, c := range t.Columns {
			pushed := map[Filter]string{None: "", ByTime: "`=` `<` `<=` `>` `>=`", ByKind: "`=`, `LIKE 'file.%'`"}
			how, special := pushed[c.Filter]
			if !special {
				how = "`=`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Name, strings.ToLower(string(c.Type)), how, c.Description)
		}
		b.WriteString("\n")
		for _, e := range t.Examples {
			fmt.Fprintf(&b, "```sql\n%s\n```\n", e)
		}
	}
	return b.String()
}

func TestColumnsAreDescribedAndUnlike(t *testing.T) {
	for _, table := range All() {
		seen := map[string]bool{}
		for _, c := range table.Columns {
			if c.Description == "" || c.Type == "" || seen[c.Name] || strings.ContainsAny(c.Description, "|\n") {
				t.Errorf("%s: column %q: type %q, description %q, seen before: %v", table.Name, c.Name, c.Type, c.Description, seen[c.Name])
			}
			seen[c.Name] = true
		}
		if len(table.Examples) == 0 || table.Description == "" {
			t.Errorf("%s has no example or no description", table.Name)
		}
	}
}
