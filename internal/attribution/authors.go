package attribution

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// maxRan bounds how many files of one gateway's skills have an author, and how
// many scripts are known to have run. Beyond it, who changes a file is kept for
// the skill as a whole.
const maxRan = 4096

// An author is who last changed a file of a known skill: a process of a tool
// call, or the gateway for calls that named the file. What runs from that file
// may be the author's doing, and not that of the skill in whose directory it lies.
type author struct {
	scope *Scope
	proc  event.ProcID
	calls []*call
	was   string  // hash of the skill's tree before
	prior *author // who changed the file before
	depth int     // of priors
}

// maxPriors is how many authors of one file are remembered; of more, the first.
const maxPriors = 8

// wrote takes note of what was changed where. A skill that is not known yet is
// just being installed: its files are its own, whoever brought them.
func (e *Engine) wrote(ev event.Event) {
	paths := changedPaths(ev.Body)
	if len(paths) == 0 {
		return
	}
	s := e.scopes[ev.Proc]
	if s == nil || s.origin.gateway == nil || s.role == event.RoleHelper {
		return
	}
	g := s.origin.gateway
	for _, p := range paths {
		if s.role.ByTool() && isTranscript(p) {
			for _, of := range e.gateways { // it may be another's than its own
				of.forgery.touched(of, s, p, ev, e)
			}
		}
		if s.role == event.RoleTool && isProgram(p) {
			g.made.add(p)
		}
		dir := g.catalogue.known(p)
		if dir == "" {
			continue
		}
		a := &author{scope: s, proc: ev.Proc, was: g.catalogue.skills[dir].ID.SHA256}
		if s.role != event.RoleTool {
			if a.calls = g.naming(ev.Time, p); a.calls == nil {
				continue // OpenClaw's own business
			}
		}
		if g.authors[p] == nil && len(g.authors) >= maxRan {
			p = dir
		}
		old := g.authors[p]
		if old == nil && s.script != nil {
			old = g.authorOf(s.script.path, s.script.skill.Dir) // what writes is somebody's work itself
		}
		if old != nil {
			if a.was, a.prior, a.depth = old.was, old, old.depth+1; old.depth >= maxPriors || old.scope == s {
				continue
			}
		}
		g.authors[p] = a
		if g.ran[p] || len(g.ran) >= maxRan {
			e.version++ // it may be running
		}
	}
}

// changedPaths are the files that a fact changed, or put another in the place of.
func changedPaths(body event.Body) []string {
	switch b := body.(type) {
	case event.FileOpen:
		if (b.Write || b.Create || b.Emptied) && !b.Directory && !b.Attempted {
			return []string{b.Path}
		}
	case event.FileRename:
		if b.Exchange {
			return []string{b.New, b.Old}
		}
		return []string{b.New}
	case event.FileLink:
		return []string{b.Path}
	case event.FileTruncate:
		return []string{b.Path}
	case event.FileUse:
		if b.BytesWritten > 0 || b.MappedWrite {
			return []string{b.Path}
		}
	}
	return nil
}

// authorOf returns who last changed a file of a skill, by its own name or by
// that of a directory above it, or nil.
func (g *gateway) authorOf(file, dir string) *author {
	for p := file; dir != "" && p != "/" && strings.HasPrefix(p, dir); p = path.Dir(p) {
		if a := g.authors[p]; a != nil {
			return a
		}
	}
	return nil
}

// restored forgets the authors of a skill whose files are again what they were.
func (g *gateway) restored(id event.SkillID) {
	for p, a := range g.authors {
		if a.was == id.SHA256 && a.was != "" && (p == id.Dir || strings.HasPrefix(p, id.Dir+"/")) {
			delete(g.authors, p)
		}
	}
}

// foreign are the skills, other than its own, that may have written the script
// that a process runs.
func (e *Engine) foreign(s *Scope) (others skillSet, why []event.Evidence) {
	if s.script == nil {
		return nil, nil
	}
	return e.foreignTo(s.origin.gateway, s.script.path, s.script.skill)
}

// foreignTo are those that may have written a file of a skill.
func (e *Engine) foreignTo(g *gateway, file string, skill event.SkillID) (others skillSet, why []event.Evidence) {
	for w := g.authorOf(file, skill.Dir); w != nil; w = w.prior {
		var a event.Attribution
		if w.calls != nil {
			a.Skill, _, a.Candidates, _ = weigh(g.signals(w.calls...))
		} else {
			e.ofExecution(&a, w.scope, event.Event{Proc: w.proc}, false)
		}
		if a.Skill != nil {
			a.Candidates = append(a.Candidates, *a.Skill)
		}
		if by := skillSet(a.Candidates).without(skill); len(by) > 0 {
			why = append(why, event.Evidence{Kind: "script_written_by", Detail: fmt.Sprintf("%s was changed by process %d, for: %s", file, w.proc.PID, by.names())})
			for _, id := range by {
				others.add(id)
			}
		}
	}
	return others, why
}

// A programSet holds programs that tool calls made: what such a file opens says
// nothing, whatever it is called.
type programSet map[string]bool

const maxPrograms = 4096

func (s programSet) add(p string) {
	if len(s) < maxPrograms {
		s[p] = true
	}
}

// isProgram reports whether a file is called like an interpreter.
func isProgram(p string) bool { return interpreters.MatchString(path.Base(p)) }

// naming are the calls that named a path and ran at a time.
func (g *gateway) naming(at time.Time, p string) []*call {
	var fits []*call
	for _, c := range g.files[p] {
		if during(c, at) {
			fits = append(fits, c)
		}
	}
	return fits
}
