package ebpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A fileDoor is a way to do something to a file. It works in the current directory,
// in which "f" is a file, "d" a directory, "real" a directory with a file
// "in" and "link" a symbolic link to it.
type fileDoor struct {
	name string
	do   func() error
	want string // see tell; "" where the event is another test's
}

func fileDoors() []fileDoor {
	const nofollow, empty = unix.AT_SYMLINK_NOFOLLOW, unix.AT_EMPTY_PATH
	cwd := unix.AT_FDCWD
	path := func(name string) uintptr { return uintptr(unsafe.Pointer(unsafe.StringData(name + "\x00"))) }
	return []fileDoor{
		{"an open that empties", func() error { return opens("f", unix.O_WRONLY|unix.O_TRUNC) }, "write emptied /f"},
		{"one that empties and only reads", func() error { return opens("f", unix.O_RDONLY|unix.O_TRUNC) }, "read emptied /f"},
		{"creat", func() error { return closes(unix.Creat("f", 0o644)) }, "write emptied /f"},
		{"openat2 that empties", func() error {
			return closes(unix.Openat2(cwd, "f", &unix.OpenHow{Flags: unix.O_WRONLY | unix.O_TRUNC}))
		}, "write emptied /f"},
		{"O_PATH", func() error { return opens("f", unix.O_PATH) }, "path /f"},
		{"a read through what O_PATH gave", reopened, "read /f asked /proc/self/fd/9"},
		{"open by handle", byHandle, "read /f"},
		{"through the root of itself", func() error {
			dir, err := os.Getwd()
			return errors.Join(err, opens("/proc/self/root"+dir+"/f", unix.O_RDONLY))
		}, "read /f asked /proc/self/root/DIR/f"},
		{"through its working directory", func() error { return opens("/proc/self/cwd/f", unix.O_RDONLY) }, "read /f asked /proc/self/cwd/f"},
		{"a link to a directory", func() error { return opens("link/in", unix.O_RDONLY) }, "read /real/in asked link/in"},
		{"dots", func() error { return opens("link/../f", unix.O_RDONLY) }, "read /f asked link/../f"},
		{"a relative name says nothing more", func() error { return opens("./real/in", unix.O_RDONLY) }, "read /real/in"},

		{"rename", func() error { return unix.Rename("f", "g") }, "rename /f /g"},
		{"exchange", func() error { return unix.Renameat2(cwd, "f", cwd, "d", unix.RENAME_EXCHANGE) }, "exchange /f /d"},
		{"link", func() error { return unix.Link("f", "g") }, "link /f /g"},
		{"linkat", func() error { return unix.Linkat(cwd, "link/in", cwd, "d/g", 0) }, "link /real/in /d/g"},
		{"a link to what is open", func() error {
			return onFd("f", unix.O_RDONLY, func(fd int) error { return unix.Linkat(fd, "", cwd, "g", empty) })
		}, "link /f /g"},
		{"a link to what is open, through /proc", func() error {
			return onFd("f", unix.O_RDONLY, func(fd int) error {
				return unix.Linkat(cwd, fmt.Sprint("/proc/self/fd/", fd), cwd, "g", unix.AT_SYMLINK_FOLLOW)
			})
		}, "link /f /g"},
		{"symlink", func() error { return unix.Symlink("../anything", "link/s") }, "symlink /real/s ../anything"},
		{"symlinkat", func() error { return unix.Symlinkat("x", cwd, "s") }, "symlink /s x"},
		{"mknod", func() error { return unix.Mknod("n", unix.S_IFIFO|0o600, 0) }, "create /n"},
		{"mknodat", func() error { return unix.Mknodat(cwd, "d/n", unix.S_IFREG|0o600, 0) }, "create /d/n"},
		{"truncate", func() error { return unix.Truncate("link/in", 3) }, "truncate /real/in"},
		{"ftruncate", func() error {
			return onFd("f", unix.O_RDWR, func(fd int) error { return unix.Ftruncate(fd, 3) })
		}, "truncate /f"},
		{"fallocate", func() error {
			return onFd("f", unix.O_RDWR, func(fd int) error { return unix.Fallocate(fd, 0, 0, 10) })
		}, "truncate /f"},

		{"chmod follows", func() error { return errors.Join(aged("flink"), unix.Chmod("flink", 0o4755)) }, "mode 4755 /f"},
		{"fchmod", func() error {
			return onFd("f", unix.O_RDONLY, func(fd int) error { return unix.Fchmod(fd, 0o600) })
		}, "mode 0600 /f"},
		{"fchmodat", func() error { return unix.Fchmodat(cwd, "d", 0o711, 0) }, "mode 0711 /d"},
		{"fchmodat2 on a descriptor", func() error {
			return onFd("f", unix.O_PATH, func(fd int) error { return unix.Fchmodat(fd, "", 0o640, empty) })
		}, "mode 0640 /f"},
		{"chown", func() error { return unix.Chown("f", 1, -1) }, "owner 1:-1 /f"},
		{"lchown", func() error { return unix.Lchown("link", 2, 3) }, "owner 2:3 /link"},
		{"fchown", func() error {
			return onFd("f", unix.O_RDONLY, func(fd int) error { return unix.Fchown(fd, 4, 5) })
		}, "owner 4:5 /f"},
		{"fchownat of a link", func() error { return unix.Fchownat(cwd, "link", 6, 7, nofollow) }, "owner 6:7 /link"},
		{"utimes", func() error { return unix.Utimes("f", make([]unix.Timeval, 2)) }, "times /f"},
		{"utimensat", func() error { return unix.UtimesNanoAt(cwd, "d", make([]unix.Timespec, 2), 0) }, "times /d"},
		{"futimens", func() error {
			return onFd("f", unix.O_RDONLY, func(fd int) error {
				_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, 0, 0, 0, 0)
				return result(errno)
			})
		}, "times /f"},
		{"setxattr", func() error { return xattrs(unix.Setxattr("f", "user.a", []byte("x"), 0)) }, "xattr user.a /f"},
		{"fsetxattr", func() error {
			return onFd("f", unix.O_RDWR, func(fd int) error { return xattrs(unix.Fsetxattr(fd, "user.b", []byte("x"), 0)) })
		}, "xattr user.b /f"},
		{"removexattr", func() error {
			return xattrs(errors.Join(unix.Setxattr("f", "user.c", nil, 0), unix.Removexattr("f", "user.c")))
		}, "xattr_removed user.c /f"},
		{"fremovexattr", func() error {
			return onFd("f", unix.O_RDWR, func(fd int) error {
				return xattrs(errors.Join(unix.Fsetxattr(fd, "user.d", nil, 0), unix.Fremovexattr(fd, "user.d")))
			})
		}, "xattr_removed user.d /f"},
		{"lsetxattr", func() error { return xattrs(unix.Lsetxattr("link", "trusted.e", []byte("x"), 0)) }, "xattr trusted.e /link"},
		{"lremovexattr", func() error {
			return xattrs(errors.Join(unix.Lsetxattr("link", "trusted.f", []byte("x"), 0), unix.Lremovexattr("link", "trusted.f")))
		}, "xattr_removed trusted.f /link"},
		{"an unlink through its own root", func() error {
			dir, err := os.Getwd()
			return errors.Join(err, unix.Unlink("/proc/self/root"+dir+"/f"))
		}, "delete /f"},
		{"a rename through its own working directory", func() error {
			return unix.Rename("/proc/self/cwd/f", "/proc/thread-self/cwd/d/f")
		}, "rename /f /d/f"},
		{"a raw old chmod", func() error {
			name := path("f")
			_, _, errno := unix.Syscall(unix.SYS_FCHMODAT, uintptr(cwd), name, 0o700)
			return result(errno)
		}, "mode 0700 /f"},
	}
}

