package openclaw_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/testdata/openclaw/truth"
)

// An agent is clawwatch as a user runs it, seen from outside.
type agent struct {
	run         string // directory of the run
	bin, socket string
	out         string // what it printed: alerts, log
	cmd         *exec.Cmd
	ended       chan error
}

// startAgent runs clawwatch with its defaults, a policy that approves one
// endpoint, and the collector if there is one.
func startAgent(t *testing.T, dir, endpoint, otlp string) *agent {
	t.Helper()
	host, port, _ := strings.Cut(endpoint, ":")
	return runAgent(t, dir, fmt.Sprintf("version: 1\nendpoints:\n  approved:\n    extend:\n      - {cidr: %s/32, ports: [%s], skills: [weather]}\n", host, port), otlp)
}

// runAgent runs clawwatch with a policy.
func runAgent(t *testing.T, dir, rules, otlp string) *agent {
	t.Helper()
	a := &agent{
		run: filepath.Dir(dir),
		bin: filepath.Join(dir, "clawwatch"), socket: filepath.Join(dir, "clawwatch.sock"),
		out: filepath.Join(dir, "clawwatch.out"), ended: make(chan error, 1),
	}
	if given := os.Getenv("CLAWWATCH_BIN"); given != "" {
		a.bin = given // such as a packaged one
	} else {
		build(t.Context(), t, "../../cmd/clawwatch", a.bin, "")
	}
	config, policy := filepath.Join(dir, "clawwatch.yaml"), filepath.Join(dir, "policy.yaml")
	put(t, config, "store: {max_age: 7d}\n", 0o600)
	put(t, policy, rules, 0o600)

	args := []string{"run", "--config", config, "--policy", policy, "--state-dir", filepath.Join(dir, "state"), "--socket", a.socket, "--console"}
	if otlp != "" {
		args = append(args, "--otlp", otlp)
	}
	out, err := os.Create(a.out)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	a.cmd = exec.Command(a.bin, args...)
	a.cmd.Stdout, a.cmd.Stderr = out, out
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { a.ended <- a.cmd.Wait() }()
	t.Cleanup(func() {
		a.stop(t)
		if t.Failed() {
			t.Logf("clawwatch printed:\n%s", tail(a.out))
		}
	})
	return a
}

// stop asks the agent to end, which it must do by itself and well. A second
// call does nothing.
func (a *agent) stop(t *testing.T) {
	t.Helper()
	if a.cmd == nil {
		return
	}
	_ = a.cmd.Process.Signal(syscall.SIGTERM) // if it has ended, that is seen below
	select {
	case err := <-a.ended:
		if err != nil {
			t.Errorf("clawwatch run ended badly: %v", err)
		}
	case <-time.After(30 * time.Second):
		_ = a.cmd.Process.Kill()
		t.Errorf("clawwatch run did not end within 30 s of SIGTERM: %v", <-a.ended)
	}
	a.cmd = nil
}

// isConfined checks that all that is seen is seen with the capabilities that
// the documentation states: BPF, PERFMON, SYS_PTRACE and DAC_READ_SEARCH.
func (a *agent) isConfined(t *testing.T) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil || !bytes.Contains(status, []byte("\nCapEff:\t000000c000080004\n")) {
		t.Errorf("the agent has other capabilities than it should (%v):\n%s", err, status)
	}
}

// ask runs one of the verbs that ask the agent.
func (a *agent) ask(ctx context.Context, verb string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, a.bin, append([]string{verb, "--socket", a.socket}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("clawwatch %s: %w: %s", verb, err, stderr.String())
	}
	return out, nil
}

// awaitGateway returns when the agent knows the gateway's skills.
func (a *agent) awaitGateway(t *testing.T, g *gateway) {
	t.Helper()
	began := time.Now()
	for {
		out, err := a.ask(t.Context(), "skills", "--json", "--limit", "10000")
		if err == nil && bytes.Contains(out, []byte(filepath.Join(g.workspace, "skills"))) {
			return
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("clawwatch does not know the skills of %s after a minute: %v\n%s", g.name, err, out)
		}
		select {
		case err := <-a.ended:
			a.cmd = nil
			t.Fatalf("clawwatch run ended: %v\n%s", err, tail(a.out))
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// told is everything that the agent has to say of events and alerts, but for
// those of gateways elsewhere on this host, which are none of the run's business.
func (a *agent) told(ctx context.Context) (events []truth.Event, alerts []truth.Alert, err error) {
	text, err := a.ask(ctx, "events", "--json", "--limit", "1000000")
	if err != nil {
		return nil, nil, err
	}
	if events, err = truth.Decode[truth.Event](bytes.NewReader(text)); err != nil {
		return nil, nil, fmt.Errorf("events: %w", err)
	}
	if text, err = a.ask(ctx, "alerts", "--json", "--limit", "1000000"); err != nil {
		return nil, nil, err
	}
	if alerts, err = truth.Decode[truth.Alert](bytes.NewReader(text)); err != nil {
		return nil, nil, fmt.Errorf("alerts: %w", err)
	}
	foreign := func(of *truth.Attribution) bool {
		return of != nil && filepath.IsAbs(of.Gateway) && !strings.HasPrefix(of.Gateway, a.run+"/")
	}
	events = slices.DeleteFunc(events, func(e truth.Event) bool { return foreign(e.Attribution) })
	alerts = slices.DeleteFunc(alerts, func(l truth.Alert) bool { return foreign(l.Attribution) })
	return events, alerts, nil
}

// settle compares until nothing is at fault or the time is up: records that
// come late may still amend what was said.
func (a *agent) settle(ctx context.Context, in truth.Input, limit time.Duration) (truth.Input, truth.Report, error) {
	for began := time.Now(); ; {
		var err error
		if in.Events, in.Alerts, err = a.told(ctx); err != nil {
			return in, truth.Report{}, err
		}
		r := truth.Compare(in)
		if r.Err() == nil || time.Since(began) > limit {
			return in, r, nil
		}
		select {
		case <-ctx.Done():
			return in, r, errors.Join(ctx.Err(), r.Err())
		case <-time.After(2 * time.Second):
		}
	}
}

// answers checks the verbs that are for a person: they must at least name what
// happened.
func (a *agent) answers(t *testing.T, alerts []truth.Alert) {
	t.Helper()
	expect := func(words []string, verb string, args ...string) {
		out, err := a.ask(t.Context(), verb, args...)
		if err != nil {
			t.Error(err)
		}
		for _, w := range words {
			if !bytes.Contains(out, []byte(w)) {
				t.Errorf("clawwatch %s %q does not mention %q:\n%s", verb, args, w, out)
			}
		}
	}
	expect([]string{"weather-lite", "weather.sh"}, "tree", "--skill", "weather-lite")
	expect([]string{"night-owl", "deed"}, "tree", "--skill", "night-owl")
	expect([]string{key("alice"), key("owl")}, "sessions", "--json", "--limit", "1000")
	expect([]string{"mock-1"}, "llm", "--json", "--limit", "1000")
	for _, alert := range alerts {
		if skill := alert.Attribution; skill != nil && skill.Skill != nil && alert.Rule.Name == "unapproved-endpoint" {
			expect([]string{skill.Skill.Name, skill.Confidence}, "why", alert.ID)
			expect([]string{skill.Skill.Name}, "why", alert.Events[0])
			return
		}
	}
}
