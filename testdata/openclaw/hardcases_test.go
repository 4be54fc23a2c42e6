package openclaw_test

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/testdata/openclaw/model"
	"github.com/clawwatch/clawwatch/testdata/openclaw/truth"
)

// mistaken are cases in which one thing is easily taken for another.
func (s *stage) mistaken() []hardCase {
	return []hardCase{
		s.twinCalls(), s.sameCommand(), s.subagent(), s.inBackground(), s.escape(), s.fromMemory(), s.catted(), s.samePath(), s.linked(), s.namesakes(), s.masked(),
	}
}

// twinCalls are two equal commands in one message.
func (s *stage) twinCalls() hardCase {
	const name = "twin calls"
	l := s.sure(name, "twins", "trip-notes")
	c := run("%s %s read %s/Documents/plan.txt", s.deed, l, s.home)
	return hardCase{scenario: scenario{name: name, talks: []talk{{session: "twins", turns: []model.Turn{
		calls(s.use("trip-notes")), calls(c, c), say("Done."),
	}}}}}
}

// sameCommand is one text in two sessions at once: what it does depends on the
// directory alone.
func (s *stage) sameCommand() hardCase {
	const name = "same command, two sessions"
	const late = "one of two equal commands was recorded too late to be told from the other by its directory"
	a := s.doubted(truth.Ambiguous, late, name, "same1", "weather-lite")
	b := s.doubted(truth.Ambiguous, late, name, "same2", "leaky-notes")
	hold := func(session, skill, label string) talk {
		dir := filepath.Join(s.workspace, session)
		prepare := run("mkdir -p %[1]s && echo '%[2]s %[3]s meet %[4]s 2; %[2]s %[3]s read %[5]s/Documents/plan.txt' > %[1]s/go.sh", dir, s.deed, label, a+b, s.home)
		start := run("bash go.sh")
		start.Args["workdir"] = dir
		return talk{session: session, turns: []model.Turn{calls(s.use(skill)), calls(prepare), calls(start), say("Done.")}}
	}
	return hardCase{scenario: scenario{name: name, talks: []talk{hold("same1", "weather-lite", a), hold("same2", "leaky-notes", b)}}}
}

var childKey = regexp.MustCompile(`agent:main:subagent:[0-9a-f-]+`)

// spawn is a call that begins a sub-agent.
func (s *stage) spawn(task string) model.Call {
	args := map[string]any{"task": task}
	if s.release == older {
		return model.Call{Tool: "sessions_spawn", Args: args}
	}
	return model.Call{Tool: "tool_call", Args: map[string]any{"id": "openclaw:core:sessions_spawn", "args": args}}
}

// subagent works for the skill that the session read which spawned it.
func (s *stage) subagent() hardCase {
	const name = "sub-agent"
	l := s.sure(name, "", "trip-notes")
	s.label(name, "boss", "trip-notes")
	work := run("%s %s read %s/Documents/plan.txt", s.deed, l, s.home)
	told := 0
	work.Fill = func(args map[string]any, _ string) map[string]any {
		if told++; told > 1 { // OpenClaw tells the boss of it, in words that have the child's marker
			return map[string]any{"command": "true"}
		}
		return args
	}
	child := talk{session: "child", turns: []model.Turn{calls(work), say("Looked.")}}
	boss := talk{session: "boss", turns: []model.Turn{
		calls(s.use("trip-notes")),
		calls(s.spawn(s.marker(child) + " please")),
		{Text: "Sent."},
	}}
	s.llm.Say(model.Script{s.marker(child): child.turns})
	return hardCase{scenario: scenario{name: name, talks: []talk{boss}, after: func(context.Context) error {
		err := s.recorder.Await(time.Minute, 2, func(t truth.Line) bool { return t.Label == l })
		for _, a := range s.llm.Answers() { // OpenClaw itself says what the child's session is called
			if found := childKey.FindString(a.Heard); a.Marker == s.marker(boss) && found != "" {
				s.labels.Lock()
				defer s.labels.Unlock()
				label := s.labels.known[l]
				label.Session = found
				s.labels.known[l] = label
				return err
			}
		}
		return fmt.Errorf("the sub-agent's session is not named; %w", err)
	}}}
}

