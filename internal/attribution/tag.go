package attribution

import (
	"fmt"
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// The plugin's word. Where OpenClaw has clawwatch's plugin, each command of an
// exec call gets a tag in its environment, and the agent is told for which
// session it was made. A tag tells sessions apart that run the same command at
// once; which of a session's calls it is, its text says as before.
//
// Whatever runs in a call can read the tags of others and hand them to its
// children. So a tag counts only where OpenClaw itself put it, in the root of an
// execution below the gateway whose plugin made it, once, and where OpenClaw's
// records do not speak against it. Any other tag attributes nothing, and is
// evidence of a forgery. A tag of which nothing can be said, as the plugin had
// not joined by then, is as none.

// Bounds on what is kept of one gateway's plugin.
const (
	maxTags  = 4096
	maxSpans = 4096
)

// edge is how far the plugin's clock and the kernel's may be apart.
const edge = 500 * time.Millisecond

// A tag is what one command of a session was given.
type tag struct {
	value   string
	session *session
	at      time.Time
	roots   []*execution // that carry it
	under   *execution   // given by an OpenClaw that this execution runs, to a command below it
}

// A span is the time of a call, as the plugin said it.
type span struct {
	key        string
	begin, end time.Time // end is zero while it is not known
	open       bool      // the call has ended, and its command runs on or is yet to be approved
}

// A word is what the plugins of one gateway have said.
type word struct {
	tags   map[string]*tag
	order  []*tag
	forgot time.Time        // tags from before are no longer all known
	spans  map[string]*span // by session and ID
	begun  []*span
}

// phase takes in what the plugin in one of OpenClaw's own processes says. One
// that a tool call runs speaks only for what is below it.
func (e *Engine) phase(ev event.Event, b event.ToolPhase) {
	s := e.scopes[ev.Proc]
	if s == nil || s.origin.gateway == nil || s.role == event.RoleHelper {
		return
	}
	g := s.origin.gateway
	if b.Phase == event.PhaseTag && g.word.tags[b.Tag] == nil {
		g.word.give(&tag{value: b.Tag, session: g.session(b.Session, b.SessionKey, b.Agent, ev.Time), at: ev.Time, under: s.exec})
	}
	g.news++
	if s.role == event.RoleTool {
		return
	}
	switch key := b.Session + "\x00" + b.ID; b.Phase {
	case event.PhaseJoined:
		s.origin.joined = ev.Time
	case event.PhaseBegin:
		g.begin(ev.Time, key)
	case event.PhaseEnd:
		if sp := g.word.spans[key]; sp != nil && sp.end.IsZero() {
			if sp.open = b.Open; !b.Open {
				sp.end = ev.Time
			}
		}
	}
}

func (w *word) give(t *tag) {
	if w.tags == nil {
		w.tags = map[string]*tag{}
	}
	w.tags[t.value] = t
	if w.order = append(w.order, t); len(w.order) > maxTags {
		w.drop(1)
	}
}

// drop forgets the oldest tags. What carries them still can no longer be judged.
func (w *word) drop(n int) {
	for _, t := range w.order[:n] {
		delete(w.tags, t.value)
		w.forgot = t.at
	}
	w.order = slices.Delete(w.order, 0, n)
}

func (g *gateway) begin(at time.Time, key string) {
	w := &g.word
	if w.spans[key] != nil {
		return
	}
	if w.spans == nil {
		w.spans = map[string]*span{}
	}
	sp := &span{key: key, begin: at}
	w.spans[key] = sp
	if w.begun = append(w.begun, sp); len(w.begun) > maxSpans {
		delete(w.spans, w.begun[0].key)
		w.begun = slices.Delete(w.begun, 0, 1)
	}
	if c := g.calls[key]; c != nil {
		c.span = sp
	}
}

// expire forgets what is as old as calls may get.
func (w *word) expire(now time.Time) {
	old := func(at time.Time) bool { return now.Sub(at) > 24*time.Hour }
	if n := slices.IndexFunc(w.order, func(t *tag) bool { return !old(t.at) }); n > 0 {
		w.drop(n)
	} else if n < 0 {
		w.drop(len(w.order))
	}
	w.begun = slices.DeleteFunc(w.begun, func(sp *span) bool {
		if old(sp.begin) {
			delete(w.spans, sp.key)
		}
		return old(sp.begin)
	})
}

// runs reports whether a call ran at a moment, as the plugin said; known is
// whether it said so much.
func (c *call) runs(at time.Time) (runs, known bool) {
	sp := c.span
	switch {
	case sp == nil:
		return false, false
	case at.Before(sp.begin.Add(-edge)):
		return false, true
	case sp.end.IsZero():
		return false, false
	}
	return !at.After(sp.end.Add(edge)), true
}

// vouch looks at the tag of an execution's root, and says whether it must still
// be waited for what the plugin said.
func (e *Engine) vouch(x *execution, overdue bool) (wait bool) {
	g := x.origin.gateway
	x.tagged, x.forged, x.contested = nil, "", false
	if x.tag == "" || g == nil {
		return false
	}
	t := g.word.tags[x.tag]
	if t == nil || t.under != nil {
		x.forged, wait = e.unknown(g, x.tag, x, overdue)
		return wait
	}
	if !slices.Contains(t.roots, x) {
		t.roots = append(t.roots, x)
	}
	if len(t.roots) == 1 {
		x.tagged = t
		return false
	}
	for _, y := range t.roots {
		if y != x && y.tagged != nil {
			e.release(y)
		}
		y.tagged, y.forged = nil, "the tag of this command, one of session "+t.session.id+", is carried by another command, too"
	}
	return false
}

// unknown says what is wrong with a tag that this gateway's plugin never gave.
func (e *Engine) unknown(g *gateway, value string, x *execution, overdue bool) (forged string, wait bool) {
	for _, other := range e.gateways {
		if other != g && other.word.tags[value] != nil {
			return "the tag was given to a command of another gateway, " + other.found.ID, false
		}
	}
	switch {
	case x.origin.joined.IsZero() || x.old || !x.started.After(x.origin.joined) || !x.started.After(g.word.forgot):
		return "", false
	case !overdue:
		return "", true
	}
	return "the tag was never given to this command, or to any", false
}

// release takes an execution's call back, for it to be matched anew.
func (e *Engine) release(x *execution) {
	if x.call != nil && x.call.taken == x {
		x.call.taken = nil
	}
	if x.call != nil && x.call.exact == x {
		x.call.exact = nil
	}
	x.call, x.candidates, x.doubt, x.looked = nil, nil, false, 0
	if x.decided {
		e.changed = append(e.changed, x)
	}
	if !slices.Contains(e.open, x) {
		e.open = append(e.open, x)
	}
	e.version++
}

// ran keeps of several calls that fit those that ran at the time, as the plugin
// says. Where that is none, its clock is not the kernel's.
func (x *execution) ran(fits []*call) []*call {
	if x.tagged == nil || len(fits) < 2 {
		return fits
	}
	ran := slices.DeleteFunc(slices.Clone(fits), func(c *call) bool { runs, known := c.runs(x.started); return known && !runs })
	if len(ran) == 0 {
		return fits
	}
	return ran
}

// contradict notes that the records have the command in another session than the
// one that its tag was made for.
func (x *execution) contradict(others []*call) {
	x.forged = fmt.Sprintf("the tag was given to a command of session %s, whose records have no such command; session %s has one, tool call %s",
		x.tagged.session.id, others[0].session.id, others[0].ID)
	x.tagged, x.contested = nil, true
}

// disputes reports whether another execution was given the call, or may have been.
// With a right tag only those of the same session count.
func (x *execution) disputes(c *call) bool {
	return slices.ContainsFunc(c.claims, func(y *execution) bool { return y != x && (x.tagged == nil || y.tagged != nil) })
}

// prefer has a right tag count for more than a command alone. Where it settles
// which call it is, whoever had that call must look for another; else each of
// the calls that it may be is in doubt for those who have no tag.
func (e *Engine) prefer(x *execution, fits []*call, settled bool) {
	for _, c := range fits {
		for _, y := range c.claims {
			switch may := y.candidates; {
			case y == x || y.call != c && !slices.Contains(may, c):
			case settled:
				e.release(y)
			case y.tagged == nil && !y.doubt:
				if y.call != nil {
					may = []*call{c}
				}
				e.release(y)
				y.candidates, y.doubt = may, true
			}
		}
		if settled {
			c.exact = x
		}
	}
}

// strange looks at a tag that is not the one of the execution's root: empty
// where nothing is wrong, or nothing can be said.
func (e *Engine) strange(s *Scope) (forged string, wait bool) {
	x, g := s.exec, s.origin.gateway
	if s.tag == "" || g == nil {
		return "", false
	}
	t := g.word.tags[s.tag]
	switch {
	case t == nil:
		return e.unknown(g, s.tag, x, e.now.Sub(s.tagAt) >= deadline)
	case t.under == x:
		return "", false // an OpenClaw that the command runs gave it
	case x.tag == "" && (x.call == nil || x.call.session.id == t.session.id):
		return "", false // the root's own may have been missed
	}
	return "the process was handed the tag of another command, one of session " + t.session.id, false
}

// tagEvidence is what a right tag says about a fact.
func (x *execution) tagEvidence() []event.Evidence {
	if x.tagged == nil {
		return nil
	}
	detail := "OpenClaw started this command with the tag that was made for session " + x.tagged.session.id
	if x.exact() {
		detail += ", and tool call " + x.call.ID + " is the one of it with that command"
	}
	return []event.Evidence{{Kind: "plugin_tag", Detail: detail}}
}

// exact reports whether a right tag, and not the command alone, says which call
// it is.
func (x *execution) exact() bool { return x.tagged != nil && x.call != nil && x.call.exact == x }

// forgery is the evidence for a tag that is not believed. It stands first: the
// rule forged-attribution-tag asks for it.
func (e *Engine) forgery(s *Scope) []event.Evidence {
	why, _ := e.strange(s)
	if why == "" {
		why = s.exec.forged
	}
	if why == "" {
		return nil
	}
	return []event.Evidence{{Kind: event.EvidenceForgedTag, Detail: why}}
}
