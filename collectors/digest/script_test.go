package digest

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A script is told by what it was at the exec, and not at all where its path may
// have led elsewhere by then.
func TestAScriptIsHashedIfItIsTheOneThatWasRun(t *testing.T) {
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const ended = 7
	proc := t.TempDir() // in which process 1 is not to be seen
	for _, of := range []string{strconv.Itoa(os.Getpid()), "self"} {
		must(os.Mkdir(filepath.Join(proc, of), 0o755))
		must(os.Symlink("/", filepath.Join(proc, of, "root")))
	}
	tests := map[string]struct {
		path  string
		after func(dir string) // the exec
		none  bool
	}{
		"as it was":              {"real/run.sh", func(string) {}, false},
		"by a link":              {"link/run.sh", func(string) {}, false},
		"written since":          {"real/run.sh", func(dir string) { write(dir+"/real/run.sh", "echo bad") }, true},
		"another under its name": {"real/run.sh", func(dir string) { must(os.Rename(dir+"/other/run.sh", dir+"/real/run.sh")) }, true},
		"another directory": {"real/run.sh", func(dir string) {
			must(unix.Renameat2(unix.AT_FDCWD, dir+"/real", unix.AT_FDCWD, dir+"/other", unix.RENAME_EXCHANGE))
		}, true},
		"another link": {"link/run.sh", func(dir string) {
			must(os.Symlink("other", dir+"/new"))
			must(os.Rename(dir+"/new", dir+"/link"))
		}, true},
		"a pipe": {"pipe", func(string) {}, true},
		"gone":   {"real/run.sh", func(dir string) { must(os.Remove(dir + "/real/run.sh")) }, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			must(os.Mkdir(dir+"/real", 0o755))
			must(os.Mkdir(dir+"/other", 0o755))
			must(os.Symlink("real", dir+"/link"))
			must(unix.Mkfifo(dir+"/pipe", 0o600))
			write(dir+"/real/run.sh", "echo good")
			write(dir+"/other/run.sh", "echo bad")
			want := sumOf(t, dir+"/real/run.sh")
			fileID(t, dir+"/real/run.sh") // skips where the file system is not one that is read
			time.Sleep(2 * young)
			at := time.Now()
			time.Sleep(20 * time.Millisecond) // the clock of a file system goes by ticks
			test.after(dir)
			path := filepath.Join(dir, test.path)
			for state, pid := range map[string]int{"runs": os.Getpid(), "has ended": ended} {
				h := New(proc, func(event.Exec) string { return path })
				got, err := h.script(t.Context(), event.ProcID{PID: int32(pid)}, at, event.Exec{})
				if test.none {
					if err == nil {
						t.Errorf("%s: %+v", state, got)
					}
					continue
				}
				if err != nil || got.SHA256 != want || got.Script != path {
					t.Errorf("%s: %+v, %v; want %s", state, got, err, want)
				}
			}
		})
	}
}
