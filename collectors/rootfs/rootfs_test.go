package rootfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// box lays out a directory that stands for a container's root, beside files that are
// not in it, and the processes of a /proc that have it.
func box(t *testing.T, pids ...string) (p Place, root string) {
	t.Helper()
	top := t.TempDir()
	root = filepath.Join(top, "root")
	for name, text := range map[string]string{
		"outside/secret": "the host's", "root/outside/secret": "the container's", "root/home/plain": "plain",
	} {
		file(t, filepath.Join(top, name), text)
	}
	links := map[string]string{
		"home/absolute": "/outside/secret", "home/up": "../../outside/secret", "home/dir": "/outside",
		"home/host": filepath.Join(top, "outside/secret"), "home/nowhere": "/nowhere",
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "home/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	ns := filepath.Join(top, "namespace")
	file(t, ns, "")
	for _, pid := range pids {
		dir := filepath.Join(top, "proc", pid)
		if err := errors.Join(os.MkdirAll(dir+"/ns", 0o755), os.Symlink(root, dir+"/root"), os.Link(ns, dir+"/ns/mnt")); err != nil {
			t.Fatal(err)
		}
	}
	fi, err := os.Stat(ns)
	if err != nil {
		t.Fatal(err)
	}
	return Place{Root: filepath.Join(top, "proc", pids[0], "root"), Mount: uint32(fi.Sys().(*syscall.Stat_t).Ino)}, root
}

func file(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func opened(t *testing.T, p *Place) *Root {
	t.Helper()
	r, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestNoLinkLeadsOut(t *testing.T) {
	p, _ := box(t, "10")
	r := opened(t, &p)
	for path, want := range map[string]string{
		"/home/plain": "plain", "/home/absolute": "the container's", "/home/up": "the container's", "/home/dir/secret": "the container's",
		"/../../outside/secret": "the container's", "/home/host": "", "/home/nowhere": "", "/home/pipe": "",
	} {
		got := ""
		f, err := r.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK)
		if err == nil {
			b, _ := io.ReadAll(f)
			got = string(b)
			f.Close()
		}
		if got != want {
			t.Errorf("%s: %q, %v, want %q", path, got, err, want)
		}
	}
	if _, err := r.OpenFile("/home/absolute", os.O_RDONLY|unix.O_NOFOLLOW); err == nil {
		t.Error("a link is followed that was not to be")
	}
}

func TestPathsAreTheContainersOwn(t *testing.T) {
	p, _ := box(t, "10")
	r := opened(t, &p)
	for path, want := range map[string]string{"/home/absolute": "/outside/secret", "/home/dir": "/outside", "/home/../home": "/home", "/": "/"} {
		if got, err := r.Real(path); got != want || err != nil {
			t.Errorf("%s is %s, %v, want %s", path, got, err, want)
		}
	}
	if got, err := r.Real("/home/nowhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there is %s, %v", got, err)
	}
	if got, err := r.Readlink("/home/up"); got != "../../outside/secret" || err != nil {
		t.Errorf("link: %s, %v", got, err)
	}
	if fi, err := r.Lstat("/home/absolute"); err != nil || fi.Mode().Type() != fs.ModeSymlink || fi.Name() != "absolute" {
		t.Errorf("lstat of a link: %v, %v", fi, err)
	}
	entries, err := r.ReadDir("/home")
	if err != nil || len(entries) != 7 || entries[0].Name() != "absolute" || entries[0].Type() != fs.ModeSymlink {
		t.Errorf("entries %v, %v", entries, err)
	}
}

func TestADirectorysNameLeadsToIt(t *testing.T) {
	p, root := box(t, "10")
	r := opened(t, &p)
	f, err := r.OpenFile("/home/dir", os.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Rename(filepath.Join(root, "outside"), filepath.Join(root, "moved")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(f.Name(), "secret")); err != nil || string(b) != "the container's" {
		t.Errorf("%s: %q, %v", f.Name(), b, err)
	}
}

func TestAnotherProcessStandsInForOneThatEnded(t *testing.T) {
	p, _ := box(t, "10", "11")
	proc := filepath.Dir(filepath.Dir(p.Root))
	file(t, filepath.Join(proc, "9/ns/mnt"), "") // of other mounts, and with a root that is no business of ours
	if err := os.Symlink("/", filepath.Join(proc, "9/root")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(proc, "10")); err != nil {
		t.Fatal(err)
	}
	r := opened(t, &p)
	if p.Root != filepath.Join(proc, "11/root") {
		t.Errorf("the place is %s", p.Root)
	}
	if _, err := r.Lstat("/home/plain"); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(filepath.Join(proc, "11")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Open(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with nobody left: %v", err)
	}
}

func TestANumberThatIsAnothersIsNotTaken(t *testing.T) {
	p, _ := box(t, "10")
	p.Mount++
	if r, err := p.Open(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, %v", r, err)
	}
}

func TestTheHostIsReadAsEver(t *testing.T) {
	var p Place
	r := opened(t, &p)
	path := filepath.Join(t.TempDir(), "x")
	file(t, path, "text")
	f, err := r.OpenFile(path, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if real, err := r.Real(path); err != nil || !strings.HasSuffix(real, "/x") {
		t.Errorf("%s, %v", real, err)
	}
	if fi, err := r.Lstat(path); err != nil || fi.Size() != 4 {
		t.Errorf("%v, %v", fi, err)
	}
}

func TestANameIsToldWithoutTheProcess(t *testing.T) {
	p := Place{Root: "/proc/10/root", Mount: 1}
	for name, want := range map[string]string{
		"/proc/10/root/home/x": "/home/x", "/proc/9/root/home/root/x": "/home/root/x", "/home/x": "/home/x", "/proc/10/maps": "/proc/10/maps",
	} {
		if got := p.Path(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if got := (Place{}).Path("/proc/10/root/x"); got != "/proc/10/root/x" {
		t.Errorf("on the host %s", got)
	}
}
