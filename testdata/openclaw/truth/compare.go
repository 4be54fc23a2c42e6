package truth

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Enough is the least share, in percent, of the deeds of skills that must be
// attributed right where nobody has said why one cannot be.
const Enough = 98

// Judged are the rules that the product is judged by.
var Judged = []string{
	"environment-access", "file-outside-approved-directories", "llm-auth-failure", "restricted-data-access",
	"skill-installation", "unapproved-endpoint", "unusual-data-volume",
}

// An Expect is an alert that must be raised for the label's skill and session.
type Expect struct {
	Label     string
	Rule      string
	Installed string // skill-installation: the skill that came, whoever brought it
}

// A Limit is how unsure the answer about a label may be at worst. Where that is
// worse than Right it says why nobody could be sure.
type Limit struct {
	Worst Verdict
	Why   string
}

// An Input is the truth and what clawwatch said.
type Input struct {
	Lines  []Line
	Labels map[string]Label
	Expect []Expect
	Quiet  []string         // scenarios in which no rule may fire
	Rules  []string         // each must have been raised
	Enough int              // least share of the deeds of skills that must be right, in percent
	Limits map[string]Limit // by label; not listed: Wrong and Missing are faults
	Events []Event
	Alerts []Alert
}

// A Row is a scenario's count of lines by verdict.
type Row struct {
	Scenario string
	Expected int
	Verdicts [Missing + 1]int
}

// A Report is the outcome.
type Report struct {
	Rows   []Row          // by scenario
	Raised map[string]int // alerts, by scenario and rule
	Deeds  int            // lines done for a skill
	Sure   int            // those of them that were attributed right
	Known  map[string]int // those in doubt with a reason, by the reason
	Faults []string       // why the comparison fails
	Doubts []string       // lines neither right nor at fault
}

// Compare looks for every line of the truth in what clawwatch said, and judges
// what it said about it; and it looks at everything else that clawwatch
// attributed to a skill, which must at least be one that was in use there.
func Compare(in Input) Report {
	c := comparison{Input: in, rows: map[string]*Row{}, byProc: map[Proc][]Event{}, byID: map[string]Event{}}
	c.report.Raised, c.report.Known = map[string]int{}, map[string]int{}
	for _, e := range in.Events {
		if _, twice := c.byID[e.ID]; twice {
			c.fault("event %s is there twice", e.ID)
		}
		c.byID[e.ID] = e
		c.byProc[e.Process.Proc] = append(c.byProc[e.Process.Proc], e)
	}
	for _, l := range in.Lines {
		c.line(l)
	}
	c.strays()
	c.alerts()
	for _, name := range slices.Sorted(maps.Keys(c.rows)) {
		c.report.Rows = append(c.report.Rows, *c.rows[name])
	}
	if plain := c.report.plain(); c.report.Sure*100 < plain*in.Enough {
		c.fault("%d of %d deeds of skills attributed right, want %d %%", c.report.Sure, plain, in.Enough)
	}
	return c.report
}

// plain is how many deeds of skills there are that nothing speaks against being
// sure of.
func (r Report) plain() int {
	n := r.Deeds
	for _, k := range r.Known {
		n -= k
	}
	return n
}

// Add takes in the outcome of another run.
func (r *Report) Add(o Report) {
	r.Rows = append(r.Rows, o.Rows...)
	r.Deeds, r.Sure = r.Deeds+o.Deeds, r.Sure+o.Sure
	if r.Known == nil {
		r.Raised, r.Known = map[string]int{}, map[string]int{}
	}
	for k, n := range o.Raised {
		r.Raised[k] += n
	}
	for why, n := range o.Known {
		r.Known[why] += n
	}
}

// Err is nil where there is no fault.
func (r Report) Err() error {
	if len(r.Faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(r.Faults, "\n"))
}

type comparison struct {
	Input
	report Report
	rows   map[string]*Row
	byProc map[Proc][]Event
	byID   map[string]Event
}

func (c *comparison) fault(format string, args ...any) {
	c.report.Faults = append(c.report.Faults, fmt.Sprintf(format, args...))
}

