package ebpf

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	sentBytes     = 1_234_567
	answeredBytes = 7_654
)

// actTCP serves and connects to itself, over both families.
func actTCP(out io.Writer) error {
	for _, host := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", host)
		if err != nil {
			return err
		}
		served := make(chan error, 1)
		go func() { served <- serve(l) }()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		fmt.Fprintln(out, c.LocalAddr(), c.RemoteAddr())
		_, err = c.Write(make([]byte, sentBytes))
		n, err2 := io.Copy(io.Discard, c)
		if err := errors.Join(err, err2, c.Close(), <-served, l.Close()); err != nil || n != answeredBytes {
			return fmt.Errorf("%d bytes, %w", n, err)
		}
	}
	return nil
}

func serve(l net.Listener) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, sentBytes))
	_, err2 := c.Write(make([]byte, answeredBytes))
	return errors.Join(err, err2, c.Close())
}

func testTCP(b *bench) {
	c := b.run("tcp")
	for range 2 {
		ends := strings.Fields(c.line(b.t))
		client, server := netip.MustParseAddrPort(ends[0]), netip.MustParseAddrPort(ends[1])
		connect := untilBody(b, c.id, func(x event.Connect) bool { return x.Peer == server })
		if want := (event.Connect{Transport: event.TCP, Local: client, Peer: server, Socket: connect.Socket}); connect != want {
			b.t.Errorf("connect %+v, want %+v", connect, want)
		}
		accept := untilBody(b, c.id, func(x event.Accept) bool { return x.Peer == client })
		if want := (event.Accept{Transport: event.TCP, Local: server, Peer: client, Socket: accept.Socket}); accept != want {
			b.t.Errorf("accept %+v, want %+v", accept, want)
		}
		if connect.Socket == 0 || accept.Socket == 0 || connect.Socket == accept.Socket {
			b.t.Errorf("sockets %d and %d", connect.Socket, accept.Socket)
		}
		for _, want := range []event.Close{
			{Transport: event.TCP, Local: client, Peer: server, Socket: connect.Socket, Sent: sentBytes, Received: answeredBytes},
			{Transport: event.TCP, Local: server, Peer: client, Socket: accept.Socket, Inbound: true, Sent: answeredBytes, Received: sentBytes},
		} {
			got := untilBody(b, c.id, func(x event.Close) bool { return x.Socket == want.Socket })
			if got != want {
				b.t.Errorf("close %+v, want %+v", got, want)
			}
		}
	}
}

// untilBody looks through what was seen, and then what comes.
func untilBody[T event.Body](b *bench, id event.ProcID, match func(T) bool) T {
	b.t.Helper()
	is := func(e event.Event) bool {
		body, ok := e.Body.(T)
		return ok && e.Proc == id && match(body)
	}
	for _, e := range b.seen {
		if is(e) {
			return e.Body.(T)
		}
	}
	return b.until(fmt.Sprintf("%T", *new(T)), is).Body.(T)
}

// actRefused connects to a port that nobody serves.
func actRefused(out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return err
	}
	fmt.Fprintln(out, port)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

func testRefused(b *bench) {
	c := b.run("refused")
	peer := netip.MustParseAddrPort("127.0.0.1:" + c.line(b.t))
	got := untilBody(b, c.id, func(x event.Connect) bool { return x.Peer == peer })
	if got.Errno != int(unix.ECONNREFUSED) || got.Transport != event.TCP {
		b.t.Errorf("connect %+v", got)
	}
	if closes := bodies[event.Close](b, c.id); len(closes) != 0 {
		b.t.Errorf("closes of what never was open: %+v", closes)
	}
}

// actAgain connects without waiting, and calls again to learn how it went.
func actAgain(out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Fprintln(out, l.Addr())
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrInet4{Port: l.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}
	if err := unix.Connect(fd, to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	if _, err := l.Accept(); err != nil {
		return err
	}
	for range 3 {
		if err := unix.Connect(fd, to); err != nil && !errors.Is(err, unix.EISCONN) {
			return err
		}
	}
	return nil
}

func testAgain(b *bench) {
	c := b.run("again")
	peer := netip.MustParseAddrPort(c.line(b.t))
	untilBody(b, c.id, func(x event.Close) bool { return x.Peer == peer })
	if all := bodies[event.Connect](b, c.id); len(all) != 1 || all[0].Errno != 0 || all[0].Peer != peer {
		b.t.Errorf("connects %+v, want one to %v", all, peer)
	}
}

// sendBatch sends one datagram with sendmmsg.
func sendBatch(s *net.UDPConn, to netip.AddrPort, text []byte) error {
	address := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: to.Port()<<8 | to.Port()>>8, Addr: to.Addr().As4()}
	vector := unix.Iovec{Base: &text[0], Len: uint64(len(text))}
	message := struct {
		unix.Msghdr
		sent uint32
	}{Msghdr: unix.Msghdr{
		Name: (*byte)(unsafe.Pointer(&address)), Namelen: unix.SizeofSockaddrInet4, Iov: &vector, Iovlen: 1,
	}}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var errno unix.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&message)), 1, 0, 0, 0)
	})
	if errno != 0 {
		return errno
	}
	return err
}

