package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/google/go-cmp/cmp"
)

// proc is one line of a fake /proc.
type proc struct {
	pid, parent int
	comm        string
	start       int
	uid         int
	args, env   string // entries separated by spaces
}

func fake(ps ...proc) fstest.MapFS {
	m := fstest.MapFS{"meminfo": {Data: []byte("MemTotal: 1 kB\n")}, "uptime": {Data: []byte("100.00 150.00\n")}}
	nul := func(s string) []byte {
		if s == "" {
			return nil
		}
		return []byte(strings.ReplaceAll(s, " ", "\x00") + "\x00")
	}
	for _, p := range ps {
		file := func(name string, data []byte) { m[fmt.Sprintf("%d/%s", p.pid, name)] = &fstest.MapFile{Data: data} }
		link := func(name, target string) {
			m[fmt.Sprintf("%d/%s", p.pid, name)] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
		}
		file("stat", fmt.Appendf(nil, "%d (%s) S %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 %d 0", p.pid, p.comm, p.parent, p.start))
		file("comm", []byte(p.comm+"\n"))
		file("status", fmt.Appendf(nil, "Name:\t%s\nUid:\t%d\t%d\t%d\t%d\n", p.comm, p.uid, p.uid, p.uid, p.uid))
		file("cmdline", nul(p.args))
		file("environ", nul(p.env))
		link("exe", "/usr/bin/"+strings.Fields(p.args + " none")[0])
		link("cwd", "/home/dev")
	}
	return m
}

// lines prints events so that a test can be read.
func lines(events []event.Event) []string {
	var out []string
	for _, e := range events {
		x := e.Body.(event.Exec)
		out = append(out, fmt.Sprintf("%v<-%v %s %v env%v", e.Proc, x.Parent, x.Comm, x.Args, x.EnvNames))
	}
	return out
}

func host() fstest.MapFS {
	return fake(
		proc{1, 0, "init", 1, 0, "init", ""},
		proc{10, 1, "openclaw-gatewa", 100, 7, "openclaw-gateway", "HOME=/home/dev"},
		proc{11, 10, "node", 101, 7, "node worker.js", "HOME=/home/dev"},
		proc{30, 11, "bash", 103, 7, "bash -c x", "OPENCLAW_SHELL=exec KEY=secret"},
		proc{20, 30, "a) (b", 104, 7, "python3 w.py", "OPENCLAW_SHELL=exec"}, // a child with a lower PID: they wrap
		proc{40, 1, "bash", 200, 7, "bash worker", "OPENCLAW_SHELL=exec"},    // daemonised
		proc{41, 40, "sleep", 201, 7, "sleep 9", ""},                         // below it, with env -i
		proc{50, 1, "bash", 210, 8, "bash", "OPENCLAW_SHELL=exec"},           // another user's
		proc{51, 1, "tui", 211, 7, "tui", "OPENCLAW_SHELL=tui-local"},
		proc{60, 1, "openclaw-gatewa", 300, 7, "openclaw-gateway", ""},
		proc{61, 60, "bash", 301, 7, "bash", "OPENCLAW_SHELL=exec"}, // the other gateway's
	)
}

func TestTreeIsTheGatewayAndItsDescendantsParentsFirst(t *testing.T) {
	got, err := Tree(host(), event.ProcID{PID: 10, Start: 100})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"10@100<-1@1 openclaw-gatewa [openclaw-gateway] env[HOME]",
		"11@101<-10@100 node [node worker.js] env[HOME]",
		"30@103<-11@101 bash [bash -c x] env[OPENCLAW_SHELL KEY]",
		"20@104<-30@103 a) (b [python3 w.py] env[OPENCLAW_SHELL]",
	}
	if diff := cmp.Diff(want, lines(got)); diff != "" {
		t.Error(diff)
	}
	for _, e := range got {
		if x := e.Body.(event.Exec); !x.Snapshot || e.Source != event.SourceProcfs || x.Cwd != "/home/dev" || x.UID != 7 {
			t.Errorf("incomplete: %+v", e)
		}
		began := e.Time.Add(-100 * time.Second).Add(time.Duration(e.Proc.Start) * 10 * time.Millisecond)
		if x := e.Body.(event.Exec); !x.Began.Equal(began) {
			t.Errorf("%v began at %v, want %v", e.Proc, x.Began, began)
		}
	}
}

