package digest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// ran is a copy of sleep that runs, as the kernel would tell of it.
func ran(t *testing.T) (cmd *exec.Cmd, file string, ev event.Event) {
	t.Helper()
	text, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Skip(err)
	}
	file = filepath.Join(t.TempDir(), "sleep")
	if err := os.WriteFile(file, text, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(file, "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	proc, err := procfs.Identify(os.DirFS("/proc"), int32(cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return cmd, file, event.Event{Time: time.Now(), Proc: proc, Body: event.Exec{Path: file, File: fileID(t, file)}}
}

func fileID(t *testing.T, file string) event.FileID {
	t.Helper()
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Stat(file, &st), unix.Statfs(file, &fs)); err != nil {
		t.Fatal(err)
	}
	if !procfs.Answers(uint32(fs.Type)) {
		t.Skipf("file system %x is not one that is read", fs.Type)
	}
	return event.FileID{
		Dev: st.Dev, Inode: st.Ino, Size: uint64(st.Size), Modified: st.Mtim.Nano(), Changed: st.Ctim.Nano(), Magic: uint32(fs.Type),
	}
}

func sumOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func noScript(event.Exec) string { return "" }

func TestARunningProgramIsHashedOnce(t *testing.T) {
	_, file, first := ran(t)
	_, _, last := ran(t)
	h := New("/proc", noScript)
	for _, ev := range []event.Event{first, first, last} {
		h.Offer(ev)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var got []event.Digest
	err := h.Run(ctx, func(e event.Event) {
		if got = append(got, e.Body.(event.Digest)); got[len(got)-1].File == last.Body.(event.Exec).File {
			cancel()
		}
	})
	want := event.Digest{File: first.Body.(event.Exec).File, SHA256: sumOf(t, file)}
	if err != nil || len(got) != 2 || got[0] != want || got[1].SHA256 != want.SHA256 {
		t.Errorf("%+v, %v, want %+v and the other", got, err, want)
	}
}

func TestARemovedProgramIsHashedWhileItRuns(t *testing.T) {
	_, file, ev := ran(t)
	want := sumOf(t, file)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	got, err := New("/proc", noScript).hash(t.Context(), ev.Proc, ev.Time, ev.Body.(event.Exec))
	if got != want || err != nil {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}

// Nothing of this may get the digest of another file than the one that ran.
func TestASwappedFileIsNotClaimed(t *testing.T) {
	swap := map[string]func(t *testing.T, file string) error{
		"another file in its place": func(t *testing.T, file string) error {
			return errors.Join(os.WriteFile(file+".new", []byte("other"), 0o755), os.Rename(file+".new", file))
		},
		"other content of the same size and time": func(t *testing.T, file string) error {
			old := fileID(t, file)
			err := os.WriteFile(file, bytes.Repeat([]byte("x"), int(old.Size)), 0o755)
			return errors.Join(err, os.Chtimes(file, time.Time{}, time.Unix(0, old.Modified)))
		},
		"a symbolic link": func(t *testing.T, file string) error {
			return errors.Join(os.Remove(file), os.Symlink("/bin/true", file))
		},
		"a pipe": func(t *testing.T, file string) error {
			return errors.Join(os.Remove(file), unix.Mkfifo(file, 0o755))
		},
		"nothing": func(_ *testing.T, file string) error { return os.Remove(file) },
	}
	for name, swap := range swap {
		t.Run(name, func(t *testing.T) {
			cmd, file, ev := ran(t)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if err := swap(t, file); err != nil {
				t.Fatal(err)
			}
			ev.Time = ev.Time.Add(time.Hour) // the change was long before
			if got, err := New("/proc", noScript).hash(t.Context(), ev.Proc, ev.Time, ev.Body.(event.Exec)); err == nil {
				t.Errorf("%s", got)
			}
		})
	}
}

func TestAProgramThatEndedIsHashedByItsPath(t *testing.T) {
	cmd, file, ev := ran(t)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	x := ev.Body.(event.Exec)
	h := New("/proc", noScript)
	if got, err := h.hash(t.Context(), ev.Proc, time.Unix(0, x.File.Changed), x); !errors.Is(err, errYoung) {
		t.Errorf("changed in the moment of the exec: %s, %v, want %v", got, err, errYoung)
	}
	late := ev.Time.Add(time.Hour)
	if got, err := h.hash(t.Context(), ev.Proc, late, x); got != sumOf(t, file) || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	x.Namespaces = &event.Namespaces{Mount: 1}
	if got, err := h.hash(t.Context(), ev.Proc, late, x); err == nil {
		t.Errorf("in another mount namespace: %s", got)
	}
	x.Namespaces, x.File.Size = nil, maxSize+1
	if got, err := h.hash(t.Context(), ev.Proc, late, x); err == nil {
		t.Errorf("too large: %s", got)
	}
}

func TestAFileThatDoesNotAnswerIsLeftAlone(t *testing.T) {
	_, _, ev := ran(t)
	x := ev.Body.(event.Exec)
	x.File.Magic = unix.FUSE_SUPER_MAGIC
	if got, err := New("/proc", noScript).hash(t.Context(), ev.Proc, ev.Time, x); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%s, %v, want %v", got, err, errors.ErrUnsupported)
	}
}

func TestOffersAreBounded(t *testing.T) {
	h := New("/proc", noScript)
	for range 10 * maxWait {
		h.Offer(event.Event{Body: event.Exec{File: event.FileID{Inode: 1}}})
	}
	if len(h.wait) != maxWait {
		t.Errorf("%d wait, want %d", len(h.wait), maxWait)
	}
}
