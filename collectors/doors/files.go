package doors

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

func raceDoors() []Door {
	return []Door{
		{Name: "the path of open changes under it", act: raceOpen, with: files("a", "b")},
		{Name: "the address of connect changes under it", act: raceConnect},
		{Name: "the directory's descriptor becomes another", act: func(say say) error {
			say("delete", here("one/victim"))
			one, err := unix.Open("one", unix.O_DIRECTORY|unix.O_RDONLY, 0)
			if err != nil {
				return err
			}
			two, err := unix.Open("two", unix.O_DIRECTORY|unix.O_RDONLY, 0)
			if err != nil {
				return err
			}
			return errors.Join(unix.Unlinkat(one, "victim", 0), unix.Dup3(two, one, 0))
		}, with: files("one/", "two/", "one/victim", "two/victim")},
		{Name: "the arguments are overwritten after exec", act: overwrite},
	}
}

// raceOpen opens a path whose last byte another thread changes all the time,
// and says what the kernel says that it opened.
func raceOpen(say say) error {
	path := append([]byte(here("a")), 0)
	last := &path[len(path)-2]
	stop := flip(func(odd bool) {
		if odd {
			*last = 'b'
		} else {
			*last = 'a'
		}
	})
	defer stop()
	for range 100 {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, unix.AT_FDCWD&(1<<64-1), address(path), unix.O_RDONLY, 0, 0, 0)
		if errno != 0 {
			return errno
		}
		real, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
		if err := errors.Join(err, unix.Close(int(fd))); err != nil {
			return err
		}
		say("read", real)
	}
	return nil
}

// flip runs change in another thread, over and over, until stop returns.
func flip(change func(odd bool)) (stop func()) {
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; !over.Load(); i++ {
			change(i%2 == 1)
		}
	}()
	return func() {
		over.Store(true)
		<-done
	}
}

// raceConnect connects to an address whose port another thread changes, and
// says whom the kernel says that it reached.
func raceConnect(say say) error {
	var sa [16]byte
	var ports [2][2]byte
	for i := range 2 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		port := l.Addr().(*net.TCPAddr).Port
		ports[i] = [2]byte{byte(port >> 8), byte(port)}
	}
	*(*uint16)(pointer(sa[:])) = unix.AF_INET
	copy(sa[4:], []byte{127, 0, 0, 1})
	copy(sa[2:], ports[0][:])
	stop := flip(func(odd bool) {
		i := 0
		if odd {
			i = 1
		}
		*(*uint16)(pointer(sa[2:])) = *(*uint16)(pointer(ports[i][:]))
	})
	defer stop()
	for range 50 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), address(sa[:]), 16); errno != 0 {
			return errno
		}
		peer, err := unix.Getpeername(fd)
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			return err
		}
		say("connect", "tcp", fmt.Sprint("127.0.0.1:", peer.(*unix.SockaddrInet4).Port))
	}
	return nil
}

