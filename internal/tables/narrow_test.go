package tables

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/clawwatch/clawwatch/internal/store"
)

func second(n int64) time.Time { return time.Unix(n, 0).UTC() }

func named(t *testing.T, name string) Table {
	t.Helper()
	all := All()
	i := slices.IndexFunc(all, func(t Table) bool { return t.Name == name })
	if i < 0 {
		t.Fatalf("no table %s", name)
	}
	return all[i]
}

func TestConstraintsNarrowTheQuestion(t *testing.T) {
	for _, c := range []struct {
		name        string
		table       string
		constraints []Constraint
		want        Query
	}{
		{"none ask for all", "clawwatch_events", nil, Query{}},
		{"a kind of table asks for its kinds", "clawwatch_files", nil, Query{Query: store.Query{Kind: "file.*"}}},
		{
			"> and <= count whole seconds", "clawwatch_events",
			[]Constraint{{"time", Greater, "10"}, {"time", LessOrEqual, "20"}},
			Query{Query: store.Query{Since: second(11), Until: second(21)}},
		},
		{
			">= and < with fractions", "clawwatch_events",
			[]Constraint{{"time", GreaterOrEqual, "10.5"}, {"time", Less, "20.5"}},
			Query{Query: store.Query{Since: second(11), Until: second(21)}},
		},
		{
			"the narrower of two", "clawwatch_events",
			[]Constraint{{"time", Greater, "10"}, {"time", Greater, "15"}, {"time", Less, "30"}, {"time", Less, "20"}},
			Query{Query: store.Query{Since: second(16), Until: second(20)}},
		},
		{"times beyond all time", "clawwatch_events", []Constraint{{"time", Greater, "-1e300"}, {"time", Less, "1e300"}, {"time", Greater, "NaN"}}, Query{}},
		{"a time that is no number", "clawwatch_events", []Constraint{{"time", Greater, "2026-11-22"}}, Query{}},
		{
			"names", "clawwatch_events",
			[]Constraint{{"skill", Equal, "weather"}, {"session", Equal, "s"}, {"gateway", Equal, "/g"}},
			Query{Query: store.Query{Skill: "weather", Session: "s", Gateway: "/g"}},
		},
		{"a session's key is as good as its ID", "clawwatch_events", []Constraint{{"session_key", Equal, "k"}}, Query{Query: store.Query{Session: "k"}}},
		{"a pattern of names does not narrow", "clawwatch_events", []Constraint{{"skill", Like, "wea%"}}, Query{}},
		{"what was made safe is not the agent's name", "clawwatch_events", []Constraint{{"skill", Equal, `we\x1bather`}, {"session", Equal, "cut…"}}, Query{}},
		{"nor is what is longer than a value", "clawwatch_events", []Constraint{{"skill", Equal, strings.Repeat("x", maxText)}}, Query{}},
		{"pid", "clawwatch_events", []Constraint{{"pid", Equal, "41"}}, Query{Query: store.Query{PID: 41}}},
		{"pid as a float", "clawwatch_events", []Constraint{{"pid", Equal, "41.0"}}, Query{Query: store.Query{PID: 41}}},
		{"more than a pid does not narrow", "clawwatch_events", []Constraint{{"pid", Greater, "41"}}, Query{}},
		{"kind", "clawwatch_events", []Constraint{{"kind", Equal, "file.open"}}, Query{Query: store.Query{Kind: "file.open"}}},
		{"a family by LIKE", "clawwatch_events", []Constraint{{"kind", Like, "FILE.%"}}, Query{Query: store.Query{Kind: "file.*"}}},
		{"a family by GLOB", "clawwatch_events", []Constraint{{"kind", Glob, "file.*"}}, Query{Query: store.Query{Kind: "file.*"}}},
		{"another pattern does not narrow", "clawwatch_events", []Constraint{{"kind", Like, "%.open"}, {"kind", Glob, "file.%"}, {"kind", Like, "f_le.%"}}, Query{}},
		{"the kind and not its family", "clawwatch_events", []Constraint{{"kind", Equal, "file.open"}, {"kind", Like, "file.%"}}, Query{Query: store.Query{Kind: "file.open"}}},
		{"a kind within the table's", "clawwatch_files", []Constraint{{"kind", Equal, "file.open"}}, Query{Query: store.Query{Kind: "file.open"}}},
		{"a family that holds the table's", "clawwatch_llm_calls", []Constraint{{"kind", Like, "llm.%"}}, Query{Query: store.Query{Kind: "llm.call"}}},
		{"id", "clawwatch_alerts", []Constraint{{"id", Equal, "01J00000000000000000000000"}}, Query{ID: "01J00000000000000000000000"}},
		{"rule", "clawwatch_alerts", []Constraint{{"rule", Equal, "r"}}, Query{Query: store.Query{Rule: "r"}}},
		{"a column that nothing is known of", "clawwatch_files", []Constraint{{"path", Equal, "/x"}, {"none", Equal, "x"}}, Query{Query: store.Query{Kind: "file.*"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, some := named(t, c.table).Narrow(c.constraints)
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(store.Query{})); diff != "" || !some {
				t.Errorf("some %v; (-want +got):\n%s", some, diff)
			}
		})
	}
}

func TestWhatNoRowCanMeetIsNotAsked(t *testing.T) {
	for _, c := range [][]Constraint{
		{{"time", Greater, "10"}, {"time", Less, "11"}},
		{{"time", Less, "0"}},
		{{"time", Greater, "9000000001"}},
		{{"time", Equal, "10.5"}},
		{{"pid", Equal, "0"}},
		{{"pid", Equal, "4294967337"}},
		{{"pid", Equal, "1.5"}},
		{{"kind", Equal, "no kind"}},
		{{"kind", Equal, "network.close"}},
		{{"kind", Like, "network.%"}},
		{{"id", Equal, "../status"}},
		{{"id", Equal, "short"}},
	} {
		if q, some := named(t, "clawwatch_files").Narrow(c); some {
			t.Errorf("%v: asks for %+v", c, q)
		}
	}
}

// What a constraint narrows must never lose a row that meets it.
func FuzzNarrowKeepsRowsThatMeetTheConstraint(f *testing.F) {
	f.Add(int64(1795330800), "1795330800", int(Equal), "file.%", "41")
	f.Add(int64(0), "-1", int(Greater), "process.*", "x")
	f.Fuzz(func(t *testing.T, at int64, bound string, op int, pattern, pid string) {
		table := named(t, "clawwatch_events")
		table.Narrow([]Constraint{{"kind", Like, pattern}, {"kind", Equal, pattern}, {"pid", Equal, pid}, {"id", Equal, pattern}}) // must not panic
		q, some := table.Narrow([]Constraint{{"time", Op(op), bound}})
		if at < 0 || at >= lastSecond || !meets(at, Op(op), bound) {
			return
		}
		if !some || !q.Since.IsZero() && second(at).Before(q.Since) || !q.Until.IsZero() && !second(at).Before(q.Until) {
			t.Errorf("%d meets op %d %q, and is not asked for: %v to %v", at, op, bound, q.Since, q.Until)
		}
	})
}

// meets compares as SQL does a whole number with one.
func meets(at int64, op Op, bound string) bool {
	b, err := strconv.ParseFloat(bound, 64)
	if err != nil || math.Abs(b) > 1<<53 {
		return false
	}
	a := float64(at)
	switch op {
	case Equal:
		return a == b
	case Greater:
		return a > b
	case GreaterOrEqual:
		return a >= b
	case Less:
		return a < b
	case LessOrEqual:
		return a <= b
	}
	return false
}
