package openclaw_test

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/testdata/openclaw/model"
	"github.com/clawwatch/clawwatch/testdata/openclaw/truth"
)

// embedded is OpenClaw's command that works without a gateway.
func (s *stage) embedded() hardCase {
	const name = "agent --local"
	l := s.sure(name, "local", "leaky-notes")
	k := talk{session: "local", turns: []model.Turn{
		calls(s.use("leaky-notes")), calls(s.script("leaky-notes", "save.sh", l, "local")), say("Saved."),
	}}
	return hardCase{scenario: scenario{name: name, during: func(ctx context.Context) error {
		s.llm.Say(model.Script{s.marker(k): k.turns})
		ctx, cancel := context.WithTimeout(ctx, turnLimit)
		defer cancel()
		cmd := s.openclaw(ctx, "agent", "--local", "--session-key", key("local"), "--message", s.marker(k)+" please")
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, 10*time.Second
		if err := cmd.Start(); err != nil {
			return err
		}
		err := s.recorder.Await(turnLimit, 1, func(t truth.Line) bool { return t.Label == l && t.Op == "close" })
		_ = cmd.Process.Signal(syscall.SIGTERM) // it takes its time to end; how does not matter
		_ = cmd.Wait()
		if err != nil {
			return fmt.Errorf("openclaw agent --local: %w: %s", err, out.String())
		}
		return nil
	}}}
}

// forged is a skill that writes into OpenClaw's records.
func (s *stage) forged() hardCase {
	const name = "writes the records"
	const open = "a command had OpenClaw's records open: what was read of them since can be its word"
	l := s.doubted(truth.Ambiguous, open, name, "forger", "forger") // its own call too, if that is read so late
	after := s.doubted(truth.Ambiguous, open, name, "forger", "forger")
	return hardCase{
		scenario: scenario{name: name, talks: []talk{{session: "forger", breaks: true, turns: []model.Turn{
			calls(s.use("forger")), calls(s.script("forger", "forge.sh", l, key("forger"))),
			calls(run("%s %s read %s/Documents/plan.txt", s.deed, after, s.home)), say("Tidied."),
		}}}},
		check: func(w said) []string {
			if !w.raised("openclaw-state-modified", key("forger")) {
				return []string{"no alert says that a skill wrote into OpenClaw's records"}
			}
			return nil
		},
	}
}

// restarts end first the gateway and then clawwatch itself in the middle of
// things.
func (p *production) restarts(t *testing.T) truth.Report {
	t.Helper()
	const name = "restart of the gateway"
	if !p.only.MatchString(name) && !p.only.MatchString("agent --local") {
		return p.compare(t)
	}
	l := p.sure(name, "outlive", "night-owl")
	meeting := "outlive-" + l
	p.act(t, hardCase{scenario: scenario{name: name, talks: []talk{{session: "outlive", turns: []model.Turn{
		calls(p.use("night-owl")), calls(p.script("night-owl", "start.sh", l, meeting)), say("Started."),
	}}}}})
	_ = p.cmd.Process.Kill()
	<-p.ended
	p.act(t, p.embedded()) // which needs the state directory for itself
	p.start(t)
	p.recorder.Arrive(meeting)
	if err := p.recorder.Await(time.Minute, 2, func(t truth.Line) bool { return t.Label == l && t.Op == "delete" }); err != nil {
		t.Error(err)
	}
	p.compare(t)
	return p.restartAgent(t)
}

// restartAgent ends clawwatch while a command and daemons go on, and starts it
// again. The command is in OpenClaw's records, the daemons in clawwatch's own.
func (p *production) restartAgent(t *testing.T) truth.Report {
	t.Helper()
	const name = "restart of clawwatch"
	const late = "OpenClaw's record of the call came more than two seconds after clawwatch was told to end"
	l := p.doubted(truth.Unsure, late, name, "goon", "night-owl")
	running := p.doubted(truth.Unsure, late, name, "goon2", "leaky-notes")
	meeting, other := "goon-"+l, "goon2-"+l
	p.act(t, hardCase{scenario: scenario{name: name, talks: []talk{{session: "goon", turns: []model.Turn{
		calls(p.use("night-owl")), calls(p.script("night-owl", "start.sh", l, meeting)), say("Started."),
	}}, {session: "goon2", turns: []model.Turn{
		calls(p.use("leaky-notes")), calls(option(p.script("leaky-notes", "save.sh", running, "later", other, "2"), "background")), say("Started."),
	}}}}})
	p.watch.stop(t)
	p.watch = startAgent(t, filepath.Join(p.house.dir, "agent"), p.endpoint, "")
	for began := time.Now(); !fileHas(p.watch.out, "id="+p.state); time.Sleep(200 * time.Millisecond) { // what is stored knows it already
		if time.Since(began) > time.Minute {
			t.Fatalf("clawwatch does not find the gateway again after a minute:\n%s", tail(p.watch.out))
		}
	}
	p.recorder.Arrive(meeting)
	p.recorder.Arrive(other)
	if err := p.recorder.Await(time.Minute, 3, func(t truth.Line) bool {
		return t.Label == l && t.Op == "delete" || t.Label == running && t.Op == "close"
	}); err != nil {
		t.Error(err)
	}
	return p.compare(t)
}
