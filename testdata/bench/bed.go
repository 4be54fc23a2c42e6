package main

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the records of the gateway
)

// A bed is where the runs take place: a home for each gateway, the programs,
// and the servers.
type bed struct {
	dir     string
	self    string // this program
	node    string // it again, under a gateway's name
	script  string // gateway.mjs; empty: there is no Node.js
	servers *servers
	runs    int
}

func newBed(dir string) (*bed, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b := &bed{dir: dir, self: filepath.Join(dir, "bench"), node: filepath.Join(dir, "node")}
	data, err := os.ReadFile(self)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.WriteFile(b.self, data, 0o755), os.Link(b.self, b.node)); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath("node"); err == nil {
		b.script = filepath.Join(dir, "openclaw.mjs")
		if err := os.WriteFile(b.script, gatewayScript, 0o644); err != nil {
			return nil, err
		}
	}
	if lacksC() == "" {
		if err := compileGetenv(dir); err != nil {
			return nil, err
		}
	}
	b.servers, err = newServers()
	return b, err
}

// workdir makes an empty directory for one run.
func (b *bed) workdir() (string, error) {
	b.runs++
	dir := filepath.Join(b.dir, "run"+strconv.Itoa(b.runs))
	return dir, os.Mkdir(dir, 0o700)
}

// A home is that of a gateway's user.
type home struct{ dir string }

func (h home) state() string     { return filepath.Join(h.dir, ".openclaw") }
func (h home) workspace() string { return filepath.Join(h.state(), "workspace") }
func (h home) skill() string     { return filepath.Join(h.workspace(), "skills", skillName) }
func (h home) script() string    { return filepath.Join(h.skill(), "scripts", "storm.sh") }

func (h home) database() string {
	return filepath.Join(h.state(), "agents", "main", "agent", "openclaw-agent.sqlite")
}

func (h home) env() []string {
	return append(os.Environ(), "HOME="+h.dir, "OPENCLAW_STATE_DIR="+h.state())
}

// skillName is the skill for which the watched workloads are done.
const skillName = "storm"

// newHome lays out a gateway's state with one skill, whose script runs what it
// is given.
func (b *bed) newHome() (home, error) {
	b.runs++
	h := home{filepath.Join(b.dir, "home"+strconv.Itoa(b.runs))}
	if err := os.MkdirAll(filepath.Dir(h.script()), 0o700); err != nil {
		return h, err
	}
	about := "---\nname: " + skillName + "\ndescription: does what the bench wants\n---\nRun scripts/storm.sh.\n"
	return h, errors.Join(
		os.WriteFile(filepath.Join(h.skill(), "SKILL.md"), []byte(about), 0o600),
		os.WriteFile(h.script(), []byte("exec \"$@\"\n"), 0o600),
		os.MkdirAll(filepath.Dir(h.database()), 0o700),
		h.write(schema))
}

// schema is what is read of OpenClaw's database.
const schema = `
CREATE TABLE transcript_events (session_id TEXT, seq INTEGER, event_json TEXT, created_at INTEGER, event_zstd BLOB, PRIMARY KEY (session_id, seq)) STRICT;
CREATE TABLE session_windows (session_id TEXT PRIMARY KEY, session_key TEXT, updated_at INTEGER, created_at INTEGER, channel TEXT, account_id TEXT, chat_type TEXT, primary_conversation_id TEXT, parent_session_key TEXT) STRICT;
PRAGMA user_version = 23;
INSERT INTO session_windows (session_id, session_key, updated_at, created_at) VALUES ('bench', 'agent:main:main', 0, 0);
`

// write runs statements on the records.
func (h home) write(statements string, args ...any) error {
	db, err := sql.Open("sqlite", "file:"+h.database()+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec(statements, args...); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	return nil
}

// record writes the transcript of a run: the model reads the skill, and asks
// for these commands.
func (h home) record(commands []string) error {
	rows := []string{row(0, "read", map[string]string{"path": filepath.Join(h.skill(), "SKILL.md")})}
	for i, c := range commands {
		rows = append(rows, row(i+1, "exec", map[string]string{"command": c}))
	}
	var values []string
	var args []any
	now := time.Now().UnixMilli()
	for i, r := range rows { // one after the other: a skill is read before it asks for anything
		values = append(values, "('bench', ?, ?, ?)")
		args = append(args, i, r, now-int64(len(rows)-i))
	}
	return h.write(`INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES `+strings.Join(values, ", "), args...)
}

func row(n int, tool string, arguments map[string]string) string {
	type object = map[string]any
	b, err := json.Marshal(object{"type": "message", "id": "row" + strconv.Itoa(n), "message": object{
		"role": "assistant", "stopReason": "toolUse", "provider": "bench", "model": "bench", "__openclaw": object{"runId": "run"},
		"content": []object{{"type": "toolCall", "id": "call" + strconv.Itoa(n), "name": tool, "arguments": arguments}},
	}})
	if err != nil {
		panic(err) // it is strings
	}
	return string(b)
}

// A process is one that is spoken to by lines.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(cmd *exec.Cmd) (*process, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	return &process{cmd, in, bufio.NewReader(out)}, cmd.Start()
}

func (p *process) say(line string) error {
	_, err := io.WriteString(p.in, line+"\n")
	return err
}

// took waits for the workload to say what it took.
func (p *process) took() (time.Duration, error) {
	line, err := p.out.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("wait for workload: %w", err)
	}
	var t took
	if err := json.Unmarshal([]byte(line), &t); err != nil {
		return 0, fmt.Errorf("workload said %q: %w", line, err)
	}
	return time.Duration(t.NS), nil
}

// end lets the process end by the end of its input.
func (p *process) end() error {
	return errors.Join(p.in.Close(), p.cmd.Wait())
}

// gateway starts an idle gateway.
func (b *bed) gateway(h home) (*process, error) {
	// The arguments say what it will be before its name does.
	cmd := exec.Command(b.node, "-work", "gateway", "-dir", h.workspace(), "--", "openclaw.mjs", "gateway", "run")
	cmd.Env = h.env()
	return start(cmd)
}

// worker is the command that does a workload.
func (b *bed) worker(w workload, j job) []string {
	return []string{b.self, "-work", w.name, "-n", strconv.Itoa(j.n), "-dir", j.dir, "-servers", j.servers}
}

// working starts W5: a gateway that works by itself once it gets a line.
func (b *bed) working(w workload, j job, h home) (*process, error) {
	cmd := exec.Command(b.node, append(b.worker(w, j)[1:], "-title", j.title, "--", "openclaw.mjs", "gateway", "run")...)
	if b.script != "" {
		all := strings.Split(j.servers, ",")
		cmd = exec.Command("node", b.script, strconv.Itoa(j.n), j.dir, all[len(all)-1], j.title)
	}
	cmd.Env = h.env()
	return start(cmd)
}
