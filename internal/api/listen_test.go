package api_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/api"
)

// leaveSocket leaves a socket behind that nobody listens at any more.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestListenReplacesOnlyADeadSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "sock")
	l, err := api.Listen(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if _, err := api.Listen(path, -1); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("a living socket: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	leaveSocket(t, path)
	l, err = api.Listen(path, -1)
	if err != nil {
		t.Fatalf("a dead socket: %v", err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Listen(path, -1); err == nil {
		t.Error("a file was taken for a socket")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file is now %q, %v", b, err)
	}
}

// The mode of the socket is loosened for this: only the credentials decide.
func TestOnlyRootTheOwnUserAndTheGroupAreAdmitted(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root to become somebody else")
		}
		t.Skip("needs root to become somebody else")
	}
	dir, err := os.MkdirTemp("", "api")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const group = 4711
	path := filepath.Join(dir, "sock")
	l, err := api.Listen(path, group)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("in"))
			_ = c.Close()
		}
	}()
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name          string
		uid, gid      int
		supplementary []uint32
		want          string
	}{
		{"root", 0, 0, nil, "in"},
		{"a stranger", 65534, 65534, nil, ""},
		{"a stranger with other groups", 65534, 65534, []uint32{1, 2, 3}, ""},
		{"group", 65534, group, nil, "in"},
		{"supplementary group", 65534, 65534, []uint32{1, group}, "in"},
	} {
		if got := askAs(t, path, c.uid, c.gid, c.supplementary); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// askAs connects from a thread that has become somebody else, and ends it.
func askAs(t *testing.T, path string, uid, gid int, groups []uint32) string {
	t.Helper()
	result := make(chan string)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		defer close(result)
		if err := becomeThread(uid, gid, groups); err != nil {
			t.Error(err)
			return
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Error(err)
			return
		}
		b, _ := io.ReadAll(conn) // a reset is a refusal
		_ = conn.Close()
		result <- string(b)
	}()
	return <-result
}

// becomeThread changes the user of this thread alone, as syscall.Setresuid does
// not.
func becomeThread(uid, gid int, groups []uint32) error {
	groups = append(groups, 0) // so that there is a first
	if _, _, err := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)-1), uintptr(unsafe.Pointer(&groups[0])), 0); err != 0 {
		return err
	}
	if _, _, err := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); err != 0 {
		return err
	}
	if _, _, err := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); err != 0 {
		return err
	}
	return nil
}
