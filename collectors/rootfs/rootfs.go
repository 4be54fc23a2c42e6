// Package rootfs reads files as a process sees them whose mounts are not the
// host's: one in a container.
//
// The way in is the kernel's /proc/PID/root of any living process there. Every
// name is looked up by openat2 as if that were the root directory: neither an
// absolute symbolic link nor ".." leads out of the container, whoever puts one
// there and whenever, and the links of a /proc in it are not followed at all. A
// nil Root is the host's own, whose files are opened as ever, so that one code
// reads both.
//
// Owners are in the terms of the host. It costs a system call or two more for
// each file. What is held open keeps a mount of the container in being, so a Root
// is closed again after each look.
//
// What it does not see: a process whose root directory is not that of its mounts
// (chroot).
package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Place says whose files are meant. The zero Place is the host.
type Place struct {
	Root  string // the root directory of a process that sees them: /proc/PID/root
	Mount uint32 // the namespace of its mounts
}

// Open opens the root directory. Where the process has ended, it is that of another
// one with the same mounts, which Place then names. The error is fs.ErrNotExist where
// none is left.
func (p *Place) Open() (*Root, error) {
	if p.Root == "" {
		return nil, nil
	}
	r, err := open(*p)
	if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
		return r, err
	}
	proc := filepath.Dir(filepath.Dir(p.Root))
	dirs, _ := os.ReadDir(proc)
	for _, d := range dirs {
		if _, err := strconv.Atoi(d.Name()); err != nil {
			continue
		}
		other := Place{Root: filepath.Join(proc, d.Name(), "root"), Mount: p.Mount}
		if r, err := open(other); err == nil {
			*p = other
			return r, nil
		}
	}
	return nil, fmt.Errorf("open %s: %w: no process has these mounts any more", p.Root, fs.ErrNotExist)
}

// Path gives what a file is called in the place that is reached through the root
// directory of any process. Of a name that is none of these it is the name.
func (p Place) Path(name string) string {
	if p.Root == "" {
		return name
	}
	rest, ok := strings.CutPrefix(name, filepath.Dir(filepath.Dir(p.Root))+"/")
	if _, path, in := strings.Cut(rest, "/root/"); ok && in {
		return "/" + path
	}
	return name
}

// A Root is an open root directory.
type Root struct {
	dir *os.File
	at  string // what the kernel calls it, seen from here: "/", or in a test a directory
}

func open(p Place) (*Root, error) {
	// Of one descriptor, so that both are of one process, whoever has its number next.
	dir, err := openDir(unix.AT_FDCWD, filepath.Dir(p.Root))
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	var ns unix.Stat_t
	if err := unix.Fstatat(dir, "ns/mnt", &ns, 0); err != nil {
		return nil, err
	}
	if uint32(ns.Ino) != p.Mount {
		return nil, fs.ErrNotExist
	}
	fd, err := openDir(dir, "root")
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), p.Root)
	at, err := os.Readlink(ofFD(f))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Root{f, at}, nil
}

func openDir(at int, path string) (int, error) {
	return unix.Openat(at, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// ofFD is a name for an open file that leads to it and nowhere else.
func ofFD(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// Close closes it.
func (r *Root) Close() error {
	if r == nil {
		return nil
	}
	return r.dir.Close()
}

// OpenFile opens a plain file that exists, or with O_DIRECTORY a directory, whose Name
// leads to it for as long as it is open. Of a container's files nothing else is opened,
// as to open a device can be to do something.
func (r *Root) OpenFile(path string, flags int) (*os.File, error) {
	if r == nil {
		return os.OpenFile(path, flags, 0)
	}
	f, err := r.find(path, flags&(unix.O_NOFOLLOW|unix.O_DIRECTORY))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.IsDir() && !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: %s, want a plain file", path, fi.Mode().Type())
	}
	fd, err := unix.Open(ofFD(f), flags&^unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if fi.IsDir() {
		path = "/proc/self/fd/" + strconv.Itoa(fd)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// find opens nothing but the place of a file (O_PATH), of whatever kind.
func (r *Root) find(path string, flags int) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_PATH | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for tries := 1; ; tries++ {
		fd, err := unix.Openat2(int(r.dir.Fd()), path, &how)
		switch {
		case err == unix.EINTR, err == unix.EAGAIN && tries < 64: // something was renamed while ".." was looked up
			continue
		case err != nil:
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return os.NewFile(uintptr(fd), path), nil
	}
}

// Lstat looks at a file, and follows no link in the last place.
func (r *Root) Lstat(path string) (fs.FileInfo, error) {
	if r == nil {
		return os.Lstat(path)
	}
	f, err := r.find(path, unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// Readlink gives the target of a symbolic link, as it stands.
func (r *Root) Readlink(path string) (string, error) {
	if r == nil {
		return os.Readlink(path)
	}
	f, err := r.find(path, unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", b)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: path, Err: err}
	}
	return string(b[:n]), nil
}

// Real gives the path of what exists without symbolic links.
func (r *Root) Real(path string) (string, error) {
	if r == nil {
		return filepath.EvalSymlinks(path)
	}
	f, err := r.find(path, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	real, err := os.Readlink(ofFD(f))
	if err != nil {
		return "", err
	}
	inside, ok := strings.CutPrefix(real, strings.TrimSuffix(r.at, "/"))
	if real == r.at {
		inside = "/"
	}
	if !ok || !strings.HasPrefix(inside, "/") || strings.HasSuffix(real, " (deleted)") {
		return "", &fs.PathError{Op: "resolve", Path: path, Err: fs.ErrNotExist}
	}
	return inside, nil
}

// ReadDir lists a directory, sorted. Of its entries only names and types are known.
func (r *Root) ReadDir(path string) ([]fs.DirEntry, error) {
	if r == nil {
		return os.ReadDir(path)
	}
	f, err := r.OpenFile(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return os.ReadDir(f.Name())
}
