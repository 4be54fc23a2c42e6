package doors

import (
	"fmt"
	"net"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	setupSQPoll   = 2
	enterGet      = 1
	enterWake     = 2
	offsetEntries = 0x10000000
)

const (
	opAccept   = 13
	opConnect  = 16
	opOpenat   = 18
	opRenameat = 35
	opUnlinkat = 36
	opMkdirat  = 37
)

func pointer(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }
func address(b []byte) uintptr        { return uintptr(pointer(b)) }

// A ring is one of io_uring, for one request at a time.
type ring struct {
	fd             int
	flags          int
	params         [120]byte
	queue, entries []byte
}

func newRing(flags int) (*ring, error) {
	r := &ring{flags: flags}
	*(*uint32)(pointer(r.params[8:])) = uint32(flags)
	*(*uint32)(pointer(r.params[16:])) = 60_000 // ms until the kernel's thread sleeps
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, address(r.params[:]), 0)
	if errno != 0 {
		return nil, fmt.Errorf("%w: io_uring: %w", errUnavailable, errno)
	}
	r.fd = int(fd)
	var err error
	if r.queue, err = unix.Mmap(r.fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, err
	}
	r.entries, err = unix.Mmap(r.fd, offsetEntries, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return r, err
}

// at is a number of the rings, by where the parameters say that it is.
func (r *ring) at(param int) *uint32 {
	return (*uint32)(pointer(r.queue[*(*uint32)(pointer(r.params[param:])):]))
}

// A request is an entry of the submission queue.
type request struct {
	op    byte
	fd    int32
	addr  []byte
	addr2 []byte // or
	off   uint64
	len   uint32
	flags uint32
}

// do has a request done and gives its result.
func (r *ring) do(q request) (int, error) {
	const sqTail, sqMask, cqHead, cqMask = 44, 48, 80, 88
	tail := *r.at(sqTail)
	i := tail & *r.at(sqMask)
	e := r.entries[i*64 : (i+1)*64]
	clear(e)
	e[0] = q.op
	*(*int32)(pointer(e[4:])) = q.fd
	*(*uint64)(pointer(e[8:])) = q.off
	if q.addr2 != nil {
		*(*uint64)(pointer(e[8:])) = uint64(address(q.addr2))
	}
	if q.addr != nil {
		*(*uint64)(pointer(e[16:])) = uint64(address(q.addr))
	}
	*(*uint32)(pointer(e[24:])) = q.len
	*(*uint32)(pointer(e[28:])) = q.flags
	array := *(*uint32)(pointer(r.params[40+24:]))
	*(*uint32)(pointer(r.queue[array+4*i:])) = i
	*r.at(sqTail) = tail + 1
	enter := uintptr(enterGet)
	if r.flags&setupSQPoll != 0 {
		enter |= enterWake
	}
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 1, 1, enter, 0, 0)
	runtime.KeepAlive(q)
	if errno != 0 {
		return 0, fmt.Errorf("enter io_uring: %w", errno)
	}
	head := *r.at(cqHead)
	cqes := *(*uint32)(pointer(r.params[80+20:]))
	result := *(*int32)(pointer(r.queue[cqes+16*(head&*r.at(cqMask))+8:]))
	*r.at(cqHead) = head + 1
	if result < 0 {
		return 0, fmt.Errorf("io_uring request %d: %w", q.op, unix.Errno(-result))
	}
	return int(result), nil
}

func cstring(s string) []byte { return append([]byte(s), 0) }

func uringOpen(flags int) func(say) error {
	return func(say say) error {
		say("read", here("secret"))
		r, err := newRing(flags)
		if err != nil {
			return err
		}
		_, err = r.do(request{op: opOpenat, fd: unix.AT_FDCWD, addr: cstring("secret")})
		return err
	}
}

func uringChange(say say) error {
	say("delete", here("victim"))
	say("rename", here("old"), here("new"))
	say("mkdir", here("dir"))
	r, err := newRing(0)
	if err != nil {
		return err
	}
	at := int32(unix.AT_FDCWD)
	for _, q := range []request{
		{op: opUnlinkat, fd: at, addr: cstring("victim")},
		{op: opRenameat, fd: at, addr: cstring("old"), len: uint32(at), addr2: cstring("new")},
		{op: opMkdirat, fd: at, addr: cstring("dir"), len: 0o755},
	} {
		if _, err := r.do(q); err != nil {
			return err
		}
	}
	return nil
}

// uringConnect connects and accepts.
func uringConnect(say say) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := l.Addr().(*net.TCPAddr).Port
	listening, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	r, err := newRing(0)
	if err != nil {
		return err
	}
	sa := []byte{0, 0, byte(port >> 8), byte(port), 127, 0, 0, 1, 15: 0}
	*(*uint16)(pointer(sa)) = unix.AF_INET
	if _, err := r.do(request{op: opConnect, fd: int32(fd), addr: sa, off: 16}); err != nil {
		return err
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	say("connect", "tcp", l.Addr())
	say("accept", "tcp", fmt.Sprint("127.0.0.1:", local.(*unix.SockaddrInet4).Port))
	_, err = r.do(request{op: opAccept, fd: int32(listening.Fd())})
	return err
}
