package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Open opens a regular file of up to limit bytes by its own path: no link is followed,
// and what is no such file is not touched. To find it can take as long as the file
// system likes; to read it, no longer than the disk. errors.ErrUnsupported: it is on a
// file system that is not read.
func Open(path string, limit int64) (*os.File, event.FileID, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return nil, event.FileID{}, fmt.Errorf("open %s: %w", path, err)
	}
	at := os.NewFile(uintptr(fd), path)
	defer at.Close()
	file, err := identify(at)
	switch {
	case err != nil:
		return nil, file, fmt.Errorf("open %s: %w", path, err)
	case !procfs.Answers(file.Magic):
		return nil, file, fmt.Errorf("open %s: file system %x: %w", path, file.Magic, errors.ErrUnsupported)
	case file.Size > uint64(limit):
		return nil, file, fmt.Errorf("open %s: larger than %d bytes", path, limit)
	}
	f, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(fd), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	return f, file, err
}

// Sum hashes what Open opened. procfs.ErrOther: it was changed meanwhile.
func Sum(f *os.File, file event.FileID) (string, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, int64(file.Size))); err != nil {
		return "", fmt.Errorf("hash %s: %w", f.Name(), err)
	}
	if err := Same(f, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Same makes sure that an open file is what it was, unless somebody wrote to it within
// the same tick of the file system's clock.
func Same(f *os.File, file event.FileID) error {
	now, err := identify(f)
	if err == nil && now != file {
		err = procfs.ErrOther
	}
	if err != nil {
		return fmt.Errorf("hash %s: %w", f.Name(), err)
	}
	return nil
}
