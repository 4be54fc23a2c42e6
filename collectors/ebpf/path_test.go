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
		"rename":   {change{kind: sensorKindKIND_RENAME}, event.FileRename{Old: root + "/d/x", New: root + "/y"}},
		"unlink":   {change{kind: sensorKindKIND_UNLINK}, event.FileDelete{Path: root + "/d/x"}},
		"rmdir":    {change{kind: sensorKindKIND_RMDIR}, event.FileDelete{Path: root + "/d/x", Directory: true}},
		"mkdir":    {change{kind: sensorKindKIND_MKDIR, tid: 3}, event.FileOpen{Path: root + "/d/x", Create: true, Directory: true, TID: 3}},
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
