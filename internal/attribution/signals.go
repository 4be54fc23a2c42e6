package attribution

import (
	"fmt"
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// signals gathers what the records say about the skill behind calls. With
// several, only what holds for each of them counts as read.
func (g *gateway) signals(calls ...*call) signals {
	var sig signals
	for i, c := range calls {
		read, earlier := g.reads(c.session, c.Run, c.at)
		if why := g.doubtful(c); why != "" {
			sig.forged = fmt.Sprintf("tool call %s may not be OpenClaw's record: %s", c.ID, why)
		}
		for _, r := range read {
			if r.call == nil {
				continue
			}
			if why := g.doubtful(r.call); why != "" {
				sig.forged = fmt.Sprintf("tool call %s may not be OpenClaw's record: %s", r.call.ID, why)
			}
		}
		if i > 0 {
			// Another session's reads are further candidates, and no proof.
			sig.split = sig.split || !sameSkills(sig.read, read)
			sig.read, sig.earlier = append(sig.read, read...), append(sig.earlier, earlier...)
			continue
		}
		sig.read, sig.earlier = read, earlier
		sig.mentioned = g.mentioned(c.Command, g.workdir(c), c.at)
		sig.whole = g.whole(c.Command, g.workdir(c))
	}
	return sig
}

func sameSkills(a, b []read) bool {
	x, y := skillsOf(a), skillsOf(b)
	return len(x) == len(y) && !slices.ContainsFunc(x, func(id event.SkillID) bool { return !y.has(id) })
}

// maxParents is how far up a session's parents are asked what they read.
const maxParents = 8

// reads splits the uses of skills before a moment into those of a run and
// those before it, which include those of the sessions that spawned this one. What
// was read in the very run that spawned it counts for its first run as its own. What
// a command names and was not seen to open is only a circumstance.
func (g *gateway) reads(s *session, run string, at time.Time) (now, earlier []read) {
	until := at
	for range maxParents {
		for _, r := range s.reads {
			switch {
			case !r.at.Before(at): // what is read in one message with a call is no reason for that call
			case r.run == run && r.at.Before(until) && (!r.command || r.call.taken != nil && r.call.taken.manuals.has(r.skill)):
				now = append(now, r)
			default:
				earlier = append(earlier, r)
			}
		}
		p := g.byKey[s.parent]
		if s.parent == "" || p == nil || p == s {
			break
		}
		spawned := noRun
		if run == s.first {
			spawned = p.runAt(s.started)
		}
		s, run, until = p, spawned, s.started
	}
	return now, earlier
}

// noRun is the ID of no run.
const noRun = "\x00"

// whole is the skill of which a command is a script and nothing else, or nil.
// Nobody else may have put the file there.
func (g *gateway) whole(command, cwd string) *event.SkillID {
	p := g.catalogue.resolve(wholeCommand(command, g.found.Home, cwd))
	id, ok := g.catalogue.at(p)
	if !ok || g.authorOf(p, id.Dir) != nil {
		return nil
	}
	return &id
}

// mentioned are the skills whose files a command names. One that was not there when
// the command was asked for is what the command makes, and not why it runs.
func (g *gateway) mentioned(command, cwd string, at time.Time) skillSet {
	var set skillSet
	for _, p := range mentionedPaths(command, g.found.Home, cwd) {
		if id, ok := g.catalogue.at(p); ok && g.catalogue.before(id.Dir, at) {
			set.add(id)
		}
	}
	return set
}
