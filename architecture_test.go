package clawwatch_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/clawwatch/clawwatch/"

// may is the floor plan: who may import whom, and why. A room that is not
// listed may import nothing of the project. "*" stands for every room.
var may = []struct{ room, imports, because string }{
	{"cmd/clawwatch", "*", "it lists collectors, exporters and verbs explicitly"},
	{"internal/agent", "collectors collectors/digest collectors/ebpf collectors/fanotify collectors/inotify collectors/lineage collectors/openclaw collectors/orders collectors/plugin collectors/procevents collectors/procfs collectors/skills collectors/sockdiag collectors/strangers", "it owns them, and passes word between those that never meet"},
	{"internal/agent", "exporters exporters/otlp exporters/jsonl internal/console", "it owns where alerts and records go"},
	{"internal/agent", "internal/pipeline internal/store internal/api internal/policy internal/redact internal/event rules", "it builds the pipeline and what stands behind it"},
	{"internal/agent", "internal/policy/yamlfile", "its configuration is read as strictly as the policy"},
	{"collectors", "internal/event", "observing means emitting events"},
	{"collectors/ebpf", "collectors collectors/procfs internal/event", "a mechanism of observing; what the kernel side cannot say is read from /proc by one reader"},
	{"collectors/fanotify", "collectors collectors/procfs internal/event", "a mechanism of observing; /proc tells how a file is held open"},
	{"collectors/inotify", "collectors internal/event", "a mechanism of observing"},
	{"collectors/lineage", "internal/event", "who is watched, for what cannot ask the kernel's marks"},
	{"collectors/procevents", "collectors collectors/lineage collectors/procfs internal/event", "a mechanism of observing; /proc tells what the kernel does not"},
	{"collectors/sockdiag", "collectors internal/event", "a mechanism of observing"},
	{"collectors/strangers", "collectors collectors/fanotify collectors/procfs collectors/rootfs internal/event", "a mechanism of observing; fanotify is the edge, /proc tells who it was"},
	{"collectors/openclaw", "collectors collectors/procfs collectors/rootfs internal/event", "a mechanism of observing; it finds gateways in /proc, and reads those in containers"},
	{"collectors/plugin", "collectors/procfs internal/event", "a mechanism of observing; it asks /proc who a peer is, and for the tag of a process"},
	{"collectors/skills", "collectors collectors/rootfs internal/event", "a mechanism of observing; skills can be in containers"},
	{"collectors/orders", "internal/event", "it reads what files tell others to start"},
	{"collectors/procfs", "collectors collectors/lineage internal/event", "a mechanism of observing"},
	{"collectors/doors", "collectors collectors/procfs internal/event", "it tests what observes"},
	{"internal/agent", "internal/canary", "it tries its sensors"},
	{"internal/agent", "internal/attribution", "it says which file is a script, for that to be hashed"},
	{"internal/canary", "internal/event", "what is done, and what is to be seen of it"},
	{"collectors/digest", "collectors/procfs internal/event", "it tells what the kernel sensor cannot: the content of programs"},
	{"internal/pipeline", "internal/proctab internal/attribution internal/policy internal/redact internal/sensitive internal/event rules", "the stages in their order"},
	{"internal/learn", "internal/policy internal/redact internal/event", "it says what a policy would have to allow, in words that are safe to print"},
	{"internal/redact", "internal/sensitive", "what is sensitive is taken out"},
	{"internal/attribution", "internal/event", "facts in, a judgement out"},
	{"internal/proctab", "internal/event", "processes are named by event.ProcID"},
	{"internal/policy", "internal/event internal/policy/yamlfile internal/sensitive", "a policy is bound to a gateway that was found, and describes data"},
	{"rules", "internal/policy internal/policy/yamlfile internal/event internal/redact", "rules see a record and the policy; what they say is made safe to print"},
	{"rules/sigma", "rules internal/policy/yamlfile internal/redact", "it writes rules, and tries them; what others wrote is made safe to print"},
	{"internal/store", "internal/event", "it keeps records and alerts"},
	{"internal/api", "internal/store internal/event", "it serves the store"},
	{"internal/console", "internal/event internal/redact", "one way of printing an alert"},
	{"exporters", "internal/event", "a batch is records and alerts"},
	{"exporters/otlp", "exporters internal/event internal/spool", "one way out"},
	{"exporters/jsonl", "exporters internal/event", "another"},
	{"internal/tables", "internal/api internal/store internal/event internal/redact", "rows are what the agent answers, made safe to print"},
	{"exporters/osquery", "internal/tables internal/api", "osquery's questions become the agent's"},
}

// alone lists outside packages that a single room may import.
var alone = []struct{ prefix, room, because string }{
	{"github.com/expr-lang/expr", "rules", "the rule language is replaceable at one place"},
	{"github.com/cilium/ebpf", "collectors/ebpf", "the kernel edge"},
	{"go.opentelemetry.io/", "exporters/otlp", "the wire is replaceable at one place"},
	{"github.com/fsnotify/fsnotify", "collectors/", "watching files is observing"},
	{"github.com/osquery/osquery-go", "exporters/osquery", "the wire is replaceable at one place"},
	{"github.com/apache/thrift", "exporters/osquery", "it is osquery's wire"},
	{"github.com/spf13/cobra", "cmd/clawwatch", "only the command line is a command line"},
}

func TestRoomsImportOnlyWhatTheFloorPlanAllows(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	allowed := map[string][]string{}
	for _, m := range may {
		allowed[m.room] = append(allowed[m.room], strings.Fields(m.imports)...)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		room := strings.TrimPrefix(p.ImportPath, module)
		for _, imp := range p.Imports {
			target, ours := strings.CutPrefix(imp, module)
			if ours && !slices.Contains(allowed[room], target) && !slices.Contains(allowed[room], "*") {
				t.Errorf("%s imports %s, which the floor plan does not show", room, target)
			}
			for _, a := range alone {
				if strings.HasPrefix(imp, a.prefix) && !strings.HasPrefix(room, a.room) {
					t.Errorf("%s imports %s, which %s alone may: %s", room, imp, a.room, a.because)
				}
			}
		}
	}
}
