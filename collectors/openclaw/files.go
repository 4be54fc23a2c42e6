package openclaw

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors/rootfs"
)

// errStranger is returned for a file that the gateway's user does not own: another
// user's process may name it, and must not make us read it.
var errStranger = errors.New("not owned by the process's user")

func owner(fi fs.FileInfo) uint32 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Uid
	}
	return ^uint32(0)
}

// mayUse reports whether a process of user uid can be meant to use the file:
// root may use anything, others what is theirs.
func mayUse(fi fs.FileInfo, uid uint32) bool { return uid == 0 || owner(fi) == uid }

// resolve makes a path absolute and free of symbolic links, as far as it
// exists; what does not exist yet is kept as it is written.
func resolve(r *rootfs.Root, path string) string {
	path = filepath.Clean(path)
	for dir, rest := path, ""; ; dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest) {
		if real, err := r.Real(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == filepath.Dir(dir) {
			return path
		}
	}
}

// checkOwner returns errStranger unless the directory, or where it does not exist
// yet the nearest parent that does, belongs to the user. path is resolved.
func checkOwner(r *rootfs.Root, path string, uid uint32) error {
	for {
		fi, err := r.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
			path = filepath.Dir(path)
			continue
		}
		if err != nil {
			return err
		}
		if !fi.IsDir() || !mayUse(fi, uid) {
			return fmt.Errorf("%s: %w", path, errStranger)
		}
		return nil
	}
}

// lstatBelow looks at root/elem/elem…, and refuses a symbolic link or a
// stranger's file at any step, so that nothing leads out of root.
func lstatBelow(root string, uid uint32, elems ...string) (fs.FileInfo, error) {
	return lstatBelowIn(nil, root, uid, elems...)
}

func lstatBelowIn(r *rootfs.Root, root string, uid uint32, elems ...string) (fs.FileInfo, error) {
	path := root
	var fi fs.FileInfo
	for i, e := range elems {
		path = filepath.Join(path, e)
		var err error
		if fi, err = r.Lstat(path); err != nil {
			return nil, err
		}
		if owner(fi) != 0 && !mayUse(fi, uid) {
			return nil, fmt.Errorf("%s: %w", path, errStranger)
		}
		last := i == len(elems)-1
		if !fi.IsDir() && (!last || !fi.Mode().IsRegular()) {
			return nil, fmt.Errorf("%s: %s, want a plain file or directory", path, fi.Mode().Type())
		}
	}
	return fi, nil
}

// openBelow opens the plain file root/name of the user.
func openBelow(root string, uid uint32, name string) (*os.File, fs.FileInfo, error) {
	f, err := openIn(root, name, 0)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil {
		err = plain(f.Name(), fi, uid)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, fi, nil
}

// openIn opens root/name for reading. No symbolic link below root is followed at
// any step, however it is swapped meanwhile, and a pipe or a device does not make
// us wait.
func openIn(root, name string, flags uint64) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", root, err)
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_NOCTTY | unix.O_CLOEXEC | flags,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", filepath.Join(root, name), err)
	}
	return os.NewFile(uintptr(fd), filepath.Join(root, name)), nil
}

// plain reports what is wrong with a file as one of the user's records.
func plain(path string, fi fs.FileInfo, uid uint32) error {
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%s: %s, want a plain file", path, fi.Mode().Type())
	}
	if !mayUse(fi, uid) {
		return fmt.Errorf("%s: %w", path, errStranger)
	}
	return nil
}

// readSettingsFile reads a file that a process named. Where it belongs neither
// to the process's user nor to everybody, it is not read.
func readSettingsFile(r *rootfs.Root, path string, uid uint32, limit int64) ([]byte, error) {
	// Not blocking: the name may be that of a pipe. The owner is asked of what
	// was opened and not of the name, which can change hands.
	f, err := r.OpenFile(resolve(r, path), os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %s, want a plain file", path, fi.Mode().Type())
	}
	if !mayUse(fi, uid) && fi.Mode().Perm()&0o004 == 0 {
		return nil, fmt.Errorf("%s: %w", path, errStranger)
	}
	if fi.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes, more than the %d read", path, fi.Size(), limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

func inode(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}
