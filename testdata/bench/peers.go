package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A peer is another monitor, told to see processes, files and connections.
type peer struct {
	name  string
	procs []string // names of the processes that do its work, as in /proc/PID/comm
	warm  time.Duration
	start func(dir string) (stop func() error, err error)
}

// peers are the ones that are known here, whether or not this host has them.
// Each writes what it sees to a file.
func peers() []peer {
	seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
	return []peer{
		{"bpftrace", []string{"bpftrace"}, seconds(5), command("bpftrace", "-e", oneLiners)},
		{"falco", []string{"falco"}, seconds(10), falco},
		{"quark-mon", []string{"quark-mon"}, seconds(5), command("quark-mon")}, // processes only
		{"tracee", []string{"tracee"}, seconds(15), command("tracee", "--output", "json", "--events",
			"sched_process_fork,sched_process_exec,sched_process_exit,security_file_open,security_inode_unlink,security_inode_rename,security_socket_connect")},
		{"tetragon", []string{"tetragon"}, seconds(15), command("tetragon")},
	}
}

// oneLiners print a line for each event: the least that can be had.
const oneLiners = `
tracepoint:sched:sched_process_fork { printf("fork %d %d\n", pid, args->child_pid); }
tracepoint:sched:sched_process_exec { printf("exec %d %s\n", pid, str(args->filename)); }
tracepoint:sched:sched_process_exit { printf("exit %d\n", pid); }
tracepoint:syscalls:sys_enter_openat { printf("open %d %s\n", pid, str(args->filename)); }
tracepoint:syscalls:sys_enter_rename { printf("rename %d %s\n", pid, str(args->newname)); }
tracepoint:syscalls:sys_enter_unlinkat { printf("unlink %d %s\n", pid, str(args->pathname)); }
tracepoint:syscalls:sys_enter_connect { printf("connect %d\n", pid); }
`

// command starts a program whose output goes to a file.
func command(name string, args ...string) func(string) (func() error, error) {
	return func(dir string) (func() error, error) {
		out, err := os.Create(filepath.Join(dir, "peer.out"))
		if err != nil {
			return nil, err
		}
		defer out.Close() // the program has its own
		errs, err := os.Create(filepath.Join(dir, "peer.err"))
		if err != nil {
			return nil, err
		}
		defer errs.Close()
		cmd := exec.Command(name, args...)
		cmd.Stdout, cmd.Stderr, cmd.Dir = out, errs, dir
		if err := cmd.Start(); err != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		return func() error {
			select {
			case err := <-ended: // by itself: there is nothing to measure
				said, _ := os.ReadFile(errs.Name())
				return fmt.Errorf("%s ended early: %w: %s", name, errors.Join(err, errors.New("see what it said")), said[:min(len(said), 1000)])
			default:
			}
			err := cmd.Process.Signal(syscall.SIGTERM)
			<-ended
			return err
		}, nil
	}
}

const falcoRules = `
- rule: everything
  desc: what the agent sees
  condition: evt.type in (execve, execveat, procexit, open, openat, openat2, creat, rename, renameat, renameat2, unlink, unlinkat, connect) and evt.dir = <
  output: "%evt.type %proc.name %proc.cmdline %fd.name"
  priority: INFO
`

func falco(dir string) (func() error, error) {
	rules := filepath.Join(dir, "rules.yaml")
	if err := os.WriteFile(rules, []byte(falcoRules), 0o600); err != nil {
		return nil, err
	}
	return command("falco", "-o", "engine.kind=modern_ebpf", "-o", "json_output=true", "-r", rules)(dir)
}

// besidePeer does a workload beside another monitor.
func (b *bed) besidePeer(w workload, p peer, j job, dir string) (s sample, err error) {
	stop, err := p.start(dir)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	time.Sleep(p.warm) // there is no common sign of being ready
	unix.Sync()
	before := p.cpu()
	if s.wall, err = b.alone(w, j); err != nil {
		return s, err
	}
	time.Sleep(3 * time.Second) // what it still has to do
	s.cpu = p.cpu() - before
	for _, pid := range p.pids() {
		s.memory += memory(pid, residentPeak)
	}
	return s, nil
}

// pids finds the peer's processes.
func (p peer) pids() (pids []int) {
	names, _ := filepath.Glob("/proc/[0-9]*/comm") // the pattern is well formed
	for _, name := range names {
		comm, err := os.ReadFile(name)
		if err != nil {
			continue // gone
		}
		for _, want := range p.procs {
			if strings.TrimSpace(string(comm)) == want {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func (p peer) cpu() (sum time.Duration) {
	for _, pid := range p.pids() {
		sum += cpu(pid)
	}
	return sum
}

// auditKey marks our rules among others.
const auditKey = "clawwatch-bench"

// auditd is the audit daemon with rules for the same kinds of events. It cannot
// be measured where one runs already.
func auditd() peer {
	return peer{"auditd", []string{"auditd", "kauditd"}, 2 * time.Second, startAuditd}
}

func startAuditd(dir string) (func() error, error) {
	state, err := exec.Command("auditctl", "-s").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("ask for the state of audit: %w: %s", err, state)
	}
	for line := range strings.Lines(string(state)) {
		if pid, ok := strings.CutPrefix(line, "pid "); ok && strings.TrimSpace(pid) != "0" {
			return nil, errors.New("an audit daemon runs already")
		}
	}
	conf := "local_events = yes\nwrite_logs = yes\nlog_format = RAW\nlog_group = root\nflush = INCREMENTAL_ASYNC\nfreq = 50\n" +
		"log_file = " + filepath.Join(dir, "audit.log") + "\nmax_log_file = 4000\nmax_log_file_action = IGNORE\n" +
		"space_left = 75\nspace_left_action = IGNORE\nadmin_space_left = 50\nadmin_space_left_action = IGNORE\n" +
		"disk_full_action = IGNORE\ndisk_error_action = IGNORE\n"
	if err := os.WriteFile(filepath.Join(dir, "auditd.conf"), []byte(conf), 0o640); err != nil {
		return nil, err
	}
	stop, err := command("auditd", "-n", "-c", dir)(dir)
	if err != nil {
		return nil, err
	}
	quiet := func() error {
		out, err := exec.Command("auditctl", "-D", "-k", auditKey).CombinedOutput()
		off, err2 := exec.Command("auditctl", "-e", "0").CombinedOutput()
		if err := errors.Join(err, err2); err != nil {
			return fmt.Errorf("switch audit off: %w: %s%s", err, out, off)
		}
		return nil
	}
	for _, args := range [][]string{
		{"-b", "65536"},
		{"-e", "1"},
		{"-a", "always,exit", "-F", "arch=b64", "-S", "execve,execveat,openat,openat2,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,connect,accept,accept4", "-k", auditKey},
	} {
		if out, err := exec.Command("auditctl", args...).CombinedOutput(); err != nil {
			return nil, errors.Join(fmt.Errorf("auditctl %s: %w: %s", args[0], err, out), quiet(), stop())
		}
	}
	return func() error { return errors.Join(quiet(), stop()) }, nil
}
