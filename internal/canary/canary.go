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
		{"accept4", event.KindAccept, nothing, transported(event.TCP)},
		{"connect", event.KindConnect, tcp, transported(event.TCP)},
		{"close", event.KindClose, nothing, transported(event.TCP)},
		{"sendto", event.KindConnect, udp, transported(event.UDP)},
		{"udp-close", event.KindClose, nothing, transported(event.UDP)},
	}, legacy()...)
}

// nothing is for what another deed does besides.
func nothing(*bird) error { return nil }

func execute(*bird) error {
	cmd := exec.Command("/proc/self/exe", "canary", "nothing")
	cmd.Args[0] = "clawwatch"
	return cmd.Run()
}

func openat(door string, flags int) func(*bird) error {
	return func(b *bird) error {
		if flags&unix.O_CREAT == 0 {
			if err := os.WriteFile(b.path(door), nil, 0o600); err != nil {
				return err
			}
		}
		fd, err := unix.Openat(unix.AT_FDCWD, b.path(door), flags, 0o600)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
}

func openat2(b *bird) error {
	if err := os.WriteFile(b.path("openat2"), nil, 0o600); err != nil {
		return err
	}
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
	return errors.Join(c.Close(), s.Close())
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
	defer b.packets.Close() //nolint:errcheck // the process ends
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
