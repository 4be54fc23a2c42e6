package openclaw_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/testdata/openclaw/model"
	"github.com/clawwatch/clawwatch/testdata/openclaw/truth"
)

// play holds the conversations of a scenario and writes down what the gateway
// did by itself.
func (s *stage) play(ctx context.Context, t *testing.T, llm *model.Server, sc scenario) {
	t.Helper()
	began := time.Now()
	var wg sync.WaitGroup
	for _, k := range sc.talks {
		word := s.label(sc.name, k.session, "") // of what is the session's, and no skill's
		wg.Go(func() {
			if err := s.hold(ctx, llm, word, k); err != nil {
				t.Errorf("%s %s: %v", s.name, sc.name, err)
			}
		})
	}
	if sc.during != nil {
		wg.Go(func() {
			if err := sc.during(ctx); err != nil {
				t.Errorf("%s %s: %v", s.name, sc.name, err)
			}
		})
	}
	wg.Wait()
	if sc.after != nil {
		if err := sc.after(ctx); err != nil {
			t.Errorf("%s %s: %v", s.name, sc.name, err)
		}
	}
	t.Logf("%s %s: played in %s", s.name, sc.name, time.Since(began).Round(100*time.Millisecond))
}

// marker ties a message to its conversation in the script, and what the model
// then says to the session.
func (s *stage) marker(k talk) string { return "[" + s.name + " " + k.session + k.again + "]" }

func (s *stage) hold(ctx context.Context, llm *model.Server, word string, k talk) error {
	llm.Say(model.Script{s.marker(k): k.turns})
	answer, err := s.turn(ctx, key(k.session), k.model, s.marker(k)+" please")
	switch {
	case err != nil && k.breaks:
		return nil
	case err != nil && !k.fails:
		return fmt.Errorf("turn of %s: %w", k.session, err)
	case err == nil && k.fails:
		return fmt.Errorf("turn of %s did not fail: %s", k.session, answer)
	}
	for _, l := range k.inproc {
		l.Time, l.Proc = time.Now(), s.proc
		s.recorder.Add(l)
	}
	turns := 0
	for _, a := range llm.Answers() {
		if a.Marker != s.marker(k) {
			continue
		}
		turns++
		s.recorder.Add(truth.Line{Time: time.Now(), Label: word, Op: "llm", ID: a.ID, Status: a.Status})
		for _, c := range a.Calls {
			s.recorder.Add(truth.Line{Time: time.Now(), Label: word, Op: "tool", ID: c.ID, Name: c.Tool})
		}
	}
	if turns < len(k.turns) {
		return fmt.Errorf("turn of %s: the model was asked %d times, want %d", k.session, turns, len(k.turns))
	}
	return nil
}

// install brings two skills in from outside of any session.
func (s *stage) install(ctx context.Context) error {
	to := filepath.Join(s.workspace, "skills", "by-hand")
	if out, err := exec.CommandContext(ctx, "cp", "-r", filepath.Join("later", "by-hand"), to).CombinedOutput(); err != nil {
		return fmt.Errorf("copy a skill: %w: %s", err, out)
	}
	from, err := filepath.Abs(filepath.Join("later", "by-cli"))
	if err != nil {
		return err
	}
	if out, err := s.openclaw(ctx, "skills", "install", from, "--as", "by-cli").CombinedOutput(); err != nil {
		return fmt.Errorf("openclaw skills install: %w: %s", err, out)
	}
	return nil
}
