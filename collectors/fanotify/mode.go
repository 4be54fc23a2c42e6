package fanotify

import (
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// maxOpen bounds the descriptors that are looked at.
const maxOpen = 256

// OpenMode tells how a process holds a file that it has not closed: as the
// FAN_CLOSE that is to come. Where that cannot be told, it is for reading, the lesser claim.
func OpenMode(proc fs.FS, id event.ProcID, path string) uint64 {
	dir := strconv.Itoa(int(id.PID)) + "/fd"
	fds, _ := fs.ReadDir(proc, dir)
	mode := uint64(0)
	for _, fd := range fds[:min(len(fds), maxOpen)] {
		if target, err := fs.ReadLink(proc, dir+"/"+fd.Name()); err != nil || target != path {
			continue
		}
		b, _ := fs.ReadFile(proc, strconv.Itoa(int(id.PID))+"/fdinfo/"+fd.Name())
		if writes(string(b)) {
			mode |= unix.FAN_CLOSE_WRITE
		} else {
			mode |= unix.FAN_CLOSE_NOWRITE
		}
	}
	if now, err := procfs.Identify(proc, id.PID); err != nil || now != id || mode == 0 {
		return unix.FAN_CLOSE_NOWRITE
	}
	return mode
}

// writes reads the flags out of /proc/PID/fdinfo/N.
func writes(info string) bool {
	for line := range strings.Lines(info) {
		if rest, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseUint(strings.TrimSpace(rest), 8, 64)
			return err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY
		}
	}
	return false
}
