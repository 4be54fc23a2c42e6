package rules_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

// two are a rule under test and one that goes on; both are true of connect.
func two(t *testing.T, condition string) *rules.Set {
	t.Helper()
	set, err := rules.Load(rules.Source{Name: "a", Data: []byte(`rules:
  - {name: a-tried, description: d, severity: low, message: m, condition: '` + condition + `'}
  - {name: b-other, description: d, severity: low, message: m, condition: acting}
`)})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// A clock that says how long the first rule takes: it is read before it, after it
// and after the other.
type clock struct {
	at, slow time.Duration
	reads    int
}

func (c *clock) now() time.Duration {
	if c.reads++; c.reads%3 == 2 {
		c.at += c.slow
	}
	return c.at
}

func TestASlowRuleIsThrottledThenDisabledAndTheOthersGoOn(t *testing.T) {
	set, c := two(t, `acting or process.pid == 1`), &clock{slow: 200 * time.Millisecond}
	set.SetClock(c.now)
	in := rules.Input{Record: connect()}
	for strike := range 3 {
		for i := range 3 {
			if got := set.Eval(in); len(got) != 2 {
				t.Fatalf("strike %d: evaluation %d found %v", strike, i, got)
			}
		}
		want := []rules.Overrun{{Rule: "a-tried", Reason: "3 evaluations took 600ms", Disabled: strike == 2}}
		if got := set.Overruns(); fmt.Sprint(got) != fmt.Sprint(want) || set.Overruns() != nil {
			t.Fatalf("strike %d: %v", strike, got)
		}
		c.reads = 0
		if got := set.Eval(in); len(got) != 1 || got[0].Rule.Name != "b-other" {
			t.Fatalf("a throttled rule found %v", got)
		}
		c.reads, c.at = 0, c.at+10*time.Second
	}
	c.at += time.Hour
	if got := set.Eval(in); len(got) != 1 || set.Overruns() != nil {
		t.Errorf("a disabled rule found %v", got)
	}
	if s := set.Stats()[0]; !s.Disabled || s.Skipped != 4 || s.Matches != 9 || set.Stats()[1].Disabled {
		t.Errorf("%+v", set.Stats())
	}
}

func TestARuleThatIsWellForAMinuteIsForgiven(t *testing.T) {
	set, c := two(t, `acting or process.pid == 1`), &clock{}
	set.SetClock(c.now)
	in := rules.Input{Record: connect()}
	for range 4 {
		c.slow = 200 * time.Millisecond
		for range 3 {
			set.Eval(in)
		}
		if got := set.Overruns(); len(got) != 1 || got[0].Reason == "" || got[0].Disabled {
			t.Fatalf("%v", got)
		}
		c.slow = 0
		c.at += 80 * time.Second
		if got := set.Eval(in); len(got) != 2 {
			t.Fatalf("found %v", got)
		}
		if got := set.Overruns(); len(got) != 1 || got[0] != (rules.Overrun{Rule: "a-tried"}) {
			t.Fatalf("%v", got)
		}
	}
}

// Who keeps the host so busy that the clock goes on while a rule is evaluated must not
// be rid of what watches him.
func TestABuiltInRuleIsNeverLeftOut(t *testing.T) {
	set, c := rules.Builtin(), &clock{}
	set.SetClock(func() time.Duration { c.at += time.Second; return c.at })
	for i := range 20 {
		if got := set.Eval(rules.Input{Record: connect()}); len(got) != 1 || got[0].Rule.Name != "unapproved-endpoint" {
			t.Fatalf("%d: found %v", i, got)
		}
	}
	if got := set.Overruns(); got != nil {
		t.Errorf("%v", got)
	}
}

// What many records take together is no overrun of a rule that is quick for each.
func TestAQuickRuleMayBeAskedOften(t *testing.T) {
	set, c := two(t, `acting or process.pid == 1`), &clock{slow: 10 * time.Microsecond}
	set.SetClock(c.now)
	for range 100_000 {
		set.Eval(rules.Input{Record: connect()})
	}
	if got := set.Overruns(); got != nil {
		t.Errorf("%v", got)
	}
}

func TestARuleThatFailsIsThrottledThenDisabled(t *testing.T) {
	set, at := two(t, `process.args[99] == "x"`), time.Duration(0)
	set.SetClock(func() time.Duration { return at })
	for strike := range 3 {
		for range 150 {
			if got := set.Eval(rules.Input{Record: connect()}); len(got) != 1 {
				t.Fatalf("found %v", got)
			}
		}
		got := set.Overruns()
		if len(got) != 1 || !strings.HasPrefix(got[0].Reason, "100 of 100 evaluations failed, at last with: index out of range") || got[0].Disabled != (strike == 2) {
			t.Fatalf("strike %d: %v", strike, got)
		}
		at += 11 * time.Second
	}
	if s := set.Stats()[0]; s.Errors != 300 || s.Skipped != 150 {
		t.Errorf("%+v", s)
	}
}

// The worst that the language allows, for the worst record, does not stall what
// comes after: it is left out, and what it takes until then is bounded.
func TestAPathologicalRuleCannotStall(t *testing.T) {
	args := make([]string, 256)
	for i := range args {
		args[i] = strings.Repeat("a", 4<<10) // four times what sensors give, so that a quick machine finds it slow
	}
	for name, condition := range map[string]string{
		"contains":          "any(process.args, " + parts(50, " or ", `lower(#) contains "aaab%d"`) + ")",
		"another text":      "any(process.args, lower(process.command_line) contains # + \"x\")",
		"pattern":           `any(process.args, # matches "(a|aa)+y") or process.args[0] == "y"`,
		"negated":           "not all(process.args, not (" + parts(45, " or ", `lower(#) contains "aaab%d"`) + "))",
		"list of constants": "any([" + parts(90, ", ", `"aab%d"`) + `], lower(process.command_line) contains # or upper(process.command_line) contains # or process.command_line + "x" contains #)`,
	} {
		t.Run(name, func(t *testing.T) {
			set, start, skipped := two(t, condition), time.Now(), time.Duration(0)
			set.SetClock(func() time.Duration { return time.Since(start) + skipped })
			r := connect()
			r.Process.CommandArgs = args
			evaluations, throttled := 0, 0
			for ; !set.Stats()[0].Disabled; evaluations++ {
				if evaluations > 3000 {
					t.Fatalf("it is still evaluated: %+v", set.Stats()[0])
				}
				found := set.Eval(rules.Input{Record: r})
				if len(found) != 1 || found[0].Rule.Name != "b-other" {
					t.Fatalf("found %v", found)
				}
				for _, o := range set.Overruns() {
					if o.Rule == "a-tried" && o.Reason != "" {
						throttled++
						skipped += 10 * time.Second
					}
				}
			}
			if t.Logf("%d evaluations in %s", evaluations, time.Since(start)); throttled != 3 {
				t.Errorf("%d overruns", throttled)
			}
			before := set.Stats()[0].Skipped
			if got := set.Eval(rules.Input{Record: &event.Record{Kind: event.KindExec, Process: r.Process}}); len(got) != 1 || set.Stats()[0].Skipped != before+1 {
				t.Errorf("found %v", got)
			}
		})
	}
}

// parts joins n texts of a format with a number.
func parts(n int, with, format string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return strings.Join(all, with)
}

func TestARuleThatCouldTakeSecondsIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		condition string
		refused   bool
	}{
		"patterns over arguments":  {"any(process.args, " + parts(20, " or ", `# matches "(a?){20}x%d"`) + ")", true},
		"a line for each argument": {`any(process.args, process.command_line matches "(a?){20}")`, true},
		"many of them":             {parts(30, " or ", `process.args[%d] matches "(a?){20}"`), false},
		"patterns for constants":   {"any([" + parts(100, ", ", `"%d"`) + `], process.command_line matches "(a?){20}" and # == process.name)`, true},
		"words for constants":      {"any([" + parts(250, ", ", `"%d"`) + "], lower(process.command_line) contains #)", false},
	} {
		_, err := rules.Load(rules.Source{Name: "a", Data: []byte("rules: [{name: x, description: d, severity: low, message: m, condition: '" + c.condition + "'}]")})
		if refused := err != nil && strings.Contains(err.Error(), "one evaluation could take seconds"); refused != c.refused || !refused && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
