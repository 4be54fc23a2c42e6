package ebpf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// actIdentity changes one thread, which ends with it.
func actIdentity(io.Writer) error {
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
		err = errors.Join(err, unix.Chroot("/"))
		err = errors.Join(err, unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0))
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 4242, 4242, 0); errno != 0 {
			err = errors.Join(err, errno)
		}
		caps[0].Permitted = 1 << unix.CAP_KILL
		failed <- errors.Join(err, unix.Capset(&header, &caps[0]))
	}()
	return <-failed
}

func testIdentity(b *bench) {
	c := b.run("identity")
	var calls []string
	for _, e := range b.seen {
		if e.Proc != c.id {
			continue
		}
		switch x := e.Body.(type) {
		case event.Namespace:
			calls = append(calls, x.Call)
			if x.Now.Mount == 0 || x.Now.PID != 0 || x.Now.Net != 0 || x.Now.User != 0 {
				b.t.Errorf("%s: namespaces %+v, want another mount namespace alone", x.Call, x.Now)
			}
		case event.Credentials:
			calls = append(calls, x.Call)
			if x.UID != 4242 || x.EUID != 4242 || x.SUID != 0 {
				b.t.Errorf("%s: %+v", x.Call, x.Creds)
			}
			if x.Call == "capset" && (x.Permitted != 1<<unix.CAP_KILL || x.Effective != 0) {
				b.t.Errorf("capabilities %x, %x", x.Permitted, x.Effective)
			}
		}
	}
	if want := []string{"unshare", "chroot", "setresuid", "capset"}; !slices.Equal(calls, want) {
		b.t.Errorf("calls %v, want %v", calls, want)
	}
}

// spawns are ways to make a process; all then run /bin/true with their name.
func spawns() map[string]*syscall.SysProcAttr {
	return map[string]*syscall.SysProcAttr{
		"vfork":          nil, // which is what Go does, and posix_spawn
		"clone-parent":   {Cloneflags: unix.CLONE_PARENT},
		"clone-untraced": {Cloneflags: unix.CLONE_UNTRACED},
		"new-pid":        {Cloneflags: unix.CLONE_NEWPID},
		"new-all":        {Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC},
		"new-session":    {Setsid: true},
	}
}

func actSpawns(io.Writer) error {
	var errs []error
	for name, attr := range spawns() {
		c := exec.Command("/bin/true", name)
		c.SysProcAttr = attr
		if err := c.Start(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		if err := c.Wait(); err != nil && name != "clone-parent" {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, rawFork(unix.SYS_CLONE3, "clone3"), rawFork(0, "fork"), intoNamespace())...)
}

// rawFork forks without more, and runs /bin/true.
func rawFork(call uintptr, name string) error {
	argv, err := syscall.SlicePtrFromStrings([]string{"/bin/true", name})
	if err != nil {
		return err
	}
	envp := []*byte{nil}
	args := [11]uint64{4: uint64(unix.SIGCHLD)} // struct clone_args
	syscall.ForkLock.Lock()
	defer syscall.ForkLock.Unlock()
	var pid uintptr
	var errno syscall.Errno
	if call == unix.SYS_CLONE3 {
		pid, _, errno = unix.RawSyscall(call, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
	} else {
		pid, _, errno = unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	}
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(argv[0])), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envp[0])))
		for {
			unix.RawSyscall(unix.SYS_EXIT, 9, 0, 0)
		}
	}
	_, err = unix.Wait4(int(pid), nil, 0, nil)
	return err
}

// intoNamespace makes a child in the PID namespace of another process.
func intoNamespace() error {
	owner := exec.Command("/bin/sleep", "1000")
	owner.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	if err := owner.Start(); err != nil {
		return err
	}
	defer func() { _ = owner.Process.Kill(); _ = owner.Wait() }()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and not unlocked: the thread is spoilt
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/pid", owner.Process.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWPID)
		}
		if err == nil {
			err = exec.Command("/bin/true", "setns").Run()
		}
		failed <- err
	}()
	return <-failed
}

