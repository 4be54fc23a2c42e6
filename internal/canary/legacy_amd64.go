package canary

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// legacy are the system calls that newer architectures no longer have.
func legacy() []Door {
	return []Door{
		{"open", event.KindFileOpen, func(b *bird) error {
			fd, err := call(unix.SYS_OPEN, b.path("open"), "", unix.O_RDONLY)
			if err != nil {
				return err
			}
			return unix.Close(fd)
		}, opened},
		{"creat", event.KindFileCreate, func(b *bird) error {
			fd, err := call(unix.SYS_CREAT, b.path("creat"), "", 0o600)
			if err != nil {
				return err
			}
			return unix.Close(fd)
		}, opened},
		{"mkdir", event.KindFileCreate, func(b *bird) error {
			_, err := call(unix.SYS_MKDIR, b.path("mkdir"), "", 0o700)
			return err
		}, opened},
		{"rename", event.KindFileRename, made("rename", func(from, to string) error {
			_, err := call(unix.SYS_RENAME, from, to, 0)
			return err
		}), renamed},
		{"unlink", event.KindFileDelete, func(b *bird) error {
			if err := os.WriteFile(b.path("unlink"), nil, 0o600); err != nil {
				return err
			}
			_, err := call(unix.SYS_UNLINK, b.path("unlink"), "", 0)
			return err
		}, deleted},
		{"rmdir", event.KindFileDelete, func(b *bird) error {
			if err := os.Mkdir(b.path("rmdir"), 0o700); err != nil {
				return err
			}
			_, err := call(unix.SYS_RMDIR, b.path("rmdir"), "", 0)
			return err
		}, deleted},
	}
}

// call makes a system call that takes a path, and then another or a number.
func call(number uintptr, path, second string, or uintptr) (int, error) {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return 0, err
	}
	var r uintptr
	var errno unix.Errno
	if second != "" {
		q, err := unix.BytePtrFromString(second)
		if err != nil {
			return 0, err
		}
		r, _, errno = unix.Syscall(number, uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(q)), 0)
	} else {
		r, _, errno = unix.Syscall(number, uintptr(unsafe.Pointer(p)), or, or)
	}
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}
