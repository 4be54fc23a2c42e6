package ebpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Operations and flags of io_uring.
const (
	opAccept, opConnect, opOpenat, opClose  = 13, 16, 18, 19
	opRead, opWrite, opSend                 = 22, 23, 26
	opRename, opUnlink, opMkdir             = 35, 36, 37
	opSymlink, opLink, opSetxattr, opTrunc  = 38, 39, 42, 55
	setupSQPoll, sqeAsync, sqeSkip, offSQEs = 2, 16, 64, 0x10000000
)

var errNoRing = errors.New("io_uring is not allowed here")

// A ring is an io_uring of a few entries.
type ring struct {
	fd                         int
	poll                       bool
	queue, entries             []byte
	tail, cqHead, cqTail, cqes int
	mask, cqMask               uint32
}

func newRing(poll bool) (*ring, error) {
	var params [120]byte
	if poll {
		binary.LittleEndian.PutUint32(params[8:], setupSQPoll)
		binary.LittleEndian.PutUint32(params[16:], 1000)
	}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 8, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		return nil, errNoRing
	}
	field := func(at int) int { return int(binary.LittleEndian.Uint32(params[at:])) }
	r := &ring{fd: int(fd), poll: poll}
	var err error
	if r.queue, err = unix.Mmap(r.fd, 0, 16384, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return nil, err
	}
	if r.entries, err = unix.Mmap(r.fd, offSQEs, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return nil, err
	}
	const sq, cq = 40, 80
	r.tail, r.mask = field(sq+4), r.load(field(sq+8))
	r.cqHead, r.cqTail, r.cqMask, r.cqes = field(cq), field(cq+4), r.load(field(cq+8)), field(cq+20)
	for i := range uint32(8) { // entry i is in place i
		binary.LittleEndian.PutUint32(r.queue[field(sq+24)+int(i)*4:], i)
	}
	return r, nil
}

func (r *ring) load(at int) uint32 { return binary.LittleEndian.Uint32(r.queue[at:]) }

// do has one request done and gives its result; with sqeSkip, 0 after a while.
func (r *ring) do(op, flags uint8, fd int32, addr, off uint64, length, opFlags uint32) (int32, error) {
	at := r.load(r.tail)
	e := r.entries[(at&r.mask)*64:][:64]
	clear(e)
	e[0], e[1] = op, flags
	binary.LittleEndian.PutUint32(e[4:], uint32(fd))
	binary.LittleEndian.PutUint64(e[8:], off)
	binary.LittleEndian.PutUint64(e[16:], addr)
	binary.LittleEndian.PutUint32(e[24:], length)
	binary.LittleEndian.PutUint32(e[28:], opFlags)
	binary.LittleEndian.PutUint32(r.queue[r.tail:], at+1)
	enter := uintptr(1) // wait for an end
	wait := uintptr(1)
	if flags&sqeSkip != 0 {
		wait = 0
	}
	if r.poll {
		enter |= 2 // wake the thread
	}
	if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 1, wait, enter, 0, 0); errno != 0 {
		return 0, errno
	}
	if wait == 0 {
		time.Sleep(50 * time.Millisecond) // for the worker; nothing depends on it being long enough
		return 0, nil
	}
	head := r.load(r.cqHead)
	for r.load(r.cqTail) == head {
		time.Sleep(time.Millisecond)
	}
	result := int32(binary.LittleEndian.Uint32(r.queue[r.cqes+int(head&r.cqMask)*16+8:]))
	binary.LittleEndian.PutUint32(r.queue[r.cqHead:], head+1)
	if result < 0 {
		return result, unix.Errno(-result)
	}
	return result, nil
}

func text(s string) uint64 {
	b := append([]byte(s), 0)
	kept = append(kept, b)
	return uint64(uintptr(unsafe.Pointer(&b[0])))
}

var kept [][]byte // of text, for the kernel to read

// actRing does through io_uring what others do through system calls: name is
// how the ring works.
func actRing(out io.Writer, poll bool, flags uint8) error {
	r, err := newRing(poll)
	if errors.Is(err, errNoRing) {
		fmt.Fprintln(out, "none")
		return nil
	}
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	for _, name := range []string{"f", "g", "h"} {
		if err := os.WriteFile(name, []byte("0123456789"), 0o644); err != nil {
			return err
		}
	}
	cwd := int32(unix.AT_FDCWD)
	low := uint32(0xffffff9c) // the same, where a length is
	buffer := make([]byte, 16)
	address := uint64(uintptr(unsafe.Pointer(&buffer[0])))
	fd, err := r.do(opOpenat, flags, cwd, text("f"), 0, 0, unix.O_RDWR)
	if err == nil && fd > 0 {
		_, err1 := r.do(opRead, flags, fd, address, 0, 10, 0)
		_, err2 := r.do(opWrite, flags, fd, address, 0, 4, 0)
		_, err3 := r.do(opTrunc, flags, fd, 0, 3, 0, 0)
		if errors.Is(err3, unix.EINVAL) {
			err3 = unix.Ftruncate(int(fd), 3) // not in this kernel
		}
		err = errors.Join(err1, err2, err3)
	}
	_, err1 := r.do(opRename, flags, cwd, text("g"), text("moved"), low, 0)
	_, err2 := r.do(opUnlink, flags, cwd, text("h"), 0, 0, 0)
	_, err3 := r.do(opMkdir, flags, cwd, text("made"), 0, 0o755, 0)
	_, err4 := r.do(opSymlink, flags, cwd, text("anything"), text("soft"), 0, 0)
	_, err5 := r.do(opLink, flags, cwd, text("moved"), text("hard"), low, 0)
	if _, failed := r.do(opUnlink, 0, cwd, text("absent"), 0, 0, 0); failed == nil {
		return errors.New("removed what is not there")
	}
	runtime.KeepAlive(buffer)
	fmt.Fprintln(out, "done")
	return errors.Join(err, err1, err2, err3, err4, err5)
}

