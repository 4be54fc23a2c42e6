package openclaw

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// maxSockets bounds the lines of a table of sockets that are looked at.
const maxSockets = 65536

// listens reports whether a process has a socket of its own that listens on a TCP
// port, whatever the address. A gateway of before 2026.9 is called what all of
// OpenClaw's commands are called once it runs: this tells it from them.
func listens(proc fs.FS, pid int32, port int) bool {
	inodes := map[string]bool{}
	for _, table := range []string{"tcp", "tcp6"} {
		f, err := proc.Open(fmt.Sprintf("%d/net/%s", pid, table))
		if err != nil {
			continue // no IPv6, or gone
		}
		lines := bufio.NewScanner(io.LimitReader(f, maxSockets*150))
		for lines.Scan() {
			const local, state, inode = 1, 3, 9
			w := strings.Fields(lines.Text())
			if len(w) > inode && w[state] == "0A" && strings.HasSuffix(w[local], fmt.Sprintf(":%04X", port)) {
				inodes["socket:["+w[inode]+"]"] = true
			}
		}
		_ = f.Close() // it was only read
	}
	if len(inodes) == 0 {
		return false
	}
	dir := fmt.Sprintf("%d/fd", pid)
	fds, _ := fs.ReadDir(proc, dir) // what could be read of it
	for _, fd := range fds[:min(len(fds), maxOpen)] {
		if target, err := fs.ReadLink(proc, dir+"/"+fd.Name()); err == nil && inodes[target] {
			return true
		}
	}
	return false
}
