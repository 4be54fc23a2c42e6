package openclaw_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/clawwatch/clawwatch/testdata/openclaw/model"
	"github.com/clawwatch/clawwatch/testdata/openclaw/truth"
)

// A scenario is conversations held at once, what they do by themselves, and the
// alerts they must raise. Skill and session of every deed are literals here.
type scenario struct {
	name   string
	talks  []talk
	during func(context.Context) error // while they go on
	after  func(context.Context) error // once the talks are over
	alerts []truth.Expect
	quiet  bool // none of the judged rules may fire
}

// A talk is one message to one session, and what the model makes of it.
type talk struct {
	session string // the name; the key is agent:main:NAME
	model   string // empty: the default
	turns   []model.Turn
	again   string       // of a later message to the same session: what tells its conversation from the others
	inproc  []truth.Line // what the gateway itself does
	fails   bool         // the turn ends with an error
	breaks  bool         // it may, and what is left of it is not asked for
}

// A stage is where the scenarios of one gateway play: it knows the paths, and
// hands out the labels.
type stage struct {
	*gateway
	deed     string // path of the program
	endpoint string // the approved address
	sink     *sink  // the one that is not
	labels   *labels
	recorder *truth.Recorder
	llm      *model.Server
}

// labels are handed out to scenarios that may play at the same time.
type labels struct {
	sync.Mutex
	known  map[string]truth.Label
	limits map[string]truth.Limit
}

// with is the stage of one gateway.
func (s stage) with(g *gateway) *stage {
	s.gateway, s.labels = g, &labels{known: map[string]truth.Label{}, limits: map[string]truth.Limit{}}
	return &s
}

// vars is what the skills' files say for the addresses and paths of this run.
func (s stage) vars(dir string) []string {
	return []string{"@DEED@", s.deed, "@SINK@", s.sink.addr(), "@ENDPOINT@", s.endpoint, "@RUN@", filepath.Base(dir)}
}

// key is how OpenClaw names a session; no name is no session.
func key(session string) string {
	if session == "" {
		return ""
	}
	return "agent:main:" + session
}

// label is a new opaque word for what a skill does in a session of a scenario.
func (s *stage) label(scenario, session, skill string) string {
	s.labels.Lock()
	defer s.labels.Unlock()
	word := fmt.Sprintf("%c%02d", s.name[0], len(s.labels.known)+1)
	s.labels.known[word] = truth.Label{Scenario: s.name + " " + scenario, Gateway: s.state, Session: key(session), Skill: skill}
	return word
}

func (s *stage) skill(name string) string {
	for _, root := range []string{filepath.Join(s.state, "skills"), filepath.Join(s.workspace, "skills")} {
		if found, _ := filepath.Glob(filepath.Join(root, name, "SKILL.md")); found != nil {
			return filepath.Dir(found[0])
		}
	}
	return filepath.Join(s.workspace, "skills", name) // the turn will show that it is not there
}

func calls(c ...model.Call) model.Turn { return model.Turn{Calls: c} }
func say(text string) model.Turn       { return model.Turn{Text: text} }

func read(path string) model.Call {
	return model.Call{Tool: "read", Args: map[string]any{"path": path}}
}

func (s *stage) use(skill string) model.Call { return read(filepath.Join(s.skill(skill), "SKILL.md")) }

func run(format string, args ...any) model.Call {
	return model.Call{Tool: "exec", Args: map[string]any{"command": fmt.Sprintf(format, args...)}}
}

func option(c model.Call, name string) model.Call {
	c.Args[name] = true
	return c
}

// script is a call of a script of a skill by its path.
func (s *stage) script(skill, script string, args ...string) model.Call {
	return run("%s", strings.Join(append([]string{filepath.Join(s.skill(skill), "scripts", script)}, args...), " "))
}

// shapes are the scenarios that depend on the shape of the process tree: they
// play on every gateway.
func (s *stage) shapes() []scenario {
	return []scenario{s.greedyWeather(), s.twoSessions(), s.daemons()}
}

// rest are the scenarios that play once.
func (s *stage) rest() []scenario {
	return []scenario{
		s.twoSkills(), s.inProcess(), s.inProcessOfSkill(), s.parallel(), s.benign(), s.prose(),
		s.noSkill(), s.backgroundAndTerminal(), s.environments(), s.installs(), s.refused(),
	}
}

func (s *stage) greedyWeather() scenario {
	l := s.label("a greedy weather", "greedy", "weather-lite")
	expect := func(rule string) truth.Expect { return truth.Expect{Label: l, Rule: rule} }
	return scenario{name: "a greedy weather", talks: []talk{{session: "greedy", turns: []model.Turn{
		calls(s.use("weather-lite")),
		calls(s.script("weather-lite", "weather.sh", l)),
		say("Sunny."),
	}}}, alerts: []truth.Expect{
		expect("unapproved-endpoint"), expect("file-outside-approved-directories"), expect("restricted-data-access"),
		expect("unusual-data-volume"), expect("environment-access"),
	}}
}

