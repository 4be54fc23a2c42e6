package truth

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// alerts checks that those expected were raised, that those raised name nobody
// who was not there, and that it was quiet where it had to be.
func (c *comparison) alerts() {
	for _, x := range c.Expect {
		if !slices.ContainsFunc(c.Alerts, func(a Alert) bool { return c.meets(a, x) }) {
			c.fault("missing: alert %s %s: %s", x.Rule, x.Installed, c.Labels[x.Label])
		}
	}
	raised := map[string]bool{}
	for _, a := range c.Alerts {
		raised[a.Rule.Name] = true
		scenario := c.scenario(a)
		c.report.Raised[scenario+"\t"+a.Rule.Name]++
		if slices.Contains(c.Quiet, scenario) {
			c.fault("wrong: alert %s where none may be: %s: %s", a.Rule.Name, scenario, a.Message)
		}
		if a.Rule.Name != "skill-installation" && !c.plausible(a.Attribution) {
			c.fault("wrong: alert %s names a skill that was not in use there: %s", a.Rule.Name, a.Message)
		}
	}
	for _, rule := range c.Rules {
		if !raised[rule] {
			c.fault("missing: rule %s never fired", rule)
		}
	}
}

// meets is whether the alert is the one expected.
func (c *comparison) meets(a Alert, x Expect) bool {
	if a.Rule.Name != x.Rule {
		return false
	}
	if x.Installed != "" {
		return slices.ContainsFunc(a.Events, func(id string) bool { return c.byID[id].Skill.ID.Name == x.Installed })
	}
	v := judge(a.Attribution, c.Labels[x.Label])
	return v == Right || v == Unsure
}

// scenario is the one whose session the alert is of; without a session, the
// one whose skill it names, if only one can be.
func (c *comparison) scenario(a Alert) string {
	if a.Attribution == nil {
		return "(none)"
	}
	at := map[string]bool{}
	for _, l := range c.Labels {
		if l.Gateway != a.Attribution.Gateway {
			continue
		}
		if a.Attribution.Session != "" && l.Session == a.Attribution.Session ||
			a.Attribution.Session == "" && a.Attribution.Skill != nil && l.Skill == a.Attribution.Skill.Name {
			at[l.Scenario] = true
		}
	}
	if len(at) != 1 {
		return "(unknown)"
	}
	return slices.Collect(maps.Keys(at))[0]
}

// Table is the report for a person.
func (r Report) Table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "scenario\texpected\tseen\tright\tunsure\tambiguous\tnone\twrong\tmissing")
	all := Row{Scenario: "all"}
	for _, row := range r.Rows {
		fmt.Fprintln(w, row)
		all.Expected += row.Expected
		for v, n := range row.Verdicts {
			all.Verdicts[v] += n
		}
	}
	fmt.Fprintln(w, all)
	fmt.Fprintln(w, "\nscenario\talert\tcount")
	for _, k := range slices.Sorted(maps.Keys(r.Raised)) {
		fmt.Fprintf(w, "%s\t%d\n", k, r.Raised[k])
	}
	_ = w.Flush() // into memory
	fmt.Fprintf(&b, "\nof %d deeds of skills %d attributed certain or strong: %.1f %%\n", r.Deeds, r.Sure, share(r.Sure, r.Deeds))
	for _, why := range slices.Sorted(maps.Keys(r.Known)) {
		fmt.Fprintf(&b, "%d in doubt, as %s\n", r.Known[why], why)
	}
	if plain := r.plain(); plain != r.Deeds {
		fmt.Fprintf(&b, "of the other %d: %.1f %%\n", plain, share(r.Sure, plain))
	}
	return b.String()
}

func share(n, of int) float64 { return 100 * float64(n) / float64(max(1, of)) }

// String is the row's cells, separated by tabs.
func (r Row) String() string {
	s := fmt.Sprintf("%s\t%d\t%d", r.Scenario, r.Expected, r.Expected-r.Verdicts[Missing])
	for _, n := range r.Verdicts {
		s += fmt.Sprintf("\t%d", n)
	}
	return s
}
