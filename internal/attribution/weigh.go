package attribution

import (
	"fmt"
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Signals are all that speaks about the skill behind one fact. Each is a set of
// skills; none proves alone that a skill asked for what happened.
type signals struct {
	script    *scriptRun // nearest script or program of a skill, up the process's own lineage
	callers   skillSet   // skills whose scripts started that script
	read      []read     // SKILL.md read in this run, before the call
	earlier   []read     // read in an earlier run of the session, or in the parent session
	mentioned skillSet   // named by path in the command, or run by it so far
	cwd       skillSet   // the working directory lies in it
	callKnown bool       // the tool call, and so the session, is certain
	split     bool       // several calls fit, and they do not speak for the same skills
}

// weigh is the whole of the judgement. Top to bottom, the first row that
// applies decides:
//
//	script  callers  read this run     read earlier  named    answer
//	S       other    -                 -             -        ambiguous: S and the callers
//	S       -        S alone           -             -        certain: S (strong unless the call is known)
//	S       -        S and others      -             -        strong: S; another's prose may have made up the command around its script
//	S       -        others only       -             -        ambiguous: S and those
//	S       -        none              contains S    -        certain, as above
//	S       -        none              -             -        strong: S
//	-       -        one               -             not another  strong: that one
//	-       -        several           -             one of them  strong: the one named
//	-       -        some              -             others too   ambiguous: all of them
//	-       -        several           -             none         ambiguous: all of them
//	-       -        none              contains M    only M       strong: M
//	-       -        none              -             only M       weak: M
//	-       -        none              -             several      ambiguous: all of them
//	-       -        none              one           none         weak: that one
//	-       -        none              several       none         ambiguous: all of them
//	-       -        none              none          none         weak: the working directory's, else none
//
// S is also the skill that left the script behind, wherever it did, if that is
// strong; the answer then is never certain. If it is not, whoever may have left it
// counts as named. Who changed another's script counts as a caller.
//
// Where several calls fit that speak for different skills, a single answer is
// still ambiguous: it may be the other call.
func weigh(s signals) (skill *event.SkillID, c event.Confidence, candidates []event.SkillID, why []event.Evidence) {
	read, earlier := skillsOf(s.read), skillsOf(s.earlier)
	why = s.evidence()
	one := func(id event.SkillID, c event.Confidence) (*event.SkillID, event.Confidence, []event.SkillID, []event.Evidence) {
		if s.split {
			return nil, event.Ambiguous, []event.SkillID{id}, why
		}
		return &id, c, nil, append(why, s.rejected(id, read, earlier)...)
	}
	several := func(sets ...skillSet) (*event.SkillID, event.Confidence, []event.SkillID, []event.Evidence) {
		var all skillSet
		for _, set := range sets {
			for _, id := range set {
				all.add(id)
			}
		}
		return nil, event.Ambiguous, all, why
	}
	if s.script != nil && s.script.opened {
		own := skillSet{s.script.skill}
		switch {
		case len(s.callers) > 0:
			return several(own, s.callers)
		case read.has(own[0]) || len(read) == 0 && earlier.has(own[0]):
			if s.callKnown && len(read) <= 1 && s.script.left == nil {
				return one(own[0], event.Certain)
			}
			return one(own[0], event.Strong)
		case len(read) > 0:
			return several(own, read)
		}
		return one(own[0], event.Strong)
	}
	named := slices.Clone(s.mentioned)
	if s.script != nil {
		named.add(s.script.skill)
	}
	return weighUnscripted(read, earlier, named, s.cwd, one, several)
}

type verdict = func(event.SkillID, event.Confidence) (*event.SkillID, event.Confidence, []event.SkillID, []event.Evidence)

type doubt = func(...skillSet) (*event.SkillID, event.Confidence, []event.SkillID, []event.Evidence)

// weighUnscripted is the lower half of the table in weigh.
func weighUnscripted(read, earlier, named, cwd skillSet, one verdict, several doubt) (*event.SkillID, event.Confidence, []event.SkillID, []event.Evidence) {
	stranger := slices.ContainsFunc(named, func(id event.SkillID) bool { return !read.has(id) })
	switch {
	case len(read) > 0 && stranger:
		return several(read, named)
	case len(read) == 1:
		return one(read[0], event.Strong)
	case len(read) > 1 && len(named) == 1:
		return one(named[0], event.Strong)
	case len(read) > 1:
		return several(read)
	case len(named) == 1 && earlier.has(named[0]):
		return one(named[0], event.Strong)
	case len(named) == 1:
		return one(named[0], event.Weak)
	case len(named) > 1:
		return several(named)
	case len(earlier) == 1:
		return one(earlier[0], event.Weak)
	case len(earlier) > 1:
		return several(earlier)
	case len(cwd) == 1:
		return one(cwd[0], event.Weak)
	}
	_, _, _, why := several()
	return nil, event.None, nil, why
}

// rejected says of each other skill that the session used why it is not the
// answer.
func (s signals) rejected(answer event.SkillID, read, earlier skillSet) []event.Evidence {
	reason := "the command names no file of it"
	if s.script != nil && s.script.opened {
		reason = "no script of it is in this process's lineage"
	}
	var why []event.Evidence
	for _, set := range []struct {
		skillSet
		when string
	}{{read, "in this run"}, {earlier, "before this run"}} {
		for _, id := range set.skillSet {
			if id.Dir != answer.Dir && len(why) < maxEvidence {
				why = append(why, event.Evidence{Kind: "rejected", Detail: fmt.Sprintf("%s was read %s too, but %s", id.Name, set.when, reason)})
			}
		}
	}
	return why
}

func skillsOf(reads []read) skillSet {
	var set skillSet
	for _, r := range reads {
		set.add(r.skill)
	}
	return set
}

// maxEvidence bounds what one fact carries.
const maxEvidence = 12

func (s signals) evidence() []event.Evidence {
	var why []event.Evidence
	add := func(kind, format string, args ...any) {
		if len(why) < maxEvidence {
			why = append(why, event.Evidence{Kind: kind, Detail: fmt.Sprintf(format, args...)})
		}
	}
	addAt := func(at time.Time, kind, format string, args ...any) {
		n := len(why)
		if add(kind, format, args...); len(why) > n {
			why[n].Time = at
		}
	}
	if r := s.script; r != nil {
		seen := "and was seen to open it"
		if !r.opened {
			seen = "but was not seen to open it, so this counts as a mention"
		}
		add("script_path", "process %d was started with %s of skill %s %s", r.proc.PID, r.path, r.skill.Name, seen)
	}
	if len(s.callers) > 0 {
		add("calling_script", "that script was itself started by a script of: %s", s.callers.names())
	}
	for _, r := range s.read {
		addAt(r.at, "skill_read", "%s in this run, at %s", r.how, r.at.UTC().Format("15:04:05.000"))
	}
	for _, r := range s.earlier {
		addAt(r.at, "skill_read_earlier", "%s before this run, at %s", r.how, r.at.UTC().Format("15:04:05.000"))
	}
	if len(s.mentioned) > 0 {
		add("command_mentions", "the command names or runs files of: %s", s.mentioned.names())
	}
	if len(s.cwd) > 0 {
		add("working_directory", "the working directory is in skill %s, which proves nothing alone", s.cwd.names())
	}
	for i := range why {
		if why[i].Kind == "script_path" {
			why[i].Time = s.script.at
		}
	}
	return why
}
