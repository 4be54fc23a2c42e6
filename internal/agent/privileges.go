package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kept are the capabilities that the agent has after its set-up, and why.
// Everything else that root can do is given up: mounting (CAP_SYS_ADMIN),
// loading programs that look at sockets (CAP_NET_ADMIN), giving the socket to a
// group (CAP_CHOWN) were of the set-up.
var kept = []uintptr{
	unix.CAP_BPF,             // read and write the sensor's tables
	unix.CAP_PERFMON,         // attach the hooks on system calls whenever the first gateway appears
	unix.CAP_SYS_PTRACE,      // environment, directory, descriptors and executable of processes, in /proc
	unix.CAP_DAC_READ_SEARCH, // OpenClaw's records, its configuration and skills in homes that are closed to others; marks on its directories
}

// lower gives up what was only needed to set up, for all threads, and for what
// they may ever run. A program that is not linked statically cannot do that.
func (a *Agent) lower() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	if os.Geteuid() != 0 {
		return nil // what an ordinary user has is little enough
	}
	keep := kept
	if fi, err := os.Stat(a.cfg.StateDir); err == nil && !ownedBy(fi, os.Geteuid()) {
		a.log.Warn("the state directory is another user's; CAP_DAC_OVERRIDE is kept", "directory", a.cfg.StateDir)
		keep = append(keep[:len(keep):len(keep)], unix.CAP_DAC_OVERRIDE)
	}
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		if errors.Is(errno, syscall.ENOTSUP) {
			return fmt.Errorf("give up privileges: this build is linked with C: %w", errno)
		}
		return fmt.Errorf("set no_new_privs: %w", errno)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has [2]unix.CapUserData // 64 bits, in two halves
	if err := unix.Capget(&header, &has[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	want := narrow(has, keep)
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&want[0])), 0)
	if errno != 0 {
		return fmt.Errorf("set capabilities: %w", errno)
	}
	return nil
}

// narrow leaves of has what is in keep; nothing is inherited by programs that
// the process runs.
func narrow(has [2]unix.CapUserData, keep []uintptr) [2]unix.CapUserData {
	var mask [2]uint32
	for _, c := range keep {
		mask[c/32] |= 1 << (c % 32)
	}
	for i := range has {
		allowed := has[i].Permitted & mask[i]
		has[i] = unix.CapUserData{Effective: allowed, Permitted: allowed}
	}
	return has
}

func ownedBy(fi fs.FileInfo, uid int) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && st.Uid == uint32(uid)
}
