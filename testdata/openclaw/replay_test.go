package openclaw_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/clawwatch/clawwatch/testdata/openclaw/model"
	"github.com/clawwatch/clawwatch/testdata/openclaw/truth"
)

// A deed is a command that a skill has OpenClaw's exec tool run: one that must
// raise an alert, or one that must not.
type deed struct {
	ID       string `json:"id"`
	Kind     string `json:"kind"` // malicious, benign
	Skill    string `json:"skill"`
	Name     string `json:"name"`
	Cmd      string `json:"cmd"`
	Write    string `json:"write"`   // instead of Cmd: the agent's own tool writes this file of the workspace
	Outside  bool   `json:"outside"` // run by nobody of OpenClaw's
	Origin   string `json:"origin"`
	Attack   string `json:"attack_v19"`
	Atlas    string `json:"atlas"`
	fired    []string
	ran      string   // the command, with the run's paths
	said     []string // by the alerts
	named    bool     // an alert of medium or more names the skill, and no other
	alarming bool     // an alert above info
	wrong    bool     // an alert names another skill
}

// TestScenarios plays what is known of malicious skills, and what good ones do that
// looks like it, in a network where every name has an address.
func TestScenarios(t *testing.T) {
	needs(t, "curl", "jq", "tmux", "python3", "pkill")
	cache := cacheDir(t)
	in := installOpenClaw(t.Context(), t, cache, newest)
	if os.Getenv(insideVar) == "" { // what needs the real network is done before
		bin := os.Getenv("CLAWWATCH_BIN")
		if bin == "" {
			bin = filepath.Join(t.TempDir(), "clawwatch")
			build(t.Context(), t, "../../cmd/clawwatch", bin, "")
		}
		inSandbox(t, "CLAWWATCH_BIN="+bin)
		return
	}
	dir := runDir(t, cache)
	newWorld(t, dir)
	r := newReplay(t, in, dir)
	r.watch = runAgent(t, filepath.Join(dir, "agent"), r.policy(), "")
	r.start(t)
	r.watch.awaitGateway(t, r.gateway)
	r.play(t)
	r.judge(t)
}

// A replay is the deeds on their gateway.
type replay struct {
	*stage
	lab   string
	deeds []*deed
	watch *agent
}

func newReplay(t *testing.T, in install, dir string) *replay {
	t.Helper()
	text, err := os.ReadFile("replay/scenarios.json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Scenarios []*deed }
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	for i, d := range list.Scenarios { // of two sessions at once nobody can tell whose it is
		if j := slices.IndexFunc(list.Scenarios, func(x *deed) bool { return d.Cmd != "" && x.Cmd == d.Cmd }); j >= 0 && j != i {
			t.Fatalf("%s and %s have the same command", list.Scenarios[j].ID, d.ID)
		}
	}
	llm := &model.Server{}
	api := httptest.NewServer(llm)
	t.Cleanup(api.Close)
	s := stage{deed: "/bin/true", endpoint: newEndpoint(t), sink: newSink(t), llm: llm}
	r := &replay{deeds: list.Scenarios, lab: filepath.Join(dir, "lab")}
	r.stage = s.with(newGateway(t, in, filepath.Join(dir, "home"), false, api.URL+"/v1", s.vars(dir)))
	programs := filepath.Join(dir, "programs")
	copySkill(t, "replay/programs", programs, strings.NewReplacer())
	r.path = programs + ":" + filepath.Join(filepath.Dir(filepath.Dir(in.main)), ".bin")
	r.furnish(t)
	return r
}

// furnish makes a home like that of a person who uses an agent, with canaries for
// secrets.
func (r *replay) furnish(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir("replay/skills")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		copySkill(t, filepath.Join("replay/skills", e.Name()), filepath.Join(r.workspace, "skills", e.Name()), strings.NewReplacer())
	}
	for name, text := range map[string]string{
		".netrc": "machine example.com password CANARY\n", ".npmrc": "//registry.npmjs.org/:_authToken=CANARY\n",
		".kube/config": "token: CANARY\n", ".docker/config.json": `{"auths":{}}`, ".git-credentials": "https://u:CANARY@example.com\n",
		".config/gcloud/credentials.db": "CANARY\n", ".config/notion/api_key": "ntn_CANARY\n", ".config/op/config": "{}\n",
		"Documents/q3.csv": "a,b\n1,2\n", ".openclaw/.env": "SERVICE_TOKEN=CANARY\n",
		".openclaw/workspace/SOUL.md": "# Soul\n", ".openclaw/workspace/MEMORY.md": "# Memory\n", ".openclaw/workspace/AGENTS.md": "# Agents\n",
		".openclaw/agents/main/sessions/old.jsonl": `{"type":"session","version":3,"id":"11111111-2222-4333-8444-555555555555","timestamp":"2026-11-21T10:00:00.000Z","cwd":"/"}` + "\n" +
			`{"type":"message","id":"a1","parentId":null,"timestamp":"2026-11-21T10:00:01.000Z","message":{"role":"user","content":[{"type":"text","text":"hello"}]}}` + "\n",
		".openclaw/workspace/memory/2026-11-21.md": "- nothing\n", ".openclaw/cron/.keep": "", ".openclaw/credentials/pairing.json": "{}\n",
	} {
		put(t, filepath.Join(r.home, name), text, 0o600)
	}
	put(t, filepath.Join(r.lab, "stage", "stage1.sh"), "echo staged\n", 0o755)
	put(t, filepath.Join(r.lab, "var", ".keep"), "", 0o644)
}