func result(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

func closes(fd int, err error) error {
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func opens(name string, flags int) error { return closes(unix.Open(name, flags, 0)) }

func onFd(name string, flags int, do func(int) error) error {
	fd, err := unix.Open(name, flags, 0)
	if err != nil {
		return err
	}
	return errors.Join(do(fd), unix.Close(fd))
}

// xattrs passes over a file system without extended attributes.
func xattrs(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) {
		return errNoXattr
	}
	return err
}

var errNoXattr = errors.New("no extended attributes here")

func reopened() error {
	fd, err := unix.Open("f", unix.O_PATH, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Dup3(fd, 9, 0), opens("/proc/self/fd/9", unix.O_RDONLY), unix.Close(9), unix.Close(fd))
}

func byHandle() error {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "f", 0)
	if err != nil {
		return errNoXattr // nor handles
	}
	dir, err := unix.Open(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	return errors.Join(closes(unix.OpenByHandleAt(dir, h, unix.O_RDONLY)), unix.Close(dir))
}

// aged makes a link look old, as the resolver does not follow one whose access
// time is due.
func aged(link string) error {
	later := unix.NsecToTimespec(time.Now().Add(time.Hour).UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, link, []unix.Timespec{later, {}}, unix.AT_SYMLINK_NOFOLLOW)
}

// actDoors goes through all doors, each in a directory of its own, and says
// which of them are not there.
func actDoors(out io.Writer) error {
	top, err := os.Getwd()
	if err != nil {
		return err
	}
	for i, d := range fileDoors() {
		dir := filepath.Join(top, fmt.Sprint("door", i))
		err := errors.Join(
			os.MkdirAll(dir+"/real", 0o755), os.Mkdir(dir+"/d", 0o755), os.Chdir(dir),
			os.WriteFile("f", []byte("content"), 0o644), os.WriteFile("real/in", []byte("inside"), 0o644),
			os.Symlink("real", "link"), aged("link"), os.Symlink("f", "flink"),
		)
		if err != nil {
			return err
		}
		if err := os.Mkdir("begin", 0o700); err != nil {
			return err
		}
		err = d.do()
		switch {
		case errors.Is(err, errNoXattr), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP):
			fmt.Fprintln(out, "absent", i)
		case err != nil:
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	fmt.Fprintln(out, "done")
	return nil
}

func testDoors(b *bench) {
	c := b.run("doors")
	absent := map[string]bool{}
	for line := c.line(b.t); line != "done"; line = c.line(b.t) {
		absent[strings.TrimPrefix(line, "absent ")] = true
	}
	told := make([][]string, len(fileDoors()))
	begun := -1
	for _, e := range b.seen {
		text := tell(e.Body)
		if e.Proc != c.id || text == "" {
			continue
		}
		for i := range told {
			dir := fmt.Sprint(c.Dir, "/door", i)
			if strings.Contains(text, dir+"/begin") {
				begun = i
			} else if begun == i && strings.Contains(text, dir+"/") {
				text = strings.ReplaceAll(text, "/proc/self/root"+dir, "/proc/self/root/DIR")
				told[i] = append(told[i], strings.ReplaceAll(text, dir, ""))
			}
		}
	}
	for i, d := range fileDoors() {
		b.t.Run(d.name, func(t *testing.T) {
			if absent[fmt.Sprint(i)] {
				t.Log("this kernel or file system has no such door: the call was refused")
				return
			}
			if !slices.Contains(told[i], d.want) {
				t.Errorf("%q, want %q among it", told[i], d.want)
			}
		})
	}
}

// tell says what a file event says, in a line.
func tell(body event.Body) string {
	doubt := func(d event.FileDoubt) string {
		s := ""
		if d.Unresolved {
			s += "unresolved "
		}
		if d.IOUring {
			s += "io_uring "
		}
		if d.Attempted {
			s += "attempted "
		}
		return s
	}
	switch b := body.(type) {
	case event.FileOpen:
		s := doubt(b.FileDoubt)
		switch {
		case b.Create:
			s += "create "
		case b.PathOnly:
			s += "path "
		case b.Write:
			s += "write "
		default:
			s += "read "
		}
		if b.Emptied {
			s += "emptied "
		}
		if b.Truncated {
			s += "cut "
		}
		s += b.Path
		if b.Requested != "" {
			s += " asked " + b.Requested
		}
		return s
	case event.FileRename:
		if b.Exchange {
			return doubt(b.FileDoubt) + "exchange " + b.Old + " " + b.New
		}
		return doubt(b.FileDoubt) + "rename " + b.Old + " " + b.New
	case event.FileDelete:
		return doubt(b.FileDoubt) + "delete " + b.Path
	case event.FileLink:
		if b.Symbolic {
			return doubt(b.FileDoubt) + "symlink " + b.Path + " " + b.Target
		}
		return doubt(b.FileDoubt) + "link " + b.Old + " " + b.Path
	case event.FileTruncate:
		return doubt(b.FileDoubt) + "truncate " + b.Path
	case event.FileAttr:
		s := doubt(b.FileDoubt) + string(b.Attribute) + " "
		if b.Value != "" {
			s += b.Value + " "
		}
		return s + b.Path
	}
	return ""
}

// tellIn says it with a directory left out; "" where that is not concerned.
func tellIn(body event.Body, dir string) string {
	line := tell(body)
	if !strings.Contains(line, dir+"/") {
		return ""
	}
	return strings.ReplaceAll(line, dir, "")
}
