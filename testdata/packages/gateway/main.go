// Command gateway stands in for OpenClaw's gateway where there is no room for
// the real one: a program to be called node that takes the gateway's name, runs
// its last argument as an exec tool call, and stays for a while. It listens on
// the gateway's port and says nothing. It has no records but what lies in its
// state directory.
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	runtime.LockOSThread() // the name is the first thread's
	name := []byte("openclaw-gatewa\x00")
	if err := unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0, 0, 0); err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:18789")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				panic(err)
			}
			_ = c.Close()
		}
	}()
	time.Sleep(2 * time.Second) // for the agent to find it
	eval := "eval 'unset OPENCLAW_PREPEND_PATH; " + os.Args[len(os.Args)-1] + "'"
	cmd := exec.Command("/bin/sh", "-c", `exec "$0" "$@"`, "/bin/bash", "--noprofile", "--norc", "-c", eval)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	time.Sleep(time.Minute)
}