func fileDoors() []Door {
	return []Door{
		{Name: "openat2", act: func(say say) error {
			say("read", here("secret"))
			fd, err := unix.Openat2(unix.AT_FDCWD, "secret", &unix.OpenHow{Flags: unix.O_RDONLY, Resolve: unix.RESOLVE_NO_SYMLINKS})
			return errors.Join(err, unix.Close(fd))
		}, with: files("secret")},
		{Name: "open_by_handle_at", act: func(say say) error {
			say("read", here("secret"))
			handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "secret", 0)
			if err != nil {
				return err
			}
			dir, err := unix.Open(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
			if err != nil {
				return err
			}
			fd, err := unix.OpenByHandleAt(dir, handle, unix.O_RDONLY)
			return errors.Join(err, unix.Close(fd))
		}, with: files("secret")},
		{Name: "a descriptor from another process", act: func(say say) error {
			say("read", here("secret"))
			ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			f, err := os.Open("secret")
			if err != nil {
				return err
			}
			return errors.Join(unix.Sendmsg(ends[0], []byte("x"), unix.UnixRights(int(f.Fd())), nil, 0), f.Close())
		}, with: files("secret")},
		{Name: "renameat2 with exchange", act: func(say say) error {
			say("rename", here("one"), here("two"))
			return unix.Renameat2(unix.AT_FDCWD, "one", unix.AT_FDCWD, "two", unix.RENAME_EXCHANGE)
		}, with: files("one", "two")},
		{Name: "hard and symbolic links", act: func(say say) error {
			say("link", here("one"), here("two"))
			say("symlink", here("three"), "to")
			return errors.Join(os.Link("one", "two"), os.Symlink("to", "three"))
		}, with: files("one")},
		{Name: "emptied by open, truncate and fallocate", act: func(say say) error {
			say("empty", here("one"))
			say("truncate", here("two"))
			say("truncate", here("three"))
			fd, err1 := unix.Open("one", unix.O_WRONLY|unix.O_TRUNC, 0)
			f, err2 := os.OpenFile("three", os.O_WRONLY, 0)
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			return errors.Join(unix.Truncate("two", 0), f.Truncate(0), f.Close(), unix.Close(fd))
		}, with: files("one", "two", "three")},
		{Name: "mode, owner, times and extended attributes", act: func(say say) error {
			for _, what := range []string{"mode", "owner", "times"} {
				say("attribute", here("one"), what)
			}
			errs := []error{os.Chmod("one", 0o600), os.Chown("one", os.Getuid(), os.Getgid()), os.Chtimes("one", time.Now(), time.Now())}
			if err := unix.Setxattr("one", "user.x", []byte("x"), 0); err == nil { // not on every file system
				say("attribute", here("one"), "xattr")
			}
			return errors.Join(errs...)
		}, with: files("one")},
		{Name: "mapped and written to", act: func(say say) error {
			say("written", here("one"))
			f, err := os.OpenFile("one", os.O_RDWR, 0)
			if err != nil {
				return err
			}
			m, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				return err
			}
			m[0] = 'y'
			return errors.Join(unix.Munmap(m), f.Close())
		}, with: files("one")},
		{Name: "copied by sendfile, splice and copy_file_range", act: copies, with: files("from", "one", "two", "three")},
		{Name: "io_uring opens", act: uringOpen(0), with: files("secret")},
		{Name: "io_uring opens in a thread of the kernel", act: uringOpen(setupSQPoll), with: files("secret")},
		{Name: "io_uring removes, renames and makes", act: uringChange, with: files("victim", "old")},
		{Name: "a 32-bit system call opens", act: func(say say) error {
			say("read", here("secret"))
			return call32(open32, here("secret"), unix.O_RDONLY)
		}, with: files("secret"), Except: map[string]Result{Tracepoint: Documented}, Limit: "32-bit system calls on files and connections"},
		{Name: "a 32-bit system call removes", act: func(say say) error {
			say("delete", here("victim"))
			return call32(unlink32, here("victim"), 0)
		}, with: files("victim"), Except: map[string]Result{Tracepoint: Documented}, Limit: "32-bit system calls on files and connections"},
	}
}

// copies moves bytes from one file to others, and none of them through memory
// of its own.
func copies(say say) error {
	open := func(name string) (int, error) { return unix.Open(name, unix.O_RDWR, 0) }
	from, err := open("from")
	if err != nil {
		return err
	}
	var to [3]int
	for i, name := range []string{"one", "two", "three"} {
		say("written", here(name))
		if to[i], err = open(name); err != nil {
			return err
		}
	}
	say("got", here("from"))
	var pipe [2]int
	if err := unix.Pipe(pipe[:]); err != nil {
		return err
	}
	var at [3]int64
	_, err1 := unix.Sendfile(to[0], from, &at[0], 1)
	_, err2 := unix.Splice(from, &at[1], pipe[1], nil, 1, 0)
	_, err3 := unix.Splice(pipe[0], nil, to[1], nil, 1, 0)
	_, err4 := unix.CopyFileRange(from, &at[2], to[2], nil, 1, 0)
	return errors.Join(err1, err2, err3, err4)
}
