package ebpf

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

func TestParent(t *testing.T) {
	tests := []struct {
		text, dir    string
		parent, base string
		direct       bool
	}{
		{"name", "/cwd", "/cwd", "name", true},
		{"name///", "/cwd", "/cwd", "name", true},
		{"a/name", "/cwd", "/cwd/a", "name", false},
		{"../name", "/cwd", "/cwd/..", "name", false},
		{"/name", "/", "/", "name", false},
		{"/a/b/name/", "/", "/a/b/", "name", false},
		{"", "/cwd", "/cwd", "", true},
		{"/", "/", "/", "", true},
	}
	for _, test := range tests {
		parent, base, direct := place{text: test.text, dir: test.dir}.parent()
		if parent != test.parent || base != test.base || direct != test.direct {
			t.Errorf("%q in %s: %q %q %v", test.text, test.dir, parent, base, direct)
		}
	}
}

func TestKernelPath(t *testing.T) {
	for text, want := range map[string]string{"": "/", tmp: "/tmp", etc: "/etc/passwd", "a": "/a"} {
		if got := kernelPath(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// newTree makes a directory d with links to it, and a resolver.
func newTree(t *testing.T) (string, *resolver, uint32) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "d/e"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"relative": "d", "absolute": root + "/d/e", "loop": "loop", "up": "../.."} {
		link = filepath.Join(root, link)
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
		times := []unix.Timespec{unix.NsecToTimespec(time.Now().Add(time.Hour).UnixNano()), {}}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, link, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stat(link) // into the kernel's memory
	}
	r, err := newResolver("/proc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.close() })
	ns, err := namespace("/proc/self", "mnt")
	if err != nil {
		t.Fatal(err)
	}
	return root, r, ns
}

func TestResolve(t *testing.T) {
	root, r, ns := newTree(t)
	tests := map[string]struct{ place, want string }{
		"a link to a directory":       {"/relative/x", "/d/x"},
		"an absolute link":            {"/absolute/x", "/d/e/x"},
		"dots behind a link":          {"/absolute/../x", "/d/x"},
		"the last one is no link":     {"/relative", "/relative"},
		"a loop stays as written":     {"/loop/x", "/loop/x"},
		"what is gone stays, cleaned": {"/gone/../gone/./x", "/gone/x"},
		"dots at the end":             {"/d/e/..", "/d"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, _ := r.resolve(place{text: root + test.place, dir: "/"}, ns, int32(os.Getpid()))
			if got != root+test.want {
				t.Errorf("%s, want %s", got, root+test.want)
			}
		})
	}
	t.Run("relative to a directory", func(t *testing.T) {
		got, _ := r.resolve(place{text: "relative/x", dir: root}, ns, int32(os.Getpid()))
		if got != root+"/d/x" {
			t.Errorf("%s, want %s", got, root+"/d/x")
		}
	})
	t.Run("a link as the last one, followed", func(t *testing.T) {
		got, sure := r.resolve(place{text: root + "/absolute", dir: "/", follow: true}, ns, int32(os.Getpid()))
		if got != root+"/d/e" || !sure {
			t.Errorf("%s, sure %v, want %s", got, sure, root+"/d/e")
		}
	})
	t.Run("an object", func(t *testing.T) {
		if got, sure := r.resolve(place{dir: root + "/gone", object: true}, ns, 0); got != root+"/gone" || !sure {
			t.Errorf("%s, sure %v", got, sure)
		}
	})
	t.Run("a loop is not sure", func(t *testing.T) {
		if got, sure := r.resolve(place{text: root + "/loop/x", dir: "/"}, ns, 0); sure {
			t.Errorf("%s, sure", got)
		}
	})
	t.Run("/proc/self is not ours", func(t *testing.T) {
		for _, name := range []string{"/proc/self/cwd/x", "//proc/./self//cwd/x", "/proc/thread-self/root/x", "/proc/self/fd/0/x"} {
			if got, sure := r.resolve(place{text: name, dir: "/"}, ns, 1<<22+1); sure {
				t.Errorf("%s of a process that is gone: %s, sure", name, got)
			}
		}
		cwd, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		got, sure := r.resolve(place{text: "//proc/self/./cwd/x", dir: "/"}, ns, int32(os.Getpid()))
		if got != cwd+"/x" || !sure {
			t.Errorf("%s, sure %v, want %s/x", got, sure, cwd)
		}
	})
	t.Run("in a namespace that is gone", func(t *testing.T) {
		got, sure := r.resolve(place{text: root + "/relative/x", dir: "/"}, ns+1, int32(os.Getpid()))
		if got != root+"/relative/x" || sure {
			t.Errorf("%s, sure %v, want it as written", got, sure)
		}
	})
}

func TestChangesBecomeEvents(t *testing.T) {
	root, r, ns := newTree(t)
	id := event.ProcID{PID: int32(os.Getpid())}
	names := [2]place{{text: root + "/relative/x", dir: "/"}, {text: "y", dir: root}}
	tests := map[string]struct {
		c    change
		want event.Body
	}{
		"rename":     {change{kind: sensorKindKIND_RENAME}, event.FileRename{Old: root + "/d/x", New: root + "/y"}},
		"unlink":     {change{kind: sensorKindKIND_UNLINK}, event.FileDelete{Path: root + "/d/x"}},
		"rmdir":      {change{kind: sensorKindKIND_RMDIR}, event.FileDelete{Path: root + "/d/x", Directory: true}},
		"mkdir":      {change{kind: sensorKindKIND_MKDIR, tid: 3}, event.FileOpen{Path: root + "/d/x", Create: true, Directory: true, TID: 3}},
		"exchange":   {change{kind: sensorKindKIND_RENAME, exchange: true}, event.FileRename{Old: root + "/d/x", New: root + "/y", Exchange: true}},
		"link":       {change{kind: sensorKindKIND_LINK}, event.FileLink{Old: root + "/d/x", Path: root + "/y"}},
		"symlink":    {change{kind: sensorKindKIND_SYMLINK}, event.FileLink{Path: root + "/d/x", Target: "y", Symbolic: true}},
		"mknod":      {change{kind: sensorKindKIND_MKNOD}, event.FileOpen{Path: root + "/d/x", Create: true}},
		"truncation": {change{kind: sensorKindKIND_TRUNCATE}, event.FileTruncate{Path: root + "/d/x"}},
		"mode": {
			change{kind: sensorKindKIND_ATTR, attribute: sensorAttributeATTR_MODE, value: [2]uint32{0o104755}},
			event.FileAttr{Path: root + "/d/x", Attribute: event.AttrMode, Value: "4755"},
		},
		"owner": {
			change{kind: sensorKindKIND_ATTR, attribute: sensorAttributeATTR_OWNER, value: [2]uint32{0, 0xffffffff}},
			event.FileAttr{Path: root + "/d/x", Attribute: event.AttrOwner, Value: "0:-1"},
		},
		"extended attribute": {
			change{kind: sensorKindKIND_ATTR, attribute: sensorAttributeATTR_XATTR},
			event.FileAttr{Path: root + "/d/x", Attribute: event.AttrXattr, Value: "y"},
		},
		"asked of io_uring": {
			change{kind: sensorKindKIND_ASKED, value: [2]uint32{unix.O_RDWR | unix.O_TRUNC}, uring: true},
			event.FileOpen{Path: root + "/d/x", Read: true, Write: true, Emptied: true, FileDoubt: event.FileDoubt{IOUring: true}},
		},
		"cut path": {change{kind: sensorKindKIND_UNLINK, truncated: true}, event.FileDelete{Path: root + "/d/x", Truncated: true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.c.mntNS, test.c.names = ns, names
			if got := test.c.body(r, id); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
	t.Run("a name that could not be read", func(t *testing.T) {
		c := change{kind: sensorKindKIND_UNLINK, mntNS: ns, names: [2]place{{dir: root}}}
		if got, want := c.body(r, id), (event.FileDelete{Path: root, Truncated: true}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}