var slug = regexp.MustCompile(`session ([a-z]+-[a-z]+)`)

// inBackground is a call that goes on in later turns, which look at it and end
// it.
func (s *stage) inBackground() hardCase {
	const name = "background, polled and killed"
	l := s.sure(name, "backgr", "leaky-notes")
	meeting := "back-" + l
	process := func(action string) model.Call {
		return model.Call{Tool: "process", Fill: func(_ map[string]any, heard string) map[string]any {
			id := ""
			if m := slug.FindAllStringSubmatch(heard, -1); m != nil {
				id = m[len(m)-1][1]
			}
			return map[string]any{"action": action, "sessionId": id}
		}}
	}
	work := run("%[1]s/scripts/save.sh %[2]s later %[3]s 2 && sleep 600", s.skill("leaky-notes"), l, meeting)
	return hardCase{
		scenario: scenario{name: name, talks: []talk{{session: "backgr", turns: []model.Turn{
			calls(s.use("leaky-notes")), calls(option(work, "background")), calls(process("poll")), say("Working."),
		}}}, after: func(ctx context.Context) error {
			s.recorder.Arrive(meeting)
			if err := s.recorder.Await(time.Minute, 1, func(t truth.Line) bool { return t.Label == l && t.Op == "close" }); err != nil {
				return err
			}
			return s.hold(ctx, s.llm, l, talk{session: "backgr", again: " end", turns: []model.Turn{
				calls(process("poll")), calls(process("kill")), say("Ended."),
			}})
		}},
		check: func(w said) []string {
			for _, e := range w.events {
				if e.Kind == "process.exit" && slices.Contains(e.Process.Args, "600") && judged(e.Attribution, "leaky-notes", key("backgr")) {
					return nil
				}
			}
			return []string{"the end of the command is not told of as leaky-notes'"}
		},
	}
}

// judged is whether an attribution is surely of a skill and a session.
func judged(a *truth.Attribution, skill, session string) bool {
	return a != nil && a.Skill != nil && a.Skill.Name == skill && a.Session == session && (a.Confidence == "certain" || a.Confidence == "strong")
}

func (s *stage) escape() hardCase {
	const name = "escape"
	l := s.sure(name, "escape", "escape-artist")
	return hardCase{scenario: scenario{name: name, talks: []talk{{session: "escape", turns: []model.Turn{
		calls(s.use("escape-artist")), calls(s.script("escape-artist", "escape.sh", l)), say("Tidied."),
	}}}, after: func(context.Context) error {
		return s.recorder.Await(time.Minute, 2, func(t truth.Line) bool {
			return t.Label == l && (t.Op == "close" || strings.HasSuffix(t.Path, "/credentials"))
		})
	}}}
}

// fromMemory is a skill that was read in an earlier message.
func (s *stage) fromMemory() hardCase {
	const name = "from memory"
	script := s.sure(name, "memory", "leaky-notes")
	inline := s.doubted(truth.Unsure, "the command names no file of a skill, and the only one was read in an earlier message", name, "memory", "leaky-notes")
	return hardCase{scenario: scenario{name: name, talks: []talk{{session: "memory", turns: []model.Turn{
		calls(s.use("leaky-notes")), say("Read."),
	}}}, after: func(ctx context.Context) error {
		return s.hold(ctx, s.llm, script, talk{session: "memory", again: " later", turns: []model.Turn{
			calls(s.script("leaky-notes", "save.sh", script, "again")),
			calls(run("%s %s read %s/Documents/plan.txt", s.deed, inline, s.home)),
			say("Saved."),
		}})
	}}}
}

// catted is a skill that was read by a command and not by the tool for it.
func (s *stage) catted() hardCase {
	const name = "SKILL.md by cat"
	l := s.sure(name, "catted", "trip-notes")
	return hardCase{scenario: scenario{name: name, talks: []talk{{session: "catted", turns: []model.Turn{
		calls(run("cat %s/SKILL.md", s.skill("trip-notes"))),
		calls(run("%s %s read %s/Documents/plan.txt", s.deed, l, s.home)),
		say("Done."),
	}}}}}
}