// policy is what an operator would allow the good skills, and nothing for the others.
func (r *replay) policy() string {
	return strings.NewReplacer("@LAB@", r.lab, "@RUN@", filepath.Dir(r.lab), "@CACHE@", filepath.Dir(filepath.Dir(filepath.Dir(r.lab))), "@PORT@", strconv.Itoa(r.port)).Replace(`version: 1
endpoints:
  approved:
    extend:
      - {host: wttr.in, skills: [weather]}
      - {host: api.open-meteo.com, skills: [weather]}
      - {host: api.notion.com, skills: [notion]}
      - {host: api.openai.com, skills: [whisper-api]}
      - {host: api.trello.com, skills: [trello]}
      - {host: clawhub.ai, skills: [clawhub]}
      - {host: api.anthropic.com, skills: [summarize]}
      - {cidr: 127.0.0.1/32, ports: [@PORT@], skills: [healthcheck]}
directories:
  internal:
    extend:
      - {paths: ["@LAB@/var"], skills: [weather, 1password, backup, csv-report, whisper-api]}
      - {paths: ["${home}/.config/notion/api_key"], access: read, skills: [notion]}
      - {paths: ["${home}/.config/op"], skills: [1password]}
      - {paths: ["${home}/Documents"], access: read, skills: [csv-report]}
      - {paths: ["${state}/agents/*/sessions"], access: read, skills: [session-logs]}
      - {paths: ["${workspace}/skills"], skills: [clawhub]}
      - {paths: ["${workspace}/**/.env"], access: read, skills: [backup]}
      - {paths: ["${state}/.env", "${state}/openclaw.json"], access: read, skills: [healthcheck]}
      - {paths: ["${home}/gateway.log"], skills: [healthcheck]}
  public:
    extend:
      - {paths: ["@RUN@/programs", "@CACHE@/package.json"], access: read}
environment:
  approved:
    extend:
      - {names: [NOTES_TOKEN, WEATHER_API_KEY, SERVICE_TOKEN], skills: [healthcheck]}
`)
}

// command is a deed's, with the run's paths.
func (r *replay) command(d *deed) string {
	return strings.NewReplacer("$OC", r.state, "$WS", r.workspace, "$SK", r.skill(d.Skill), "$LAB", r.lab, "$PORT", strconv.Itoa(r.port)).Replace(d.Cmd)
}

// play has each deed done in a session of its own, those of a skill one after the other.
func (r *replay) play(t *testing.T) {
	t.Helper()
	bySkill := map[string][]*deed{}
	for _, d := range r.deeds {
		bySkill[d.Skill] = append(bySkill[d.Skill], d)
	}
	const atOnce = 4
	turn := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for _, deeds := range bySkill {
		wg.Go(func() {
			for _, d := range deeds {
				turn <- struct{}{}
				if err := r.do(t.Context(), d); err != nil {
					t.Errorf("%s: %v", d.ID, err)
				}
				<-turn
			}
		})
	}
	wg.Wait()
}

func (r *replay) do(ctx context.Context, d *deed) error {
	command := r.command(d)
	d.ran = command
	if d.Outside {
		cmd := exec.CommandContext(ctx, "bash", "-c", command)
		cmd.Env, cmd.Dir = r.environ(), r.home
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", command, err, out)
		}
		return nil
	}
	k := talk{session: strings.ToLower(d.ID), turns: []model.Turn{calls(r.use(d.Skill)), calls(run("%s", command)), say("Done.")}}
	if d.Write != "" {
		k.turns[1] = calls(model.Call{Tool: "write", Args: map[string]any{"path": filepath.Join(r.workspace, d.Write), "content": "# Memory\n- likes tea\n"}})
	}
	r.llm.Say(model.Script{r.marker(k): k.turns})
	answer, err := r.turn(ctx, key(k.session), "", r.marker(k)+" please")
	if err == nil && !strings.Contains(answer, "Done.") {
		err = fmt.Errorf("the turn ended with: %s", answer)
	}
	return err
}

