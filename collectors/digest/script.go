package digest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// maxScript bounds what is read of a script.
const maxScript = 16 << 20

// errMoved says that the name may have led to another file at the exec.
var errMoved = errors.New("what leads to it was changed within the moment of the exec, or since")

// script tells the digest of what an interpreter was given to run. The kernel
// does not say which file that was: it is the one that its path leads to now,
// where neither the file nor anything on the way to it has been changed since
// shortly before the exec. All file systems that are read note a renaming.
func (h *Hasher) script(ctx context.Context, id event.ProcID, at time.Time, x event.Exec) (event.Digest, error) {
	path := h.scriptOf(x)
	if path == "" {
		return event.Digest{}, nil
	}
	f, file, err := h.openScript(id, x, path, at.Add(-young))
	if err != nil {
		return event.Digest{}, fmt.Errorf("hash script %s: %w", path, err)
	}
	defer f.Close()
	d := event.Digest{File: file, Script: path, Proc: id}
	if known, ok := h.known[file]; ok {
		d.SHA256 = known.sum
		return d, nil
	}
	if !pause(ctx, settled-time.Since(time.Unix(0, file.Changed))) {
		return event.Digest{}, ctx.Err()
	}
	if d.SHA256, err = read(ctx, io.LimitReader(f, int64(file.Size))); err != nil {
		return event.Digest{}, fmt.Errorf("hash script %s: %w", path, err)
	}
	if now, err := identify(f); err != nil || now != file {
		return event.Digest{}, errors.Join(fmt.Errorf("hash script %s: %w", path, procfs.ErrOther), err)
	}
	h.keep(file, answer{sum: d.SHA256, told: time.Now()})
	return d, nil
}

// openScript opens a regular file as the process sees it, and makes sure that
// its path led there before a moment.
func (h *Hasher) openScript(id event.ProcID, x event.Exec, path string, moment time.Time) (*os.File, event.FileID, error) {
	if x.Namespaces != nil && x.Namespaces.Mount != 0 {
		return nil, event.FileID{}, errMoved // who has mounts of his own can put one over it meanwhile
	}
	root, err := h.root(strconv.Itoa(int(id.PID)))
	if errors.Is(err, fs.ErrNotExist) { // it has ended
		if root, err = h.root("1"); err != nil { // nor can its mounts be seen: then the agent's own are those that count
			root, err = h.root("self")
		}
	}
	if err != nil {
		return nil, event.FileID{}, err
	}
	defer unix.Close(root)
	at, err := openIn(root, path, 0)
	if err != nil {
		return nil, event.FileID{}, err
	}
	defer at.Close()
	file, err := identify(at)
	switch {
	case err != nil:
		return nil, event.FileID{}, err
	case !procfs.Answers(file.Magic):
		return nil, event.FileID{}, fmt.Errorf("file system %x: %w", file.Magic, errors.ErrUnsupported)
	case file.Size > maxScript:
		return nil, event.FileID{}, fmt.Errorf("larger than %d bytes", maxScript)
	case !time.Unix(0, file.Changed).Before(moment):
		return nil, event.FileID{}, errYoung
	}
	real, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(at.Fd())))
	if err != nil {
		return nil, event.FileID{}, err
	}
	for _, way := range []string{path, real} {
		for p := way; p != "/" && p != "."; p = filepath.Dir(p) {
			if err := oldIn(root, p, moment); err != nil {
				return nil, event.FileID{}, err
			}
		}
	}
	f, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(at.Fd())), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	return f, file, err
}

// root opens the root directory of a process.
func (h *Hasher) root(pid string) (int, error) {
	return unix.Open(filepath.Join(h.proc, pid, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// openIn opens nothing yet, only finds it: what is no regular file is not to be
// touched.
func openIn(root int, path string, how uint64) (*os.File, error) {
	fd, err := unix.Openat2(root, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | how, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// oldIn makes sure that a name, a link or a directory was there before a moment.
// A directory in which something is made has a new time as well: of one of
// root's with the sticky bit, as /tmp, nothing is asked, because nobody else can
// exchange it.
func oldIn(root int, path string, moment time.Time) error {
	f, err := openIn(root, path, unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	shared := st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&unix.S_ISVTX != 0 && st.Uid == 0
	if !shared && st.Ctim.Nano() >= moment.UnixNano() {
		return errMoved
	}
	return nil
}

// identify tells which file is open; fs.ErrInvalid: no regular one.
func identify(f *os.File) (event.FileID, error) {
	var st unix.Stat_t
	var sfs unix.Statfs_t
	if err := errors.Join(unix.Fstat(int(f.Fd()), &st), unix.Fstatfs(int(f.Fd()), &sfs)); err != nil {
		return event.FileID{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return event.FileID{}, fs.ErrInvalid
	}
	return event.FileID{
		Dev: st.Dev, Inode: st.Ino, Size: uint64(st.Size), Modified: st.Mtim.Nano(), Changed: st.Ctim.Nano(), Magic: uint32(sfs.Type),
	}, nil
}