func testSpawns(b *bench) {
	c := b.start("spawns")
	if err := b.Watch(c.id); err != nil {
		b.t.Fatal(err)
	}
	c.act(b.t)
	want := map[string]bool{"clone3": true, "fork": true, "setns": true}
	for name := range spawns() {
		want[name] = true
	}
	forked := map[event.ProcID]bool{}
	b.until("exec of each", func(e event.Event) bool {
		switch x := e.Body.(type) {
		case event.Fork:
			forked[e.Proc] = x.Parent == c.id
		case event.Exec:
			if len(x.Args) == 2 && x.Args[0] == "/bin/true" {
				if !forked[e.Proc] {
					b.t.Errorf("%s: no fork by %v", x.Args[1], c.id)
				}
				if ns := x.Namespaces; (x.Args[1] == "new-pid" || x.Args[1] == "setns") && (ns == nil || ns.PID == 0) {
					b.t.Errorf("%s: namespaces %+v", x.Args[1], ns)
				}
				delete(want, x.Args[1])
			}
		}
		return len(want) == 0
	})
	if exit := b.untilExit(c.id); exit != (event.Exit{}) {
		b.t.Errorf("child ended with %+v", exit)
	}
}

// copyProgram copies /bin/true to a descriptor, whose number it returns.
func copyProgram(fd int, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile("/bin/true")
	if err != nil {
		return 0, err
	}
	_, err = unix.Write(fd, text)
	return fd, err
}

// runFD runs a program that is open; fds that are not open for writing any more.
func runFD(fd int, args ...string) error {
	ro, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	if err := unix.Close(fd); err != nil {
		return err
	}
	c := exec.Command(fmt.Sprintf("/proc/self/fd/%d", ro), args...)
	return errors.Join(c.Run(), unix.Close(ro))
}

func actImages(out io.Writer) error {
	var errs []error
	memory, err := copyProgram(unix.MemfdCreate("secret", 0))
	errs = append(errs, err, runFD(memory, "memory"))

	gone, err := copyProgram(unix.Open("gone", unix.O_CREAT|unix.O_WRONLY, 0o755))
	errs = append(errs, err)
	kept, err := unix.Open("gone", unix.O_RDONLY, 0)
	errs = append(errs, err, unix.Unlink("gone"), unix.Close(gone))
	errs = append(errs, exec.Command(fmt.Sprintf("/proc/self/fd/%d", kept), "deleted").Run())

	errs = append(errs, os.WriteFile("s.sh", []byte("#!/bin/sh\nexit 0\n"), 0o755), exec.Command("./s.sh", "script").Run())
	if loader := loader(); loader != "" {
		errs = append(errs, exec.Command(loader, "/bin/true", "loader").Run())
	}
	errs = append(errs, runAsNobody())
	for _, bits := range []int{32, 64} {
		name := fmt.Sprintf("int80-%d", bits)
		errs = append(errs, os.WriteFile(name, int80(bits), 0o755))
		err := exec.Command("./" + name).Run()
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit) && exit.ExitCode() == 7:
			fmt.Fprintln(out, name)
		case err != nil: // no 32-bit emulation: killed, or refused
			fmt.Fprintln(out, "none")
		}
	}
	return errors.Join(errs...)
}

func runAsNobody() error {
	c := exec.Command("/bin/true", "nobody")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65533}}
	return c.Run()
}

// loader is the dynamic loader of /bin/true.
func loader() string {
	for _, pattern := range []string{"/lib64/ld-linux-*", "/lib/ld-linux-*", "/lib/ld-musl-*"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

// int80 is a program of 32 or 64 bits that exits with 7 by int 0x80.
func int80(bits int) []byte {
	code := []byte{0xb8, 1, 0, 0, 0, 0xbb, 7, 0, 0, 0, 0xcd, 0x80, 0xf4}
	const base = 0x10000
	var b bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			_ = binary.Write(&b, binary.LittleEndian, v)
		}
	}
	class := byte(bits / 32)
	b.Write([]byte{0x7f, 'E', 'L', 'F', class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	if bits == 32 {
		put(uint16(2), uint16(3), uint32(1), uint32(base+84), uint32(52), uint32(0), uint32(0), uint16(52), uint16(32), uint16(1), uint16(0), uint16(0), uint16(0))
		put(uint32(1), uint32(0), uint32(base), uint32(base), uint32(84+len(code)), uint32(84+len(code)), uint32(5), uint32(4096))
	} else {
		put(uint16(2), uint16(62), uint32(1), uint64(base+120), uint64(64), uint64(0), uint32(0), uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0))
		put(uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), uint64(120+len(code)), uint64(120+len(code)), uint64(4096))
	}
	b.Write(code)
	return b.Bytes()
}

