package plugin

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Other is what Tag gives for a value that no plugin ever gave.
const Other = "other"

const (
	tagLength  = 32
	maxEnviron = 256 << 10
)

func identify(proc fs.FS, pid int32) (event.ProcID, error) { return procfs.Identify(proc, pid) }

// Tag gives the tag that a process was handed at its exec: Other for a value of
// another shape, empty for none, and where it cannot be known any more. Nothing
// else of the environment is kept. While no plugin has said anything, nobody is
// looked at.
func (c *Collector) Tag(id event.ProcID, x event.Exec) string {
	if !c.spoken.Load() || !x.EnvTruncated && !slices.Contains(x.EnvNames, variable) {
		return ""
	}
	c.readsMu.Lock()
	ok := c.reads.take(time.Now())
	c.readsMu.Unlock()
	if !ok {
		c.drop("tags of processes that came too fast to be looked at", 1)
		return ""
	}
	tag, err := readTag(c.cfg.Proc, id.PID)
	if err != nil {
		return ""
	}
	if now, err := identify(c.cfg.Proc, id.PID); err != nil || now != id {
		return "" // another process has the number
	}
	return tag
}

func readTag(proc fs.FS, pid int32) (string, error) {
	f, err := proc.Open(fmt.Sprintf("%d/environ", pid))
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxEnviron))
	if err != nil {
		return "", err
	}
	return findTag(b), nil
}

// findTag looks through an environment. Two values are none that a plugin gave.
func findTag(environ []byte) string {
	found := ""
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		value, ok := bytes.CutPrefix(entry, []byte(variable+"="))
		switch {
		case !ok:
		case found != "" && found != string(value), !isTag(string(value)):
			return Other
		default:
			found = string(value)
		}
	}
	return found
}

func isTag(s string) bool {
	if len(s) != tagLength {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
