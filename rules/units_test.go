package rules_test

import (
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

func TestNumbersMayHaveUnits(t *testing.T) {
	for _, condition := range []string{
		`10MB == 10000000 and 1MiB == 1048576 and 1GiB == 1024 * 1MiB and 1kB == 1000 and 1.5kB == 1500 and 20B == 20`,
		`5m == 300 and 30s == 30 and 2h == 7200 and 1d == 24h and 1.5h == 90m`,
		`1_000kB == 1MB and 10mb == 10MB and -1kB == 0 - 1000 and 2kB/2 == 1kB`,
		`"10MB" != "10000000" and '5m' == "5m" and "a\"10MB" != "" and ` + "`10MB` == \"10MB\"",
		`0x1F == 31 and 1e3 == 1000.0 and 1.5 == 3 / 2 and 0b11 == 3 /* 10XY */`,
		`10MB in [1, 10MB] and [1, 2kB][1] == 2kB and len(process.args) < 1kB`,
		`network.bytes_sent < 10MB // 10XY`,
	} {
		set, err := rules.Load(rule(quote(condition)))
		if err != nil {
			t.Errorf("%s: %v", condition, err)
			continue
		}
		if found := set.Eval(rules.Input{Record: connect()}); len(found) != 1 {
			t.Errorf("%s is not true: %+v", condition, set.Stats())
		}
	}
	set, err := rules.Load(rules.Source{Name: "m", Data: []byte(`rules: [{name: m, description: d, severity: low, condition: acting, message: "over {bytes(10MiB)}"}]`)})
	if err != nil {
		t.Fatal(err)
	}
	if found := set.Eval(rules.Input{Record: &event.Record{Kind: event.KindExec, Process: &event.Process{Role: event.RoleTool}}}); len(found) != 1 || found[0].Message != "over 10.5 MB" {
		t.Errorf("got %+v", found)
	}
}

func TestAMistakeBehindAUnitIsShownAtItsPlace(t *testing.T) {
	for condition, want := range map[string]string{
		`network.bytes_sent > 10XB and acting`:         `r.yaml:6:38: "10XB": a size such as`,
		`acting and 5minutes > 3`:                      `r.yaml:6:28: "5minutes": a size`,
		`network.bytes_sent > 100MB and file.pth == 1`: `r.yaml:6:53: type rules.File has no field pth`,
		"\"ü\" == \"\" and 1MiB > file.pth":            `r.yaml:6:43: type rules.File has no field pth`,
		`10MB`:                                         "expected bool, but got int",
		`acting and 1.5s > 1`:                          "is no whole number of seconds",
		`acting and 99999999999TB > 1`:                 "a size such as",
		`acting and 10MB 5m`:                           `unexpected token Identifier("5m")`,
		`process.pid == "5m"`:                          "mismatched types int and string",
		`5M > 3`:                                       `"5M": a size such as`,
	} {
		_, err := rules.Load(rule(quote(condition)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", condition, err, want)
		}
	}
}
