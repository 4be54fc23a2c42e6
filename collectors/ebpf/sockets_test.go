package ebpf

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// actListen waits for connections by TCP, datagrams at a port of its choice,
// and a Unix socket.
func actListen(out io.Writer) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	free, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	port := free.LocalAddr().(*net.UDPAddr).Port
	free.Close()
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	x, err := net.Listen("unix", "s")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, l.Addr(), u.LocalAddr(), filepath.Join(dir, "s"))
	return errors.Join(l.Close(), u.Close(), x.Close())
}

func testListen(b *bench) {
	c := b.run("listen")
	said := strings.Fields(c.line(b.t))
	tcp, udp := netip.MustParseAddrPort(said[0]), netip.MustParseAddrPort(said[1])
	untilBody(b, c.id, func(x event.Listen) bool { return x.Transport == event.TCP && x.Local == tcp && x.Socket != 0 })
	untilBody(b, c.id, func(x event.Listen) bool { return x.Transport == event.UDP && x.Local == udp })
	untilBody(b, c.id, func(x event.Listen) bool { return x.Transport == event.Unix && x.Name == said[2] })
	n := 0
	for _, x := range bodies[event.Listen](b, c.id) {
		if x.Transport == event.UDP {
			n++
		}
	}
	if n != 1 {
		b.t.Errorf("%d UDP servers: a port that the kernel chose is no service", n)
	}
}

// actServices connects to Unix sockets by path, by a symbolic link and by an
// abstract name, each more than once, and sends a datagram to one.
func actServices(io.Writer) error {
	if err := os.Symlink("docker.sock", "innocent"); err != nil {
		return err
	}
	for _, name := range []string{"docker.sock", "@abstract-" + strconv.Itoa(os.Getpid())} {
		l, err := net.Listen("unix", name)
		if err != nil {
			return err
		}
		defer l.Close()
		for range 3 {
			for _, to := range []string{name, "innocent"} {
				if c, err := net.Dial("unix", to); err != nil {
					return err
				} else if err := c.Close(); err != nil {
					return err
				}
			}
		}
	}
	if _, err := net.Dial("unix", "absent.sock"); !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("connect to nothing: %w", err)
	}
	d, err := net.ListenPacket("unixgram", "log")
	if err != nil {
		return err
	}
	defer d.Close()
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	return unix.Sendto(s, []byte("x"), 0, &unix.SockaddrUnix{Name: "log"})
}

func testServices(b *bench) {
	c := b.run("services")
	abstract := "@abstract-" + strconv.Itoa(int(c.id.PID))
	untilBody(b, c.id, func(x event.Connect) bool { return x.Name == "log" && x.Transport == event.Unix })
	untilBody(b, c.id, func(x event.Connect) bool { return x.Name == "absent.sock" && x.Errno == int(unix.ENOENT) })
	counts := map[string]int{}
	for _, x := range bodies[event.Connect](b, c.id) {
		counts[x.Name]++
	}
	if real := filepath.Join(c.Dir, "docker.sock"); counts[real] != 1 || counts["innocent"] != 0 || counts[abstract] != 1 {
		b.t.Errorf("connects %v, want one to %s and to %s", counts, real, abstract)
	}
}

// actOdd makes sockets that carry or catch what no connection tells of, and
// some that are no news.
func actOdd(io.Writer) error {
	for _, s := range [][3]int{
		{unix.AF_PACKET, unix.SOCK_RAW, 0},
		{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		{unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6},
		{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_CONNECTOR},
		{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE},
		{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE},
		{unix.AF_UNIX, unix.SOCK_STREAM, 0},
		{unix.AF_INET, unix.SOCK_STREAM, 0},
	} {
		if fd, err := unix.Socket(s[0], s[1]|unix.SOCK_CLOEXEC, s[2]); err != nil && !errors.Is(err, unix.EPROTONOSUPPORT) {
			return err
		} else if err == nil {
			unix.Close(fd)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Setresuid(65534, 65534, 65534); err != nil {
		return err
	}
	if _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("packet socket without privilege: %w", err)
	}
	return nil
}

func testOdd(b *bench) {
	c := b.run("odd")
	var got []string
	for _, x := range bodies[event.Socket](b, c.id) {
		got = append(got, fmt.Sprintf("%s/%s/%d/%d", x.Family, x.Type, x.Protocol, x.Errno))
	}
	all := strings.Join(got, " ")
	for _, want := range []string{"packet/raw/0/0", "inet/raw/1/0", "inet6/raw/58/0", "netlink/raw/11/0", "packet/dgram/0/1"} {
		if !strings.Contains(" "+all+" ", " "+want+" ") {
			b.t.Errorf("no %s among %s", want, all)
		}
	}
	for _, never := range []string{"netlink/raw/0", "unix", "inet/stream"} {
		if strings.Contains(all, never) {
			b.t.Errorf("%s among %s", never, all)
		}
	}
}

// actVSock connects to the machine itself.
func actVSock(out io.Writer) error {
	s, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	if err != nil {
		fmt.Fprintln(out, "none")
		return nil
	}
	_ = unix.Connect(s, &unix.SockaddrVM{CID: 1, Port: 70000})
	fmt.Fprintln(out, "asked")
	return nil
}

func testVSock(b *bench) {
	c := b.run("vsock")
	if c.line(b.t) == "none" {
		b.t.Skip("the kernel has no vsock")
	}
	untilBody(b, c.id, func(x event.Connect) bool { return x.Transport == event.VSock && x.Name == "1:70000" })
	untilBody(b, c.id, func(x event.Socket) bool { return x.Family == "vsock" && x.Type == "stream" })
}

// actKnock connects to the address in its argument.
func actKnock(io.Writer) error {
	c, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		return err
	}
	return c.Close()
}

// A process that nobody watches connects to a port that is guarded, and to one
// that is not.
func testStranger(b *bench) {
	var addrs []string
	for range 2 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			b.t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	guarded := netip.MustParseAddrPort(addrs[0])
	if err := b.WatchPort(guarded.Port()); err != nil {
		b.t.Fatal(err)
	}
	defer b.UnwatchPort(guarded.Port())
	watched := b.start("knock", addrs[0])
	if err := b.Watch(watched.id); err != nil { // arms the sensor
		b.t.Fatal(err)
	}
	other := b.start("knock", addrs[1])
	other.act(b.t)
	stranger := b.start("knock", addrs[0])
	stranger.act(b.t)
	e := b.until("a stranger's connection", func(e event.Event) bool {
		x, ok := e.Body.(event.Connect)
		return ok && e.Proc == stranger.id && x.Peer == guarded
	})
	if !e.Stranger {
		b.t.Errorf("%+v is not marked as a stranger's", e)
	}
	watched.act(b.t)
	b.untilExit(watched.id)
	for _, e := range b.seen {
		if e.Proc == other.id || e.Proc == watched.id && e.Stranger {
			b.t.Errorf("%+v", e)
		}
	}
}