// twoSessions overlap: neither script goes on before the other has started.
func (s *stage) twoSessions() scenario {
	const name = "b two sessions at once"
	a, b := s.label(name, "alice", "weather-lite"), s.label(name, "bob", "leaky-notes")
	meeting := a + b
	return scenario{name: name, talks: []talk{
		{session: "alice", turns: []model.Turn{
			calls(s.use("weather-lite")),
			// by a relative path: only the working directory leads to the skill
			calls(run("cd %s && bash scripts/weather.sh %s %s 2", s.skill("weather-lite"), a, meeting)),
			say("Sunny."),
		}},
		{session: "bob", turns: []model.Turn{
			calls(s.use("leaky-notes")),
			calls(s.script("leaky-notes", "save.sh", b, "'buy milk'", meeting, "2")),
			say("Saved."),
		}},
	}, alerts: []truth.Expect{
		{Label: a, Rule: "unusual-data-volume"},
		{Label: b, Rule: "unapproved-endpoint"},
		{Label: b, Rule: "file-outside-approved-directories"},
	}}
}

// daemons outlive their call: they meet the test after the turn.
func (s *stage) daemons() scenario {
	const name = "d copied, daemonised"
	l := s.label(name, "owl", "night-owl")
	meeting := "night-" + l
	return scenario{name: name, talks: []talk{{session: "owl", turns: []model.Turn{
		calls(s.use("night-owl")),
		calls(s.script("night-owl", "start.sh", l, meeting)),
		say("Working."),
	}}}, after: func(context.Context) error {
		s.recorder.Arrive(meeting)
		return s.recorder.Await(time.Minute, 2, func(t truth.Line) bool { return t.Label == l && t.Op == "delete" })
	}, alerts: []truth.Expect{{Label: l, Rule: "unapproved-endpoint"}, {Label: l, Rule: "restricted-data-access"}}}
}

func (s *stage) twoSkills() scenario {
	const name = "c two skills, one session"
	a, b := s.label(name, "both", "weather-lite"), s.label(name, "both", "leaky-notes")
	return scenario{name: name, talks: []talk{{session: "both", turns: []model.Turn{
		calls(s.use("weather-lite"), s.use("leaky-notes")),
		calls(s.script("weather-lite", "weather.sh", a)),
		calls(s.script("leaky-notes", "save.sh", b, "umbrella")),
		say("Both done."),
	}}}, alerts: []truth.Expect{{Label: a, Rule: "unusual-data-volume"}, {Label: b, Rule: "unapproved-endpoint"}}}
}

// parallel are two calls of one message: neither script goes on before the
// other has started.
func (s *stage) parallel() scenario {
	const name = "f parallel calls"
	a, b := s.label(name, "parallel", "weather-lite"), s.label(name, "parallel", "leaky-notes")
	return scenario{name: name, talks: []talk{{session: "parallel", turns: []model.Turn{
		calls(s.use("weather-lite"), s.use("leaky-notes")),
		calls(s.script("weather-lite", "weather.sh", a, a+b, "2"), s.script("leaky-notes", "save.sh", b, "x", a+b, "2")),
		say("Both done."),
	}}}, alerts: []truth.Expect{{Label: a, Rule: "unusual-data-volume"}, {Label: b, Rule: "unapproved-endpoint"}}}
}

// inProcess is what the gateway does without a child, for no skill.
func (s *stage) inProcess() scenario {
	const name = "e in process"
	l := s.label(name, "inproc", "")
	note, secret := filepath.Join(s.workspace, "inproc.txt"), filepath.Join(s.home, ".ssh", "id_ed25519")
	return scenario{name: name, talks: []talk{{session: "inproc", turns: []model.Turn{
		calls(model.Call{Tool: "write", Args: map[string]any{"path": note, "content": "hello\n"}}),
		calls(model.Call{Tool: "edit", Args: map[string]any{"path": note, "edits": []map[string]any{{"oldText": "hello", "newText": "bye"}}}}),
		calls(read(secret)),
		say("Done."),
	}, inproc: []truth.Line{
		{Label: l, Op: "write", Path: note}, {Label: l, Op: "edit", Path: note}, {Label: l, Op: "read", Path: secret},
	}}}, alerts: []truth.Expect{{Label: l, Rule: "restricted-data-access"}}}
}

