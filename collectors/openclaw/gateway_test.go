package openclaw

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// host is a /proc that can change while it is read.
type host struct {
	mu    sync.Mutex
	files fstest.MapFS
}

func (h *host) Open(name string) (fs.File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.files.Open(name)
}

func (h *host) ReadLink(name string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.files.ReadLink(name)
}

func (h *host) Lstat(name string) (fs.FileInfo, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.files.Lstat(name)
}

func (h *host) ReadDir(name string) ([]fs.DirEntry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.files.ReadDir(name)
}

func newHost() *host {
	h := &host{files: fstest.MapFS{}}
	h.link("self/ns/mnt", "mnt:[1]")
	return h
}

func (h *host) file(name, data string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.files[name] = &fstest.MapFile{Data: []byte(data)}
}

func (h *host) link(name, target string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.files[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
}

// put makes or changes a node process. args and env are separated by spaces.
func (h *host) put(pid, parent int, comm string, uid int, args, env string) event.ProcID {
	nul := func(s string) string { return strings.ReplaceAll(s, " ", "\x00") + "\x00" }
	dir := fmt.Sprint(pid)
	h.file(dir+"/stat", fmt.Sprintf("%d (%s) S %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 %d", pid, comm, parent, pid*10))
	h.file(dir+"/comm", comm+"\n")
	h.file(dir+"/status", fmt.Sprintf("Uid:\t%d\t%d\t%d\t%d\n", uid, uid, uid, uid))
	h.file(dir+"/cmdline", nul(args))
	h.file(dir+"/environ", nul(env))
	h.link(dir+"/exe", "/usr/bin/node")
	h.link(dir+"/cwd", "/")
	h.link(dir+"/ns/mnt", "mnt:[1]")
	return event.ProcID{PID: int32(pid), Start: uint64(pid * 10)}
}

// described describes a process that is read from the host.
func described(t *testing.T, h *host, id event.ProcID) (event.GatewayFound, error) {
	t.Helper()
	p, err := procfs.Read(h, id.PID)
	if err != nil {
		t.Fatal(err)
	}
	return describe(h, "/proc", p, &install{})
}

func TestTheRoleIsReadFromNameAndArguments(t *testing.T) {
	for args, want := range map[string]event.Role{
		"node /opt/openclaw/openclaw.mjs gateway":                 event.RoleGateway,
		"node /opt/openclaw/openclaw.mjs gateway run --port 1":    event.RoleGateway,
		"node /usr/bin/openclaw --profile work gateway --force":   event.RoleGateway,
		"node --flag /opt/x/openclaw/dist/index.js --dev gateway": event.RoleGateway,
		"node /opt/openclaw/openclaw.mjs gateway status":          event.RoleCLI,
		"node /opt/openclaw/openclaw.mjs agent --message gateway": event.RoleCLI,
		"node /opt/openclaw/openclaw.mjs":                         event.RoleCLI,
		"openclaw":                                                event.RoleCLI,
		"openclaw-agent":                                          event.RoleCLI,
	} {
		if got := roleOf(procfs.Process{Comm: "openclaw", Args: strings.Fields(args)}); got != want {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
	if got := roleOf(procfs.Process{Comm: "openclaw-gatewa", Args: []string{"openclaw-gateway"}}); got != event.RoleGateway {
		t.Errorf("retitled gateway: %s", got)
	}
}

func TestANameAloneMakesNoOpenClaw(t *testing.T) {
	for _, test := range []struct {
		comm, path string
		want       bool
	}{
		{"openclaw-gatewa", "/usr/bin/node", true},
		{"openclaw", "/home/dev/.bun/bin/bun", true},
		{"openclaw", "/usr/lib/node_modules/openclaw/bin/oc", true},
		{"openclaw-gatewa", "/usr/bin/python3", false},
		{"node", "/usr/bin/node", false},
		{"openclaw", "", false},
	} {
		if got := isOpenClaw(procfs.Process{Comm: test.comm, Path: test.path}); got != test.want {
			t.Errorf("%s %s: %v", test.comm, test.path, got)
		}
	}
}

func TestAGatewayIsDescribedFromItsOwnFiles(t *testing.T) {
	home := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".openclaw/openclaw.json", `{ gateway: {port: 19001}, skills: {load: {extraDirs: ["~/more"]}}, models: {providers: {m: {baseUrl: "http://127.0.0.1:8080"}}} }`)
	write(".openclaw/agents/ops/agent/openclaw-agent.sqlite", "")
	write("lib/node_modules/openclaw/package.json", `{"name":"openclaw","version":"2026.9.6"}`)
	write("lib/node_modules/openclaw/dist/extensions/canvas/skills/canvas/SKILL.md", "")
	if err := os.MkdirAll(filepath.Join(home, ".openclaw/plugin-skills"), 0o755); err != nil {
		t.Fatal(err)
	}
	pkg := filepath.Join(home, "lib/node_modules/openclaw")
	if err := os.Symlink(filepath.Join(pkg, "dist/extensions/canvas/skills/canvas"), filepath.Join(home, ".openclaw/plugin-skills/canvas")); err != nil {
		t.Fatal(err)
	}
	h := newHost()
	id := h.put(10, 1, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", "HOME="+home)
	got, err := described(t, h, id)
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(home, ".openclaw")
	if got.ID != state || got.Role != event.RoleGateway || got.Port != 19001 || got.Version != "2026.9.6" || got.Home != home {
		t.Errorf("got %+v", got)
	}
	if !slices.Equal(got.Providers, []string{"127.0.0.1:8080"}) || !slices.Equal(got.Workspaces, []string{state + "/workspace", state + "/workspace-ops"}) {
		t.Errorf("providers %q, workspaces %q", got.Providers, got.Workspaces)
	}
	want := []string{
		state + "/workspace/skills", state + "/workspace/.agents/skills",
		state + "/workspace-ops/skills", state + "/workspace-ops/.agents/skills",
		home + "/.agents/skills", state + "/skills",
		state + "/agents/main/agent/workshop-skills", state + "/agents/ops/agent/workshop-skills",
		state + "/skill-library", pkg + "/skills", pkg + "/custodian-skills", home + "/more", state + "/plugin-skills",
	}
	if !slices.Equal(got.SkillRoots, want) {
		t.Errorf("skill roots\n%s\nwant\n%s", strings.Join(got.SkillRoots, "\n"), strings.Join(want, "\n"))
	}
	// The open database is surer than the environment.
	h.file("10/environ", "HOME=/nowhere\x00")
	h.link("10/fd/21", state+"/state/openclaw.sqlite")
	if got, err := described(t, h, id); err != nil || got.ID != state {
		t.Errorf("by descriptor: %s, %v", got.ID, err)
	}
}

func TestAStrangersStateDirectoryIsNotBelieved(t *testing.T) {
	dir := t.TempDir() // ours
	h := newHost()
	stranger := os.Getuid() + 4242
	for name, env := range map[string]string{
		"exists":              "HOME=/ OPENCLAW_STATE_DIR=" + dir,
		"does not yet":        "HOME=/ OPENCLAW_STATE_DIR=" + dir + "/a/b",
		"root's, from a user": "HOME=/ OPENCLAW_STATE_DIR=/etc",
	} {
		id := h.put(10, 1, "openclaw-gatewa", stranger, "openclaw-gateway", env)
		got, err := described(t, h, id)
		want := event.GatewayFound{ID: "unverified:10", Role: event.RoleGateway, UID: uint32(stranger)}
		if err == nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	id := h.put(10, 1, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", "HOME=/ OPENCLAW_STATE_DIR="+dir)
	h.link("10/ns/mnt", "mnt:[2]")
	if got, err := described(t, h, id); err == nil || got.StateDir != "" {
		t.Errorf("in a container: %+v, %v", got, err)
	}
}

func TestBrokenSettingsHideNoGateway(t *testing.T) {
	dir := t.TempDir()
	h := newHost()
	id := h.put(10, 1, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", "HOME=/ OPENCLAW_STATE_DIR="+dir)
	for name, make := range map[string]func(path string) error{
		"no JSON":   func(p string) error { return os.WriteFile(p, []byte("{{{"), 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"too big": func(p string) error {
			if err := os.WriteFile(p, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(p, maxSettings+1)
		},
	} {
		path := filepath.Join(dir, "openclaw.json")
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		got, err := described(t, h, id)
		if err == nil || got.ID != dir || got.Port != 18789 || len(got.SkillRoots) == 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		os.Remove(path)
	}
}

// running runs a collector on the host until the test ends. next gives its
// events of one kind, one after the other.
func running(t *testing.T, h *host) (c *Collector, next func(event.Kind) event.Event) {
	t.Helper()
	return runningAt(t, h, 20*time.Millisecond)
}

// runningAt looks at all records at the given interval.
func runningAt(t *testing.T, h *host, poll time.Duration) (c *Collector, next func(event.Kind) event.Event) {
	t.Helper()
	c = New(Config{Proc: h, Since: time.Now(), Scan: time.Hour, Poll: poll})
	ctx, cancel := context.WithCancel(context.Background())
	events, done := make(chan event.Event, 100), make(chan error, 1)
	go func() { done <- c.Run(ctx, func(e event.Event) { events <- e }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		c.Close()
	})
	return c, func(k event.Kind) event.Event {
		t.Helper()
		timeout := time.After(30 * time.Second)
		for {
			select {
			case e := <-events:
				if e.Body.Kind() == k {
					return e
				}
			case <-timeout:
				t.Fatalf("no %s", k)
			}
		}
	}
}

func TestANudgedProcessIsFollowedUntilItIsAGateway(t *testing.T) {
	db, r := agent(t, schema)
	h := newHost()
	c, next := running(t, h)
	id := h.put(10, 1, "openclaw", os.Getuid(), "openclaw", "HOME=/ OPENCLAW_STATE_DIR="+r.dir)
	c.Nudge(id)
	if g := next(event.KindGateway).Body.(event.GatewayFound); g.Role != event.RoleCLI {
		t.Errorf("first %+v", g)
	}
	h.put(10, 1, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", "HOME=/ OPENCLAW_STATE_DIR="+r.dir)
	e := next(event.KindGateway)
	if g := e.Body.(event.GatewayFound); g.Role != event.RoleGateway || e.Proc != id {
		t.Errorf("then %v %+v", e.Proc, g)
	}
	must(t, db, `INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES ('s', 0, ?, ?)`,
		execRow("a", "ls"), time.Now().Add(time.Minute).UnixMilli())
	if call := next(event.KindToolCall).Body.(event.ToolCall); call.ID != "a" || call.Gateway != r.dir || call.Agent != "main" || call.Backfill {
		t.Errorf("call %+v", call)
	}
}

func TestAnAgentThatComesLaterIsRead(t *testing.T) {
	dir := t.TempDir()
	h := newHost()
	h.put(10, 1, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", "HOME=/ OPENCLAW_STATE_DIR="+dir)
	_, next := running(t, h)
	next(event.KindGateway)
	db, r := agent(t, schema)
	must(t, db, `INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES ('s', 0, ?, ?)`,
		execRow("a", "ls"), time.Now().Add(time.Minute).UnixMilli())
	db.Close()
	if err := os.Rename(filepath.Join(r.dir, "agents"), filepath.Join(dir, "agents")); err != nil {
		t.Fatal(err)
	}
	if call := next(event.KindToolCall).Body.(event.ToolCall); call.ID != "a" || call.Gateway != dir {
		t.Errorf("call %+v", call)
	}
}

func TestAForkOfTheGatewayIsNoSecondGateway(t *testing.T) {
	dir := t.TempDir()
	h := newHost()
	gw := h.put(20, 1, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", "HOME=/ OPENCLAW_STATE_DIR="+dir)
	h.put(11, 20, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", "HOME=/ OPENCLAW_STATE_DIR="+dir)
	c := New(Config{Proc: h})
	var found []event.ProcID
	emit := func(e event.Event) { found = append(found, e.Proc) }
	for range 2 {
		if err := c.scan(emit); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(found, []event.ProcID{gw}) {
		t.Errorf("found %v", found)
	}
}

func (h *host) remove(dir string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name := range h.files {
		if strings.HasPrefix(name, dir+"/") {
			delete(h.files, name)
		}
	}
}

// looked gives what two looks at all processes tell of each.
func looked(t *testing.T, c *Collector) map[event.ProcID]string {
	t.Helper()
	got := map[event.ProcID]string{}
	for range 2 {
		if err := c.scan(func(e event.Event) {
			if g, ok := e.Body.(event.GatewayFound); ok {
				got[e.Proc] = g.ID
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

func TestAStateDirectoryHasOneGateway(t *testing.T) {
	dir := t.TempDir()
	h := newHost()
	env := "HOME=/ OPENCLAW_STATE_DIR=" + dir
	first := h.put(20, 1, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", env)
	c := New(Config{Proc: h})
	if got := looked(t, c); got[first] != dir {
		t.Errorf("the first: %v", got)
	}
	second := h.put(30, 1, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", env)
	if got := looked(t, c); got[second] != "unverified:30" || len(got) != 1 {
		t.Errorf("a second one: %v", got)
	}
	h.link("30/fd/7", dir+"/state/openclaw.sqlite")
	if got := looked(t, c); got[second] != dir || got[first] != "unverified:20" {
		t.Errorf("the second one has the database: %v", got)
	}
	h.remove("30")
	if got := looked(t, c); got[first] != dir {
		t.Errorf("the second one has ended: %v", got)
	}
}
