package attribution

import (
	"path"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// annotate adds what the exec says about the skill.
func (e *Engine) annotate(s *Scope, ev event.Event, b event.Exec) {
	g := s.origin.gateway
	if g == nil {
		return
	}
	if s.exec.notes(b.Path) {
		e.version++
	}
	s.cwd = nil
	if id, ok := g.catalogue.at(b.Cwd + "/."); ok {
		s.cwd = skillSet{id}
	}
	run := e.runs(ev, b, s)
	if run == nil {
		return
	}
	if len(g.ran) < maxRan {
		g.ran[run.path] = true
	}
	switch old := s.script; {
	case old == nil:
	case old.left != nil:
		s.lent = append(slices.Clone(s.lent), old)
	case old.skill.Dir != run.skill.Dir:
		s.caller = append(skillSet(nil), s.caller...)
		s.caller.add(old.skill)
	}
	s.script = run
	if run.skill.Dir != "" && !s.exec.scripts.has(run.skill) {
		s.exec.scripts.add(run.skill)
		e.version++
	}
}

// runs says which script or program of a skill an exec runs, or of those that were
// left behind by others than this very execution. Nil: none.
func (e *Engine) runs(ev event.Event, b event.Exec, s *Scope) *scriptRun {
	run := &scriptRun{proc: ev.Proc, at: ev.Time, path: b.Path, opened: true}
	catalogue := &s.origin.gateway.catalogue
	id, known := catalogue.at(b.Path)
	l := e.leftAt(s, event.FileKey{Dev: b.File.Dev, Inode: b.File.Inode}, b.Path)
	if !known && l == nil {
		run.path, run.opened = "", false
		if src := ScriptOf(b); src.Source == event.ScriptFile {
			run.path = catalogue.resolve(src.Path)
		}
		run.fake = s.origin.gateway.made[b.Path]
		id, known = catalogue.at(run.path)
		l = e.leftAt(s, event.FileKey{}, run.path)
	}
	if l != nil && l.scope != nil && l.scope.exec == s.exec && len(l.before) == 0 {
		l = nil
	}
	if known && l != nil && l.scope != nil {
		l = nil // foreign says who changed it, and for how long that counts
	}
	if l != nil && s.exec.known != nil && sameSkill(e.by(l).Skill, s.exec.known.Skill) {
		l = nil // its own, from before
	}
	if !known && l == nil || len(s.lent) >= maxHops {
		return nil
	}
	run.skill, run.left, run.slips = id, l, s.exec.slips(b.EnvNames)
	return run
}

// opened notes that an interpreter has opened the script it was started with.
func (e *Engine) opened(id event.ProcID, file string) {
	s := e.scopes[id]
	if s != nil && s.role == event.RoleTool && path.Base(file) == "SKILL.md" && s.origin.gateway != nil {
		if skill, ok := s.origin.gateway.catalogue.at(file); ok && !s.exec.manuals.has(skill) {
			s.exec.manuals.add(skill)
			e.version++
		}
	}
	if s == nil || s.script == nil || s.script.opened || s.script.fake || s.script.proc != id {
		return
	}
	if file == s.script.path || s.script.left != nil && e.left.byPath[file] == s.script.left ||
		s.script.skill.Dir != "" && path.Base(file) == path.Base(s.script.path) && strings.HasPrefix(file, s.script.skill.Dir+"/") {
		s.script.opened = true
		e.version++
	}
}
