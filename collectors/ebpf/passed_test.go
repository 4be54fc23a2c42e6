package ebpf

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// actPass takes a file, a socket and a descriptor that its parent opened: by a
// message, by inheritance, and by pidfd_getfd.
func actPass(io.Writer) error {
	const inherited, channel = 3, 4
	message := make([]byte, 16)
	control := make([]byte, unix.CmsgSpace(3*4))
	_, n, _, _, err := unix.Recvmsg(channel, message, control, 0)
	if err != nil {
		return err
	}
	if parts, err := unix.ParseSocketControlMessage(control[:n]); err != nil || len(parts) != 1 {
		return fmt.Errorf("%d parts, %w", len(parts), err)
	}
	parent, err := unix.PidfdOpen(os.Getppid(), 0)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(os.Args[1])
	if err != nil {
		return err
	}
	if _, err := unix.PidfdGetfd(parent, number, 0); err != nil {
		return fmt.Errorf("pidfd_getfd: %w", err)
	}
	_, err = unix.Write(inherited, []byte("from the child"))
	return err
}

func testPass(b *bench) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	defer l.Close()
	file := func(c net.Conn) *os.File {
		f, err := c.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { f.Close(); c.Close() })
		return f
	}
	dial := func() (netip.AddrPort, *os.File) {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			b.t.Fatal(err)
		}
		return c.LocalAddr().(*net.TCPAddr).AddrPort(), file(c)
	}
	inheritedAt, inherited := dial()
	passedAt, passed := dial()
	secret, taken := filepath.Join(b.t.TempDir(), "secret"), filepath.Join(b.t.TempDir(), "taken")
	open := func(name string) *os.File {
		f, err := os.Create(name)
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { f.Close() })
		return f
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "pair")
	defer theirs.Close()

	c := b.startWith("pass", []*os.File{inherited, theirs}, strconv.Itoa(int(open(taken).Fd())))
	if err := b.Watch(c.id); err != nil {
		b.t.Fatal(err)
	}
	rights := unix.UnixRights(int(open(secret).Fd()), int(passed.Fd()))
	if err := unix.Sendmsg(pair[0], []byte("x"), rights, nil, 0); err != nil {
		b.t.Fatal(err)
	}
	c.act(b.t)
	if exit := b.untilExit(c.id); exit != (event.Exit{}) {
		b.t.Fatalf("child ended with %+v", exit)
	}
	untilBody(b, c.id, func(x event.FileOpen) bool { return x.Path == secret && x.Passed && x.Write })
	untilBody(b, c.id, func(x event.FileOpen) bool { return x.Path == taken && x.Passed })
	untilBody(b, c.id, func(x event.Connect) bool { return x.Local == passedAt && x.Passed })
	if !b.lacks("who sends on a socket of another's") {
		untilBody(b, c.id, func(x event.Connect) bool { return x.Local == inheritedAt && x.Passed })
	}
}

// actTheirs sends on UDP sockets that an unwatched process made: a connected one
// by write, one that is not by sendto.
func actTheirs(out io.Writer) error {
	const connected, plain = 3, 4
	at := &unix.SockaddrInet4{Addr: loopback, Port: 9}
	if _, err := unix.Write(connected, make([]byte, 11)); err != nil {
		return err
	}
	return unix.Sendto(plain, make([]byte, 22), 0, at)
}

func testTheirs(b *bench) {
	if b.lacks("who sends on a socket of another's") {
		return
	}
	file := func(c *net.UDPConn, err error) (netip.AddrPort, *os.File) {
		if err != nil {
			b.t.Fatal(err)
		}
		f, err := c.File()
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { f.Close(); c.Close() })
		return c.LocalAddr().(*net.UDPAddr).AddrPort(), f
	}
	connectedAt, connected := file(net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}))
	plainAt, plain := file(net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}))
	c := b.startWith("theirs", []*os.File{connected, plain})
	if err := b.Watch(c.id); err != nil {
		b.t.Fatal(err)
	}
	c.act(b.t)
	b.untilExit(c.id)
	for _, local := range []netip.AddrPort{connectedAt, plainAt} {
		got := untilBody(b, c.id, func(x event.Connect) bool { return x.Local == local && x.Transport == event.UDP })
		if got.Peer != netip.MustParseAddrPort("127.0.0.1:9") {
			b.t.Errorf("connect %+v", got)
		}
	}
}