func (c *comparison) line(l Line) {
	label, known := c.Labels[l.Label]
	if !known {
		c.fault("label %s is of no scenario", l.Label)
		return
	}
	row := c.rows[label.Scenario]
	if row == nil {
		row = &Row{Scenario: label.Scenario}
		c.rows[label.Scenario] = row
	}
	found := l.find(c.byProc, c.Events)
	v, seen := verdict(l, label, found)
	row.Expected++
	row.Verdicts[v]++
	limit, limited := c.Limits[l.Label]
	if label.Skill != "" && !aside(l) {
		c.report.Deeds++
		switch {
		case v == Right:
			c.report.Sure++
		case limit.Why != "" && v <= limit.Worst:
			c.report.Known[limit.Why]++
		}
	}
	what := fmt.Sprintf("%s: %s: %s, said %s", v, label, l, seen)
	switch {
	case v == Right:
	case v == Wrong, limited && v > limit.Worst && !aside(l), !limited && v == Missing:
		c.report.Faults = append(c.report.Faults, what)
	default:
		c.report.Doubts = append(c.report.Doubts, what)
	}
}

// aside are lines of which a skill is not the doer: a call of a tool or of the
// model is the session's, and who installs a skill is the alert's business.
func aside(l Line) bool { return l.Op == "tool" || l.Op == "llm" || l.Op == "installed" }

// verdict is the worst of those on the events found, and what the worst said.
func verdict(l Line, label Label, found []Event) (Verdict, string) {
	if len(found) == 0 {
		return Missing, "nothing"
	}
	if l.Op == "close" && bytes(found) != l.Bytes {
		return Missing, fmt.Sprintf("%d bytes", bytes(found))
	}
	if l.Op == "installed" {
		return Right, ""
	}
	if aside(l) { // the skill is left to strays
		label.Skill = ""
	}
	worst, seen := Right, ""
	for _, e := range found {
		a := e.Attribution
		if aside(l) && a != nil {
			a = &Attribution{Gateway: a.Gateway, Session: a.Session}
		}
		if v := judge(a, label); v >= worst {
			worst, seen = v, fmt.Sprintf("%s (%s %s)", e.Attribution, e.Kind, e.ID)
		}
	}
	return worst, seen
}

// strays are events beyond the truth, such as those of the cp in a script:
// they may name only what is in use in that session.
func (c *comparison) strays() {
	for _, e := range c.Events {
		if !strings.HasPrefix(e.Kind, "skill.") && !c.plausible(e.Attribution) {
			c.fault("wrong: no such skill in use there: %s (%s %s)", e.Attribution, e.Kind, e.ID)
		}
	}
}

// plausible is whether the skill named is one of the session's, or, where no
// session is named, one of the gateway's.
func (c *comparison) plausible(a *Attribution) bool {
	if a == nil || a.Skill == nil {
		return true
	}
	for _, l := range c.Labels {
		if l.Skill == a.Skill.Name && (a.Gateway == "" || l.Gateway == a.Gateway) && (a.Session == "" || l.Session == a.Session) {
			return true
		}
	}
	return false
}

// String names the label for a person.
func (l Label) String() string {
	return fmt.Sprintf("%s (session %q, skill %q)", l.Scenario, l.Session, l.Skill)
}

// String tells the line in a few words.
func (l Line) String() string {
	s := fmt.Sprintf("%s by %d@%d", l.Op, l.Proc.PID, l.Proc.Start)
	for _, word := range []string{l.Path, l.Peer, l.Name, l.ID} {
		if word != "" {
			s += " " + word
		}
	}
	if l.Op == "exec" {
		s += " " + l.Exe
	}
	if l.Bytes != 0 {
		s += fmt.Sprintf(" %d bytes", l.Bytes)
	}
	return s
}

// String is the attribution in a few words; nil is no attribution.
func (a *Attribution) String() string {
	if a == nil {
		return "no attribution"
	}
	skill := "no skill"
	if a.Skill != nil {
		skill = a.Skill.Name
	}
	return fmt.Sprintf("%s, %s %v, session %q", skill, a.Confidence, a.Candidates, a.Session)
}
