package osquery_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/tables"
)

var update = flag.Bool("update", false, "write packaging/osquery/clawwatch.conf anew from clawwatch.yaml")

const (
	packYAML = "../../packaging/osquery/clawwatch.yaml"
	packJSON = "../../packaging/osquery/clawwatch.conf"
)

// A packed query is one of the pack in YAML.
type packed struct {
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	Query       string `yaml:"query"`
	Interval    int    `yaml:"interval"`
	Platform    string `yaml:"platform"`
	Logging     string `yaml:"logging"`
}

func readPack(t *testing.T) []packed {
	t.Helper()
	text, err := os.ReadFile(packYAML)
	if err != nil {
		t.Fatal(err)
	}
	var pack []packed
	if err := yaml.UnmarshalWithOptions(text, &pack, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return pack
}

func TestThePackIsTheSameInYAMLAndJSON(t *testing.T) {
	type query struct {
		Query       string `json:"query"`
		Interval    int    `json:"interval"`
		Description string `json:"description"`
		Snapshot    bool   `json:"snapshot,omitempty"`
		Removed     *bool  `json:"removed,omitempty"`
	}
	queries := map[string]query{}
	for _, p := range readPack(t) {
		q := query{Query: p.Query, Interval: p.Interval, Description: p.Description, Snapshot: p.Logging == "snapshot"}
		if p.Logging == "differential_ignore_removals" {
			q.Removed = new(bool)
		}
		queries[p.Name] = q
	}
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(map[string]any{"platform": "linux", "queries": queries}); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(packJSON, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(packJSON)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want.Bytes()) {
		t.Errorf("%s is not %s; write it with: go test ./exporters/osquery -run Pack -update", packJSON, packYAML)
	}
}

// today is a day that has just been, with a failed model call that had a card in
// its prompt.
func today() ([]event.Record, event.Alert) {
	records, alert := day()
	records = append(records, event.Record{ID: id(11), Time: at(10), Kind: event.KindLLMCall, LLM: &event.LLM{Provider: "p", Model: "m", StatusCode: 401}, Sensitive: []event.Sensitive{{Type: "payment-card", Place: event.InPrompt, Digest: "0a1b2c3d", Count: 1}}})
	late := time.Since(epoch) - time.Minute
	for i := range records {
		records[i].Time = records[i].Time.Add(late)
	}
	alert.Time = alert.Time.Add(late)
	return records, alert
}

// Against a day on which all of it happened each query has something to tell.
func TestEachQueryOfThePackTellsSomething(t *testing.T) {
	b := start(t, true)
	records, alert := today()
	b.fill(records, alert)
	for _, p := range readPack(t) {
		if rows := b.query(p.Query); len(rows) == 0 {
			t.Errorf("%s: no rows", p.Name)
		}
		if p.Description == "" || p.Interval < 300 || !strings.HasPrefix(p.Name, "clawwatch_") {
			t.Errorf("%+v", p)
		}
	}
}

func TestEachExampleOfTheDocumentTellsSomething(t *testing.T) {
	b := start(t, true)
	records, alert := today()
	b.fill(records, alert)
	for _, table := range tables.All() {
		for _, example := range table.Examples {
			if strings.Contains(example, "process_open_sockets") {
				continue // osquery's own, which the stand-in has not
			}
			if rows := b.query(example); len(rows) == 0 {
				t.Errorf("%s: no rows from %s", table.Name, example)
			}
		}
	}
}