// judge waits until every deed is summed up, and a little for what comes late, and
// compares.
func (r *replay) judge(t *testing.T) {
	t.Helper()
	var alerts []truth.Alert
	var events []truth.Event
	err := await(t.Context(), 90*time.Second, func() bool {
		var err error
		if events, alerts, err = r.watch.told(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r.summedUp(events)
	})
	if err != nil {
		t.Errorf("not all calls are summed up: %v", err)
	}
	others := r.sort(alerts, events)
	t.Logf("\n%s", r.table())
	for _, d := range r.deeds {
		switch {
		case d.wrong:
			t.Errorf("%s %s: an alert names another skill than %s:\n%s", d.ID, d.Name, d.Skill, strings.Join(d.said, "\n"))
		case d.Kind == "malicious" && !d.named:
			t.Errorf("%s %s: no alert of medium severity or higher names %s:\n%s", d.ID, d.Name, d.Skill, strings.Join(d.said, "\n"))
		case d.Kind == "benign" && d.alarming:
			t.Errorf("%s %s: raises alerts above info:\n%s", d.ID, d.Name, strings.Join(d.said, "\n"))
		}
	}
	for _, told := range slices.Sorted(maps.Keys(others)) {
		t.Logf("of none of them: %s, %d", told, others[told])
	}
}

// summedUp reports whether the effects of the last call of every session were told:
// they come when all else has.
func (r *replay) summedUp(events []truth.Event) bool {
	last := map[string]string{} // the tool call, by marker
	for _, a := range r.llm.Answers() {
		for _, c := range a.Calls {
			last[a.Marker] = c.ID
		}
	}
	delete(last, "")
	for _, e := range events {
		if e.Kind == "tool.effects" {
			maps.DeleteFunc(last, func(_, id string) bool { return id == e.Tool.CallID })
		}
	}
	return len(last) == 0
}

// sort gives the alerts to the deeds in whose sessions they are, and counts the rest: of
// this test's own process, and of others on the host.
func (r *replay) sort(alerts []truth.Alert, events []truth.Event) map[string]int {
	byID, others := map[string]truth.Event{}, map[string]int{}
	for _, e := range events {
		byID[e.ID] = e
	}
	for _, a := range alerts {
		told := a.Rule.Name + " " + a.Rule.Severity
		i := slices.IndexFunc(r.deeds, func(d *deed) bool { return r.raised(d, a, byID) })
		if i < 0 {
			others[told]++
			continue
		}
		r.deeds[i].take(a, told)
	}
	return others
}

// raised reports whether the deed is what an alert is about. Outside, where a process may
// be gone before it is looked at, the file tells that its command names.
func (r *replay) raised(d *deed, a truth.Alert, byID map[string]truth.Event) bool {
	if !d.Outside {
		return a.Attribution != nil && a.Attribution.Session == key(strings.ToLower(d.ID))
	}
	return slices.ContainsFunc(a.Events, func(id string) bool {
		file, ok := strings.CutPrefix(byID[id].File.Path, r.home)
		return ok && strings.Contains(d.ran, file)
	})
}

func (d *deed) take(a truth.Alert, told string) {
	d.said = append(d.said, a.Rule.Name+": "+a.Message)
	d.alarming = d.alarming || a.Rule.Severity != "info"
	var skill *truth.Skill
	if a.Attribution != nil {
		skill = a.Attribution.Skill
	}
	switch {
	case skill == nil && d.Skill != "":
		told += " (no one skill)"
	case skill != nil && skill.Name != d.Skill:
		told += " (of " + skill.Name + ")"
		d.wrong = true
	case a.Rule.Severity != "info" && a.Rule.Severity != "low":
		d.named = true
	}
	if !slices.Contains(d.fired, told) {
		d.fired = append(d.fired, told)
	}
}

func (r *replay) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "id\tkind\tskill\tverdict\trules")
	for _, d := range r.deeds {
		verdict := "quiet"
		switch {
		case d.Kind == "malicious" && d.named:
			verdict = "found"
		case d.Kind == "malicious":
			verdict = "MISSED"
		case d.alarming:
			verdict = "NOISE"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.ID, d.Kind, d.Skill, verdict, strings.Join(d.fired, ", "))
	}
	_ = w.Flush() // into memory
	return b.String()
}
