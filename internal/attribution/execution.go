package attribution

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// An execution is the process tree of one exec tool call.
type execution struct {
	root      event.ProcID
	origin    *origin
	command   string // the model's text, as far as the arguments show it
	truncated bool
	cwd       string
	seen      time.Time // the exec, or the look at what ran before
	started   time.Time
	claimed   bool               // known by its environment alone, or
	known     *event.Attribution // by what was recorded of it before the agent was started anew
	heir      *inheritance       // it is no tool call's tree, but acts on what one left behind
	left      int                // files that it left behind

	given    []string // slipping variables that it began with, which are the gateway's
	replaced bool     // its root runs another program than the shell by now

	decided    bool
	call       *call   // the one that fits
	candidates []*call // when several fit
	how        string  // evidence for call
	doubt      bool    // every candidate may be another execution's
	byPID      bool    // the record names the process
	young      bool    // the row was written after the exec
	unmasked   bool    // the row is that but for what OpenClaw has masked in it
	looked     uint64  // the gateway's news when it was last overdue
	scripts    skillSet
	programs   []string  // that ran, by name
	manuals    skillSet  // whose SKILL.md it was seen to open
	contents   []content // that its processes were given to run

	tag       string // of clawwatch's plugin, in the root's environment; tag.go
	tagged    *tag   // it is right
	forged    string // it is wrong, and why
	contested bool   // it is contradicted by OpenClaw's records
	old       bool   // it ran before anybody watched
}

// slips names a variable that lets other code into a process and that the tool
// call has not begun with; empty: none.
func (x *execution) slips(names []string) string {
	for _, n := range slipping(names) {
		if !slices.Contains(x.given, n) {
			return n
		}
	}
	return ""
}

// runs reports whether arguments are those of the shell that an execution
// begins with.
func (x *execution) runs(args []string) bool {
	cmd, _, ok := shellCommand(args)
	text, _ := modelCommand(cmd)
	return ok && text == x.command
}

// final reports whether no record that may still come can matter.
func (x *execution) final(now time.Time) bool {
	wait := deadline + late
	if x.call != nil || len(x.candidates) > 0 {
		wait = 2 * deadline // it may still be contested
	}
	return x.decided && now.Sub(x.seen) > wait
}

// decide matches executions with the recorded calls they belong to, as soon as
// that can be said. One call that nobody else claims is the answer. Several
// calls are candidates, and where more executions claim them than there are
// calls, a row must be missing, so that each of them may be another session's.
func (e *Engine) decide() {
	type match struct {
		*execution
		fits []*call
	}
	var ripe []match
	for _, x := range e.open {
		age := e.now.Sub(x.seen)
		if x.call != nil || len(x.candidates) > 0 || age < settle {
			continue
		}
		m := match{execution: x}
		if g := x.origin.gateway; g != nil {
			if x.decided && x.looked == g.news {
				continue // nothing that came since could fit
			}
			if e.vouch(x, age >= deadline) {
				continue
			}
			if g.records(x.origin) {
				m.fits = g.fits(x, age >= deadline)
			}
			if age >= deadline {
				x.looked = g.news
			}
		} else if x.decided {
			continue
		}
		if len(m.fits) > 0 || age >= deadline {
			ripe = append(ripe, m)
		}
	}
	for _, m := range ripe {
		e.version++
		if m.decided && len(m.fits) > 0 {
			e.changed = append(e.changed, m.execution)
		}
		m.decided = true
		e.assign(m.execution, m.fits)
	}
}

// assign gives an execution the calls that fit it.
func (e *Engine) assign(x *execution, fits []*call) {
	claims := []*execution{x}
	for _, c := range fits {
		for _, y := range c.claims {
			if !x.elsewhere(y, fits) && !slices.Contains(claims, y) {
				claims = append(claims, y)
			}
		}
		c.claims = append(c.claims, x)
	}
	rivals, rows := x.rivals(fits)
	doubt := x.contested || !x.byPID && len(fits) > 0 && (len(claims) > len(fits) || len(rivals) > rows || x.young && x.tagged == nil && e.rivalled(x))
	if x.tagged != nil {
		e.prefer(x, fits, len(fits) == 1 && !doubt)
	}
	if len(fits) == 1 && !doubt {
		x.call, fits[0].taken = fits[0], x
		return
	}
	x.candidates = fits
	if len(rivals) > 1 && len(rivals) == rows && e.pair(rivals) || !doubt {
		return
	}
	for _, y := range rivals {
		if y.byPID {
			continue
		}
		if y.call != nil {
			y.call.taken, y.call.exact = nil, nil
			y.call, y.candidates = nil, []*call{y.call}
		}
		if !y.doubt && y != x {
			e.changed = append(e.changed, y)
		}
		y.doubt = true
	}
}

// maxRivals bounds the work on one command that is run again and again.
const maxRivals = 256

// rivals are all executions that claim the same calls as this one, directly or
// by way of others, this one among them; rows is how many calls those are. With
// more processes than calls any of them may be the one too many.
func (x *execution) rivals(fits []*call) (all []*execution, rows int) {
	all = []*execution{x}
	seen := map[*call]bool{}
	for next := fits; len(next) > 0; {
		var more []*call
		for _, c := range next {
			if seen[c] {
				continue
			}
			seen[c] = true
			for _, y := range c.claims {
				if x.elsewhere(y, fits) || slices.Contains(all, y) {
					continue
				}
				if all = append(all, y); len(all) > maxRivals {
					return all, 0 // nobody can tell in such a crowd
				}
				if more = append(more, y.candidates...); y.call != nil {
					more = append(more, y.call)
				}
			}
		}
		next = more
	}
	return all, len(seen)
}

