package ebpf

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

var loopback = [4]byte{127, 0, 0, 1}

// actLong moves bytes, waits to be told that they were seen, and moves more.
func actLong(out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(io.Discard, c)
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	u, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, sentBytes)); err != nil {
		return err
	}
	if _, err := u.Write(make([]byte, 321)); err != nil {
		return err
	}
	fmt.Fprintln(out, c.LocalAddr())
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	return errors.Join(err, c.Close())
}

func testLong(b *bench) {
	c := b.start("long")
	if err := b.Watch(c.id); err != nil {
		b.t.Fatal(err)
	}
	c.act(b.t)
	local := netip.MustParseAddrPort(c.line(b.t))
	got := untilBody(b, c.id, func(x event.Send) bool { return x.Local == local && x.Sent == sentBytes })
	if got.Inbound || got.Transport != event.TCP || got.Socket == 0 {
		b.t.Errorf("send %+v", got)
	}
	untilBody(b, c.id, func(x event.Send) bool { return x.Inbound && x.Peer == local && x.Received == sentBytes })
	untilBody(b, c.id, func(x event.Send) bool { return x.Transport == event.UDP && x.Sent == 321 })
	if closes := bodies[event.Close](b, c.id); len(closes) != 0 {
		b.t.Errorf("closes %+v of what is open", closes)
	}
	c.act(b.t)
	b.untilExit(c.id)
}

// actFastOpen connects with the first data: by sendto, and by a connect that
// waits for it.
func actFastOpen(out io.Writer) error {
	for i := range 2 {
		l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		at := &unix.SockaddrInet4{Addr: loopback}
		if err := errors.Join(unix.SetsockoptInt(l, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 5), unix.Bind(l, at), unix.Listen(l, 5)); err != nil {
			return err
		}
		name, err := unix.Getsockname(l)
		if err != nil {
			return err
		}
		at.Port = name.(*unix.SockaddrInet4).Port
		fmt.Fprintln(out, at.Port)
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		if i == 0 {
			err = unix.Sendto(s, []byte("GET /fast HTTP/1.1\r\nHost: fast.example\r\n\r\n"), unix.MSG_FASTOPEN, at)
		} else {
			if err := errors.Join(unix.SetsockoptInt(s, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1), unix.Connect(s, at)); err != nil {
				return err
			}
			_, err = unix.Write(s, []byte("GET /later HTTP/1.1\r\nHost: later.example\r\n\r\n"))
		}
		if err != nil {
			return err
		}
		c, _, err := unix.Accept(l)
		if err != nil {
			return err
		}
		if _, err := unix.Read(c, make([]byte, 100)); err != nil {
			return err
		}
		unix.Close(c)
		unix.Close(s)
		unix.Close(l)
	}
	return nil
}

func testFastOpen(b *bench) {
	c := b.run("fast-open")
	for _, host := range []string{"fast.example", "later.example"} {
		peer := netip.MustParseAddrPort("127.0.0.1:" + c.line(b.t))
		connect := untilBody(b, c.id, func(x event.Connect) bool { return x.Peer == peer })
		got := untilBody(b, c.id, func(x event.Close) bool { return x.Socket == connect.Socket })
		if got.Sent == 0 || connect.Errno != 0 {
			b.t.Errorf("%s: %+v, %+v", host, connect, got)
		}
		untilBody(b, c.id, func(x event.HTTPExchange) bool { return x.Host == host && x.Socket == connect.Socket })
	}
}

// actMultipath connects with Multipath TCP to itself.
func actMultipath(out io.Writer) error {
	const mptcp = 262
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, mptcp)
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ENOPROTOOPT) {
		fmt.Fprintln(out, "none")
		return nil
	}
	if err != nil {
		return err
	}
	at := &unix.SockaddrInet4{Addr: loopback}
	if err := errors.Join(unix.Bind(l, at), unix.Listen(l, 5)); err != nil {
		return err
	}
	name, err := unix.Getsockname(l)
	if err != nil {
		return err
	}
	at.Port = name.(*unix.SockaddrInet4).Port
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, mptcp)
	if err != nil {
		return err
	}
	if err := unix.Connect(s, at); err != nil {
		return err
	}
	c, _, err := unix.Accept(l)
	if err != nil {
		return err
	}
	if _, err := unix.Write(s, make([]byte, 4321)); err != nil {
		return err
	}
	for n := 0; n < 4321; {
		m, err := unix.Read(c, make([]byte, 8192))
		if err != nil || m == 0 {
			return fmt.Errorf("%d bytes, %w", n, err)
		}
		n += m
	}
	fmt.Fprintln(out, at.Port)
	unix.Close(s)
	_, err = unix.Read(c, make([]byte, 1))
	return err
}

func testMultipath(b *bench) {
	c := b.run("multipath")
	port := c.line(b.t)
	if port == "none" {
		b.t.Skip("the kernel has no Multipath TCP")
	}
	peer := netip.MustParseAddrPort("127.0.0.1:" + port)
	connect := untilBody(b, c.id, func(x event.Connect) bool { return x.Peer == peer })
	got := untilBody(b, c.id, func(x event.Close) bool { return x.Socket == connect.Socket })
	if got.Sent < 4321 {
		b.t.Errorf("close %+v, want 4321 sent", got)
	}
}

// actDatagrams sends on sockets that it connected, by write, and by connect
// alone; and receives on one that it never sends on.
func actDatagrams(out io.Writer) error {
	server, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		return err
	}
	silent, err := net.Dial("udp6", server.LocalAddr().String()) // as a resolver does, to learn a route
	if err != nil {
		return err
	}
	silentAt := silent.LocalAddr()
	if err := silent.Close(); err != nil {
		return err
	}
	c, err := net.Dial("udp6", server.LocalAddr().String())
	if err != nil {
		return err
	}
	if _, err := c.Write(make([]byte, 77)); err != nil {
		return err
	}
	if _, _, err := server.ReadFrom(make([]byte, 100)); err != nil {
		return err
	}
	fmt.Fprintln(out, server.LocalAddr(), silentAt, c.LocalAddr())
	return errors.Join(c.Close(), server.Close())
}

func testDatagrams(b *bench) {
	c := b.run("datagrams")
	said := strings.Fields(c.line(b.t))
	server, silent, client := netip.MustParseAddrPort(said[0]), netip.MustParseAddrPort(said[1]), netip.MustParseAddrPort(said[2])
	untilBody(b, c.id, func(x event.Connect) bool { return x.Transport == event.UDP && x.Local == client && x.Peer == server })
	untilBody(b, c.id, func(x event.Accept) bool { return x.Transport == event.UDP && x.Local == server && x.Peer == client })
	got := untilBody(b, c.id, func(x event.Close) bool { return x.Local == server })
	if got.Received != 77 || !got.Inbound || got.Sent != 0 {
		b.t.Errorf("close of a socket that only receives: %+v", got)
	}
	for _, x := range bodies[event.Connect](b, c.id) {
		if x.Local == silent {
			b.t.Errorf("connect %+v of a socket that sent nothing", x)
		}
	}
}
