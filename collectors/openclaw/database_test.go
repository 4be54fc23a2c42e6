package openclaw

import (
	"bufio"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"
)

// writer is a gateway's writer, in a process of its own as SQLite's locks ask
// for, with a fifth of OpenClaw's patience: it commits row after row until its
// input ends, and says how many, and how many were refused. Killed, it leaves its files as a crash does.
func writer(path string) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(1000)&_pragma=synchronous(0)&_pragma=wal_autocheckpoint(20)")
	if err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(schema); err != nil {
		panic(err)
	}
	end := make(chan struct{})
	go func() { io.Copy(io.Discard, os.Stdin); close(end) }()
	refused := 0
	for n := 0; ; {
		select {
		case <-end:
			db.Close()
			fmt.Println("written", n, "refused", refused)
			return
		default:
		}
		_, err := db.Exec(`INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES ('s', ?, ?, 5000)`, n, execRow(fmt.Sprint(n), "x"))
		if err != nil {
			refused++
			continue
		}
		if n++; n == 1 {
			fmt.Println("ready")
		}
	}
}

// closer commits one row and closes the database, for each line it reads.
func closer(path string) {
	lines := bufio.NewReader(os.Stdin)
	for n := 0; ; n++ {
		db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
		if err != nil {
			panic(err)
		}
		if n == 0 {
			if _, err := db.Exec(schema); err != nil {
				panic(err)
			}
		}
		if _, err := db.Exec(`INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES ('s', ?, ?, 5000)`, n, execRow(fmt.Sprint(n), "x")); err != nil {
			panic(err)
		}
		if err := db.Close(); err != nil {
			panic(err)
		}
		fmt.Println("closed")
		if _, err := lines.ReadString('\n'); err != nil {
			return
		}
	}
}

// startWriter gives the writer, or another of its kind, once it says something.
func startWriter(t *testing.T, kind, path string) (cmd *exec.Cmd, stdin io.WriteCloser, stdout io.Reader) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "OPENCLAW_TEST_"+kind+"="+path)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err = cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if _, err := fmt.Fscanln(stdout, new(string)); err != nil {
		t.Fatalf("writer: %v", err)
	}
	return cmd, stdin, stdout
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestAWriterIsNeverRefusedAndNoFileIsMade(t *testing.T) {
	_, r := agent(t, "")
	os.Remove(r.name())
	_, stdin, stdout := startWriter(t, "WRITER", r.name())
	seen := 0
	for seen < 500 || r.said.Fidelity != "complete" { // a reading can fail: the next one goes on
		seen += len(calls(r))
	}
	stdin.Close()
	var written, refused int
	if _, err := fmt.Fscanf(stdout, "written %d refused %d\n", &written, &refused); err != nil {
		t.Fatal(err)
	}
	if refused != 0 {
		t.Errorf("%d of %d commits were refused", refused, written)
	}
	if got := names(t, r.agentDir()); !slices.Equal(got, []string{databaseName}) {
		t.Fatalf("after the writer's end: %v", got)
	}
	seen += len(calls(r))
	if seen != written {
		t.Errorf("%d calls seen, %d written", seen, written)
	}
	if got := names(t, r.agentDir()); !slices.Equal(got, []string{databaseName}) {
		t.Errorf("reading a closed database made files: %v", got)
	}
}

// SQLite deletes -wal and -shm together, and a reader that comes between our
// look and the deletion would make a new -wal, alone.
func TestAGatewayThatEndsAsItIsReadFindsNoNewFile(t *testing.T) {
	_, r := agent(t, "")
	os.Remove(r.name())
	_, stdin, stdout := startWriter(t, "CLOSER", r.name())
	told, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := fmt.Fscanln(stdout, new(string)); err != nil {
				return
			}
			told <- struct{}{}
		}
	}()
	seen := 0
	for range 60 {
		if _, err := io.WriteString(stdin, "\n"); err != nil {
			t.Fatal(err)
		}
		for waiting := true; waiting; {
			select {
			case <-told:
				waiting = false
			default:
				seen += len(calls(r))
			}
		}
		if got := names(t, r.agentDir()); slices.Equal(got, []string{databaseName, databaseName + "-wal"}) {
			t.Fatalf("reading made a file: %v", got)
		}
	}
	stdin.Close()
	<-ended
	seen += len(calls(r))
	if seen != 61 || r.said.Fidelity != "complete" {
		t.Errorf("%d calls seen, 61 written; %+v", seen, r.said)
	}
}

func TestACrashedGatewaysRowsAreReadAndItsFilesLeftAlone(t *testing.T) {
	_, r := agent(t, "")
	os.Remove(r.name())
	cmd, _, _ := startWriter(t, "WRITER", r.name())
	cmd.Process.Kill()
	cmd.Wait()
	before := names(t, r.agentDir())
	_, stamps, err := r.look()
	if err != nil || stamps[1].size == 0 {
		t.Fatalf("no -wal to read: %+v, %v", stamps, err)
	}
	if got := calls(r); len(got) == 0 || got[0] != "0" {
		t.Errorf("%d calls; coverage %+v", len(got), r.said)
	}
	_, after, err := r.look()
	if err != nil || after != stamps || !slices.Equal(before, names(t, r.agentDir())) {
		t.Errorf("files changed: %v %+v to %v %+v", before, stamps, names(t, r.agentDir()), after)
	}
}
