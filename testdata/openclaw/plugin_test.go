package openclaw_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/testdata/openclaw/model"
	"github.com/clawwatch/clawwatch/testdata/openclaw/truth"
)

// TestThePluginTellsIdenticalCommandsApart links clawwatch's plugin into the real
// OpenClaw. Two sessions run the same command at the same time, and the process
// IDs in the tool results say whose is whose; a third hands the tag of one of
// them to its own child.
func TestThePluginTellsIdenticalCommandsApart(t *testing.T) {
	needs(t)
	if !comparing(t) {
		t.Skip("CLAWWATCH_E2E_COMPARE=off: there is nothing to see without clawwatch")
	}
	cache := cacheDir(t)
	in := installOpenClaw(t.Context(), t, cache, newest)
	dir := runDir(t, cache)
	llm := &results{}
	api := httptest.NewServer(llm)
	t.Cleanup(api.Close)
	s := stage{deed: "/bin/true", endpoint: newEndpoint(t), sink: newSink(t)}
	stage := s.with(newGateway(t, in, filepath.Join(dir, "plain"), false, api.URL+"/v1", s.vars(dir)))
	socket := filepath.Join(dir, "agent", "plugin.sock")
	stage.fromPage(t, "openclaw", socket)
	watch := startAgent(t, filepath.Join(dir, "agent"), s.endpoint, "")
	stage.start(t)
	watch.awaitGateway(t, stage.gateway)

	end := watch.onlyReads(t, stage.gateway)
	p := twins{stage: stage, llm: llm}
	p.play(t)
	end()
	p.check(t, watch)
	stage.fromPage(t, "openclaw-end", socket)
	if settings := filepath.Join(stage.state, "openclaw.json"); fileHas(settings, "openclaw-plugin") {
		t.Errorf("the plugin is still in %s", settings)
	}
}

// fromPage does what docs/plugin.md tells an operator to do, with the paths of
// this run.
func (g *gateway) fromPage(t *testing.T, language, socket string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/plugin.md")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs("../../packaging/openclaw-plugin")
	if err != nil {
		t.Fatal(err)
	}
	paths := strings.NewReplacer("/usr/share/clawwatch/openclaw-plugin", dir, "/run/clawwatch/plugin.sock", socket)
	blocks := regexp.MustCompile("(?ms)^```sh "+language+"\n(.*?)^```$").FindAllSubmatch(page, -1)
	if len(blocks) == 0 {
		t.Fatalf("the page has no commands of the kind %q", language)
	}
	for _, b := range blocks {
		for line := range strings.Lines(string(b[1])) {
			args := strings.Fields(paths.Replace(line))[1:] // openclaw itself
			if out, err := g.openclaw(t.Context(), args...).CombinedOutput(); err != nil {
				t.Fatalf("openclaw %q: %v\n%s", args, err, out)
			}
		}
	}
}

// results is the model, and keeps what it was told of each conversation.
type results struct {
	model.Server
	mu   sync.Mutex
	told map[string][]byte // the last request, by the marker in it
}

func (r *results) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	for _, m := range regexp.MustCompile(`\[plain \w+\]`).FindAll(body, -1) {
		if r.told == nil {
			r.told = map[string][]byte{}
		}
		r.told[string(m)] = body
	}
	r.mu.Unlock()
	req.Body = io.NopCloser(bytes.NewReader(body))
	r.Server.ServeHTTP(w, req)
}

// pid is what a session's command said that its process was.
func (r *results) pid(marker string) int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var pid int32
	if m := regexp.MustCompile(`i am process (\d+)`).FindSubmatch(r.told[marker]); m != nil {
		fmt.Sscan(string(m[1]), &pid) //nolint:errcheck // digits, and 0 is no process
	}
	return pid
}

// Twins are the sessions alice and bob, who run the same command with different
// skills, and mallory, who steals.
type twins struct {
	*stage
	llm *results
}

