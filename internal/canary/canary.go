// Package canary does one of each thing that the sensors claim to see, so that
// the agent can tell whether they do see it: a probe that was loaded and is
// blind looks like one on a quiet host.
//
// The deeds are done by a process of their own, which the agent starts, marks
// like one of OpenClaw's and lets go; what is seen of it is not reported as an
// event. All of its files lie in a directory that the agent makes for it and
// removes.
package canary

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A Door is one way in which something can be done, and what is to be seen of it.
type Door struct {
	Name string
	Kind event.Kind
	do   func(*bird) error
	seen func(body event.Body, door string) bool
}

// Seen reports whether an event is what the door leads to.
func (d Door) Seen(ev event.Event) bool {
	return ev.Body.Kind() == d.Kind && (d.seen == nil || d.seen(ev.Body, d.Name))
}

const hostName = "canary.invalid"

// A bird is what the deeds share.
type bird struct {
	dir      string
	listener *net.TCPListener
	packets  *net.UDPConn
}

// path is that of the file that a door is tried on.
func (b *bird) path(door string) string { return filepath.Join(b.dir, door) }

// Doors are those that are tried, in this order.
func Doors() []Door {
	return append([]Door{
		{"fork", event.KindFork, nothing, nil},
		{"exec", event.KindExec, execute, nil},
		{"signal", event.KindAccess, nothing, nil},
		{"exit", event.KindExit, nothing, nil},
		{"openat", event.KindFileOpen, openat("openat", unix.O_RDONLY), opened},
		{"openat-create", event.KindFileCreate, openat("openat-create", unix.O_WRONLY|unix.O_CREAT), opened},
		{"openat2", event.KindFileOpen, openat2, opened},
		{"mkdirat", event.KindFileCreate, func(b *bird) error { return unix.Mkdirat(unix.AT_FDCWD, b.path("mkdirat"), 0o700) }, opened},
		{"renameat2", event.KindFileRename, made("renameat2", func(from, to string) error {
			return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, 0)
		}), renamed},
		{"unlinkat", event.KindFileDelete, made("unlinkat", func(from, to string) error {
			return errors.Join(os.Rename(from, to), unix.Unlinkat(unix.AT_FDCWD, to, 0))
		}), deleted},
		{"linkat", event.KindFileLink, made("linkat", func(from, to string) error {
			return unix.Linkat(unix.AT_FDCWD, from, unix.AT_FDCWD, to, 0)
		}), linked},
		{"symlinkat", event.KindFileLink, func(b *bird) error { return unix.Symlinkat("nowhere", unix.AT_FDCWD, b.path("symlinkat")) }, linked},
		{"fchmodat", event.KindFileAttr, made("fchmodat", func(from, to string) error {
			return errors.Join(os.Rename(from, to), unix.Fchmodat(unix.AT_FDCWD, to, 0o400, 0))
		}), changed},
		{"truncate", event.KindFileWrite, made("truncate", func(from, to string) error {
			return errors.Join(os.Rename(from, to), unix.Truncate(to, 0))
		}), emptied},
		{"write", event.KindFileWrite, func(b *bird) error { return os.WriteFile(b.path("write"), []byte{0}, 0o600) }, used},
		{"read", event.KindFileRead, func(b *bird) error {
			_, err := os.ReadFile(b.path("read"))
			return err
		}, used},
		{"listen", event.KindListen, listen, nil},
		{"socket", event.KindSocket, odd, nil},
		{"http", event.KindHTTP, nothing, func(body event.Body, _ string) bool {
			b, ok := body.(event.HTTPExchange)
			return ok && b.Host == hostName
		}},
		{"accept4", event.KindAccept, nothing, transported(event.TCP)},
		{"connect", event.KindConnect, tcp, transported(event.TCP)},
		{"close", event.KindClose, nothing, transported(event.TCP)},
		{"sendto", event.KindConnect, udp, transported(event.UDP)},
		{"udp-close", event.KindClose, nothing, transported(event.UDP)},
	}, legacy()...)
}

// nothing is for what another deed does besides.
func nothing(*bird) error { return nil }

// execute runs a program and ends it with a signal.
func execute(*bird) error {
	cmd := exec.Command("/proc/self/exe", "canary", "nothing")
	cmd.Args[0] = "clawwatch"
	if err := cmd.Start(); err != nil {
		return err
	}
	err := cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	return err
}

