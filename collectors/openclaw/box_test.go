package openclaw

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

const containerID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// contain gives a process of the host another root directory, which it makes, and
// namespaces of its own. The result is that directory, and the mount namespace.
func contain(t *testing.T, h *host, proc string, pid int) (root string, mount uint32) {
	t.Helper()
	root = t.TempDir()
	dir := filepath.Join(proc, fmt.Sprint(pid))
	if err := errors.Join(os.MkdirAll(dir+"/ns", 0o755), os.WriteFile(dir+"/ns/mnt", nil, 0o600), os.Symlink(root, dir+"/root")); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(dir + "/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	mount = uint32(fi.Sys().(*syscall.Stat_t).Ino)
	h.link(fmt.Sprintf("%d/root", pid), "/")
	h.link(fmt.Sprintf("%d/ns/mnt", pid), fmt.Sprintf("mnt:[%d]", mount))
	h.link("self/ns/net", "net:[1]")
	h.link(fmt.Sprintf("%d/ns/net", pid), "net:[77]")
	return root, mount
}

// database lays out an agent's database below a state directory.
func database(t *testing.T, state string) *sql.DB {
	t.Helper()
	dir := filepath.Join(state, "agents/main/agent")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, databaseName)+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	must(t, db, schema)
	return db
}

func addCall(t *testing.T, db *sql.DB, seq int, id string) {
	t.Helper()
	must(t, db, `INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES ('s', ?, ?, ?)`,
		seq, execRow(id, "ls"), time.Now().Add(time.Minute).UnixMilli())
}

// readAll looks at all processes once, and reads all records of what it found.
func readAll(t *testing.T, c *Collector, emit func(event.Event)) {
	t.Helper()
	if err := c.scan(emit); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.states {
		c.refresh(s)
		s.poll()
		s.read(context.Background(), emit)
	}
}