func TestLeftAreOrphansThatHaveNothingToDoWithOpenClaw(t *testing.T) {
	got, booted, err := Left(host())
	if err != nil {
		t.Fatal(err)
	}
	all, err := table(host())
	if err != nil {
		t.Fatal(err)
	}
	for pid, s := range all {
		left := s.parent == 1 && !all.under(pid, 0) && s.state != 'Z'
		if slices.Contains(got, event.ProcID{PID: pid, Start: s.start}) != left {
			t.Errorf("%d %s: left is %v, got %v", pid, s.comm, left, got)
		}
	}
	if up := time.Since(booted); up < 100*time.Second || up > 130*time.Second {
		t.Errorf("booted %v ago, want 100 s", up)
	}
}

func TestOrphansAreMarkedAndOutsideEveryOpenClawTree(t *testing.T) {
	got, err := Orphans(host(), event.ProcID{PID: 10, Start: 100})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"40@200<-1@1 bash [bash worker] env[OPENCLAW_SHELL]",
		"41@201<-40@200 sleep [sleep 9] env[]",
	}
	if diff := cmp.Diff(want, lines(got)); diff != "" {
		t.Error(diff)
	}
}

func TestAReusedPIDIsAnotherProcess(t *testing.T) {
	stale := event.ProcID{PID: 10, Start: 99}
	if _, err := Tree(host(), stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Tree: %v, want fs.ErrNotExist", err)
	}
	if _, err := Orphans(host(), stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Orphans: %v, want fs.ErrNotExist", err)
	}
	if _, err := Identify(host(), 4242); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Identify: %v, want fs.ErrNotExist", err)
	}
}

func TestParentLoopEnds(t *testing.T) {
	loop := fake(proc{5, 6, "a", 1, 7, "a", ""}, proc{6, 5, "b", 2, 7, "b", ""}, proc{10, 1, "openclaw", 3, 7, "o", ""})
	if got, err := Tree(loop, event.ProcID{PID: 5, Start: 1}); err != nil || len(got) != 2 {
		t.Errorf("Tree: %v, %v", lines(got), err)
	}
	if got, err := Orphans(loop, event.ProcID{PID: 10, Start: 3}); err != nil || len(got) != 0 {
		t.Errorf("Orphans: %v, %v", lines(got), err)
	}
}

func TestAStatusWithoutUIDIsNobodys(t *testing.T) {
	if got := parseUID("Name:\tx\n"); got != ^uint32(0) {
		t.Errorf("uid of a status without one: %d", got)
	}
}

func TestGroupsAreTheRealOneAndThoseBesides(t *testing.T) {
	for status, want := range map[string][]uint32{
		"Name:\tx\nGid:\t100\t0\t0\t0\nFDSize:\t64\nGroups:\t4 100 300 \n": {100, 4, 300},
		"Gid:\t0\t0\t0\t0\nGroups:\t \n":                                   {0},
		"Name:\tGroups\nGroups:\t-1 x 4294967296 5\n":                      {5},
		"": nil,
	} {
		if got := parseGroups(status); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", status, got, want)
		}
	}
}

func TestTheRealProcAgrees(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	cmd.Env = []string{"OPENCLAW_SHELL=exec", "CLAW_TOKEN=very-secret"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	proc := os.DirFS("/proc")
	self, err := Identify(proc, int32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	events, err := Tree(proc, self)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		x := e.Body.(event.Exec)
		if int(e.Proc.PID) != cmd.Process.Pid {
			continue
		}
		if x.Parent != self || x.UID != uint32(os.Getuid()) || e.Proc.Start < self.Start {
			t.Errorf("got %v %+v", e.Proc, x)
		}
		if fmt.Sprint(x.Args) != "[sleep 1000]" || fmt.Sprint(x.EnvNames) != "[OPENCLAW_SHELL CLAW_TOKEN]" {
			t.Errorf("args %q env %q", x.Args, x.EnvNames)
		}
		return
	}
	t.Fatalf("child %d is not in the tree of %v", cmd.Process.Pid, self)
}

func FuzzParseStat(f *testing.F) {
	f.Add("7 (a) b) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 900")
	f.Add("7 )(")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := parseStat(s); err == nil && !strings.Contains(s, "("+got.comm+")") {
			t.Errorf("name %q is not in %q", got.comm, s)
		}
	})
}

func FuzzParseEnvKeepsNoValue(f *testing.F) {
	f.Add([]byte("A=1\x00OPENCLAW_SHELL=exec\x00=x\x00B\x00half a secret==\x00BASH_FUNC_x%%=() {}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		names, shell := parseEnv(b)
		for _, n := range names {
			if !isName([]byte(n)) || strings.ContainsAny(n, "= \x00") {
				t.Errorf("name %q", n)
			}
		}
		if len(shell) > 32 {
			t.Errorf("kept %d bytes", len(shell))
		}
		parseArgs(b)
		parseUID(string(b))
	})
}