func testImages(b *bench) {
	c := b.run("images")
	find := func(word string) event.Exec {
		for _, x := range bodies[event.Exec](b, event.ProcID{}) {
			if slices.Contains(x.Args, word) {
				return x
			}
		}
		b.t.Fatalf("no exec of %s:\n%s", word, b.log())
		return event.Exec{}
	}
	if x := find("memory"); !x.Memory || !x.Deleted || x.Path != "/memfd:secret" || !strings.HasPrefix(x.Name, "/proc/self/fd/") || x.File.Magic != unix.TMPFS_MAGIC {
		b.t.Errorf("memfd: %+v", x)
	}
	if x := find("deleted"); x.Memory || !x.Deleted || x.Path != c.Dir+"/gone" {
		b.t.Errorf("deleted: %+v", x)
	}
	if x := find("script"); !x.Script || x.Name != "./s.sh" || x.Path != realPath(b.t, "/bin/sh") || !slices.Equal(x.Args, []string{"/bin/sh", "./s.sh", "script"}) {
		b.t.Errorf("script: %+v", x)
	}
	x := find("nobody")
	if x.Creds == nil || x.Creds.UID != 65534 || x.Creds.SUID != 65534 || x.Creds.EGID != 65533 || x.Creds.Effective != 0 {
		b.t.Errorf("credentials %+v", x.Creds)
	}
	var st unix.Stat_t
	if err := unix.Stat("/bin/true", &st); err != nil {
		b.t.Fatal(err)
	}
	want := event.FileID{Dev: st.Dev, Inode: st.Ino, Size: uint64(st.Size), Modified: st.Mtim.Nano(), Changed: st.Ctim.Nano(), Magic: x.File.Magic}
	if x.File != want || x.Deleted || x.Script || x.Bits32 || x.Namespaces != nil {
		b.t.Errorf("plain: %+v\nwant %+v", x, want)
	}
	// 0 is the session that process 1 starts in, or one that this namespace does not see.
	if session, err := unix.Getsid(0); err != nil || x.Session != int32(session) {
		b.t.Errorf("session %d, want %d, %v", x.Session, session, err)
	}
	for range 2 {
		if name := c.line(b.t); name != "none" && name != "" {
			expectCompat(b, c, name)
		}
	}
}

// expectCompat: what uses the 32-bit door says so, once.
func expectCompat(b *bench, c *child, name string) {
	n := 0
	for _, e := range b.seen {
		if x, ok := e.Body.(event.Exec); ok && x.Path == c.Dir+"/"+name {
			if x.Bits32 != (name == "int80-32") {
				b.t.Errorf("%s: 32 bits %v", name, x.Bits32)
			}
			for _, l := range bodies[event.Lost](b, e.Proc) {
				if l.Cause == causeCompat {
					n++
				}
			}
		}
	}
	if n != 1 {
		b.t.Errorf("%s: said %d times that it is not seen, want once\n%s", name, n, b.log())
	}
}

// actRenameArgs runs a program that overwrites its own arguments.
func actRenameArgs(io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.Command(self, "honest", "words")
	c.Env = append(os.Environ(), actionVariable+"=overwrite")
	c.Stdin = strings.NewReader("go\n")
	c.Stderr = os.Stderr
	return c.Run()
}

func actOverwrite(io.Writer) error {
	for i := range os.Args { // the kernel's own copy, not one of Go's
		b := unsafe.Slice(unsafe.StringData(os.Args[i]), len(os.Args[i]))
		copy(b, strings.Repeat("-", len(b)))
	}
	if line, err := os.ReadFile("/proc/self/cmdline"); err != nil || bytes.Contains(line, []byte("honest")) {
		return fmt.Errorf("overwrite arguments: %q, %w", line, err)
	}
	_, err := os.ReadFile("/etc/hostname")
	return err
}

func testRenameArgs(b *bench) {
	b.run("rename-args")
	for _, x := range bodies[event.Exec](b, event.ProcID{}) {
		if len(x.Args) == 3 && slices.Equal(x.Args[1:], []string{"honest", "words"}) {
			return
		}
	}
	b.t.Errorf("no exec with the arguments it had:\n%s", b.log())
}
