package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A job is one run of a workload.
type job struct {
	n       int    // operations
	dir     string // its own, empty
	servers string // what listens for it: TCP addresses joined by commas, the TLS one last
	title   string // W5: name to take
}

// A workload is one kind of work.
type workload struct {
	name, about string
	n           int    // operations at full size
	of          string // what an operation is
	fixed       bool   // it takes the same time under all conditions
	gateway     bool   // it is the gateway, and no tool call of it
	storm       bool   // measured beside idle trees too
	run         func(job) error
	missing     func() string // what this host lacks for it; nil: nothing
}

func workloads() []workload {
	return []workload{
		{name: "W1", about: "processes, one after the other", n: 3000, of: "process", storm: true, run: processes},
		{name: "W2", about: "files: 7 opened, 1 created, renamed and removed", n: 200_000, of: "operation", storm: true, run: files},
		{name: "W3", about: "TCP connections of 1 KB", n: 20_000, of: "connection", storm: true, run: connections},
		{name: "W3b", about: "one TCP connection of 2 GB", n: 2000, of: "MB", run: transfer},
		{name: "W4", about: "go build without its cache, cp and grep", n: len(packages), of: "package", run: build, missing: lacksGo},
		{name: "W5", about: "turns of a gateway", n: 40, of: "turn", gateway: true, run: turns},
		{name: "W6", about: "300 processes, 2,000 opens, 200 connections a second", n: 10, of: "second", fixed: true, run: steady},
		{name: "idle", about: "nothing", n: 10, of: "second", fixed: true, run: func(j job) error { time.Sleep(time.Duration(j.n) * time.Second); return nil }},
		{name: "getenv", about: "calls of getenv in C", n: 20_000_000, of: "call", run: getenv, missing: lacksC},
	}
}

func find(name string) (workload, bool) {
	all := workloads()
	i := slices.IndexFunc(all, func(w workload) bool { return w.name == name })
	if i < 0 {
		return workload{}, false
	}
	return all[i], true
}

const shortLived = "/bin/true"

// processes runs them by the bare system calls: os/exec opens files besides.
func processes(j job) error {
	for range j.n {
		if err := runShort(); err != nil {
			return err
		}
	}
	return nil
}

func runShort() error {
	p, err := os.StartProcess(shortLived, []string{shortLived}, &os.ProcAttr{})
	if err != nil {
		return err
	}
	_, err = p.Wait()
	return err
}

// smallFiles makes files to be opened.
func smallFiles(dir string) ([]string, error) {
	names := make([]string, 100)
	for i := range names {
		names[i] = filepath.Join(dir, "f"+strconv.Itoa(i))
		if err := os.WriteFile(names[i], make([]byte, 100), 0o600); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func readSmall(name string, buf []byte) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Read(fd, buf)
	return errors.Join(err, unix.Close(fd))
}

// files does ten operations a round: seven files opened, read and closed, one
// created, renamed and removed.
func files(j job) error {
	names, err := smallFiles(j.dir)
	if err != nil {
		return err
	}
	buf := make([]byte, 100)
	from, to := filepath.Join(j.dir, "new"), filepath.Join(j.dir, "renamed")
	for i := range j.n / 10 {
		for k := range 7 {
			if err := readSmall(names[(7*i+k)%len(names)], buf); err != nil {
				return err
			}
		}
		fd, err := unix.Open(from, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		if err == nil {
			err = errors.Join(unix.Close(fd), unix.Rename(from, to), unix.Unlink(to))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dial connects by the bare system calls.
func dial(server string) (int, error) {
	at, err := netip.ParseAddrPort(server)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return 0, errors.Join(fmt.Errorf("connect to %s: %w", server, err), unix.Close(fd))
	}
	return fd, nil
}

func connection(server string, kb []byte) error {
	fd, err := dial(server)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, kb)
	return errors.Join(err, unix.Close(fd))
}

// plain are the servers without the last, which speaks TLS.
func (j job) plain() []string {
	all := strings.Split(j.servers, ",")
	return all[:len(all)-1]
}

func connections(j job) error {
	servers, kb := j.plain(), make([]byte, 1000)
	for i := range j.n {
		if err := connection(servers[i%len(servers)], kb); err != nil {
			return err
		}
	}
	return nil
}

// transfer sends j.n MB and waits until the other side has taken all of it.
func transfer(j job) error {
	fd, err := dial(j.plain()[0])
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf := make([]byte, 1_000_000)
	for range j.n {
		for rest := buf; len(rest) > 0; {
			n, err := unix.Write(fd, rest)
			if err != nil {
				return err
			}
			rest = rest[n:]
		}
	}
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		return err
	}
	_, err = unix.Read(fd, buf) // its end
	return err
}

// steady does a little of everything, every 10 ms.
func steady(j job) error {
	names, err := smallFiles(j.dir)
	if err != nil {
		return err
	}
	servers, buf := j.plain(), make([]byte, 1000)
	next := time.Now()
	for i := range j.n * 100 {
		for range 3 {
			if err := runShort(); err != nil {
				return err
			}
		}
		for k := range 20 {
			if err := readSmall(names[(20*i+k)%len(names)], buf); err != nil {
				return err
			}
		}
		for k := range 2 {
			if err := connection(servers[(2*i+k)%len(servers)], buf); err != nil {
				return err
			}
		}
		next = next.Add(10 * time.Millisecond)
		time.Sleep(time.Until(next))
	}
	return nil
}

// packages are what W4 compiles.
var packages = []string{"text/template", "encoding/json"}

// build compiles packages of the standard library and what they need, with a
// cache of its own, and copies and searches a tree of sources.
func build(j job) error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("find go's sources: %w", err)
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src")
	run := func(dir string, args ...string) error {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		cmd.Env = append(os.Environ(), "GOCACHE="+filepath.Join(j.dir, "cache"), "GOFLAGS=", "GOTOOLCHAIN=local", "CGO_ENABLED=0")
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("run %s: %w", args[0], err)
		}
		return nil
	}
	if err := run(src, append([]string{"go", "build"}, packages[:j.n]...)...); err != nil {
		return err
	}
	if err := run(j.dir, "cp", "-r", filepath.Join(src, "net"), "tree"); err != nil {
		return err
	}
	return run(j.dir, "grep", "-rc", "func ", "tree")
}

func lacksGo() string {
	if _, err := exec.LookPath("go"); err != nil {
		return "go is not on the PATH"
	}
	return ""
}

// getenvSource asks for a variable that is there, and for one that is not.
const getenvSource = `#include <stdlib.h>
int main(int argc, char **argv) {
	long n = atol(argv[1]), found = 0;
	for (long i = 0; i < n; i += 2)
		found += (getenv("PATH") != 0) + (getenv("CLAWWATCH_BENCH_NO") != 0);
	return found == 0;
}
`

// getenv is the calls of a program in C: what a hook in the C library would
// slow down. It lies in the bed, above the directory of the run.
func getenv(j job) error {
	cmd := exec.Command(filepath.Join(filepath.Dir(filepath.Dir(j.dir)), "getenv"), strconv.Itoa(j.n))
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// compileGetenv makes the program, once.
func compileGetenv(dir string) error {
	out := filepath.Join(dir, "getenv")
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	cmd := exec.Command("gcc", "-O1", "-x", "c", "-", "-o", out)
	cmd.Stdin, cmd.Stderr = strings.NewReader(getenvSource), io.Writer(os.Stderr)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compile getenv: %w", err)
	}
	return nil
}

func lacksC() string {
	if _, err := exec.LookPath("gcc"); err != nil {
		return "gcc is not on the PATH"
	}
	return ""
}