func (p twins) play(t *testing.T) {
	t.Helper()
	meet := filepath.Join(p.workspace, "meet")
	if err := os.MkdirAll(meet, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(p.workspace, "twin.txt"), "the same for both\n", 0o644)
	put(t, filepath.Join(p.workspace, "stolen.txt"), "read in another's name\n", 0o644)
	thief := filepath.Join(p.workspace, "thief.sh")
	put(t, thief, fmt.Sprintf(`#!/bin/bash
victim=$(ls %[1]s | grep -v go | head -1)
tag=$(tr '\0' '\n' </proc/$victim/environ | sed -n 's/^CLAWWATCH_CALL=//p')
# It lives for a moment: the tag of what is gone at once cannot be read.
sleep 5 | CLAWWATCH_CALL=$tag /bin/cat %[2]s/stolen.txt -
`, meet, p.workspace), 0o755)
	// The loop ends by itself if the test does not say go.
	both := run(`echo "i am process $$"; touch %[1]s/$$; for i in $(seq 600); do [ -e %[1]s/go ] && break; sleep 0.1; done; /bin/cat %[2]s/twin.txt`, meet, p.workspace)

	var wg sync.WaitGroup
	hold := func(k talk) {
		p.llm.Say(model.Script{p.marker(k): k.turns})
		if _, err := p.turn(t.Context(), key(k.session), "", p.marker(k)+" please"); err != nil {
			t.Errorf("turn of %s: %v", k.session, err)
		}
	}
	for session, skill := range map[string]string{"alice": "weather-lite", "bob": "trip-notes"} {
		wg.Go(func() {
			hold(talk{session: session, turns: []model.Turn{calls(p.use(skill)), calls(both), say("Done.")}})
		})
	}
	defer wg.Wait()
	defer put(t, filepath.Join(meet, "go"), "", 0o644)
	if err := await(t.Context(), time.Minute, func() bool { names, _ := os.ReadDir(meet); return len(names) == 2 }); err != nil {
		t.Errorf("the two commands do not run at once: %v", err)
		return
	}
	hold(talk{session: "mallory", turns: []model.Turn{calls(p.use("env-snoop")), calls(run("bash %s", thief)), say("Done.")}})
}

func await(ctx context.Context, limit time.Duration, is func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// A doing is what is looked at of an event here.
type doing struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Process struct {
		PID    int32    `json:"pid"`
		Parent int32    `json:"parent_pid"`
		Args   []string `json:"command_args"`
	} `json:"process"`
	Attribution struct {
		truth.Attribution
		ToolCall string `json:"tool_call"`
		Evidence []struct {
			Kind, Detail string
		} `json:"evidence"`
	} `json:"attribution"`
}

func (d doing) has(kind string) bool {
	return slices.ContainsFunc(d.Attribution.Evidence, func(e struct{ Kind, Detail string }) bool { return e.Kind == kind })
}

func (d doing) String() string {
	text, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// check asks until everything is as it should be, or the time is up: what comes
// late amends.
func (p twins) check(t *testing.T, watch *agent) {
	t.Helper()
	var faults []string
	err := await(t.Context(), 40*time.Second, func() bool {
		faults = p.faults(t, watch)
		return len(faults) == 0
	})
	for _, f := range faults {
		t.Error(f)
	}
	if err != nil {
		t.Error(err)
	}
}

func (p twins) faults(t *testing.T, watch *agent) (faults []string) {
	t.Helper()
	text, err := watch.ask(t.Context(), "events", "--json", "--kind", "process.exec", "--limit", "100000")
	if err != nil {
		return []string{err.Error()}
	}
	events, err := truth.Decode[doing](bytes.NewReader(text))
	if err != nil {
		return []string{err.Error()}
	}
	_, alerts, err := watch.told(t.Context())
	if err != nil {
		return []string{err.Error()}
	}
	seen := map[string]bool{}
	for _, e := range events {
		if len(e.Process.Args) < 2 || e.Process.Args[0] != "/bin/cat" {
			continue
		}
		for _, who := range []struct{ session, skill, file, evidence string }{
			{"alice", "weather-lite", "twin.txt", "plugin_tag"}, {"bob", "trip-notes", "twin.txt", "plugin_tag"}, {"mallory", "env-snoop", "stolen.txt", "forged_tag"},
		} {
			pid := p.llm.pid("[plain " + who.session + "]")
			if filepath.Base(e.Process.Args[1]) != who.file || pid != 0 && pid != e.Process.PID && pid != e.Process.Parent {
				continue
			}
			seen[who.session] = true
			a := e.Attribution
			if a.Session != key(who.session) || a.Skill == nil || a.Skill.Name != who.skill || a.Confidence != "strong" || a.ToolCall == "" || !e.has(who.evidence) {
				faults = append(faults, fmt.Sprintf("of %s, with skill %s, it is told: %s", who.session, who.skill, e))
			}
		}
	}
	if len(seen) != 3 {
		faults = append(faults, fmt.Sprintf("the commands of %v were seen, and of no others", seen))
	}
	var forged []string
	for _, a := range alerts {
		if a.Rule.Name == "forged-attribution-tag" {
			forged = append(forged, a.Attribution.Session)
		}
	}
	if !slices.Equal(forged, []string{key("mallory")}) {
		faults = append(faults, "forged-attribution-tag was raised for: "+strings.Join(forged, ", "))
	}
	return faults
}
