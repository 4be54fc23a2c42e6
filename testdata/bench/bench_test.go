package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The test binary is the program, for the processes that a bench starts.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-work") {
		main()
		return
	}
	os.Exit(m.Run())
}

func bedIn(t *testing.T) *bed {
	t.Helper()
	b, err := newBed(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEachWorkloadSaysWhatItTook(t *testing.T) {
	b := bedIn(t)
	sizes := map[string]int{"W1": 3, "W2": 100, "W3": 40, "W3b": 3, "W4": 1, "W5": 2, "W6": 1, "idle": 0, "getenv": 1000}
	for _, w := range workloads() {
		t.Run(w.name, func(t *testing.T) {
			if w.missing != nil && w.missing() != "" {
				t.Skip(w.missing())
			}
			if w.name == "W4" && testing.Short() {
				t.Skip("it compiles for a while")
			}
			w.n = sizes[w.name]
			s, err := b.run(order{}, w, condition{name: "without"})
			if err != nil {
				t.Fatal(err)
			}
			if s.wall <= 0 {
				t.Errorf("it took %v", s.wall)
			}
		})
	}
	t.Run("W5 without Node.js", func(t *testing.T) {
		w, _ := find("W5")
		bare := *b
		w.n, bare.script = 2, ""
		if _, err := bare.run(order{}, w, condition{name: "without"}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAWorkloadThatFailsIsAnError(t *testing.T) {
	b := bedIn(t)
	w, _ := find("W3")
	b.servers.addresses, w.n = "127.0.0.1:1,127.0.0.1:1", 1
	if _, err := b.run(order{}, w, condition{name: "without"}); err == nil {
		t.Error("no connection could be made, and nothing was said")
	}
}

func TestWatchedWorkIsNamedStoredAndShipped(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root, and in CI has to have it")
		}
		t.Skip("needs root")
	}
	agent := filepath.Join(t.TempDir(), "clawwatch")
	build := exec.Command("go", "build", "-o", agent, "../../cmd/clawwatch")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r, err := bench(order{agent: agent, rounds: 1, scale: 0.05, only: []string{"W1", "W5"}})
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := r.print(&table); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
	seen := map[string]bool{}
	for _, e := range r.Rows {
		seen[e.Workload+" "+e.Condition] = true
		if e.Wall.Median <= 0 || e.Ratio.Median <= 0 {
			t.Errorf("%s %s: took %v, ratio %v", e.Workload, e.Condition, e.Wall, e.Ratio)
		}
		if e.agent && (e.CPU.Median <= 0 || e.Memory <= 0) {
			t.Errorf("%s %s: CPU %v, %v MB of the agent", e.Workload, e.Condition, e.CPU, e.Memory)
		}
		// Fork, exec, exit of each process at the least; a turn has five.
		if least := map[string]float64{"W1": 3, "W5": 15}[e.Workload] * float64(e.N); e.watched && e.Events < least {
			t.Errorf("%s %s: %v events, want %v", e.Workload, e.Condition, e.Events, least)
		}
		if e.watched && *e.Named < 1 {
			t.Errorf("%s %s: %v of the events name the skill", e.Workload, e.Condition, *e.Named)
		}
		if e.shipped && e.Wire <= 0 {
			t.Errorf("%s %s: %v bytes an event", e.Workload, e.Condition, e.Wire)
		}
	}
	for _, want := range []string{"W1 without", "W1 unwatched", "W1 watched", "W1 shipped", "W1 trees 0", "W1 trees 50", "W5 without", "W5 unwatched", "W5 watched", "W5 shipped"} {
		if !seen[want] {
			t.Errorf("there is no row %s", want)
		}
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

// onPath puts shell scripts on the PATH, and nothing before them.
func onPath(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestAPeerIsNotedAndMeasuredOnlyWhenAsked(t *testing.T) {
	onPath(t, map[string]string{"bpftrace": "exec sleep 60", "auditd": "exit 1"})
	quiet := newReport(order{})
	if found := quiet.findPeers(order{}); len(found) > 0 || !strings.Contains(strings.Join(quiet.Notes, " "), "bpftrace") {
		t.Errorf("found %d, notes %q", len(found), quiet.Notes)
	}
	found := newReport(order{}).findPeers(order{peers: true})
	if len(found) == 0 || found[0].name != "bpftrace" {
		t.Fatalf("found %+v, want bpftrace first", found)
	}
	for _, p := range found {
		if p.name == "auditd" {
			t.Error("auditd is a peer like any other")
		}
	}
	p := found[0]
	p.procs, p.warm = []string{"sleep"}, 100*time.Millisecond
	w, _ := find("W1")
	w.n = 3
	s, err := bedIn(t).run(order{}, w, condition{name: p.name, peer: &p})
	if err != nil || s.wall <= 0 || s.memory <= 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAPeerThatEndsEarlySaysWhy(t *testing.T) {
	onPath(t, map[string]string{"falco": "echo no kernel for me >&2; exit 3"})
	i := slices.IndexFunc(peers(), func(p peer) bool { return p.name == "falco" })
	p := peers()[i]
	p.warm = 500 * time.Millisecond
	w, _ := find("W1")
	w.n = 1
	_, err := bedIn(t).run(order{}, w, condition{name: p.name, peer: &p})
	if err == nil || !strings.Contains(err.Error(), "no kernel for me") {
		t.Errorf("error %v", err)
	}
}

func TestAuditIsSwitchedOffAgain(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	onPath(t, map[string]string{
		"auditctl": `echo "$@" >>` + log + `; if [ "$1" = -s ]; then echo "pid 0"; fi`,
		"auditd":   "exec sleep 60",
	})
	stop, err := startAuditd(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	if !slices.Contains(lines, "-e 1") || lines[len(lines)-1] != "-e 0" || !slices.Contains(lines, "-D -k "+auditKey) {
		t.Errorf("auditctl was called with %q", lines)
	}
}

func TestARunningAuditDaemonIsLeftAlone(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	onPath(t, map[string]string{"auditctl": `echo "$@" >>` + log + `; echo "enabled 1"; echo "pid 812"`})
	if _, err := startAuditd(t.TempDir()); err == nil {
		t.Error("a second daemon was started")
	}
	if said, _ := os.ReadFile(log); string(said) != "-s\n" {
		t.Errorf("auditctl was called with %q", said)
	}
}

func TestTargetsAreJudgedByMediansOfPairs(t *testing.T) {
	r := newReport(order{rounds: 3, scale: 1})
	w, _ := find("W1")
	for round, base := range []float64{1, 2, 4} { // a machine that becomes slower
		add := func(c condition, ratio float64, cpu time.Duration) {
			r.add(w, c, round, sample{wall: time.Duration(base * ratio * float64(time.Second)), cpu: cpu, memory: 50, named: 1})
		}
		add(condition{name: "watched", agent: true, watched: true}, 1.1, []time.Duration{1e8, 2e8, 9e8}[round])
		add(condition{name: "without"}, 1, 0)
		add(condition{name: "unwatched", agent: true}, 1.2, 0)
	}
	r.finish()
	if r.Rows[0].Condition != "without" || r.Rows[1].Condition != "unwatched" || r.Rows[2].Condition != "watched" {
		t.Fatalf("rows in the order %s, %s, %s", r.Rows[0].Condition, r.Rows[1].Condition, r.Rows[2].Condition)
	}
	if got := verdicts(r.Rows[1].Targets); got != "MISSED ratio ≤ 1.03; met CPU ≤ 0.02, MB ≤ 60, lost ≤ 0" {
		t.Errorf("unwatched: %s", got)
	}
	if got := verdicts(r.Rows[2].Targets); got != "met ratio ≤ 1.15, CPU ≤ 0.3, MB ≤ 120, lost ≤ 0" {
		t.Errorf("watched: %s", got)
	}
	if cpu := r.Rows[2].CPU; cpu != (spread{0.1, 0.2, 0.9}) {
		t.Errorf("CPU %+v", cpu)
	}
}
