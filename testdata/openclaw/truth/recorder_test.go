package truth

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func listen(t *testing.T) (*Recorder, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	r, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, path
}

// claim says one thing, waits for the answer, and then tells the outcome.
func claim(t *testing.T, path string, c Claim, outcome error) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(c); err != nil {
		t.Error(err)
	}
	if answer, err := bufio.NewReader(conn).ReadString('\n'); err != nil || answer != "ok\n" {
		t.Errorf("answer %q, %v", answer, err)
	}
	if !c.Parent { // the recorder does not wait for what another does
		if _, err := conn.Write(Outcome(outcome)); err != nil {
			t.Error(err)
		}
	}
}

func TestIdentityComesFromTheKernel(t *testing.T) {
	r, path := listen(t)
	claim(t, path, Claim{Label: "k1", Op: "read", Args: []string{"/a"}}, nil)
	claim(t, path, Claim{Label: "k1", Op: "exec", Parent: true}, nil)
	if err := r.Await(time.Minute, 3, func(l Line) bool { return l.Label == "k1" }); err != nil {
		t.Fatal(err)
	}
	lines, err := r.Lines()
	if err != nil {
		t.Fatal(err)
	}
	self, ppid, err := Stat(int32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	if lines[1].Op != "read" || lines[1].Proc != self || lines[1].Ancestors[0].PID != ppid {
		t.Errorf("own deed: %+v, want process %v", lines[1], self)
	}
	if lines[2].Op != "exec" || lines[2].Proc.PID != ppid {
		t.Errorf("the parent's deed: %+v, want process %d", lines[2], ppid)
	}
}

func TestDeedThatFailsIsToldOf(t *testing.T) {
	r, path := listen(t)
	claim(t, path, Claim{Label: "k1", Op: "read", Args: []string{"/a"}}, errors.New("no such file"))
	if err := r.Await(time.Minute, 0, func(Line) bool { return true }); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := r.Lines(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

func TestMeetingTakesPlaceOnceAllHaveCome(t *testing.T) {
	r, path := listen(t)
	done := make(chan struct{})
	go func() {
		claim(t, path, Claim{Label: "k1", Op: "meet", Args: []string{"m", "2"}}, nil)
		close(done)
	}()
	r.Arrive("m")
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the meeting never took place")
	}
}

func TestClosingLetsGoOfWhoWaits(t *testing.T) {
	r, path := listen(t)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(Claim{Label: "k1", Op: "meet", Args: []string{"m", "2"}}); err != nil {
		t.Fatal(err)
	}
	for lines := []Line(nil); len(lines) == 0; {
		if lines, err = r.Lines(); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	if _, err := r.Lines(); err == nil || !strings.Contains(err.Error(), "meet at m") {
		t.Errorf("got %v", err)
	}
}
