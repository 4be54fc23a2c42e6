package main

import (
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"clawwatch":        func() { os.Exit(Main()) },
		extensionName:      func() { os.Exit(Main()) },
		"node":             gateway,
		"bun":              recorder,
		"container":        container,
		"container-inside": inside,
		"fake-osqueryd":    osqueryDaemon,
		"listen":           listen,
	})
}

// gateway stands in for OpenClaw's: a program called node that takes the
// gateway's name, runs its last argument as an exec tool call, and stays for a
// while. It costs no minute to start, and has no records but what the script
// lays out. Other scripts' gateways may run beside it: its number is in the
// file gateway.pid.
func gateway() {
	if err := os.WriteFile("gateway.pid", fmt.Append(nil, os.Getpid()), 0o600); err != nil {
		panic(err)
	}
	if err := takeName(); err != nil {
		panic(err)
	}
	time.Sleep(2 * time.Second) // for the agent to find it
	eval := "eval 'unset OPENCLAW_PREPEND_PATH; " + os.Args[len(os.Args)-1] + "'"
	cmd := exec.Command("/bin/sh", "-c", `echo 1000 > /proc/self/oom_score_adj 2>/dev/null; exec "$0" "$@"`, "/bin/bash", "--noprofile", "--norc", "-c", eval)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	time.Sleep(5 * time.Minute) // the script ends it
}

// takeName gives the process the gateway's name, whichever of its threads this is.
func takeName() error { return os.WriteFile("/proc/self/comm", []byte("openclaw-gatewa"), 0) }

// listen takes one connection at an address and keeps it for a while.
func listen() {
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		panic(err)
	}
	if _, err := l.Accept(); err != nil {
		panic(err)
	}
	time.Sleep(10 * time.Second)
}

// Each script is a use of the command line, or a misuse.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Condition: func(cond string) (bool, error) {
			if cond != "root" {
				return false, fmt.Errorf("unknown condition %s", cond)
			}
			if os.Geteuid() != 0 && os.Getenv("CI") == "true" {
				return false, fmt.Errorf("needs root, and in CI has to have it")
			}
			return os.Geteuid() == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"noise": noise, "database": database, "until": until, "detach": detach},
		Setup: func(env *testscript.Env) error {
			env.Setenv("SOCK", filepath.Join(env.WorkDir, "sock"))
			env.Setenv("CLAWWATCH_SOCKET", filepath.Join(env.WorkDir, "sock"))
			return errors.Join(os.Chmod(filepath.Dir(env.WorkDir), 0o755), os.Chmod(env.WorkDir, 0o777))
		},
	})
}

// noise FILE: 100 MiB that are no text.
func noise(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	chunk := []byte(strings.Repeat("\x00\xff\x1b[2J# x\n", 1<<17))
	for n := 0; n < 100<<20; n += len(chunk) {
		_, err = f.Write(chunk)
		ts.Check(err)
	}
	ts.Check(f.Close())
}

// database FILE VERSION: an SQLite database with that user_version, without the
// tables that are looked for.
func database(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = db.Exec("pragma journal_mode = wal; pragma user_version = " + args[1] + "; create table t (x)")
	ts.Check(err)
	ts.Check(db.Close())
}

// detach PIDFILE PROGRAM: take one of the sensor's programs off its hook, behind
// the back of the agent that has it.
func detach(ts *testscript.TestScript, _ bool, args []string) {
	infos, err := filepath.Glob("/proc/" + strings.TrimSpace(ts.ReadFile(args[0])) + "/fdinfo/*")
	ts.Check(err)
	for _, name := range infos {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // closed meanwhile
		}
		var id link.ID
		var program ebpf.ProgramID
		for line := range strings.Lines(string(text)) {
			_, _ = fmt.Sscanf(line, "link_id:%d", &id)      // most lines
			_, _ = fmt.Sscanf(line, "prog_id:%d", &program) // are others
		}
		if id == 0 || program == 0 {
			continue
		}
		p, err := ebpf.NewProgramFromID(program)
		ts.Check(err)
		info, err := p.Info()
		ts.Check(errors.Join(err, p.Close()))
		if info.Name != args[1] {
			continue
		}
		l, err := link.NewFromID(id)
		ts.Check(err)
		ts.Check(errors.Join(l.Detach(), l.Close()))
		return
	}
	ts.Fatalf("no program %s is attached", args[1])
}

// until REGEXP COMMAND…: run the command until what it prints matches, for a
// minute.
func until(ts *testscript.TestScript, _ bool, args []string) {
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	var out []byte
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		cmd := exec.Command(filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], args[1]), args[2:]...)
		cmd.Env = append(os.Environ(), "CLAWWATCH_SOCKET="+ts.Getenv("CLAWWATCH_SOCKET"))
		if out, err = cmd.CombinedOutput(); want.Match(out) {
			return
		}
	}
	ts.Fatalf("no %q within a minute; the last answer ends in (%v):\n%s", args[0], err, out[max(0, len(out)-2000):])
}
