// Command deed does one thing that a monitor ought to see, and first says so to
// the recorder of the test, which writes it down as the truth.
//
//	deed LABEL exec                    nothing but having been started
//	deed LABEL read|write|delete PATH
//	deed LABEL rename OLD NEW
//	deed LABEL connect HOST:PORT BYTES send that much, wait for the peer's end
//	deed LABEL get HOST:PORT           a small HTTP request
//	deed LABEL env NAME                look up an environment variable
//	deed LABEL environ PID             read another process's environment
//	deed LABEL dump COMMAND...         become COMMAND, which prints the environment
//	deed LABEL spawn N                 N children that do `exec`
//	deed LABEL daemon COMMAND...       new session, double fork, then COMMAND
//	deed LABEL meet NAME N             wait until N processes have come to NAME
//	deed LABEL parent OP ARGS          the calling process is about to do it itself
//
// LABEL is an opaque word: which scenario, session and skill it stands for is
// known to the test alone, so that no argument tells the monitor. The recorder
// takes the process's identity from the kernel (socket credentials), not from
// what is said here. It is reached over a unix socket whose path is linked in:
// it works with an empty environment, from a copy, and opens no file.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/clawwatch/clawwatch/testdata/openclaw/truth"
)

// socket is the recorder's address; set by the linker.
var socket string

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "deed: want LABEL OP [ARGS]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "deed:", err)
		os.Exit(1)
	}
}

func run(label, op string, args []string) error {
	claim := truth.Claim{Label: label, Op: op, Args: args}
	if op == "parent" {
		if len(args) == 0 {
			return errors.New("parent: want OP")
		}
		claim.Op, claim.Args, claim.Parent = args[0], args[1:], true
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return fmt.Errorf("reach the recorder: %w", err)
	}
	defer conn.Close()
	b, err := json.Marshal(claim)
	if err != nil {
		return err
	}
	if _, err := conn.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("tell the recorder: %w", err)
	}
	if answer, err := bufio.NewReader(conn).ReadString('\n'); err != nil || answer != "ok\n" {
		return fmt.Errorf("recorder answered %q: %w", answer, err)
	}
	if claim.Parent {
		return nil
	}
	err = do(label, op, args)
	if _, werr := conn.Write(truth.Outcome(err)); werr != nil {
		return fmt.Errorf("tell the recorder: %w", werr)
	}
	if err != nil {
		return fmt.Errorf("%s %q: %w", op, args, err)
	}
	return nil
}

func do(label, op string, args []string) error {
	if want := truth.Arity(op); want < 0 || len(args) < want {
		return fmt.Errorf("%d arguments, want %d", len(args), want)
	}
	switch op {
	case "read":
		_, err := os.ReadFile(args[0])
		return err
	case "write":
		return os.WriteFile(args[0], []byte("written by a deed\n"), 0o600)
	case "delete":
		return syscall.Unlink(args[0])
	case "rename":
		return syscall.Rename(args[0], args[1])
	case "connect":
		n, err := strconv.ParseInt(args[1], 10, 64)
		if err != nil {
			return err
		}
		return send(args[0], io.LimitReader(zeros{}, n))
	case "get":
		return send(args[0], truth.Request(args[0]))
	case "env":
		if _, ok := os.LookupEnv(args[0]); !ok {
			return errors.New("not set")
		}
	case "environ":
		_, err := os.ReadFile("/proc/" + args[0] + "/environ")
		return err
	case "dump":
		return become(args)
	case "spawn":
		return spawn(label, args[0])
	case "daemon":
		return detach(append([]string{label, "orphan"}, args...))
	case "orphan": // the second of the two forks: this one ends, COMMAND is left to init
		return start(args[0], args[1:], nil)
	}
	return nil // exec, meet: being there is all
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// send writes everything, ends its side and waits for the peer to end its own,
// so that every byte has been acknowledged when the socket closes.
func send(addr string, r io.Reader) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.Copy(conn, r); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}

func become(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, args, os.Environ())
}

func spawn(label, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for range n {
		if err := exec.Command(self, label, "exec").Run(); err != nil {
			return err
		}
	}
	return nil
}

func detach(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return start(self, args, &syscall.SysProcAttr{Setsid: true})
}

// start leaves the child behind, with none of our streams.
func start(name string, args []string, attr *syscall.SysProcAttr) error {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = attr
	return cmd.Start()
}
