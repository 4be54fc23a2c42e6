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

// attempts are made to hash a file whose mode or times are changed meanwhile, as happens
// to one that was made this moment.
const attempts = 3

// Sum hashes what Open opened, as it is now. procfs.ErrOther: it does not come to rest.
func Sum(f *os.File) (string, event.FileID, error) {
	for range attempts {
		file, err := identify(f)
		if err != nil {
			return "", file, fmt.Errorf("hash %s: %w", f.Name(), err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, io.NewSectionReader(f, 0, int64(file.Size))); err != nil {
			return "", file, fmt.Errorf("hash %s: %w", f.Name(), err)
		}
		if now, err := identify(f); err == nil && now == file {
			return hex.EncodeToString(sum.Sum(nil)), file, nil
		}
	}
	return "", event.FileID{}, fmt.Errorf("hash %s: %w", f.Name(), procfs.ErrOther)
}
