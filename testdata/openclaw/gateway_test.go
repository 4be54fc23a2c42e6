package openclaw_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/testdata/openclaw/truth"
)

const (
	readyLimit = 4 * time.Minute // a start takes 16 to 60 s on two cores, more beside other work
	turnLimit  = 4 * time.Minute
	token      = "e2e-token-0123456789abcdef"
	skillKey   = "wk-weather-SECRET-42"
	skillToken = "ntok-SECRET-777"
	modelKey   = "sk-mock-secret-1234567890"
	refusedKey = "sk-refused-secret-0987654321"
)

// secrets are what clawwatch must never tell.
var secrets = []string{token, skillKey, skillToken, modelKey, refusedKey}

// A gateway is one real OpenClaw gateway with a home of its own.
type gateway struct {
	install
	name      string
	home      string
	state     string
	workspace string
	port      int
	log       string
	service   bool   // as under the systemd unit
	path      string // of further programs
	cmd       *exec.Cmd
	proc      truth.Proc
	ended     chan struct{} // closed when it has
}

// newGateway lays out the home: canary secrets, settings, skills.
func newGateway(t *testing.T, in install, dir string, service bool, llm string, vars []string) *gateway {
	t.Helper()
	g := &gateway{install: in, name: filepath.Base(dir), home: dir, service: service, port: freePort(t)}
	g.log = filepath.Join(dir, "gateway.out")
	g.state = filepath.Join(dir, ".openclaw")
	if service { // one of the two lives elsewhere than by default
		g.state = filepath.Join(dir, "state")
	}
	g.workspace = filepath.Join(g.state, "workspace")
	put(t, filepath.Join(dir, ".ssh", "id_ed25519"), "FAKE PRIVATE KEY\n", 0o600)
	put(t, filepath.Join(dir, ".aws", "credentials"), "[default]\naws_secret_access_key = FAKE\n", 0o600)
	put(t, filepath.Join(dir, "Documents", "plan.txt"), "The plan.\n", 0o644)
	put(t, filepath.Join(g.workspace, "project", ".env"), "PROJECT_TOKEN=FAKE\n", 0o600)
	settings, err := json.MarshalIndent(g.settings(llm), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(g.state, "openclaw.json"), string(settings), 0o600)
	vars = append(vars, "@HOME@", g.home, "@WORKSPACE@", g.workspace)
	managed := []string{"leaky-notes", "env-snoop"} // the others are the workspace's
	entries, err := os.ReadDir("skills")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		to := filepath.Join(g.workspace, "skills", e.Name())
		if slices.Contains(managed, e.Name()) {
			to = filepath.Join(g.state, "skills", e.Name())
		}
		copySkill(t, filepath.Join("skills", e.Name()), to, strings.NewReplacer(vars...))
	}
	return g
}

func (g *gateway) settings(llm string) any {
	type m = map[string]any
	provider := func(key string) m {
		return m{"baseUrl": llm, "apiKey": key, "api": "openai-completions", "models": []m{{
			"id": "mock-1", "name": "Mock", "reasoning": false, "input": []string{"text"},
			"cost":          m{"input": 1, "output": 2, "cacheRead": 0, "cacheWrite": 0},
			"contextWindow": 200000, "maxTokens": 4096,
		}}}
	}
	return m{
		"gateway": m{
			"mode": "local", "port": g.port, "bind": "loopback", "auth": m{"mode": "token", "token": token},
			"http": m{"endpoints": m{"chatCompletions": m{"enabled": true}}},
		},
		"agents": m{"defaults": m{
			"workspace": g.workspace, "skipBootstrap": true,
			"model": m{"primary": "mock/mock-1"}, "heartbeat": m{"every": "0m"},
		}},
		// After a 401 OpenClaw rests the key for a minute: the refusal has a provider of its own.
		"models": m{"mode": "merge", "providers": m{"mock": provider(modelKey), "refusing": provider(refusedKey)}},
		"skills": m{"entries": m{
			"weather-lite": m{"enabled": true, "apiKey": skillKey},
			"leaky-notes":  m{"env": m{"NOTES_TOKEN": skillToken}},
		}},
		"logging": m{"file": filepath.Join(g.home, "gateway.log"), "level": "info"},
	}
}

// environ is all that the gateway gets of the world.
func (g *gateway) environ() []string {
	env := []string{
		"HOME=" + g.home, "USER=root", "LANG=C.UTF-8", "NO_COLOR=1", "SHELL=/bin/bash",
		"PATH=" + strings.TrimPrefix(g.path+":"+g.node, ":") + ":/usr/local/bin:/usr/bin:/bin",
		"OPENCLAW_NO_AUTO_UPDATE=1", "OPENCLAW_OFFLINE=1", "OPENCLAW_DISABLE_BONJOUR=1", "OPENCLAW_SKIP_CHANNELS=1",
	}
	if g.service {
		env = append(env, "OPENCLAW_STATE_DIR="+g.state, "OPENCLAW_SERVICE_MARKER=openclaw", "OPENCLAW_SERVICE_KIND=gateway")
	}
	return env
}

// openclaw is an openclaw command beside the gateway.
func (g *gateway) openclaw(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(g.node, "node"), append([]string{g.main}, args...)...)
	cmd.Env, cmd.Dir = g.environ(), g.home
	return cmd
}

// start returns when the gateway says that it is ready. It is stopped, with
// whatever it left, when the test ends.
func (g *gateway) start(t *testing.T) {
	t.Helper()
	out, err := os.Create(g.log) // of an earlier start nothing is left
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	g.cmd = g.openclaw(context.Background(), "gateway", "run") // ended by stop
	g.cmd.Stdout, g.cmd.Stderr = out, out
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd, ended := g.cmd, make(chan struct{})
	g.ended = ended
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	t.Cleanup(func() { g.stop(t, cmd, ended) })
	if g.proc, _, err = truth.Stat(int32(g.cmd.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for !fileHas(g.log, "[gateway] ready") {
		select {
		case <-ended:
			t.Fatalf("gateway %s ended:\n%s", g.name, tail(g.log))
		case <-time.After(200 * time.Millisecond): // it is a line in a file, nothing wakes us
		}
		if time.Since(began) > readyLimit {
			t.Fatalf("gateway %s not ready after %s:\n%s", g.name, readyLimit, tail(g.log))
		}
	}
	t.Logf("gateway %s: pid %d, ready after %s", g.name, g.proc.PID, time.Since(began).Round(time.Second))
}

// stop ends the gateway and then every process that still has its home.
func (g *gateway) stop(t *testing.T, cmd *exec.Cmd, ended <-chan struct{}) {
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Error(err)
	}
	for _, dir := range dirs {
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || !slices.Contains(strings.Split(string(env), "\x00"), "HOME="+g.home) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		t.Logf("gateway %s left process %d behind: killed", g.name, pid)
		_ = syscall.Kill(pid, syscall.SIGKILL) // gone meanwhile is as good
	}
}

// turn sends one message to a session and returns the answer's text.
func (g *gateway) turn(ctx context.Context, session, model, message string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, turnLimit)
	defer cancel()
	body, err := json.Marshal(map[string]any{
		"model": "openclaw/main", "messages": []map[string]string{{"role": "user", "content": message}},
	})
	if err != nil {
		return "", err
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/v1/chat/completions", g.port)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Close = true // one that is kept can be closed just as it is used again
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("x-openclaw-session-key", session)
	if model != "" {
		req.Header.Set("x-openclaw-model", model)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return string(text), fmt.Errorf("gateway %s, session %s: %s: %s", g.name, session, res.Status, text)
	}
	return string(text), nil
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
