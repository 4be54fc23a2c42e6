package procfs

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// ErrOther says that the file at a path is not, or not any more, the one meant.
var ErrOther = errors.New("another file")

// local are the file systems whose files are read: those that answer from this
// host's own memory and disks, and tell the truth. FUSE does neither.
var local = []uint32{
	unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC,
	unix.F2FS_SUPER_MAGIC, unix.SQUASHFS_MAGIC, unix.RAMFS_MAGIC, 0x2fc12fc1 /* ZFS */, 0xe0f5e1e2, /* EROFS */
}

// Answers reports whether the file system is one of those, by its number in
// statfs(2).
func Answers(magic uint32) bool { return slices.Contains(local, magic) }

// OpenFile opens the file that the kernel spoke of. What the path leads to may
// have been changed since; ErrOther: it was.
func OpenFile(file string, want event.FileID) (*os.File, error) {
	if !Answers(want.Magic) {
		return nil, fmt.Errorf("open %s: file system %x: %w", file, want.Magic, errors.ErrUnsupported)
	}
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if err := IsFile(f, want); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", file, err), f.Close())
	}
	return f, nil
}

// IsFile compares an open file with what the kernel said of it. The time of the
// last change is left out: a file that is removed while it runs has a new one.
func IsFile(f *os.File, want event.FileID) error {
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Fstat(int(f.Fd()), &st), unix.Fstatfs(int(f.Fd()), &fs)); err != nil {
		return err
	}
	// btrfs and overlayfs tell user space other devices than the kernel knows.
	many := want.Magic == unix.BTRFS_SUPER_MAGIC || want.Magic == unix.OVERLAYFS_SUPER_MAGIC
	if st.Mode&unix.S_IFMT != unix.S_IFREG || uint32(fs.Type) != want.Magic || st.Ino != want.Inode ||
		uint64(st.Size) != want.Size || st.Mtim.Nano() != want.Modified || !many && st.Dev != want.Dev {
		return ErrOther
	}
	return nil
}
