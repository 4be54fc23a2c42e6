// Command bench measures what the agent costs. It runs three small workloads
// without the agent, beside it in a process that nobody watches, and beside it
// in the tree of an exec tool call, in turns, so that the noise of the machine
// falls on all three alike. It prints ratios of medians, and the agent's own
// CPU time and memory.
//
// The watched tree is a stand-in: a copy of this program under the name and
// environment of a gateway, and a shell as OpenClaw starts one. Every event of
// it is attributed, judged and stored. Run as root.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

var workloads = []struct {
	name string
	n    int
	run  func(n int, dir string) error
}{
	{"fork+exec+exit", 400, forkExec},
	{"open+close", 20_000, openClose},
	{"tcp connect", 1_500, connect},
}

func main() {
	agent := flag.String("agent", "bin/clawwatch", "agent to measure")
	rounds := flag.Int("rounds", 7, "rounds of all conditions")
	work := flag.Int("work", -1, "internal: run one workload and print its nanoseconds")
	gateway := flag.String("gateway", "", "internal: stand in for a gateway that runs this command")
	dir := flag.String("dir", "", "internal: scratch directory")
	flag.Parse()
	var err error
	switch {
	case *work >= 0:
		err = measure(*work, *dir)
	case *gateway != "":
		err = standIn(*gateway)
	default:
		err = bench(*agent, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func forkExec(n int, _ string) error {
	for range n {
		if err := exec.Command("/bin/true").Run(); err != nil {
			return err
		}
	}
	return nil
}

func openClose(n int, dir string) error {
	names := make([]string, 100)
	for i := range names {
		names[i] = filepath.Join(dir, "f"+strconv.Itoa(i))
		if err := os.WriteFile(names[i], []byte("x"), 0o600); err != nil {
			return err
		}
	}
	for i := range n {
		fd, err := syscall.Open(names[i%len(names)], syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		syscall.Close(fd)
	}
	return nil
}

func connect(n int, _ string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(io.Discard, c) // until the other side closes
			c.Close()
		}
	}()
	for range n {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		c.Close()
	}
	return nil
}

func measure(i int, dir string) error {
	w := workloads[i]
	start := time.Now()
	if err := w.run(w.n, dir); err != nil {
		return err
	}
	fmt.Println(time.Since(start).Nanoseconds())
	return nil
}

// standIn takes a gateway's name and runs a command as one of its tool calls.
func standIn(command string) error {
	runtime.LockOSThread()
	name := append([]byte("openclaw-gatewa"), 0)
	if _, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0); e != 0 {
		return e
	}
	time.Sleep(1500 * time.Millisecond) // for the agent to look at it
	eval := "eval 'unset OPENCLAW_PREPEND_PATH; " + command + "'"
	cmd := exec.Command("/bin/sh", "-c", `echo 1000 > /proc/self/oom_score_adj 2>/dev/null; exec "$0" "$@"`, "/bin/bash", "--noprofile", "--norc", "-c", eval)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

// A bed is where a round takes place.
type bed struct {
	dir, self, node string
}

func (b bed) env() []string {
	return append(os.Environ(), "HOME="+b.dir, "OPENCLAW_STATE_DIR="+filepath.Join(b.dir, ".openclaw"))
}

// once runs one workload and returns what it took.
func (b bed) once(i int, watched bool) (time.Duration, error) {
	args := []string{"-work", strconv.Itoa(i), "-dir", b.dir}
	cmd := exec.Command(b.self, args...)
	if watched {
		cmd = exec.Command(b.node, "-gateway", b.self+" "+strings.Join(args, " "), "openclaw.mjs", "gateway", "run")
	}
	cmd.Env, cmd.Stderr = b.env(), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("run %s: %w", workloads[i].name, err)
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return time.Duration(ns), err
}

func bench(agent string, rounds int) error {
	dir, err := os.MkdirTemp("", "clawwatch-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b := bed{dir: dir, self: filepath.Join(dir, "bench"), node: filepath.Join(dir, "node")}
	for _, to := range []string{b.self, b.node} {
		data, err := os.ReadFile(self)
		if err == nil {
			err = os.WriteFile(to, data, 0o755)
		}
		if err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, ".openclaw"), 0o700); err != nil {
		return err
	}
	conditions := []string{"without", "unwatched", "watched"}
	took := make([][3][]time.Duration, len(workloads))
	cpu := make([][3][]time.Duration, len(workloads))
	var rss int
	for range rounds {
		for i := range workloads {
			t, err := b.once(i, false)
			if err != nil {
				return err
			}
			took[i][0] = append(took[i][0], t)
		}
		a, err := startAgent(agent, dir)
		if err != nil {
			return err
		}
		for i := range workloads {
			for c := 1; c <= 2; c++ {
				before := a.cpu()
				t, err := b.once(i, c == 2)
				if err != nil {
					a.stop()
					return err
				}
				time.Sleep(time.Second) // what it still has to do is part of the cost
				took[i][c] = append(took[i][c], t)
				cpu[i][c] = append(cpu[i][c], a.cpu()-before)
			}
		}
		time.Sleep(6 * time.Second) // held events are let go
		rss = max(rss, a.rss())
		if err := a.stop(); err != nil {
			return err
		}
	}
	fmt.Printf("%-16s %-10s %12s %8s %18s\n", "workload", "condition", "µs per op", "ratio", "agent CPU µs/op")
	for i, w := range workloads {
		base := median(took[i][0])
		for c, name := range conditions {
			m := median(took[i][c])
			line := fmt.Sprintf("%-16s %-10s %12.2f %8.2f", w.name, name, us(m, w.n), float64(m)/float64(base))
			if c > 0 {
				line += fmt.Sprintf(" %18.2f", us(median(cpu[i][c]), w.n))
			}
			fmt.Println(line)
		}
	}
	fmt.Printf("agent: largest resident set seen %d MB\n", rss/1024)
	return nil
}

func us(d time.Duration, n int) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(n) }

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2]
}

type running struct{ cmd *exec.Cmd }

func startAgent(path, dir string) (*running, error) {
	cmd := exec.Command(path, "run", "--state-dir", filepath.Join(dir, "state"), "--socket", filepath.Join(dir, "sock"))
	errs, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan error, 1)
	go func() {
		said := ""
		for lines := bufio.NewScanner(errs); lines.Scan(); {
			said += lines.Text() + "\n"
			if strings.Contains(lines.Text(), "looking for OpenClaw gateways") {
				ready <- nil
			}
		}
		ready <- errors.New("agent ended: " + said)
	}()
	select {
	case err = <-ready:
	case <-time.After(30 * time.Second):
		err = errors.New("agent was not ready within 30 s")
	}
	r := &running{cmd}
	if err != nil {
		return nil, errors.Join(err, r.stop())
	}
	return r, nil
}

func (r *running) stop() error {
	r.cmd.Process.Signal(syscall.SIGTERM)
	err := r.cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() < 0 {
		return nil // ended by the signal
	}
	return err
}

// cpu is the CPU time that the agent has used, user and system.
func (r *running) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// rss is the resident set in kB.
func (r *running) rss() int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}