// elsewhere reports whether another execution is out of the question where calls are
// given out: its tag has settled which one it is, or this one has a tag and that none.
func (x *execution) elsewhere(y *execution, fits []*call) bool {
	return y != x && (y.exact() && !slices.Contains(fits, y.call) || x.tagged != nil && y.tagged == nil)
}

// contest lets a row that came late be a candidate for executions that it fits and
// that were given to others: they may be its own.
func (e *Engine) contest(g *gateway, c *call) {
	for _, x := range e.open {
		given := x.call != nil || len(x.candidates) > 0
		if x.tagged != nil && x.tagged.session.id != c.session.id {
			continue
		}
		if x.origin.gateway != g || !given || x.byPID || x.call == c || slices.Contains(x.candidates, c) ||
			c.at.After(x.started.Add(lead)) || !c.fits(x) && (!x.unmasked || !c.may(x)) || !g.records(x.origin) {
			continue
		}
		if x.call != nil {
			x.call.taken, x.call.exact = nil, nil
			x.candidates, x.call = []*call{x.call}, nil
		}
		x.candidates = append(slices.Clip(x.candidates), c)
		c.claims = append(c.claims, x)
		e.changed = append(e.changed, x)
	}
}

// rivalled reports whether another process ran the same command at about the
// same time.
func (e *Engine) rivalled(x *execution) bool {
	return slices.ContainsFunc(e.open, func(y *execution) bool {
		return y != x && y.origin.gateway == x.origin.gateway && y.command == x.command && y.started.Sub(x.started).Abs() <= 2*deadline
	})
}

// Amended returns the roots of executions for which the answer changed after
// their facts may have been given out, and forgets them.
func (e *Engine) Amended() []event.ProcID {
	var roots []event.ProcID
	for _, x := range e.changed {
		roots = append(roots, x.root)
	}
	e.changed = nil
	return roots
}

// fits returns the recorded calls that an execution can be: same command, made
// before the exec, and not ended by then. Where another execution claims one of
// them, there is no answer before the deadline. Past it, rows that are younger
// than the exec count if there is no other. A process named by the record of a background call is
// that call.
func (g *gateway) fits(x *execution, overdue bool) []*call {
	var fits, young, others []*call
	claimed := false
	x.unmasked = !slices.ContainsFunc(g.commands, func(c *call) bool { return c.fits(x) })
	for _, c := range g.commands {
		if c.pid != 0 && c.pid == x.root.PID && !c.ended.Before(x.started) && (x.seen.Equal(x.started) || sameCommand(c.Command, x)) {
			x.how, x.byPID, x.unmasked = fmt.Sprintf("the record of tool call %s names process %d as its root", c.ID, c.pid), true, false
			return []*call{c}
		}
		switch {
		case c.pid != 0 || !x.unmasked && !c.fits(x) || x.unmasked && !c.may(x):
		case x.tagged != nil && c.session.id != x.tagged.session.id:
			if c.exact == nil {
				others = append(others, c)
			}
		case x.tagged == nil && c.exact != nil && c.exact != x:
		case c.at.After(x.started.Add(lead)):
			young = append(young, c)
		case !overdue && x.disputes(c):
			claimed = true
		default:
			fits = append(fits, c)
		}
	}
	if claimed {
		return nil
	}
	x.young = overdue && len(fits) == 0
	if x.young {
		fits = young
	}
	if fits = x.ran(fits); overdue && len(fits) == 0 && len(others) > 0 {
		x.contradict(others)
		fits = others
	}
	if len(fits) > 0 {
		what := "the text"
		if x.unmasked {
			what = "the text, but for what OpenClaw has masked in it,"
		}
		x.how = fmt.Sprintf("the shell's command is %s of tool call %s, recorded %s before it", what, fits[0].ID, before(x.started, fits[0].at))
	}
	return fits
}

// fits reports whether a call can be an execution.
func (c *call) fits(x *execution) bool { return c.goesOn(x) && sameCommand(c.Command, x) }

// may reports whether a call can be an execution if its record is masked.
func (c *call) may(x *execution) bool { return c.goesOn(x) && c.unmasks(x) }

func (c *call) goesOn(x *execution) bool {
	return !c.at.After(x.started.Add(deadline)) && (c.ended.IsZero() || !c.ended.Before(x.started) || x.tagged != nil && c.span != nil && c.span.open)
}

func before(exec, row time.Time) string {
	return max(exec.Sub(row), 0).Round(time.Millisecond).String()
}

// minPrefix is the least length at which a truncated command is compared.
const minPrefix = 1024

func sameCommand(recorded string, x *execution) bool {
	if recorded == "" {
		return false
	}
	if x.truncated && len(x.command) >= minPrefix {
		return strings.HasPrefix(recorded, x.command)
	}
	return strings.TrimSpace(recorded) == strings.TrimSpace(x.command)
}
