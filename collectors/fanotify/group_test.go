package fanotify

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func open(t *testing.T) *Group {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root, and in CI has to have it")
		}
		t.Skip("needs root")
	}
	g, err := OpenGroup()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// mark marks a directory and gives its handle.
func mark(t *testing.T, g *Group, path string) Handle {
	t.Helper()
	dir, err := OpenDirectory(unix.AT_FDCWD, path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	if err := g.MarkDirectory(dir, unix.FAN_OPEN|unix.FAN_CLOSE_WRITE|unix.FAN_CLOSE_NOWRITE); err != nil {
		t.Fatal(err)
	}
	h, err := HandleOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// read gives all that there is, once something is.
func read(t *testing.T, g *Group) []Act {
	t.Helper()
	var acts []Act
	g.Wake(time.Now().Add(10 * time.Second))
	for {
		err := g.Read(func(a Act) {
			if a.Pidfd >= 0 {
				unix.Close(a.Pidfd)
			}
			acts = append(acts, a)
		})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return acts
		}
		if err != nil {
			t.Fatal(err)
		}
		g.Wake(time.Now().Add(100 * time.Millisecond))
	}
}

func TestAnActNamesProcessDirectoryAndFile(t *testing.T) {
	g, dir := open(t), t.TempDir()
	want := mark(t, g, dir)
	cmd := exec.Command("/bin/sh", "-c", "echo x > a; mv a b; mkdir c; rm b; exec sleep 1")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, a := range read(t, g) {
		t.Logf("%#x pid %d pidfd %d %q from %q", a.Mask, a.PID, a.Pidfd, a.Name, a.FromName)
		if a.Dir != want {
			t.Errorf("directory %x, want %x", a.Dir, want)
		}
		if a.Mask&unix.FAN_RENAME != 0 && a.FromName == "a" && a.Name == "b" && a.From == want {
			got["rename"] = true
		}
		if a.Mask&unix.FAN_CREATE != 0 && a.Name == "a" && a.PID == int32(cmd.Process.Pid) {
			got["create"] = true
		}
		if a.Mask&unix.FAN_CREATE != 0 && a.Name == "c" && a.Directory() {
			got["mkdir"] = true
		}
		if a.Mask&unix.FAN_DELETE != 0 && a.Name == "b" {
			got["delete"] = true
		}
	}
	if len(got) != 4 {
		t.Errorf("seen: %v", got)
	}
	cmd.Wait()
}

func TestADirectoryIsMarkedAfterPrivilegeIsGone(t *testing.T) {
	if dir := os.Getenv("CLAWWATCH_LOWERED"); dir != "" {
		lowered(t, dir)
		return
	}
	open(t)
	dir := filepath.Join(t.TempDir(), "closed")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 1000, 1000)); err != nil {
		t.Fatal(err)
	}
	// In another process, because what is given up does not come back.
	cmd := exec.Command(os.Args[0], "-test.run=^TestADirectoryIsMarkedAfterPrivilegeIsGone$")
	cmd.Env = append(os.Environ(), "CLAWWATCH_LOWERED="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// lowered marks a directory with what the agent keeps of its capabilities, and
// looks at what a process does there.
func lowered(t *testing.T, dir string) {
	g := open(t)
	const keep uint64 = 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON | 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_READ_SEARCH
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	set := [2]unix.CapUserData{
		{Effective: uint32(keep & 0xffffffff), Permitted: uint32(keep & 0xffffffff)}, {Effective: uint32(keep >> 32), Permitted: uint32(keep >> 32)},
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&set[0])), 0); errno != 0 {
		if errors.Is(errno, syscall.ENOTSUP) {
			t.Skip("this build is linked with C")
		}
		t.Fatal(errno)
	}
	if err := g.markFilesystem(dir, unix.FAN_OPEN); !errors.Is(err, unix.EPERM) {
		t.Errorf("mark a file system without privilege: %v", err)
	}
	mark(t, g, dir)
	ls := exec.Command("/bin/ls", dir)
	if out, err := ls.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	for _, a := range read(t, g) {
		if a.PID == int32(ls.Process.Pid) && a.Mask&unix.FAN_OPEN != 0 {
			return
		}
	}
	t.Error("nothing is seen of another process")
}

func TestALinkLeadsNowhere(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/a/b", 0o700), os.Symlink("a", dir+"/l"), os.Symlink("/", dir+"/a/out")); err != nil {
		t.Fatal(err)
	}
	at, err := OpenDirectory(unix.AT_FDCWD, dir+"/a")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(at)
	for path, at := range map[string]int{dir + "/l": unix.AT_FDCWD, dir + "/l/b": unix.AT_FDCWD, "out": at, "..": at} {
		if fd, err := OpenDirectory(at, path); err == nil {
			unix.Close(fd)
			t.Errorf("%s is opened", path)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x40\x00\x00\x00\x03\x00\x18\x00\x20\x01\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x08\x6b\x00\x00" +
		"\x02\x00\x20\x00\x01\x02\x03\x04\x05\x06\x07\x08\x08\x00\x00\x00\x01\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08a\x00\x00\x00" +
		"\x04\x00\x08\x00\x09\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = parse(b, func(a Act) {
			if len(a.Name) > maxName || len(a.FromName) > maxName || len(a.Dir) > len(b) {
				t.Errorf("%+v", a)
			}
		})
	})
}
