package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/tables"
	"github.com/clawwatch/clawwatch/testdata/osqueryd"
)

// osqueryDaemon stands in for osqueryd: fake-osqueryd EXTENSION SQL… starts the extension
// as osqueryd does one that is loaded by itself, prints the rows of each
// statement as JSON, one a line, and dies without a word to the extension.
func osqueryDaemon() {
	if err := runOsquery(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "fake-osqueryd:", err)
		os.Exit(1)
	}
}

func runOsquery(extension string, statements []string) error {
	dir, err := os.MkdirTemp("", "osq") // socket paths are short
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := osqueryd.Start(filepath.Join(dir, "em"))
	if err != nil {
		return err
	}
	cmd := exec.Command(extension, "--verbose", "--socket", filepath.Join(dir, "em"), "--timeout", "3", "--interval", "1")
	cmd.Stderr = os.Stderr // it keeps whoever reads this waiting until the extension ends
	if err := cmd.Start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Wait(ctx, len(tables.All())); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	for _, statement := range statements {
		_, rows, err := s.Select(ctx, statement)
		if err != nil {
			return errors.Join(err, cmd.Process.Kill())
		}
		for _, row := range rows {
			line, err := json.Marshal(row)
			if err != nil {
				return errors.Join(err, cmd.Process.Kill())
			}
			fmt.Println(string(line))
		}
	}
	return nil
}

// The tables through osquery itself. It is in no registry that tests may use,
// so this runs only where somebody has installed it: not in CI.
func TestRealOsquery(t *testing.T) {
	program, err := exec.LookPath("osqueryd")
	if err != nil {
		t.Skip("no osqueryd on the PATH")
	}
	extension, err := exec.LookPath(extensionName) // this test binary, by another name
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(statement string) []map[string]string {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, "-S", "--json", "--allow_unsafe", "--disable_database", "--disable_events",
			"--extensions_socket", filepath.Join(dir, "em"), "--extensions_timeout", "10", "--extensions_interval", "1",
			"--extensions_require", "clawwatch", "--extension", extension, statement)
		cmd.Env = append(os.Environ(), "CLAWWATCH_SOCKET="+seededAgent(t))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		var rows []map[string]string
		if err := json.Unmarshal(out, &rows); err != nil {
			t.Fatalf("%s: %v in %s", statement, err, out)
		}
		return rows
	}
	for _, table := range tables.All() {
		for _, row := range run("SELECT * FROM " + table.Name) {
			for _, c := range table.Columns {
				if _, there := row[c.Name]; !there {
					t.Errorf("%s: no column %s", table.Name, c.Name)
				}
			}
		}
	}
	if rows := run("SELECT count(*) AS n FROM clawwatch_events"); len(rows) != 1 || rows[0]["n"] == "0" {
		t.Errorf("events: %v", rows)
	}
	if rows := run("SELECT skill, count(*) AS n FROM clawwatch_events WHERE skill = 'weather' GROUP BY skill"); len(rows) != 1 || rows[0]["skill"] != "weather" {
		t.Errorf("a group: %v", rows)
	}
	if rows := run("SELECT a.rule, e.kind FROM clawwatch_alerts a, json_each(a.events) i JOIN clawwatch_events e ON e.id = i.value"); len(rows) == 0 {
		t.Error("a join has no rows")
	}
}

func TestTheNameMakesTheExtension(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"/usr/lib/osquery/extensions/clawwatch.ext --socket s", "osquery --socket s"},
		{"clawwatch.ext", "osquery"},
		{"/usr/bin/clawwatch osquery --socket s", "osquery --socket s"},
		{"clawwatch alerts", "alerts"},
	} {
		if got := strings.Join(asExtension(strings.Fields(c.args)), " "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.args, got, c.want)
		}
	}
}
