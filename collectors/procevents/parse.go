package procevents

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Of linux/connector.h and linux/cn_proc.h.
const (
	connectorProc = 1 // index, value and multicast group
	opListen      = 1

	consent = 0 // the answer to a request
	forked  = 0x1
	execed  = 0x2
	named   = 0x200
	exited  = 0x80000000

	connectorHeader = 20
	eventHeader     = 16
)

// ticks are those of a process's start time, USER_HZ in a second.
const ticks = 100

// A told is what the kernel tells of one process.
type told struct {
	what      uint32
	time      uint64 // ns of CLOCK_MONOTONIC
	pid, tgid int32  // of the child, when forked
	parent    int32  // thread-group leader; forked
	comm      string // named
	code      uint32 // exited: as wait(2) gives it; consent: error number
}

var errShort = errors.New("message is cut short")

// parse reads one message. What it does not know has a what that nobody looks
// for.
func parse(b []byte) (told, error) {
	if len(b) < unix.NLMSG_HDRLEN+connectorHeader+eventHeader {
		return told{}, errShort
	}
	b = b[unix.NLMSG_HDRLEN+connectorHeader:]
	e := told{what: binary.NativeEndian.Uint32(b), time: binary.NativeEndian.Uint64(b[8:])}
	b = b[eventHeader:]
	num := func(i int) uint32 { return binary.NativeEndian.Uint32(b[4*i:]) }
	size, known := map[uint32]int{consent: 4, forked: 16, execed: 8, named: 24, exited: 16}[e.what]
	if !known {
		return e, nil
	}
	if len(b) < size {
		return told{}, errShort
	}
	switch e.what {
	case consent:
		e.code = num(0)
	case forked:
		e.parent, e.pid, e.tgid = int32(num(1)), int32(num(2)), int32(num(3))
	case execed:
		e.pid, e.tgid = int32(num(0)), int32(num(1))
	case named:
		e.pid, e.tgid = int32(num(0)), int32(num(1))
		comm, _, _ := bytes.Cut(b[8:24], []byte{0})
		e.comm = string(comm)
		if e.pid != e.tgid {
			e.what = ^uint32(0) // a thread has a name of its own
		}
	case exited:
		e.pid, e.tgid, e.code = int32(num(0)), int32(num(1)), num(2)
	}
	return e, nil
}

// request asks for the events.
func request() []byte {
	const size = unix.NLMSG_HDRLEN + connectorHeader + 4
	b := make([]byte, 0, size)
	b = binary.NativeEndian.AppendUint32(b, size)
	b = binary.NativeEndian.AppendUint16(b, unix.NLMSG_DONE)
	b = append(b, make([]byte, 2+4+4)...) // flags, sequence, port
	b = binary.NativeEndian.AppendUint32(b, connectorProc)
	b = binary.NativeEndian.AppendUint32(b, connectorProc)
	b = append(b, make([]byte, 4+4)...) // sequence, acknowledgement
	b = binary.NativeEndian.AppendUint16(b, 4)
	b = append(b, 0, 0) // flags
	return binary.NativeEndian.AppendUint32(b, opListen)
}

// wall turns the kernel's time into that of the wall.
func wall(monotonic uint64) time.Time {
	return time.Now().Add(time.Duration(int64(monotonic) - clock(unix.CLOCK_MONOTONIC)))
}

// startOf gives the start time of a process that was forked at a moment.
func startOf(monotonic uint64) uint64 {
	boot := int64(monotonic) + clock(unix.CLOCK_BOOTTIME) - clock(unix.CLOCK_MONOTONIC)
	return uint64(max(boot, 0)) / (1e9 / ticks)
}

func clock(id int32) int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts) // fails for clocks that do not exist
	return ts.Nano()
}