// actUDP sends from one socket to three peers, by each of the system calls for
// it, twice to two of them; and from a connected one. The first peer answers.
func actUDP(out io.Writer) error {
	var peers []*net.UDPConn
	for range 4 {
		p, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		defer p.Close()
		peers = append(peers, p)
	}
	s, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	for range 2 {
		if _, err := s.WriteTo(make([]byte, 100), peers[0].LocalAddr()); err != nil {
			return err
		}
		if _, _, err := s.WriteMsgUDP(make([]byte, 100), nil, peers[1].LocalAddr().(*net.UDPAddr)); err != nil {
			return err
		}
	}
	if err := sendBatch(s, peers[3].LocalAddr().(*net.UDPAddr).AddrPort(), make([]byte, 60)); err != nil {
		return err
	}
	if _, err := peers[0].WriteTo(make([]byte, 33), s.LocalAddr()); err != nil {
		return err
	}
	if _, _, err := s.ReadFrom(make([]byte, 100)); err != nil {
		return err
	}
	c, err := net.Dial("udp4", peers[2].LocalAddr().String())
	if err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, 500)); err != nil {
		return err
	}
	fmt.Fprintln(out, s.LocalAddr(), c.LocalAddr(), peers[0].LocalAddr(), peers[1].LocalAddr(), peers[2].LocalAddr(), peers[3].LocalAddr())
	return errors.Join(s.Close(), c.Close())
}

func testUDP(b *bench) {
	c := b.run("udp")
	var ends []netip.AddrPort
	for _, text := range strings.Fields(c.line(b.t)) {
		ends = append(ends, netip.MustParseAddrPort(text))
	}
	plain, connected, peers := ends[0], ends[1], ends[2:]
	for i, peer := range peers {
		local := plain
		if i == 2 {
			local = connected
		}
		n := 0
		for _, x := range bodies[event.Connect](b, c.id) {
			if x.Peer != peer {
				continue
			}
			n++
			if x.Transport != event.UDP || x.Local != local || x.Socket == 0 || x.Errno != 0 {
				b.t.Errorf("connect %+v, want from %v", x, local)
			}
		}
		if n != 1 {
			b.t.Errorf("%d connects to %v, want 1", n, peer)
		}
	}
	got := untilBody(b, c.id, func(x event.Close) bool { return x.Local == plain && x.Transport == event.UDP })
	if got.Sent != 460 || got.Received != 33 || got.Peer != peers[0] {
		b.t.Errorf("close %+v, want 460 sent, 33 received", got)
	}
	got = untilBody(b, c.id, func(x event.Close) bool { return x.Local == connected && x.Transport == event.UDP })
	if got.Sent != 500 || got.Peer != peers[2] {
		b.t.Errorf("close %+v, want 500 sent", got)
	}
}

// actAbandon connects to the address in its argument, sends, and exits with the
// socket open.
func actAbandon(io.Writer) error {
	c, err := net.DialTimeout("tcp", os.Args[1], 10*time.Second)
	if err != nil {
		return err
	}
	_, err = c.Write(make([]byte, sentBytes/100))
	return err
}

func testAbandon(b *bench) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	defer l.Close()
	c := b.run("abandon", l.Addr().String())
	in, err := l.Accept()
	if err != nil {
		b.t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, in); n != sentBytes/100 || err != nil {
		b.t.Fatalf("%d bytes, %v", n, err)
	}
	in.Close()
	got := untilBody(b, c.id, func(x event.Close) bool { return x.Peer.String() == l.Addr().String() })
	if got.Sent != sentBytes/100 || got.Inbound {
		b.t.Errorf("close %+v", got)
	}
}