func actRingPlain(out io.Writer) error { return actRing(out, false, 0) }
func actRingAsync(out io.Writer) error { return actRing(out, false, sqeAsync) }
func actRingPoll(out io.Writer) error  { return actRing(out, true, 0) }
func actRingSkip(out io.Writer) error  { return actRing(out, false, sqeSkip) }

func testRings(b *bench) {
	ends := []string{
		"io_uring rename /g /moved", "io_uring delete /h", "io_uring create /made", "io_uring symlink /soft anything",
		"io_uring link /moved /hard",
	}
	for name, how := range map[string]string{"ring": "plain", "ring-async": "by a worker", "ring-poll": "by a thread of the kernel"} {
		b.t.Run(how, func(t *testing.T) {
			b := b.on(t)
			c := b.run(name)
			if c.line(t) == "none" {
				t.Skip(errNoRing)
			}
			want := append(slices.Clone(ends), "io_uring write /f", "truncate /f")
			told := b.told(c, want)
			// Ten of the bytes written are there from the beginning.
			b.untilUsed(c, "/f", event.FileUse{BytesRead: 10, BytesWritten: 14, Opened: true, FileDoubt: event.FileDoubt{IOUring: true}})
			for _, line := range told {
				if slices.Contains([]string{"io_uring delete /absent", "io_uring attempted delete /absent"}, line) {
					t.Error("what failed is told")
				}
			}
		})
	}
	b.t.Run("with no end told", func(t *testing.T) {
		b := b.on(t)
		c := b.run("ring-skip")
		if c.line(t) == "none" {
			t.Skip(errNoRing)
		}
		want := []string{"io_uring attempted write /f"}
		for _, end := range ends {
			want = append(want, "io_uring attempted "+end[len("io_uring "):])
		}
		b.told(c, want)
	})
}

// told waits for the events of a child that say what is wanted, but for those
// of this kernel's lacks, and gives all that came.
func (b *bench) told(c *child, want []string) []string {
	b.t.Helper()
	var all []string
	add := func(e event.Event) {
		if e.Proc == c.id {
			if line := tellIn(e.Body, c.Dir); line != "" {
				all = append(all, line)
			}
		}
	}
	for _, e := range b.seen {
		add(e)
	}
	has := func(line string) bool {
		if b.backend == trampoline && slices.Contains(all, strings.TrimPrefix(strings.TrimPrefix(line, "io_uring "), "attempted ")) {
			return true // by whatever door
		}
		return slices.Contains(all, line) || slices.Contains(all, "io_uring "+line)
	}
	for slices.ContainsFunc(want, func(w string) bool { return !has(w) }) {
		b.until(fmt.Sprintf("%q among %q", want, all), func(e event.Event) bool { add(e); return e.Proc == c.id })
	}
	return all
}

// actRingNet connects and sends through io_uring to the port that it is told.
func actRingNet(out io.Writer) error {
	r, err := newRing(false)
	if errors.Is(err, errNoRing) {
		fmt.Fprintln(out, "none")
		return nil
	}
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := l.Addr().(*net.TCPAddr).Port
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	to := make([]byte, 16)
	binary.LittleEndian.PutUint16(to, unix.AF_INET)
	binary.BigEndian.PutUint16(to[2:], uint16(port))
	copy(to[4:], []byte{127, 0, 0, 1})
	address := uint64(uintptr(unsafe.Pointer(&to[0])))
	_, err1 := r.do(opConnect, 0, int32(fd), address, 16, 0, 0)
	got, err2 := r.do(opAccept, 0, int32(file.Fd()), 0, 0, 0, 0)
	_, err3 := r.do(opSend, 0, int32(fd), address, 0, 7, 0)
	buffer := make([]byte, 7)
	_, err4 := unix.Read(int(got), buffer)
	runtime.KeepAlive(to)
	fmt.Fprintln(out, port)
	return errors.Join(err1, err2, err3, err4, unix.Close(fd), unix.Close(int(got)), l.Close())
}

func testRingNet(b *bench) {
	c := b.run("ring-net")
	line := c.line(b.t)
	if line == "none" {
		b.t.Skip(errNoRing)
	}
	port := 0
	if _, err := fmt.Sscan(line, &port); err != nil {
		b.t.Fatal(err)
	}
	untilBody(b, c.id, func(x event.Connect) bool { return int(x.Peer.Port()) == port && x.Errno == 0 })
	untilBody(b, c.id, func(x event.Accept) bool { return int(x.Local.Port()) == port })
	untilBody(b, c.id, func(x event.Close) bool { return int(x.Peer.Port()) == port && x.Sent == 7 })
}