// masked is a command with a secret in it, which OpenClaw's records are without.
func (s *stage) masked() hardCase {
	const name = "a secret in the command"
	l := s.sure(name, "masked", "trip-notes")
	return hardCase{scenario: scenario{name: name, talks: []talk{{session: "masked", turns: []model.Turn{
		calls(s.use("trip-notes")),
		calls(run("TRIP_TOKEN=sk-proj-%s %s %s read %s/Documents/plan.txt", strings.Repeat("a1B2", 10), s.deed, l, s.home)),
		say("Done."),
	}}}}}
}

// samePath are two sessions that have the gateway read one file at once.
func (s *stage) samePath() hardCase {
	const name = "one path, two sessions"
	s.label(name, "path1", "weather-lite")
	s.label(name, "path2", "leaky-notes")
	plan, gateway := filepath.Join(s.home, "Documents", "shared.txt"), s.proc.PID
	talkOf := func(session, skill string) talk {
		return talk{session: session, turns: []model.Turn{
			calls(s.use(skill)), calls(read(plan), read(plan), read(plan)), calls(read(plan)), say("Done."),
		}}
	}
	return hardCase{
		scenario: scenario{name: name, talks: []talk{talkOf("path1", "weather-lite"), talkOf("path2", "leaky-notes")}},
		check: func(w said) (faults []string) {
			seen := 0
			for _, e := range w.events {
				if e.File.Path != plan || e.Process.PID != gateway {
					continue
				}
				seen++
				a := e.Attribution
				skills := map[string]string{key("path1"): "weather-lite", key("path2"): "leaky-notes"}
				if a == nil || a.Skill != nil && skills[a.Session] != a.Skill.Name {
					faults = append(faults, fmt.Sprintf("%s says %s", e.ID, a))
				}
			}
			if seen == 0 {
				faults = append(faults, "the reads are not told of")
			}
			return faults
		},
	}
}

// linked is a skill that is a link to a directory elsewhere, used by both paths.
func (s *stage) linked() hardCase {
	const name = "linked directory"
	link, dir := filepath.Join(s.workspace, "skills", "linked"), filepath.Join(s.home, "elsewhere", "linked")
	a := s.in(s.sure(name, "link1", "linked"), dir)
	b := s.in(s.sure(name, "link2", "linked"), dir)
	use := func(session, label, dir string) talk {
		return talk{session: session, turns: []model.Turn{
			calls(run("cat %s/SKILL.md", dir)), calls(run("%s/scripts/run.sh %s", dir, label)), calls(run("cd %s && bash scripts/run.sh %s", dir, label)), say("Done."),
		}}
	}
	return hardCase{
		scenario: scenario{name: name, talks: []talk{use("link1", a, link), use("link2", b, dir)}},
		check: func(w said) []string {
			if dirs := w.dirs("linked"); len(dirs) != 1 || !dirs[dir] {
				return []string{fmt.Sprintf("the skill is told to be in %v", dirs)}
			}
			return nil
		},
	}
}

// namesakes are two skills of one name in two roots.
func (s *stage) namesakes() hardCase {
	const name = "one name, two roots"
	here, there := filepath.Join(s.workspace, "skills", "twin"), filepath.Join(s.state, "skills", "twin")
	use := func(session, dir string) talk {
		l := s.in(s.sure(name, session, "twin"), dir)
		return talk{session: session, turns: []model.Turn{
			calls(read(filepath.Join(dir, "SKILL.md"))), calls(run("%s/scripts/run.sh %s", dir, l)), calls(run("%s %s read %s/Documents/plan.txt", s.deed, l, s.home)), say("Done."),
		}}
	}
	return hardCase{scenario: scenario{name: name, talks: []talk{use("root1", here), use("root2", there)}}}
}

// rewritten are skills that change while they are used.
func (s *stage) rewritten(await func(context.Context, string) error) []hardCase {
	return []hardCase{s.shifted(await), s.meddled(), s.forwarded()}
}

