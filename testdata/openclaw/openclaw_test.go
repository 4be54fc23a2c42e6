// Package openclaw_test watches clawwatch from outside while it watches the
// real OpenClaw: gateways from npm, a scripted model, skills that do what they
// should not, and a record of the truth that clawwatch's word is compared with.
// README.md tells how to run it.
package openclaw_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/testdata/openclaw/model"
	"github.com/clawwatch/clawwatch/testdata/openclaw/truth"
)

func TestEndToEnd(t *testing.T) {
	needs(t)
	h := newHouse(t, newest)
	plain, service := h.newStage(t, "plain", false), h.newStage(t, "service", true)

	// One gateway runs before clawwatch does, the other starts after it.
	plain.start(t)
	var watch *agent
	var file string
	if comparing(t) {
		var otlp string
		otlp, file = startCollector(t, h.dir)
		watch = startAgent(t, filepath.Join(h.dir, "agent"), h.endpoint, otlp)
		watch.awaitGateway(t, plain.gateway)
	}
	service.start(t)
	if watch != nil {
		watch.awaitGateway(t, service.gateway)
	}
	input := h.playAll(t, map[*stage][]scenario{plain: append(plain.shapes(), plain.rest()...), service: service.shapes()})
	input.Rules = truth.Judged
	if watch != nil {
		check(t, watch, input, file)
	}
}

// TestOlderRelease plays the scenarios that depend on the shape of the process
// tree, terminals, and a refused key, on a release that has no spawn broker and keeps its
// records as JSON lines.
func TestOlderRelease(t *testing.T) {
	needs(t)
	h := newHouse(t, older)
	s := h.newStage(t, "older", false)
	var watch *agent
	if comparing(t) {
		watch = startAgent(t, filepath.Join(h.dir, "agent"), h.endpoint, "")
	}
	s.start(t)
	if watch != nil {
		watch.awaitGateway(t, s.gateway)
	}
	input := h.playAll(t, map[*stage][]scenario{s: append(s.shapes(), s.backgroundAndTerminal(), s.refused())})
	if watch != nil {
		check(t, watch, input, "")
	}
}

// A house is what the gateways of a run share: where they live, the model they
// ask, the addresses of the world outside, and the recorder of the truth.
type house struct {
	stage
	install install
	dir     string
	llm     *model.Server
	api     string
}

func newHouse(t *testing.T, version string) *house {
	t.Helper()
	cache := cacheDir(t)
	in := installOpenClaw(t.Context(), t, cache, version)
	dir := runDir(t, cache)
	recorder, err := truth.Listen(filepath.Join(dir, "truth.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := recorder.Close(); err != nil {
			t.Error(err)
		}
	})
	llm := &model.Server{}
	api := httptest.NewServer(llm)
	t.Cleanup(api.Close)
	base := stage{deed: filepath.Join(dir, "bin", "deed"), endpoint: newEndpoint(t), sink: newSink(t), recorder: recorder, llm: llm}
	build(t.Context(), t, "./deed", base.deed, "-X main.socket="+filepath.Join(dir, "truth.sock"))
	return &house{stage: base, install: in, dir: dir, llm: llm, api: api.URL + "/v1"}
}

// newStage is that of a new gateway in the house.
func (h *house) newStage(t *testing.T, name string, service bool) *stage {
	return h.with(newGateway(t, h.install, filepath.Join(h.dir, name), service, h.api, h.vars(h.dir)))
}

// playAll plays the scenarios of all gateways side by side and returns the
// truth of them.
func (h *house) playAll(t *testing.T, programme map[*stage][]scenario) truth.Input {
	t.Helper()
	var wg sync.WaitGroup
	for s, scenarios := range programme {
		wg.Go(func() {
			for _, sc := range scenarios {
				s.play(t.Context(), t, h.llm, sc)
			}
		})
	}
	wg.Wait()
	in := truth.Input{Labels: map[string]truth.Label{}, Enough: truth.Enough}
	for s, scenarios := range programme {
		for word, label := range s.labels.known {
			in.Labels[word] = label
		}
		for _, sc := range scenarios {
			in.Expect = append(in.Expect, sc.alerts...)
			if sc.quiet {
				in.Quiet = append(in.Quiet, s.name+" "+sc.name)
			}
		}
	}
	var err error
	if in.Lines, err = h.recorder.Lines(); err != nil {
		t.Errorf("not everything happened as it should: %v", err)
	}
	var sent int64
	for _, l := range in.Lines {
		if l.Op == "close" && l.Peer == h.sink.addr() {
			sent += int64(l.Bytes)
		}
	}
	if got, err := h.sink.received(); err != nil || got != sent {
		t.Errorf("the sink received %d bytes (%v), and the deeds sent %d", got, err, sent)
	}
	t.Logf("%d lines of truth", len(in.Lines))
	keepTruth(t, h.dir, in)
	return in
}

// check compares what clawwatch told with the truth, and looks at the other
// things that it may be asked.
func check(t *testing.T, watch *agent, in truth.Input, file string) {
	t.Helper()
	watch.isConfined(t)
	in, report, err := watch.settle(t.Context(), in, 45*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("clawwatch told of %d events and %d alerts\n%s", len(in.Events), len(in.Alerts), report.Table())
	for _, d := range report.Doubts {
		t.Log(d)
	}
	for _, f := range report.Faults {
		t.Error(f)
	}
	watch.answers(t, in.Alerts)
	if file != "" {
		delivered(t, file, in.Events, in.Alerts)
	}
	var all []byte
	for _, verb := range []string{"events", "alerts", "llm", "processes"} {
		out, err := watch.ask(t.Context(), verb, "--json", "--limit", "1000000")
		if err != nil {
			t.Error(err)
		}
		all = append(all, out...)
	}
	watch.stop(t)
	for _, name := range []string{watch.out, file} {
		if b, err := os.ReadFile(name); err == nil {
			all = append(all, b...)
		}
	}
	for _, secret := range secrets {
		if bytes.Contains(all, []byte(secret)) {
			t.Errorf("clawwatch told the secret that begins with %.4s", secret)
		}
	}
}

// comparing is whether clawwatch takes part. Without it only the scenarios are
// tried: for work on them.
func comparing(t *testing.T) bool {
	off := os.Getenv("CLAWWATCH_E2E_COMPARE") == "off"
	if off && os.Getenv("CI") == "true" {
		t.Fatal("CLAWWATCH_E2E_COMPARE=off in CI")
	}
	return !off
}

// runDir is a new directory for this run, removed at its end unless
// CLAWWATCH_E2E_KEEP is set.
func runDir(t *testing.T, cache string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(cache, "runs"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(filepath.Join(cache, "runs"), "")
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("CLAWWATCH_E2E_KEEP") != "" {
		t.Logf("keeping %s", dir)
		return dir
	}
	t.Cleanup(func() {
		left, err := filepath.Glob("/tmp/" + filepath.Base(dir) + "-*") // of workers that were stopped early
		if err != nil {
			t.Error(err)
		}
		for _, path := range append(left, dir) {
			if err := os.RemoveAll(path); err != nil {
				t.Errorf("remove what the run left: %v", err)
			}
		}
	})
	return dir
}

// keepTruth writes the truth beside the rest of the run, for a person to read.
func keepTruth(t *testing.T, dir string, in truth.Input) {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, l := range in.Lines {
		if err := enc.Encode(struct {
			truth.Line
			For truth.Label `json:"for"`
		}{l, in.Labels[l.Label]}); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(dir, "truth.jsonl"), b.String(), 0o600)
}
