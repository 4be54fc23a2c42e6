package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// gatewayTitle is what the kernel keeps of a gateway's name.
const gatewayTitle = "openclaw-gatewa"

//go:embed gateway.mjs
var gatewayScript []byte

// takeName names the first thread, which is the process. Where the runtime has
// moved us to another one, the program begins again: exec makes the thread that
// calls it the first.
func takeName(name string) error {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		return fmt.Errorf("begin again: %w", unix.Exec("/proc/self/exe", os.Args, os.Environ()))
	}
	b := append([]byte(name), 0)
	return unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&b[0])), 0, 0, 0)
}

// standIn is a gateway that does nothing but run the commands that come on its
// standard input as exec tool calls, until that ends.
func standIn(j job) error {
	if err := takeName(gatewayTitle); err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		cmd := toolCall(lines.Text())
		cmd.Dir, cmd.Stdout, cmd.Stderr = j.dir, os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("run tool call: %w", err)
		}
	}
	return lines.Err()
}

// toolCall is how OpenClaw starts an exec tool call.
func toolCall(command string) *exec.Cmd {
	eval := "eval 'unset OPENCLAW_PREPEND_PATH; " + command + "'"
	wrapper := `echo 1000 > /proc/self/oom_score_adj 2>/dev/null; exec "$0" "$@"`
	return exec.Command("/bin/sh", "-c", wrapper, "/bin/bash", "--noprofile", "--norc", "-c", eval)
}

// turnCommand is the exec tool call of one turn of W5: five processes.
func turnCommand(n int) string { return "cat f1 | wc -c; /bin/true; ls . # turn " + strconv.Itoa(n) }

// asGateway waits for a line before it works, and stays until its standard
// input ends, as gateway.mjs does.
func asGateway(j job, run func(job) error) error {
	if j.title != "-" {
		if err := takeName(j.title); err != nil {
			return err
		}
	}
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	for i := range 4 {
		if err := os.WriteFile(filepath.Join(j.dir, "f"+strconv.Itoa(i)), make([]byte, 100), 0o600); err != nil {
			return err
		}
	}
	if err := timed(j, run); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, in)
	return err
}

// turns is what gateway.mjs does, where there is no Node.js.
func turns(j job) error {
	all := strings.Split(j.servers, ",")
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	for n := range j.n {
		if err := ask(client, "https://"+all[len(all)-1]+"/v1/messages"); err != nil {
			return err
		}
		cmd := toolCall(turnCommand(n))
		cmd.Dir, cmd.Stderr = j.dir, os.Stderr
		if _, err := cmd.Output(); err != nil {
			return fmt.Errorf("run tool call: %w", err)
		}
		for i := range 4 {
			if _, err := os.ReadFile(filepath.Join(j.dir, "f"+strconv.Itoa(i))); err != nil {
				return err
			}
		}
		from, to := filepath.Join(j.dir, "state.new"), filepath.Join(j.dir, "state")
		if err := errors.Join(os.WriteFile(from, make([]byte, 1000), 0o600), os.Rename(from, to)); err != nil {
			return err
		}
	}
	return nil
}

func ask(client *http.Client, url string) error {
	resp, err := client.Post(url, "application/json", bytes.NewReader(make([]byte, 4000)))
	if err != nil {
		return fmt.Errorf("ask provider: %w", err)
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