// shifted changes its own files in the middle of a run.
func (s *stage) shifted(await func(context.Context, string) error) hardCase {
	const name = "rewrites itself"
	l := s.sure(name, "shift", "shifter")
	after := s.sure(name, "shift", "shifter")
	dir, meeting := s.skill("shifter"), "shift-"+l
	return hardCase{
		scenario: scenario{name: name, talks: []talk{{session: "shift", turns: []model.Turn{
			calls(s.use("shifter")), calls(s.script("shifter", "shift.sh", l, meeting)),
			calls(run("%s %s read %s/Documents/plan.txt", s.deed, after, s.home)), say("Updated."),
		}}}, during: func(ctx context.Context) error { // the script waits meanwhile
			defer s.recorder.Arrive(meeting)
			return await(ctx, dir)
		}},
		check: func(w said) (faults []string) {
			var now truth.Skill
			for _, e := range w.events {
				if e.Kind == "skill.updated" && e.Skill.ID.Dir == dir {
					now = e.Skill.ID
					if e.Skill.Previous == "" || e.Skill.Previous == now.SHA256 || !judged(e.Attribution, "shifter", key("shift")) {
						faults = append(faults, fmt.Sprintf("the change from %q to %q is told of as %s's", e.Skill.Previous, now.SHA256, e.Attribution))
					}
				}
			}
			if now.SHA256 == "" {
				return []string{"the change is not told of"}
			}
			if !w.raised("skill-installation", key("shift")) {
				faults = append(faults, "no alert says so")
			}
			for _, e := range w.events {
				if a := e.Attribution; e.Kind == "process.exec" && slices.Contains(e.Process.Args, after) && a != nil && a.Skill != nil &&
					a.Skill.SHA256 != now.SHA256 && !a.Has("skill_changed") {
					faults = append(faults, fmt.Sprintf("%s is told of as the old version's", e.ID))
				}
			}
			return faults
		},
	}
}

// meddled is a skill that another one has changed; it is used afterwards.
func (s *stage) meddled() hardCase {
	const name = "rewrites another"
	l := s.sure(name, "meddle", "meddler")
	dir := s.skill("gullible")
	used := s.doubted(truth.Ambiguous, "another skill wrote a line of the script that ran, and whose line it was is not seen", name, "gull", "gullible")
	return hardCase{
		scenario: scenario{name: name, talks: []talk{{session: "meddle", turns: []model.Turn{
			calls(s.use("meddler")), calls(s.script("meddler", "meddle.sh", l)), say("Repaired."),
		}}}, after: func(ctx context.Context) error {
			return s.hold(ctx, s.llm, used, talk{session: "gull", turns: []model.Turn{
				calls(s.use("gullible")), calls(s.script("gullible", "work.sh", used)), say("Worked."),
			}})
		}},
		check: func(w said) (faults []string) {
			told := false
			for _, e := range w.events {
				switch a := e.Attribution; {
				case e.Kind == "skill.updated" && e.Skill.ID.Dir == dir:
					told = e.Skill.Previous != "" && e.Skill.Previous != e.Skill.ID.SHA256 && judged(a, "meddler", key("meddle"))
				case a == nil || a.Session != key("gull") || !strings.HasSuffix(e.File.Path, "/.aws/credentials"):
				case a.Skill != nil || !slices.ContainsFunc(a.Candidates, func(c truth.Skill) bool { return c.Name == "meddler" }):
					faults = append(faults, fmt.Sprintf("%s does not name who wrote that line: %s", e.ID, a))
				}
			}
			if !told || !w.raised("skill-installation", key("meddle")) {
				faults = append(faults, "the change is not told of as meddler's")
			}
			return faults
		},
	}
}

// forwarded is a skill's script that is run by another skill's.
func (s *stage) forwarded() hardCase {
	const name = "runs another's script"
	own := s.sure(name, "forward", "middleman")
	other := s.doubted(truth.Ambiguous, "the one skill gave the order and the other's code carried it out", name, "forward", "middleman")
	return hardCase{scenario: scenario{name: name, talks: []talk{{session: "forward", turns: []model.Turn{
		calls(s.use("middleman")), calls(s.script("middleman", "forward.sh", own, other)), say("Passed on."),
	}}}}}
}