// inProcessOfSkill is the same once a skill has been read in the session.
func (s *stage) inProcessOfSkill() scenario {
	const name = "e in process, of a skill"
	l := s.label(name, "inskill", "trip-notes")
	trip, plan := filepath.Join(s.workspace, "trips", "inproc.txt"), filepath.Join(s.home, "Documents", "plan.txt")
	return scenario{
		name: name, talks: []talk{{session: "inskill", turns: []model.Turn{
			calls(s.use("trip-notes")),
			calls(model.Call{Tool: "write", Args: map[string]any{"path": trip, "content": "Graz\n"}}),
			calls(read(plan)),
			say("Done."),
		}, inproc: []truth.Line{{Label: l, Op: "write", Path: trip}, {Label: l, Op: "read", Path: plan}}}},
		alerts: []truth.Expect{{Label: l, Rule: "file-outside-approved-directories"}},
	}
}

func (s *stage) benign() scenario {
	const name = "i benign weather"
	l := s.label(name, "benign", "weather")
	return scenario{name: name, quiet: true, talks: []talk{{session: "benign", turns: []model.Turn{
		calls(s.use("weather")),
		calls(run("%s %s get %s; ! command -v curl || curl -s http://%s/forecast", s.deed, l, s.endpoint, s.endpoint)),
		say("Sunny."),
	}}}}
}

// prose is a skill without any script: its commands are the model's own.
func (s *stage) prose() scenario {
	const name = "j prose only"
	l := s.label(name, "prose", "trip-notes")
	trip := filepath.Join(s.workspace, "trips", "graz.txt")
	return scenario{name: name, talks: []talk{{session: "prose", turns: []model.Turn{
		calls(s.use("trip-notes")),
		calls(run("mkdir -p %s && %s %s parent exec && %s %s write %s", filepath.Dir(trip), s.deed, l, s.deed, l, trip)),
		calls(run("%s %s read %s && %s %s delete %s", s.deed, l, trip, s.deed, l, trip)),
		say("Noted."),
	}}}}
}

// noSkill is a command that the model thinks of by itself.
func (s *stage) noSkill() scenario {
	const name = "no skill at all"
	l := s.label(name, "bare", "")
	return scenario{name: name, talks: []talk{{session: "bare", turns: []model.Turn{
		calls(run("%s %s parent exec; %s %s read %s/Documents/plan.txt", s.deed, l, s.deed, l, s.home)),
		say("Read."),
	}}}, alerts: []truth.Expect{{Label: l, Rule: "file-outside-approved-directories"}}}
}

func (s *stage) backgroundAndTerminal() scenario {
	const name = "l background, terminal"
	l := s.label(name, "modes", "leaky-notes")
	meeting := "modes-" + l
	return scenario{name: name, talks: []talk{{session: "modes", turns: []model.Turn{
		calls(s.use("leaky-notes")),
		calls(option(s.script("leaky-notes", "save.sh", l, "later", meeting, "2"), "background")),
		calls(option(s.script("leaky-notes", "save.sh", l, "typed"), "pty")),
		say("Done."),
	}}}, after: func(context.Context) error { // the background call goes on when the turn is over
		s.recorder.Arrive(meeting)
		return s.recorder.Await(time.Minute, 2, func(t truth.Line) bool { return t.Label == l && t.Op == "close" })
	}, alerts: []truth.Expect{{Label: l, Rule: "unapproved-endpoint"}}}
}

func (s *stage) environments() scenario {
	const name = "m environments"
	l := s.label(name, "snoop", "env-snoop")
	return scenario{name: name, talks: []talk{{session: "snoop", turns: []model.Turn{
		calls(s.use("env-snoop")),
		calls(s.script("env-snoop", "snoop.sh", l)),
		say("Healthy."),
	}}}, alerts: []truth.Expect{{Label: l, Rule: "environment-access"}, {Label: l, Rule: "restricted-data-access"}}}
}

// installs are the three ways in which a skill comes: a copy by a person,
// OpenClaw's own command, and another skill.
func (s *stage) installs() scenario {
	const name = "h skills installed"
	l := s.label(name, "dropper", "skill-dropper")
	outside := s.label(name, "", "")
	installed := func(label, skill string) truth.Expect {
		s.recorder.Add(truth.Line{Label: label, Op: "installed", Name: skill})
		return truth.Expect{Label: label, Rule: "skill-installation", Installed: skill}
	}
	return scenario{name: name, talks: []talk{{session: "dropper", turns: []model.Turn{
		calls(s.use("skill-dropper")),
		calls(s.script("skill-dropper", "drop.sh", l)),
		say("Learned."),
	}}}, after: s.install, alerts: []truth.Expect{
		installed(l, "dropped"), installed(outside, "by-hand"), installed(outside, "by-cli"),
	}}
}

// refused is a provider that does not take the key.
func (s *stage) refused() scenario {
	const name = "g key refused"
	l := s.label(name, "refused", "")
	return scenario{name: name, talks: []talk{{session: "refused", model: "refusing/mock-1", fails: true, turns: []model.Turn{
		{Status: 401},
	}}}, alerts: []truth.Expect{{Label: l, Rule: "llm-auth-failure"}}}
}
