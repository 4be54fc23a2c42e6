package openclaw_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

const (
	insideVar = "CLAWWATCH_E2E_INSIDE" // set in the test that runs in the sandbox
	rawPort   = 14444                  // a peer that takes whatever is sent
)

// inSandbox reports whether the test runs in a network and mounts of its own. If
// not, it runs it there: this binary again, with nothing but this test.
func inSandbox(t *testing.T, vars ...string) bool {
	t.Helper()
	if os.Getenv(insideVar) != "" {
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=15m")
	cmd.Env = append(append(os.Environ(), insideVar+"=1"), vars...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the parent of whom the signal tells is a thread
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	t.Logf("in the sandbox:\n%s", out)
	if err != nil {
		t.Errorf("in the sandbox: %v", err)
	}
	return false
}

// A world is all that there is outside of the host, as seen from the sandbox: every
// name has an address, and somebody answers at all of them.
type world struct {
	mu    sync.Mutex
	names map[string]netip.Addr
	next  netip.Addr
}

// newWorld makes the network of the sandbox: loopback, a range of addresses that
// are this host and look like others, a name server, and the peers.
func newWorld(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{names: map[string]netip.Addr{}, next: netip.MustParseAddr("198.18.0.10")}
	resolv := filepath.Join(dir, "resolv.conf")
	put(t, resolv, "nameserver 127.0.0.1\n", 0o644)
	err := errors.Join(
		raise("lo"), claim("lo:0", netip.MustParsePrefix("198.18.0.1/15")),
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount(resolv, "/etc/resolv.conf", "", unix.MS_BIND, ""),
	)
	if err != nil {
		t.Fatalf("furnish the sandbox: %v", err)
	}
	names, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	web, err := net.Listen("tcp4", ":80")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := net.Listen("tcp4", fmt.Sprint(":", rawPort))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: w}
	var serving sync.WaitGroup
	serving.Go(func() { w.resolve(names) })
	serving.Go(func() { _ = server.Serve(web) }) // ended by Close
	serving.Go((&sink{listener: raw}).accept)
	t.Cleanup(func() {
		if err := errors.Join(names.Close(), server.Close(), raw.Close()); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	return w
}

// raise brings an interface up.
func raise(name string) error {
	return withInterface(name, func(fd int, r *unix.Ifreq) error {
		r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
	})
}

// claim gives loopback a range of addresses under another label, all of which are then
// the host's.
func claim(label string, p netip.Prefix) error {
	mask := net.CIDRMask(p.Bits(), 32)
	for _, x := range []struct {
		request uint
		value   []byte
	}{{unix.SIOCSIFADDR, p.Addr().AsSlice()}, {unix.SIOCSIFNETMASK, mask}} {
		err := withInterface(label, func(fd int, r *unix.Ifreq) error {
			if err := r.SetInet4Addr(x.value); err != nil {
				return err
			}
			return unix.IoctlIfreq(fd, x.request, r)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func withInterface(name string, do func(fd int, r *unix.Ifreq) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := do(fd, r); err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	return nil
}

// resolve answers questions for addresses until the socket is closed.
func (w *world) resolve(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return // closed
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		reply := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: true, RecursionAvailable: true},
			Questions: m.Questions,
		}
		if q.Type == dnsmessage.TypeA {
			reply.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
				Body:   &dnsmessage.AResource{A: w.address(q.Name.String()).As4()},
			}}
		}
		if out, err := reply.Pack(); err == nil {
			_, _ = conn.WriteTo(out, from) // who asked may be gone
		}
	}
}

// address is that of a name: always the same, and no other name's.
func (w *world) address(name string) netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if a, ok := w.names[name]; ok {
		return a
	}
	w.names[name], w.next = w.next, w.next.Next()
	return w.names[name]
}

// ServeHTTP takes everything and answers in the sense of what was asked for.
func (w *world) ServeHTTP(res http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body) // who sends may go away
	switch ext := filepath.Ext(req.URL.Path); ext {
	case ".sh":
		fmt.Fprintln(res, "echo staged")
	case ".md":
		fmt.Fprintf(res, "---\nname: pdf-tools\ndescription: Fetched at %s.\n---\nWork with PDF files.\n", req.Host)
	default:
		fmt.Fprintln(res, `{"ok":true}`)
	}
}
