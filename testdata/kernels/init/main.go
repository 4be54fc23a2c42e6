// Command init is process 1 of a virtual machine: it mounts what a test needs,
// runs the command in /command, one word a line, in the directory /test, says
// on the console how that ended, and switches the machine off.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Ended stands before the exit status on the last line.
const ended = "the command ended with status "

func main() {
	status := 125
	if err := prepare(); err != nil {
		fmt.Println("init:", err)
	} else {
		status = run()
	}
	fmt.Printf("\n%s%d\n", ended, status)
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func prepare() error {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	return up("lo")
}

// up switches a network interface on.
func up(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("switch %s on: %w", name, err)
	}
	return nil
}

func run() int {
	b, err := os.ReadFile("/command")
	if err != nil {
		fmt.Println("init:", err)
		return 125
	}
	words := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = "/test"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // nothing else has a session here
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/", "TMPDIR=/tmp", "CI=true"}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err = cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Println("init:", err)
		return 125
	}
	return cmd.ProcessState.ExitCode()
}
