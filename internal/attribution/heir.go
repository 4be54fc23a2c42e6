package attribution

import (
	"fmt"

	"github.com/clawwatch/clawwatch/internal/event"
)

// An inheritance is why a process outside of every tree counts as a tool call's.
type inheritance struct {
	of  *legacy
	act event.Heir
}

// heir gives a process that acts on a file left behind its scope.
func (e *Engine) heir(ev event.Event, b event.Heir) *Scope {
	if s := e.scopes[ev.Proc]; s != nil {
		return s
	}
	l := e.left.find(b.File, b.Path)
	if l == nil && b.Left != nil && b.Left.By.Gateway != "" {
		e.told(*b.Left)
		l = e.left.byPath[b.Left.Path]
	}
	if l == nil {
		return nil
	}
	if b.Changed && !l.Changed {
		l.Changed = true
		e.version++
	}
	g := e.gateway(l.By.Gateway)
	if l.scope != nil && l.scope.origin.gateway != nil {
		g = l.scope.origin.gateway
	}
	o := &origin{proc: ev.Proc, gateway: g, seen: ev.Time}
	x := &execution{root: ev.Proc, origin: o, started: ev.Time, decided: true, heir: &inheritance{of: l, act: b}}
	s := &Scope{role: event.RoleHeir, origin: o, exec: x, root: ev.Proc}
	e.scopes[ev.Proc] = s
	return s
}

// ofHeir attributes what is done on the word of a file that was left behind.
// The name is strong where the process runs the file as the tool call left it,
// or was started on its word alone, and weak where it only takes it in among
// others, or somebody else had a part.
func (e *Engine) ofHeir(a *event.Attribution, s *Scope, ev event.Event) {
	h := s.exec.heir
	l := h.of
	by := e.by(l)
	a.Gateway, a.Agent, a.Session, a.SessionKey, a.Run, a.ToolCall = by.Gateway, by.Agent, by.Session, by.SessionKey, by.Run, by.ToolCall
	verb := "takes in"
	if h.act.Program {
		verb = "runs"
	}
	how := fmt.Sprintf("process %d (%s), outside of OpenClaw's trees, %s that file", s.exec.root.PID, h.act.Comm, verb)
	switch {
	case l.How.Asked():
		how = fmt.Sprintf("systemd started process %d (%s), outside of OpenClaw's trees, as it was asked to: %.200q", s.exec.root.PID, h.act.Comm, h.act.Said)
	case h.act.Said != "":
		how = fmt.Sprintf("process %d (%s), outside of OpenClaw's trees, was started on the word of that file, which says %.200q", s.exec.root.PID, h.act.Comm, h.act.Said)
		if !h.act.Alone {
			how += " among others"
		}
	}
	a.Evidence = append(a.Evidence, provenance(l, by), event.Evidence{Kind: "heir", Detail: how, Time: s.exec.started})
	if ev.Proc != s.exec.root {
		a.Evidence = append(a.Evidence, event.Evidence{Kind: "lineage", Detail: fmt.Sprintf("descends by fork from process %d", s.exec.root.PID)})
	}
	a.Evidence = append(a.Evidence, Chain(by.Evidence)...)
	var all skillSet
	all.of(by)
	if r := s.script; r != nil && r.left != l && r.opened {
		all.of(e.asked(r))
	}
	strong := (h.act.Program || h.act.Alone) && !l.Changed && l.How != event.LeftPerhaps && (by.Confidence == event.Certain || by.Confidence == event.Strong)
	named, why := e.copies(s.exec, true)
	a.Evidence = append(a.Evidence, why...)
	for _, set := range named {
		if strong || len(set.except(all)) < len(set) {
			continue // it is explained
		}
		for _, id := range set {
			all.add(id)
		}
	}
	switch {
	case len(all) == 0:
	case len(all) > 1 || by.Confidence == event.Ambiguous:
		a.Confidence, a.Candidates = event.Ambiguous, all
	default:
		a.Skill, a.Confidence = &all[0], event.Weak
		if strong {
			a.Confidence = event.Strong
		}
	}
}

// asked says for whom a script speaks: the skill that it belongs to, or those who
// left it behind.
func (e *Engine) asked(r *scriptRun) event.Attribution {
	var all skillSet
	if r.skill.Dir != "" {
		all.add(r.skill)
	}
	if r.left == nil {
		return event.Attribution{Candidates: all}
	}
	by := e.by(r.left)
	if len(all) == 0 {
		return by
	}
	all.of(by)
	return event.Attribution{Candidates: all}
}

// inherit has a script that was left behind speak for whoever left it.
func (e *Engine) inherit(sig *signals, s *Scope) []event.Evidence {
	for _, r := range s.lent {
		sig.callers.of(e.asked(r))
	}
	r := s.script
	if r == nil || r.left == nil {
		return nil
	}
	by := e.by(r.left)
	var all skillSet
	all.of(by)
	switch {
	case r.skill.Dir != "": // a skill's own script, which others changed
		for _, id := range all {
			if id.Dir != r.skill.Dir {
				sig.callers.add(id)
			}
		}
	case by.Skill != nil && (by.Confidence == event.Certain || by.Confidence == event.Strong) && !r.left.Changed:
		own := *r
		own.skill = *by.Skill
		sig.script = &own
	default:
		sig.script = nil
		for _, id := range all {
			sig.mentioned.add(id)
		}
	}
	return []event.Evidence{provenance(r.left, by)}
}
