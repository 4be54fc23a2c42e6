package procfs

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// shellMark is the variable that OpenClaw sets to "exec" for what its exec tool
// starts. Any program can set it: it is a hint and no proof.
const shellMark = "OPENCLAW_SHELL"

type stat struct {
	comm    string
	state   byte
	parent  int32
	session int32
	tty     int    // device number of the controlling terminal; 0: none
	start   uint64 // clock ticks since boot
}

// parseStat takes /proc/PID/stat apart. The name is whatever the process calls
// itself, parentheses, spaces and newlines included, so the last parenthesis
// ends it.
func parseStat(s string) (stat, error) {
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("no name in parentheses")
	}
	f := strings.Fields(s[end+1:]) // from field 3, the state
	if len(f) < 20 {
		return stat{}, fmt.Errorf("%d fields, want 22", len(f)+2)
	}
	parent, err := strconv.ParseInt(f[1], 10, 32)
	if err != nil {
		return stat{}, fmt.Errorf("parse parent: %w", err)
	}
	start, err := strconv.ParseUint(f[19], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("parse start time: %w", err)
	}
	session, err := strconv.ParseInt(f[3], 10, 32)
	if err != nil {
		return stat{}, fmt.Errorf("parse session: %w", err)
	}
	tty, err := strconv.Atoi(f[4])
	if err != nil {
		return stat{}, fmt.Errorf("parse terminal: %w", err)
	}
	return stat{comm: s[open+1 : end], state: f[0][0], parent: int32(parent), session: int32(session), tty: tty, start: start}, nil
}

// parseUID gives the real user ID out of /proc/PID/status. The name line is the
// process's own choice but cannot hold a bare newline there: the kernel escapes it.
func parseUID(status string) uint32 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, "Uid:"); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				if n, err := strconv.ParseUint(f[0], 10, 32); err == nil {
					return uint32(n)
				}
			}
		}
	}
	return nobody
}

// parseGroups gives the real group and the supplementary ones out of /proc/PID/status.
func parseGroups(status string) []uint32 {
	var all []uint32
	for line := range strings.Lines(status) {
		key, rest, _ := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		switch key {
		case "Gid":
			fields = fields[:min(1, len(fields))]
		case "Groups":
		default:
			continue
		}
		for _, f := range fields {
			if n, err := strconv.ParseUint(f, 10, 32); err == nil && len(all) < maxGroups && !slices.Contains(all, uint32(n)) {
				all = append(all, uint32(n))
			}
		}
	}
	return all
}

// parseArgs splits a command line at its NULs. A process that retitled itself
// leaves padding behind, which is dropped.
func parseArgs(b []byte) []string {
	b = bytes.TrimRight(b, "\x00")
	if len(b) == 0 {
		return nil
	}
	return strings.Split(string(b), "\x00")
}

// parseEnv gives the names of an environment, and the one value that is kept.
func parseEnv(b []byte) (names []string, shell string) {
	for entry := range bytes.SplitSeq(b, []byte{0}) {
		name, value, ok := bytes.Cut(entry, []byte{'='})
		if !ok || !isName(name) {
			continue
		}
		names = append(names, string(name))
		if string(name) == shellMark && len(value) <= 32 {
			shell = string(value)
		}
	}
	return names, shell
}

// isName keeps out what no shell exports: where a program wrote its title over
// the start of its environment, the rest of a value could pass for a name.
func isName(name []byte) bool {
	if len(name) == 0 || len(name) > 128 {
		return false
	}
	for _, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !bytes.ContainsRune([]byte("_%().-"), rune(c)) {
			return false
		}
	}
	return true
}
