package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// A fenced block of the documentation. What follows the language says what the
// test does with it: "run" runs it as a shell script while an agent runs, and
// "file=PATH" puts it there first.
var block = regexp.MustCompile("(?ms)^```(\\w+) (run|file=(\\S+))\n(.*?)^```$")

// The commands in the documentation work, with the files that it shows. The
// doctor may find that something is not well (status 3). What siem.md says of a
// collector is tried with a real one.
func TestDocumentationRuns(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("the agent needs root, and in CI has to have it")
		}
		t.Skip("the agent needs root")
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	dir, found := t.TempDir(), 0
	http, grpc := freePort(t), freePort(t)
	for _, page := range pages {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		blocks := block.FindAllStringSubmatch(string(data), -1)
		if len(blocks) == 0 {
			continue
		}
		found++
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		script := strings.NewReplacer(":4318", ":"+http, ":4317", ":"+grpc, "/var/log/otelcol/", "").Replace(scriptOf(blocks, name == "siem"))
		if err := os.WriteFile(filepath.Join(dir, name+".txtar"), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found < 4 {
		t.Fatalf("%d pages have commands", found)
	}
	testscript.Run(t, testscript.Params{
		Dir:  dir,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"until": until},
		Setup: func(env *testscript.Env) error {
			env.Setenv("CLAWWATCH_SOCKET", filepath.Join(env.WorkDir, "sock"))
			env.Setenv("OTELCOL", os.Getenv("CLAWWATCH_OTELCOL"))
			return nil
		},
	})
}

// scriptOf makes a testscript of the blocks of a page.
func scriptOf(blocks [][]string, collector bool) string {
	var commands, files strings.Builder
	config := ""
	for _, b := range blocks {
		if b[2] == "run" {
			commands.WriteString(b[4])
			continue
		}
		fmt.Fprintf(&files, "-- %s --\n%s", b[3], b[4])
	}
	begin, end := "", ""
	if collector {
		config = "--config siem.yaml "
		if os.Getenv("CLAWWATCH_OTELCOL") != "" {
			begin = "exec $OTELCOL -config collector.yaml &collector&\n"
			end = "exec timeout 60 bash -c 'until grep -q clawwatch.sensor.coverage clawwatch.json; do sleep 0.1; done'\n" +
				"until 'well +delivery +http://\\S+ events: ' clawwatch doctor --config siem.yaml\nkill -INT collector\nwait collector\n"
		}
	}
	return begin + "exec clawwatch run " + config + "--state-dir state --socket $CLAWWATCH_SOCKET &agent&\n" +
		"until 'agent +\\S+ runs since' clawwatch doctor\n" +
		"exec bash commands.sh\n" + end + "kill -INT agent\nwait agent\n" +
		"-- commands.sh --\ntrap 's=$?; test $s = 3 || exit $s' ERR\nset -x\n" + commands.String() + "exit 0\n" + files.String()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
