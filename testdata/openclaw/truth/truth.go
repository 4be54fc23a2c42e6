// Package truth is what really happened in a run of the end-to-end test, and
// the comparison of it with what clawwatch says happened.
//
// The truth comes from the programs that do the deeds: each tells the Recorder
// what it is about to do, and is held until it is written down. Whose deed it
// was (scenario, session, skill) comes from the test's own table of labels. No
// part of it is derived from anything that clawwatch says.
package truth

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Claim is what a deed says to the recorder.
type Claim struct {
	Label  string   `json:"label"`
	Op     string   `json:"op"`
	Args   []string `json:"args"`
	Parent bool     `json:"parent,omitempty"` // the deed's parent does it
}

// A Proc names a process: pid and start time in clock ticks since boot.
type Proc struct {
	PID   int32  `json:"pid"`
	Start uint64 `json:"start_time"`
}

// A Line is one thing that happened.
type Line struct {
	Time      time.Time `json:"time"`
	Label     string    `json:"label"`
	Op        string    `json:"op"` // as in Claim, or edit, close, dotenv, tool, llm, installed
	Proc      Proc      `json:"process"`
	Ancestors []Proc    `json:"ancestors,omitempty"` // parent first
	Exe       string    `json:"exe,omitempty"`
	Path      string    `json:"path,omitempty"`
	OldPath   string    `json:"old_path,omitempty"`
	Peer      string    `json:"peer,omitempty"`
	Bytes     uint64    `json:"bytes,omitempty"`  // sent
	Name      string    `json:"name,omitempty"`   // of a variable, a tool
	ID        string    `json:"id,omitempty"`     // of a tool call, an answer of the model
	Status    int       `json:"status,omitempty"` // of an answer of the model
}

// A Label is for whom a deed is done: the literals of the scenario.
type Label struct {
	Scenario string `json:"scenario"`
	Gateway  string `json:"gateway"`       // state directory
	Session  string `json:"session"`       // session key
	Skill    string `json:"skill"`         // name; empty: none
	Dir      string `json:"dir,omitempty"` // its directory, where the name is not enough
}

// Arity is the number of arguments that an operation needs, -1 for one that
// does not exist.
func Arity(op string) int {
	switch op {
	case "exec":
		return 0
	case "read", "write", "delete", "get", "env", "environ", "dump", "spawn", "daemon", "orphan":
		return 1
	case "rename", "connect", "meet":
		return 2
	}
	return -1
}

// Request is the request that `deed get` sends.
func Request(addr string) *strings.Reader {
	return strings.NewReader("GET /forecast HTTP/1.0\r\nHost: " + addr + "\r\n\r\n")
}

// Lines turns a claim by p into what a monitor must see of it. Every process
// that makes a claim has been started: that too is a line, unless the claim is
// made for it by another.
func (c Claim) Lines(p Proc, ancestors []Proc, exe string, now time.Time) ([]Line, error) {
	if n := Arity(c.Op); n < 0 || len(c.Args) < n {
		return nil, fmt.Errorf("claim %s %q: %d arguments, want %d", c.Op, c.Args, len(c.Args), n)
	}
	base := Line{Time: now, Label: c.Label, Op: "exec", Proc: p, Ancestors: ancestors, Exe: exe}
	var lines []Line
	if !c.Parent || c.Op == "exec" {
		lines = append(lines, base)
	}
	l := base
	l.Op = c.Op
	switch c.Op {
	case "read", "write", "delete":
		l.Path = c.Args[0]
	case "rename":
		l.OldPath, l.Path = c.Args[0], c.Args[1]
	case "connect", "get":
		return append(lines, connection(l, c.Args)...), nil
	case "env":
		l.Name = c.Args[0]
	case "environ":
		l.Path = "/proc/" + c.Args[0] + "/environ"
	case "dump":
		l.Name = filepath.Base(c.Args[0])
	default:
		return lines, nil
	}
	lines = append(lines, l)
	if c.Op == "read" && filepath.Base(l.Path) == ".env" {
		l.Op = "dotenv"
		lines = append(lines, l)
	}
	return lines, nil
}

// connection is seen twice: when it is asked for, and when it ends and its
// bytes are known.
func connection(l Line, args []string) []Line {
	l.Op, l.Peer = "connect", args[0]
	if len(args) > 1 {
		l.Bytes, _ = strconv.ParseUint(args[1], 10, 64) // deed refuses what is no number
	} else {
		l.Bytes = uint64(Request(args[0]).Len())
	}
	closed := l
	closed.Op = "close"
	return []Line{l, closed}
}

// splitPeer is the peer as an event gives it: address and port.
func (l Line) splitPeer() (string, uint16) {
	host, port, err := net.SplitHostPort(l.Peer)
	if err != nil {
		return "", 0
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", 0
	}
	return host, uint16(n)
}

// Outcome is what a deed says when it is done, or has failed.
func Outcome(err error) []byte {
	if err != nil {
		return []byte(strconv.Quote(err.Error()) + "\n")
	}
	return []byte("done\n")
}