func TestAGatewayInAContainerIsDescribedInItsOwnTerms(t *testing.T) {
	h, proc := newHost(), t.TempDir()
	id := h.put(10, 1, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", "HOME=/home/node")
	h.file("10/cgroup", "0::/system.slice/docker-"+containerID+".scope\n")
	root, mount := contain(t, h, proc, 10)
	for name, text := range map[string]string{
		"data/state/openclaw.json":                             `{agents: {defaults: {workspace: "~/work"}}}`,
		"usr/lib/node_modules/openclaw/package.json":           `{"name":"openclaw","version":"2026.9.6"}`,
		"usr/lib/node_modules/openclaw/dist/x/skills/SKILL.md": "",
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	// Links lead to places in the container, however they are written.
	if err := errors.Join(
		os.MkdirAll(filepath.Join(root, "home/node"), 0o755), os.MkdirAll(filepath.Join(root, "data/state/plugin-skills"), 0o755),
		os.Symlink("/data/state", filepath.Join(root, "home/node/.openclaw")), os.Symlink("../../data", filepath.Join(root, "home/node/work")),
		os.Symlink("/usr/lib/node_modules/openclaw/dist/x/skills", filepath.Join(root, "data/state/plugin-skills/x")),
	); err != nil {
		t.Fatal(err)
	}
	p, err := procfs.Read(h, id.PID)
	if err != nil {
		t.Fatal(err)
	}
	got, err := describe(h, proc, p, &install{})
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "0123456789ab:/data/state" || got.StateDir != "/data/state" || got.Home != "/home/node" || got.Version != "2026.9.6" ||
		got.Root != filepath.Join(proc, "10/root") || got.Mount != mount || got.Network != 77 || got.ContainerID != containerID {
		t.Errorf("got %+v", got)
	}
	if !slices.Equal(got.Workspaces, []string{"/data"}) || !slices.Contains(got.SkillRoots, "/data/skills") ||
		!slices.Contains(got.SkillRoots, "/usr/lib/node_modules/openclaw/skills") {
		t.Errorf("workspaces %q, skill roots %q", got.Workspaces, got.SkillRoots)
	}
	h.link("10/root", "/home/jail")
	if got, err := describe(h, proc, p, &install{}); err == nil || got.StateDir != "" {
		t.Errorf("in a chroot: %+v, %v", got, err)
	}
}

// Mounts of its own, by root and without a container, as a confined service has them,
// make a gateway of the host no other; those that anybody can make do.
func TestAConfinedServiceIsOneOfTheHost(t *testing.T) {
	h, proc := newHost(), t.TempDir()
	state := t.TempDir()
	id := h.put(10, 1, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", "HOME=/ OPENCLAW_STATE_DIR="+state)
	root, mount := contain(t, h, proc, 10)
	if err := errors.Join(os.Remove(root), os.Symlink("/", root)); err != nil {
		t.Fatal(err)
	}
	p, err := procfs.Read(h, id.PID)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := describe(h, proc, p, &install{}); err != nil || got.ID != state || got.Mount != mount {
		t.Errorf("%+v, %v", got, err)
	}
	h.link("self/ns/user", "user:[1]")
	h.link("10/ns/user", "user:[2]")
	if got, err := describe(h, proc, p, &install{}); err != nil || got.ID != fmt.Sprintf("mnt-%d:%s", mount, state) {
		t.Errorf("with users of its own: %+v, %v", got, err)
	}
}

func TestTwoGatewaysWithOnePathAreTwo(t *testing.T) {
	h, proc := newHost(), t.TempDir()
	state := filepath.Join(t.TempDir(), "state")
	h.put(10, 1, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", "HOME=/ OPENCLAW_STATE_DIR="+state)
	h.put(20, 1, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", "HOME=/ OPENCLAW_STATE_DIR="+state)
	h.file("20/cgroup", "0::/docker-"+containerID+".scope\n")
	root, _ := contain(t, h, proc, 20)
	ours, theirs := database(t, state), database(t, root+state)

	c := New(Config{Proc: h, ProcPath: proc, Since: time.Now()})
	defer c.Close()
	var calls []string
	emit := func(e event.Event) {
		if b, ok := e.Body.(event.ToolCall); ok {
			calls = append(calls, b.Gateway+" "+b.ID)
		}
	}
	readAll(t, c, emit)
	addCall(t, ours, 1, "host")
	addCall(t, theirs, 1, "box")
	readAll(t, c, emit)
	slices.Sort(calls)
	if want := []string{state + " host", "0123456789ab:" + state + " box"}; !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
	entries, err := os.ReadDir(filepath.Join(root+state, "agents/main/agent"))
	if err != nil || len(entries) != 3 {
		t.Errorf("the database has beside it: %v, %v", entries, err)
	}

	// What the container puts in the way leads to nothing of the host's.
	calls = nil
	if err := errors.Join(
		os.Rename(root+state+"/agents/main", root+state+"/old"), os.Symlink(state+"/agents/main", root+state+"/agents/main"),
	); err != nil {
		t.Fatal(err)
	}
	addCall(t, ours, 2, "secret")
	for _, s := range c.states {
		for _, r := range s.agents {
			r.dirty = true
		}
	}
	readAll(t, c, emit)
	for _, call := range calls {
		if call != state+" secret" {
			t.Errorf("read through a link: %s", call)
		}
	}
}

// A container that was started anew is the same gateway, with other mounts.
func TestAContainerThatIsRestartedIsReadOn(t *testing.T) {
	h, proc := newHost(), t.TempDir()
	c := New(Config{Proc: h, ProcPath: proc, Since: time.Now()})
	defer c.Close()
	var found []event.GatewayFound
	var calls []string
	emit := func(e event.Event) {
		switch b := e.Body.(type) {
		case event.GatewayFound:
			found = append(found, b)
		case event.ToolCall:
			calls = append(calls, b.Gateway+" "+b.ID)
		}
	}
	for i, pid := range []int{10, 20} {
		h.put(pid, 1, "openclaw-gatewa", os.Getuid(), "openclaw-gateway", "HOME=/ OPENCLAW_STATE_DIR=/state")
		h.file(fmt.Sprintf("%d/cgroup", pid), "0::/docker-"+containerID+".scope\n")
		root, _ := contain(t, h, proc, pid)
		db := database(t, root+"/state")
		addCall(t, db, i+1, fmt.Sprint("call-", i))
		readAll(t, c, emit)
		h.mu.Lock()
		for name := range h.files {
			if strings.HasPrefix(name, fmt.Sprint(pid)+"/") {
				delete(h.files, name)
			}
		}
		h.mu.Unlock()
		if err := c.scan(emit); err != nil {
			t.Fatal(err)
		}
	}
	const want = "0123456789ab:/state"
	if len(found) != 2 || found[0].ID != want || found[1].ID != want || found[0].Mount == found[1].Mount {
		t.Errorf("found %+v", found)
	}
	if !slices.Equal(calls, []string{want + " call-0", want + " call-1"}) {
		t.Errorf("calls %q", calls)
	}
	for _, s := range c.states {
		s.until = time.Time{}
	}
	read := time.NewTimer(time.Hour)
	defer read.Stop()
	c.poll(read)
	for _, s := range c.states {
		if s.pin != nil {
			t.Error("the state directory is held after the container")
		}
	}
}

func TestANameIsNotTakenFromWhoHasIt(t *testing.T) {
	c := New(Config{Proc: newHost()})
	a, b := event.ProcID{PID: 10, Start: 1}, event.ProcID{PID: 20, Start: 1}
	g := event.GatewayFound{ID: "0123456789ab:/state", StateDir: "/state", UID: 1000, Mount: 7, ContainerID: containerID}
	c.known[a] = &process{}
	name := func(id event.ProcID, change func(*event.GatewayFound)) string {
		other := g
		change(&other)
		return c.nameFor(id, other)
	}
	same := func(*event.GatewayFound) {}
	remounted := func(g *event.GatewayFound) { g.Mount = 8 }
	if got := name(a, same); got != g.ID {
		t.Errorf("the first is %s", got)
	}
	if got := name(b, same); got != g.ID {
		t.Errorf("another process of the container is %s", got)
	}
	second := name(b, remounted)
	c.known[b] = &process{found: event.GatewayFound{ID: second, StateDir: "/state", Mount: 8}}
	if second == g.ID {
		t.Errorf("other mounts have the name while its holder lives")
	}
	delete(c.known, a)
	if got := name(b, remounted); got != second {
		t.Errorf("it has changed to %s while it lives", got)
	}
	for what, change := range map[string]func(*event.GatewayFound){
		"another user":                  func(g *event.GatewayFound) { g.UID = 1001; g.Mount = 8 },
		"another user, the same mounts": func(g *event.GatewayFound) { g.UID = 1001 },
		"another container":             func(g *event.GatewayFound) { g.ContainerID = strings.Replace(containerID, "f", "0", 4); g.Mount = 8 },
	} {
		delete(c.known, b)
		if got := name(b, change); got == g.ID {
			t.Errorf("%s has the name", what)
		}
	}
	if got := name(b, remounted); got != g.ID {
		t.Errorf("the container that was restarted is %s", got)
	}
	if got := c.nameFor(a, event.GatewayFound{ID: "/state", StateDir: "/state"}); got != "/state" {
		t.Errorf("on the host %s", got)
	}
}
