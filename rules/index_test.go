package rules_test

import (
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

// What is found with the index is what is found when every rule is evaluated.
func TestTheIndexChangesNothingThatIsFound(t *testing.T) {
	for seed := range uint64(3) {
		m := newMaker(seed)
		sets := map[string]func() string{"made": m.condition, "odd": func() string { return m.odd(m.IntN(4)) }}
		for name, condition := range sets {
			set, err := m.set(100, condition)
			for tries := 0; err != nil && tries < 50; tries++ { // one of no kind, or with a comparison of unlike types
				if set, err = m.set(1+100/(tries+1), condition); tries == 49 {
					t.Fatal(err)
				}
			}
			found, view := 0, devView()
			for range 200 {
				found += same(t, set, rules.Input{Record: m.record(), View: view})
			}
			if t.Logf("%s: %d found", name, found); found == 0 {
				t.Errorf("%s: nothing was found", name)
			}
		}
	}
}

// same evaluates both ways, and gives the number of findings.
func same(t *testing.T, set *rules.Set, in rules.Input) int {
	t.Helper()
	got, want := set.Eval(in), set.EvalEvery(in)
	missing := map[string]string{}
	for _, f := range want {
		missing[f.Rule.Name] = f.Message
	}
	for i, f := range got {
		if i >= len(want) || want[i].Rule.Name != f.Rule.Name || want[i].Message != f.Message {
			t.Errorf("%s: found %d in another place", f.Rule.Name, i)
		}
		delete(missing, f.Rule.Name)
	}
	for _, r := range set.Rules() {
		if _, ok := missing[r.Name]; ok {
			t.Errorf("%s of a %s with %q is not found: %s", r.Name, in.Record.Kind, in.Record.Process.CommandArgs, r.Condition)
		}
	}
	return len(want)
}

// FuzzIndex has the fuzzer write the condition, or a part of one, and the texts.
func FuzzIndex(f *testing.F) {
	f.Add(`process.name == "curl" and lower(process.command_line) contains "k"`, "curl", "K ſ \xff")
	f.Add(`any(["a", "b"], lower(process.command_line) endsWith #) ? not (process.cwd startsWith "/") : process.args[0] in ["x", "curl"]`, "x", "B")
	f.Add("process.command_line matches \"(?i)(us|ks)[st]+.*x{2,}|^a?b$\" or process.name in process.args", "uss", "usſxx")
	f.Add(`not (any(process.args, # == "x") or process.pid in [7, 8]) == ("x" in process.args)`, "y", "x")
	f.Fuzz(func(t *testing.T, condition, name, line string) {
		set, err := rules.Load(rule("|\n      " + condition))
		if err != nil {
			return
		}
		r := connect()
		r.Process.Executable.Path, r.Process.CommandArgs = "/usr/bin/"+name, []string{name, line}
		r.Network.Host, r.Network.PeerAddress = name, line
		r.File = &event.File{Path: line, Operation: name}
		same(t, set, rules.Input{Record: r})
	})
}