func openat(door string, flags int) func(*bird) error {
	return func(b *bird) error {
		fd, err := unix.Openat(unix.AT_FDCWD, b.path(door), flags, 0o600)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
}

func openat2(b *bird) error {
	fd, err := unix.Openat2(unix.AT_FDCWD, b.path("openat2"), &unix.OpenHow{Flags: unix.O_RDONLY})
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// made makes a file, and lets something be done with it and the name of the
// door.
func made(door string, do func(from, to string) error) func(*bird) error {
	return func(b *bird) error {
		from := b.path(door + ".old")
		if err := os.WriteFile(from, nil, 0o600); err != nil {
			return err
		}
		return do(from, b.path(door))
	}
}

func tcp(b *bird) error {
	c, err := net.DialTCP("tcp4", nil, b.listener.Addr().(*net.TCPAddr))
	if err != nil {
		return err
	}
	s, err := b.listener.AcceptTCP()
	if err != nil {
		return errors.Join(err, c.Close())
	}
	_, err1 := io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+hostName+"\r\n\r\n")
	_, err2 := io.WriteString(s, "HTTP/1.1 204 No Content\r\n\r\n")
	return errors.Join(err1, err2, c.Close(), s.Close())
}

func listen(*bird) error {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	return l.Close()
}

// odd makes a socket of a kind that is told of, and takes no privilege.
func odd(*bird) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_CONNECTOR)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func udp(b *bird) error {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	_, err = c.WriteToUDP([]byte{0}, b.packets.LocalAddr().(*net.UDPAddr))
	return errors.Join(err, c.Close())
}

func opened(body event.Body, door string) bool {
	b, ok := body.(event.FileOpen)
	return ok && filepath.Base(b.Path) == door
}

func renamed(body event.Body, door string) bool {
	b, ok := body.(event.FileRename)
	return ok && filepath.Base(b.New) == door
}

func deleted(body event.Body, door string) bool {
	b, ok := body.(event.FileDelete)
	return ok && filepath.Base(b.Path) == door
}

func linked(body event.Body, door string) bool {
	b, ok := body.(event.FileLink)
	return ok && filepath.Base(b.Path) == door
}

func changed(body event.Body, door string) bool {
	b, ok := body.(event.FileAttr)
	return ok && filepath.Base(b.Path) == door
}

func emptied(body event.Body, door string) bool {
	b, ok := body.(event.FileTruncate)
	return ok && filepath.Base(b.Path) == door
}

func used(body event.Body, door string) bool {
	b, ok := body.(event.FileUse)
	return ok && filepath.Base(b.Path) == door
}

func transported(t event.Transport) func(event.Body, string) bool {
	return func(body event.Body, _ string) bool {
		switch b := body.(type) {
		case event.Connect:
			return b.Transport == t
		case event.Accept:
			return b.Transport == t
		case event.Close:
			return b.Transport == t
		}
		return false
	}
}

// Fly is the process: it says that it is ready, waits for a line, and goes
// through all the doors, with files in dir. It writes a line for each that it
// could not go through: the name of the door, a space, and why.
func Fly(in io.Reader, out io.Writer, dir string) error {
	b := &bird{dir: dir}
	var err error
	if b.listener, err = net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer b.listener.Close() //nolint:errcheck // the process ends
	if b.packets, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer b.packets.Close()     //nolint:errcheck // the process ends
	for _, d := range Doors() { // what is made and opened within a moment can look like one thing
		if d.Kind != event.KindFileOpen && d.Kind != event.KindFileRead {
			continue
		}
		if err := os.WriteFile(b.path(d.Name), []byte{0}, 0o600); err != nil {
			return fmt.Errorf("make files: %w", err)
		}
	}
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return err
	}
	if _, err := bufio.NewReader(in).ReadString('\n'); err != nil {
		return fmt.Errorf("wait to be let go: %w", err)
	}
	for _, d := range Doors() {
		if err := d.do(b); err != nil {
			if _, err := fmt.Fprintln(out, d.Name, strings.ReplaceAll(err.Error(), "\n", "; ")); err != nil {
				return err
			}
		}
	}
	return nil
}
