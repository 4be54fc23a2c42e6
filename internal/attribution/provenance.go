package attribution

import (
	"fmt"
	"slices"

	"github.com/clawwatch/clawwatch/internal/event"
)

// by says for whom a file was left behind: the last who wrote to it, or all of them.
func (e *Engine) by(l *legacy) event.Attribution {
	a := l.By
	if l.scope != nil {
		if now := e.Attribute(l.scope, l.ev); now != nil {
			a = *now
		}
	}
	if len(l.before) == 0 {
		return a
	}
	var all skillSet
	all.of(a)
	for _, b := range l.before {
		was := e.by(b)
		all.of(was)
		if was.Session != a.Session || was.ToolCall != a.ToolCall {
			a.Agent, a.Session, a.SessionKey, a.Run, a.ToolCall = "", "", "", "", "" // it may be the other's
		}
		a.Evidence = append(slices.Clone(a.Evidence), provenance(b, was))
	}
	if len(all) > 1 {
		a.Skill, a.Confidence, a.Candidates = nil, event.Ambiguous, all
	}
	return a
}

// Remembers reports whether a file counts as left behind: one execution can leave only
// so many.
func (e *Engine) Remembers(l event.Left) bool { return e.left.find(l.File, l.Path) != nil }

// LeftBy says for whom a file is left behind, those included who had a part in it
// before; a is for whom the last change was.
func (e *Engine) LeftBy(left event.Left, a event.Attribution) event.Attribution {
	if l := e.left.find(left.File, left.Path); l != nil && l.scope != nil && len(l.before) > 0 {
		return e.by(l)
	}
	return a
}

// of adds the skill of an attribution, or all that it may be.
func (s *skillSet) of(a event.Attribution) {
	if a.Skill != nil {
		s.add(*a.Skill)
	}
	for _, id := range a.Candidates {
		s.add(id)
	}
}

func sameSkill(a, b *event.SkillID) bool { return a != nil && b != nil && a.Dir == b.Dir }

// known reports whether it is known for whom a file was left behind, as far as
// it ever will be.
func (l *legacy) known() bool {
	if l.scope == nil || l.scope.exec == nil {
		return true
	}
	x := l.scope.exec
	return x.decided && (x.heir == nil || x.heir.of.known())
}

// provenance is a file's story as evidence.
func provenance(l *legacy, by event.Attribution) event.Evidence {
	who := "a tool call that is not known, or more than one"
	if by.ToolCall != "" {
		who = "tool call " + by.ToolCall
	}
	if by.Skill != nil {
		who += fmt.Sprintf(" of skill %s (%s)", by.Skill.Name, by.Confidence)
	}
	how := string(l.How)
	if l.Story != "" {
		how += " " + l.Story
	}
	kind, detail := "file_provenance", fmt.Sprintf("%s was %s for %s", l.Path, how, who)
	if l.How.Asked() {
		kind = "handed_over"
		detail += ", by " + l.Asker
	}
	if l.Hops > 0 {
		detail += fmt.Sprintf(", which itself acted on a file left behind: %d such steps", l.Hops)
	}
	if l.Changed {
		detail += "; others have changed it since"
	}
	return event.Evidence{Kind: kind, Detail: detail, Time: l.At}
}

// maxChain bounds the evidence of earlier steps.
const maxChain = 8

// Chain gives the evidence that tells how a file led from a tool call to a process.
func Chain(all []event.Evidence) []event.Evidence {
	var chain []event.Evidence
	for _, e := range all {
		if (e.Kind == "file_provenance" || e.Kind == "handed_over" || e.Kind == "heir") && len(chain) < maxChain {
			chain = append(chain, e)
		}
	}
	return chain
}
