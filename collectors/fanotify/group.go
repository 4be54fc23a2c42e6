package fanotify

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Group is a queue in the kernel of what is done to marked files. Opening it
// takes CAP_SYS_ADMIN; marking directories after that takes the right to read
// them.
type Group struct {
	file *os.File
	fd   int // of file; its own way of giving it would make it wait
	buf  []byte
	old  bool // the kernel does not report renames in one piece

	empty time.Time // when the queue was last known to be empty
	since time.Time // see Since
}

// OpenGroup makes one without marks, whose acts have names.
func OpenGroup() (*Group, error) { return openGroup(unix.FAN_REPORT_DFID_NAME) }

// OpenFiles makes one without marks, whose acts have the open file instead: the
// only way on file systems that give no handles, such as /proc.
func OpenFiles() (*Group, error) { return openGroup(0) }

func openGroup(how uint) (*Group, error) {
	how |= unix.FAN_CLASS_NOTIF | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK | unix.FAN_UNLIMITED_MARKS | unix.FAN_REPORT_PIDFD
	fd, err := unix.FanotifyInit(how, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_LARGEFILE)
	if err != nil {
		return nil, fmt.Errorf("open fanotify group: %w", err)
	}
	return &Group{file: os.NewFile(uintptr(fd), "fanotify"), fd: fd, buf: make([]byte, 64<<10), empty: time.Now()}, nil
}

// Close ends all marks.
func (g *Group) Close() error { return g.file.Close() }

// Wake ends a Read that waits, now and in future, at this time.
func (g *Group) Wake(at time.Time) { _ = g.file.SetReadDeadline(at) } // fails on a closed file only, which does not wait either

// Read waits for what was done, and calls each for all that one reading gives.
// os.ErrDeadlineExceeded: the time of Wake came, and there was nothing.
func (g *Group) Read(each func(Act)) error {
	n, err := g.file.Read(g.buf)
	now := time.Now()
	g.since = g.empty
	if err != nil {
		g.empty = now
		return fmt.Errorf("read fanotify: %w", err)
	}
	if n < len(g.buf)/2 {
		g.empty = now // but for what comes meanwhile
	}
	if err := parse(g.buf[:n], each); err != nil {
		return fmt.Errorf("read fanotify: %w", err)
	}
	return nil
}

// waking is how long a reader that waits takes at most to be woken.
const waking = time.Second

// Since gives the earliest time at which what the last Read gives can have been
// done: after the queue had been empty, and not long before now if the reader
// had waited.
func (g *Group) Since() time.Time {
	if late := time.Now().Add(-waking); late.After(g.since) && g.empty.After(g.since) {
		return late
	}
	return g.since
}

// changes are what is done to names, as far as this kernel tells.
func (g *Group) changes() uint64 {
	if g.old {
		return unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO
	}
	return unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_RENAME
}

// MarkDirectory asks for what is done to an open directory and the files in it:
// mask and every change of a name. Marking what is marked adds nothing.
func (g *Group) MarkDirectory(dir int, mask uint64) error {
	if err := g.mark(unix.FAN_MARK_ADD, mask|unix.FAN_ONDIR|unix.FAN_EVENT_ON_CHILD, dir, ""); err != nil {
		return fmt.Errorf("mark directory: %w", err)
	}
	return nil
}

// MarkFilesIn asks a group of OpenFiles for the opens of the files in a directory,
// and for their end after they were open for writing.
func (g *Group) MarkFilesIn(dir string) error {
	err := unix.FanotifyMark(g.fd, unix.FAN_MARK_ADD, unix.FAN_OPEN|unix.FAN_CLOSE_WRITE|unix.FAN_EVENT_ON_CHILD, unix.AT_FDCWD, dir)
	if err != nil {
		return fmt.Errorf("mark files in %s: %w", dir, err)
	}
	return nil
}

// markFilesystem asks for what is done in the whole file system of a path. It
// takes CAP_SYS_ADMIN at that time.
func (g *Group) markFilesystem(path string, mask uint64) error {
	if err := g.mark(unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, mask|unix.FAN_ONDIR, unix.AT_FDCWD, path); err != nil {
		return fmt.Errorf("mark file system of %s: %w", path, err)
	}
	return nil
}

func (g *Group) mark(flags uint, mask uint64, at int, path string) error {
	err := unix.FanotifyMark(g.fd, flags, mask|g.changes(), at, path)
	if errors.Is(err, unix.EINVAL) && !g.old { // FAN_RENAME is of Linux 5.17
		g.old = true
		err = unix.FanotifyMark(g.fd, flags, mask|g.changes(), at, path)
	}
	return err
}

// handleFID is AT_HANDLE_FID: a handle to compare, which file systems give that
// cannot be exported. Of Linux 6.5.
const handleFID = 0x200

// HandleOf gives the Handle of an open directory, as it comes in an Act.
func HandleOf(dir int) (Handle, error) {
	h, _, err := unix.NameToHandleAt(dir, "", unix.AT_EMPTY_PATH|handleFID)
	if errors.Is(err, unix.EINVAL) {
		h, _, err = unix.NameToHandleAt(dir, "", unix.AT_EMPTY_PATH)
	}
	if err != nil {
		return "", fmt.Errorf("identify directory: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(dir, &st); err != nil {
		return "", fmt.Errorf("identify directory: %w", err)
	}
	return handleOf(st.Fsid, h), nil
}

// OpenDirectory opens a directory below another one, or by an absolute path. No
// link is followed on the way, and below another one no mount entered, so that
// who owns a directory cannot lead the agent out of it.
func OpenDirectory(at int, path string) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	if at != unix.AT_FDCWD {
		how.Resolve |= unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV
	}
	fd, err := unix.Openat2(at, path, &how)
	if err != nil {
		return -1, fmt.Errorf("open directory %s: %w", path, err)
	}
	return fd, nil
}
