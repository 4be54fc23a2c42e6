package attribution

import (
	"fmt"
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Signals are all that speaks about the skill behind one fact. Each is a set of
// skills; none proves alone that a skill asked for what happened.
//
// What is known, what it ties, where it is found out, and what it is worth:
//
//	signal                                          ties             in              worth, and where it fails
//	a shell with OpenClaw's wrapper (oom_score_adj  process → exec   command.go,     this is a tool call: in the foreground, as a service
//	  or preamble), or forked by the spawn broker,    tool call        classify        (below relay and anchor), on a terminal, in the background
//	  or with the text of a recorded call
//	its command is the text of a recorded call      tool call → row  fits, assign    exact unless several sessions have the text: ambiguous
//	its command is that text, but for secrets that  tool call → row  unmasks         the same, where no text is the same; never certain
//	  OpenClaw has masked in its records
//	the directory in which it began, and the one    tool call → row  pair            exact, where each of several calls of one text has
//	  that the row names                                                               a directory and a process of its own
//	the record of a background call names its PID   tool call → row  fits            exact
//	forks since then                                process → call   Observe         exact: setsid, double forks, env -i, reparenting
//	what the agent recorded before it was started   process → call   remember        as it was, but never certain
//	  anew, of the same number and start
//	OPENCLAW_SHELL in the environment               process → gateway claimed        a claim: no skill is named by it
//	a path or host that a row names, while its      gateway's own    inProcess,      exact unless several calls name it at once: ambiguous
//	  call goes on                                    act → call       ownNetwork
//	a model provider's address, and who waits       connection →     ownNetwork      the session, where only one waits for a model; no skill
//	                                                  session
//	a script or program of a skill, seen to be      process → skill  annotate        very high; that of the program that opened it
//	  opened by its interpreter
//	who changed that file before                    process → skill  foreign         speaks against: ambiguous with the author
//	a script or program that another tool call      process → skill  legacy.go       strong, as long as nobody else wrote to it
//	  left behind
//	who runs, from outside, what was left behind    process → call   heir.go         strong; who takes it in among others: weak
//	the plugin's tag in the root's environment      process →        tag.go          exact where lineage and records agree; else
//	                                                  session                          nothing, and an alert
//	the whole command is one script of a skill      command → skill  wholeCommand    high
//	a path of a skill in the command, or as         command → skill  mentionedPaths  a hint: never more than weak beside another skill
//	  working directory
//	the content of what a process is given to run   file → skill     content.go      the same hint, wherever the file lies; a skill can ship anything,
//	  is that of a skill's file, by SHA-256                                          so what was there before, and the system's own, is nobody's copy
//	SKILL.md read by the tool for it in this run    call → skill     noteReads       good where it is the only one
//	SKILL.md printed by a command                   call → skill     noteReads,      the same, once it was seen to be opened; beside
//	                                                                   opened          an earlier skill ambiguous
//	SKILL.md opened by the gateway's main thread    none             lists           speaks against: so the skills are listed, and no call reads
//	SKILL.md read in the run that spawned this      call → skill     reads           as in this run, for its first run
//	  session
//	read in an earlier run, or by the sessions      call → skill     reads           weak
//	  that spawned this one
//	rows that came while somebody else wrote them   speaks against   forgery.go      ambiguous
//	a program that ran, and whose SKILL.md names    none             lean            the order of candidates, no more
//	  it
//	variables that the skill's files mention        none             SecretsOf       for the rule on environments only
type signals struct {
	script    *scriptRun     // nearest script or program of a skill, up the process's own lineage
	callers   skillSet       // skills whose scripts started that script
	authors   skillSet       // other skills that may have written it
	whole     *event.SkillID // the command is a call of a script of this skill and nothing else
	read      []read         // SKILL.md read in this run, before the call
	earlier   []read         // read in an earlier run of the session, or in the parent session
	mentioned skillSet       // named by path in the command, or run by it so far
	content   []skillSet     // for each copy of a skill's file that was run: whose it can be
	cwd       skillSet       // the working directory lies in it
	callKnown bool           // the tool call, and so the session, is certain
	split     bool           // several calls fit, and they do not speak for the same skills
	forged    string         // why the records that this rests on may not be OpenClaw's; empty: they are
}

// weigh is the whole of the judgement. Top to bottom, the first row that
// applies decides:
//
//	script  callers, authors  read this run  read earlier  named         answer
//	S       others            -              -             -             ambiguous: S and those
//	S       -                 S alone        -             -             certain: S (strong unless the call is known)
//	S       -                 S and others   -             -             strong: S; another's prose may have made up the command around its script
//	S       -                 others only    -             -             ambiguous: S and those
//	S       -                 none           S alone       -             certain, as above
//	S       -                 none           -             -             strong: S
//	S       -                 others in either             -             ambiguous: S and those, where a variable lets other code into the script
//	-       -                 one            -             not another   strong: that one
//	-       -                 several        -             one, as the whole command  strong: the one named
//	-       -                 some           -             others too    ambiguous: all of them
//	-       -                 several        -             -             ambiguous: all of them; a path in a command proves nothing
//	-       -                 none           M alone       only M        strong: M
//	-       -                 none           M and others  only M        ambiguous: all of them, unless M is the whole command: strong
//	-       -                 none           -             only M        weak: M
//	-       -                 none           -             several       ambiguous: all of them
//	-       -                 none           one           none          weak: that one
//	-       -                 none           several       none          ambiguous: all of them
//	-       -                 none           none          none          weak: the working directory's, else none
//
// S is also the skill that left the script behind, wherever it did, if that is
// strong; the answer then is never certain. If it is not, whoever may have left it
// counts as named. Who changed another's script counts as a caller. Named are also those
// whose file a process runs a copy of; where one of them was read in this run, that one
// alone, so that nobody gets between another skill and its work by shipping its files.
//
// Where several calls fit that speak for different skills, a single answer is
// still ambiguous: it may be the other call. So it is where the records may have
// been written by somebody else than OpenClaw.
func weigh(s signals) (skill *event.SkillID, c event.Confidence, candidates []event.SkillID, why []event.Evidence) {
	read, earlier := skillsOf(s.read), skillsOf(s.earlier)
	why = s.evidence()
	one := func(id event.SkillID, c event.Confidence) (*event.SkillID, event.Confidence, []event.SkillID, []event.Evidence) {
		if s.split || s.forged != "" {
			var all skillSet
			for _, x := range append(append(skillSet{id}, read...), earlier...) {
				all.add(x)
			}
			if s.forged == "" {
				all = all[:1]
			}
			return nil, event.Ambiguous, all, why
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
		case len(s.callers)+len(s.authors) > 0:
			return several(own, s.callers, s.authors)
		case s.script.slips != "" && len(read.except(own))+len(earlier.except(own)) > 0:
			return several(own, read, earlier)
		case read.has(own[0]) || len(read) == 0 && len(earlier) == 1 && earlier.has(own[0]):
			if s.callKnown && len(read) <= 1 && s.script.left == nil {
				return one(own[0], event.Certain)
			}
			return one(own[0], event.Strong)
		case len(read) > 0:
			return several(own, read)
		}
		return one(own[0], event.Strong)
	}
	if byCommand(s.read) && len(earlier.except(read)) > 0 {
		// To have a file printed is easily made up; what was read before is not out of the way by it.
		read, earlier = nil, append(earlier, read.except(earlier)...)
	}
	named := slices.Clone(s.mentioned)
	if s.script != nil {
		named.add(s.script.skill)
	}
	for _, id := range s.authors {
		named.add(id)
	}
	for _, set := range s.content {
		if known := set.except(set.except(read)); len(known) > 0 {
			set = known
		}
		for _, id := range set {
			named.add(id)
		}
	}
	return weighUnscripted(read, earlier, named, s.cwd, s.whole, one, several)
}

type verdict = func(event.SkillID, event.Confidence) (*event.SkillID, event.Confidence, []event.SkillID, []event.Evidence)

type doubt = func(...skillSet) (*event.SkillID, event.Confidence, []event.SkillID, []event.Evidence)

// weighUnscripted is the lower half of the table in weigh.
func weighUnscripted(read, earlier, named, cwd skillSet, whole *event.SkillID, one verdict, several doubt) (*event.SkillID, event.Confidence, []event.SkillID, []event.Evidence) {
	alone := len(named) == 1 && whole != nil && whole.Dir == named[0].Dir
	stranger := slices.ContainsFunc(named, func(id event.SkillID) bool { return !read.has(id) })
	switch {
	case len(read) > 0 && stranger:
		return several(read, named)
	case len(read) == 1:
		return one(read[0], event.Strong)
	case len(read) > 1 && alone:
		return one(named[0], event.Strong)
	case len(read) > 1:
		return several(read)
	case len(named) == 1 && earlier.has(named[0]) && (alone || len(earlier) == 1):
		return one(named[0], event.Strong)
	case len(named) == 1 && earlier.has(named[0]):
		return several(named, earlier)
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

// byCommand reports whether no skill was read by the tool for that.
func byCommand(reads []read) bool {
	return !slices.ContainsFunc(reads, func(r read) bool { return !r.command })
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
		if r.slips != "" {
			add("code_by_variable", "%s, which was set in this tool call, can have let other code into that process", r.slips)
		}
		add("script_path", "process %d was started with %s of skill %s %s", r.proc.PID, r.path, r.skill.Name, seen)
	}
	if len(s.callers) > 0 {
		add("calling_script", "that script was itself started by a script of: %s", s.callers.names())
	}
	if s.forged != "" {
		add("records_in_doubt", "%s", s.forged)
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
