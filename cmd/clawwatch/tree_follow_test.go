package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

// following runs clawwatch tree --follow; next gives its next line that has a
// text in it, and end lets it end as Ctrl-C does.
func following(t *testing.T, socket string, args ...string) (next func(text string) string, end func()) {
	t.Helper()
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := newTreeCmd()
	cmd.SetOut(w)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{"--socket", socket, "--follow"}, args...))
	done, lines := make(chan error, 1), make(chan string, 1000)
	go func() {
		done <- cmd.ExecuteContext(ctx)
		w.Close()
	}()
	go func() {
		for in := bufio.NewScanner(r); in.Scan(); {
			lines <- in.Text()
		}
		close(lines)
	}()
	next = func(text string) string {
		t.Helper()
		for timeout := time.After(time.Minute); ; {
			select {
			case l, ok := <-lines:
				if !ok {
					t.Fatalf("it ended, and never printed %q", text)
				}
				if strings.Contains(l, text) {
					return l
				}
			case <-timeout:
				t.Fatalf("%q is not printed", text)
			}
		}
	}
	end = func() {
		t.Helper()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("it ends with %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("it does not end")
		}
	}
	t.Cleanup(cancel)
	return next, end
}

// childOf makes records of a process below the story's script, now.
func childOf(pid int32, n string) (run, out, exit event.Record) {
	p := &event.Process{
		PID: pid, StartTime: uint64(pid), ParentPID: 4321, ParentStart: 910, Role: event.RoleTool,
		Executable: &event.Executable{Path: "/usr/bin/curl"}, CommandArgs: []string{"curl", "\x1b[2Jx"},
	}
	ended := *p
	ended.ExitCode = new(int)
	at := time.Now()
	run = event.Record{ID: "01ZZZZ000" + n + "A", Time: at, Kind: event.KindExec, Process: p}
	out = event.Record{ID: "01ZZZZ000" + n + "B", Time: at, Kind: event.KindConnect, Process: p, Network: &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: "192.0.2.9", PeerPort: 80}}
	exit = event.Record{ID: "01ZZZZ000" + n + "C", Time: at, Kind: event.KindExit, Process: &ended}
	return run, out, exit
}

func TestAFollowedTreePrintsWhatIsNew(t *testing.T) {
	socket, s := growingAgent(t)
	next, end := following(t, socket, "--since", "2026-11-22")
	next("python3 4321") // the tree as it is
	run, out, exit := childOf(5000, "1")
	for _, step := range []struct {
		record event.Record
		want   string
	}{
		{run, `+ curl 5000  `}, {out, "* curl 5000  net:   tcp → 192.0.2.9:80"}, {exit, "- curl 5000  "},
	} {
		if err := s.Append([]event.Record{step.record}, nil); err != nil {
			t.Fatal(err)
		}
		if l := next(step.want); strings.Contains(l, "\x1b") {
			t.Errorf("hostile text came through: %q", l)
		}
	}
	end()
}

func TestAFollowedTreeIsAnObjectATimeWithJSON(t *testing.T) {
	socket, s := growingAgent(t)
	next, end := following(t, socket, "--json", "--since", "2026-11-22")
	next(`"pid":4321`)
	run, _, _ := childOf(5000, "1")
	if err := s.Append([]event.Record{run}, nil); err != nil {
		t.Fatal(err)
	}
	var all store.Activities
	if err := json.Unmarshal([]byte(next(`"pid":5000`)), &all); err != nil || len(all.Processes) != 4 {
		t.Errorf("%d processes, %v", len(all.Processes), err)
	}
	end()
}

func TestATreeWithoutAnAgentEnds(t *testing.T) {
	cmd := newTreeCmd()
	if _, err := askVerb(t, cmd, t.TempDir()+"/nobody.sock", "--live"); err == nil || !strings.Contains(err.Error(), "follow tree: no agent answers") {
		t.Errorf("%v", err)
	}
}

// What runs is shown with what it descends from; what has ended stays for a
// moment.
func TestALiveTreeShowsWhatRuns(t *testing.T) {
	now := time.Now()
	made := func(pid, parent int32, exited bool, ago time.Duration) store.Activity {
		return store.Activity{Process: event.Process{PID: pid, StartTime: uint64(pid), ParentPID: parent, ParentStart: uint64(parent)}, Exited: exited, Last: now.Add(-ago)}
	}
	all := []store.Activity{
		made(1, 0, true, time.Hour), made(2, 1, true, time.Hour), made(3, 2, false, time.Hour), // a chain that still has a leaf
		made(4, 1, true, time.Hour), made(5, 1, true, time.Second), made(6, 7, true, time.Hour), made(7, 6, true, time.Hour),
	}
	var got []int32
	for _, p := range living(all, now) {
		got = append(got, p.Process.PID)
	}
	if want := []int32{1, 2, 3, 5}; len(got) != len(want) || got[0] != 1 || got[1] != 2 || got[2] != 3 || got[3] != 5 {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAFrameHasTheEndOfALongTree(t *testing.T) {
	got := drawn([]byte("1\n2\n3\n4\n"), 3, "now")
	if want := "\x1b[Hnow; 2 lines above are not shown\x1b[K\n3\x1b[K\n4\x1b[K\n\x1b[K\x1b[J"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// On a terminal the tree is drawn in its place.
func TestATreeIsDrawnOnATerminal(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	defer master.Close()
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100}); err != nil {
		t.Fatal(err)
	}
	view, ok := newTreeView(terminal, &asking{}, 0).(*screenTree)
	if !ok {
		t.Fatal("a terminal is not taken for one")
	}
	read := make(chan []byte, 1)
	go func() {
		var all []byte
		for !bytes.Contains(all, []byte("sh 7")) {
			b := make([]byte, 4096)
			n, err := master.Read(b)
			if err != nil {
				break
			}
			all = append(all, b[:n]...)
		}
		read <- all
	}()
	running := store.Activities{Processes: []store.Activity{{Process: event.Process{PID: 7, StartTime: 7, Executable: &event.Executable{Path: "/bin/sh"}}, Last: time.Now()}}}
	if err := view.show(running, time.Now()); err != nil {
		t.Fatal(err)
	}
	select {
	case all := <-read:
		if !bytes.HasPrefix(all, []byte("\x1b[2J\x1b[H")) || !bytes.Contains(all, []byte("1 processes; end with Ctrl-C")) || !bytes.Contains(all, []byte("sh 7")) {
			t.Errorf("%q", all)
		}
	case <-time.After(time.Minute):
		t.Fatal("nothing is drawn")
	}
}
