package fanotify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/lineage"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// start runs the probe with a lineage that a test fills.
func start(t *testing.T) (*lineage.Tree, <-chan event.Event) {
	open(t) // or skip
	var tree lineage.Tree
	c, err := Probe.Open(collectors.Config{Proc: os.DirFS("/proc"), ProcPath: "/proc", Lineage: &tree})
	if errors.Is(err, collectors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, cov := range c.(collectors.Reporter).Coverage() {
		t.Log(cov.Reason)
	}
	events := make(chan event.Event, 1<<16)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, func(ev event.Event) { events <- ev }) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, c.Close()); err != nil {
			t.Error(err)
		}
	})
	return &tree, events
}

// begin starts a command that waits for a line, and lets it go once it is in the
// lineage.
func begin(t *testing.T, tree *lineage.Tree, cmd *exec.Cmd) event.ProcID {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := procfs.Identify(os.DirFS("/proc"), int32(cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	tree.Add(id)
	fmt.Fprintln(in, "go")
	in.Close()
	return id
}

func line(ev event.Event, dir string) string {
	short := func(p string) string { return strings.TrimPrefix(p, dir+"/") }
	switch b := ev.Body.(type) {
	case event.FileOpen:
		said := ""
		for _, x := range []struct {
			yes  bool
			word string
		}{{b.Create, "create "}, {b.Read, "read "}, {b.Write && !b.Create, "write "}} {
			if x.yes {
				said += x.word
			}
		}
		return said + short(b.Path)
	case event.FileRename:
		return "rename " + short(b.Old) + " " + short(b.New)
	case event.FileDelete:
		return "delete " + short(b.Path)
	}
	return fmt.Sprintf("%T", ev.Body)
}

func TestWhatAWatchedProcessDoesToFilesIsSeenAndNothingElse(t *testing.T) {
	tree, events := start(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "old"), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/bash", "-c", `read -r go
		read x < old; echo y >> old; echo z > new; mkdir sub; mv new sub/moved; exec 3<>held; exec 4<old; sleep 0.5; rm sub/moved; rmdir sub; read x < /dev/null; echo > end`)
	cmd.Dir = dir
	if err := os.WriteFile(filepath.Join(dir, "held"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	id := begin(t, tree, cmd)
	if err := exec.Command("/bin/cat", filepath.Join(dir, "old")).Run(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for after := time.After(20 * time.Second); !slices.Contains(got, "create end"); {
		select {
		case ev := <-events:
			if ev.Proc != id || ev.Stranger || ev.Source != event.SourceFanotify {
				t.Errorf("%+v", ev)
			}
			if said := line(ev, dir); !strings.Contains(said, " /") {
				words := strings.Fields(said)
				file := words[len(words)-1]
				for _, did := range words[:len(words)-1] { // the kernel may tell of two opens in one
					got = append(got, did+" "+file)
				}
			}
		case <-after:
			t.Fatalf("got %q", got)
		}
	}
	// mv, rm, rmdir and mkdir are processes of their own, which nobody watches here.
	want := []string{"create end", "create new", "read old", "write held", "write old"}
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAProcessThatHasEndedIsStillWhoDidIt(t *testing.T) {
	tree, events := start(t)
	dir := t.TempDir()
	cmd := exec.Command("/bin/bash", "-c", "read -r go; echo > made; /bin/mv made moved")
	cmd.Dir = dir
	id := begin(t, tree, cmd)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	tree.End(id, time.Now())
	for after := time.After(20 * time.Second); ; {
		select {
		case ev := <-events:
			if line(ev, dir) == "rename made moved" {
				return
			}
		case <-after:
			t.Fatal("no rename")
		}
	}
}

func TestWithoutALineageThereIsNothingToReport(t *testing.T) {
	if _, err := Probe.Open(collectors.Config{Proc: os.DirFS("/proc")}); !errors.Is(err, collectors.ErrUnsupported) {
		t.Errorf("opened: %v", err)
	}
}

func TestMountsAreFoundAndVirtualOnesLeftOut(t *testing.T) {
	info := `21 1 254:0 / / rw - ext4 /dev/vda rw
22 21 0:20 / /proc rw shared:1 - proc proc rw
23 21 0:30 / /mnt/a\040b rw master:2 - xfs /dev/b rw
nonsense
24 21 0:31 / /tmp\0 rw - tmpfs tmpfs rw`
	want := []mount{{"/", "ext4"}, {"/mnt/a b", "xfs"}, {`/tmp\0`, "tmpfs"}}
	if got := mountsOf([]byte(info)); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func FuzzMounts(f *testing.F) {
	f.Add([]byte("21 1 254:0 / /a\\040 rw - ext4 x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(mountsOf(b)); n > maxFS {
			t.Error(n)
		}
	})
}

func TestAnActIsNotOlderThanTheEmptyQueue(t *testing.T) {
	g, dir := open(t), t.TempDir()
	mark(t, g, dir)
	before := time.Now()
	g.Wake(before.Add(20 * time.Millisecond))
	for err := error(nil); !errors.Is(err, os.ErrDeadlineExceeded); { // what marking did
		if err = g.Read(func(a Act) { unix.Close(a.Pidfd) }); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if fd, err := unix.Open(dir, unix.O_RDONLY, 0); err == nil {
		unix.Close(fd)
	}
	g.Wake(time.Now().Add(10 * time.Second))
	if err := g.Read(func(a Act) { unix.Close(a.Pidfd) }); err != nil {
		t.Fatal(err)
	}
	if since := g.Since(); since.Before(before) || since.After(time.Now()) {
		t.Errorf("since %v, want after %v", since, before)
	}
}
