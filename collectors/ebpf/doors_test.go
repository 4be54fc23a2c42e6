package ebpf

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

var loopback = [4]byte{127, 0, 0, 1}

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
	untilBody(b, c.id, func(x event.Connect) bool { return x.Local == inheritedAt && x.Passed })
}

// certificate is for the server's side alone: nobody checks it.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// A dribble writes what it is given in pieces, each a segment of its own.
type dribble struct {
	net.Conn
	first, rest int
}

func (d *dribble) Write(b []byte) (int, error) {
	sent := 0
	for n := d.first; len(b) > 0; n = d.rest {
		m, err := d.Conn.Write(b[:min(n, len(b))])
		sent += m
		if err != nil {
			return sent, err
		}
		b = b[m:]
	}
	return sent, nil
}

// actTLS speaks TLS to itself under several names: at once, in small pieces,
// through a proxy, over IPv6, after a greeting in the clear, and without a name.
func actTLS(io.Writer) error {
	cert, err := certificate()
	if err != nil {
		return err
	}
	for i, host := range []string{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "[::1]:0", "127.0.0.1:0", "127.0.0.1:0"} {
		l, err := net.Listen("tcp", host)
		if err != nil {
			return err
		}
		served := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				served <- err
				return
			}
			if i == 2 || i == 4 {
				_, err = bufio.NewReaderSize(c, 16).ReadString('\n')
				_, err2 := io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
				if err := errors.Join(err, err2); err != nil {
					served <- err
					return
				}
			}
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
			err = s.Handshake()
			_, err2 := io.Copy(io.Discard, s)
			served <- errors.Join(err, err2)
		}()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		d := &dribble{c, 1, 100}
		name := fmt.Sprintf("Name-%d.Example.COM", i)
		switch i {
		case 0, 3:
			d.first, d.rest = 1<<20, 1<<20
		case 2:
			_, err = io.WriteString(c, "CONNECT Name-2.example.com:443 HTTP/1.1\n")
		case 4:
			_, err = io.WriteString(c, "\x05\x01\x00\n")
		case 5:
			name = ""
		}
		if err != nil {
			return err
		}
		if i == 2 || i == 4 {
			if _, err := io.ReadFull(c, make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))); err != nil {
				return err
			}
			d.first, d.rest = 1<<20, 1<<20
		}
		s := tls.Client(d, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err := errors.Join(s.Handshake(), s.Close(), <-served, l.Close()); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return nil
}

func testTLS(b *bench) {
	c := b.run("tls")
	for i := range 5 {
		name := fmt.Sprintf("name-%d.example.com", i)
		got := untilBody(b, c.id, func(x event.TLSName) bool { return x.Name == name })
		connect := untilBody(b, c.id, func(x event.Connect) bool { return x.Socket == got.Socket })
		if got.Peer != connect.Peer || got.Truncated || got.ECH {
			b.t.Errorf("name %+v of %+v", got, connect)
		}
	}
	untilBody(b, c.id, func(x event.TLSName) bool { return x.Name == "" && !x.Truncated })
	untilBody(b, c.id, func(x event.HTTPExchange) bool {
		return x.Method == "CONNECT" && x.Host == "name-2.example.com" && x.Status == 200
	})
}

// actHTTP asks a server of its own three times on one connection, and once in
// small pieces.
func actHTTP(io.Writer) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		code, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/status/"))
		w.WriteHeader(max(code, 200))
	})}
	go func() { _ = s.Serve(l) }()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, code := range []string{"200", "404", "503"} {
		r, err := http.NewRequest("POST", "http://"+l.Addr().String()+"/status/"+code+"?key=secret", strings.NewReader(strings.Repeat("body", 2000)))
		if err != nil {
			return err
		}
		r.Host = "Cleartext.example:8080"
		a, err := client.Do(r)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, a.Body)
		a.Body.Close()
	}
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return err
	}
	if _, err := io.WriteString(&dribble{c, 1, 7}, "GET /pieces HTTP/1.1\r\nHost: pieces.example\r\n\r\n"); err != nil {
		return err
	}
	if _, err := c.Read(make([]byte, 100)); err != nil {
		return err
	}
	silent, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return err
	}
	_, err = io.WriteString(silent, "PUT /never HTTP/1.1\r\nHost: silent.example\r\n")
	return errors.Join(err, silent.Close(), c.Close(), s.Close())
}

func testHTTP(b *bench) {
	c := b.run("http")
	for _, code := range []int{200, 404, 503} {
		got := untilBody(b, c.id, func(x event.HTTPExchange) bool { return x.Status == code && x.Host == "cleartext.example" })
		if got.Method != "POST" || got.Path != fmt.Sprintf("/status/%d", code) || got.Socket == 0 {
			b.t.Errorf("exchange %+v", got)
		}
	}
	got := untilBody(b, c.id, func(x event.HTTPExchange) bool { return x.Host == "pieces.example" })
	if got.Path != "/pieces" || got.Status != 200 {
		b.t.Errorf("exchange %+v", got)
	}
	untilBody(b, c.id, func(x event.HTTPExchange) bool { return x.Host == "silent.example" && x.Status == 0 })
	if seen := b.log(); strings.Contains(seen, "secret") {
		b.t.Errorf("a query was kept:\n%s", seen)
	}
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

// actNamesByTCP asks a name server over TCP.
func actNamesByTCP(io.Writer) error {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: dnsServer, Port: 53})
	if err != nil {
		return err
	}
	c, err := net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		return err
	}
	s, err := l.Accept()
	if err != nil {
		return err
	}
	reply := message(true, "tcp.example.", a("tcp.example.", [4]byte{192, 0, 2, 53}), dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: fqdn("tcp.example."), Class: dnsmessage.ClassINET}, Body: &dnsmessage.TXTResource{TXT: []string{"x"}},
	})
	if _, err := s.Write(append([]byte{byte(len(reply) >> 8), byte(len(reply))}, reply...)); err != nil {
		return err
	}
	if _, err := c.Read(make([]byte, 512)); err != nil {
		return err
	}
	return errors.Join(c.Close(), s.Close(), l.Close())
}

func testNamesByTCP(b *bench) {
	c := b.run("names-by-tcp")
	got := untilBody(b, c.id, func(x event.DNSAnswer) bool { return x.Name == "tcp.example" })
	if len(got.Addresses) != 1 || got.Server != netip.MustParseAddr("127.53.53.53") {
		b.t.Errorf("answer %+v", got)
	}
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
