package ebpf

import (
	"encoding/binary"
	"slices"

	"github.com/clawwatch/clawwatch/internal/event"
)

// cookie is what the kernel side is given with each attachment.
func (p program) cookie() uint64 {
	c := p.call
	return binary.LittleEndian.Uint64([]byte{c.Kind, c.How, c.Name[0], c.Name[1], c.Dir[0], c.Dir[1], c.Value, c.Flags})
}

// filePrograms are the system calls on files, with the numbers of their
// arguments. One program serves all calls of a kind.
func filePrograms() []program {
	const (
		follows = uint8(sensorCallHowCALL_FOLLOWS)
		object  = uint8(sensorCallHowCALL_OBJECT)
	)
	by := func(name string, kind event.Kind, c sensorCall, calls ...string) program {
		return program{name: name, hook: syscalls, armed: true, calls: calls, call: c, kinds: []event.Kind{kind}}
	}
	// Opens and these changes are what trampolines see by themselves.
	trampled := []sensorKind{
		sensorKindKIND_RENAME, sensorKindKIND_UNLINK, sensorKindKIND_RMDIR, sensorKindKIND_MKDIR,
	}
	open := func(c sensorCall, calls ...string) program {
		p := by(sensorProgOpened, event.KindFileOpen, c, calls...)
		p.of = tracepoint
		return p
	}
	change := func(kind sensorKind, c sensorCall, calls ...string) program {
		c.Kind = uint8(kind)
		p := by(sensorProgChanged, eventKind(kind), c, calls...)
		if slices.Contains(trampled, kind) {
			p.of = tracepoint
		}
		return p
	}
	attr := func(a sensorAttribute, c sensorCall, calls ...string) program {
		c.How |= uint8(a) << 4
		return change(sensorKindKIND_ATTR, c, calls...)
	}
	read := func(c sensorCall, calls ...string) program {
		return by(sensorProgMoved, event.KindFileRead, c, calls...)
	}
	const (
		mode, owner, times     = sensorAttributeATTR_MODE, sensorAttributeATTR_OWNER, sensorAttributeATTR_TIMES
		xattr, removed, fileAt = sensorAttributeATTR_XATTR, sensorAttributeATTR_XATTR_REMOVED, sensorAttributeATTR_FLAGS
	)
	return []program{
		open(sensorCall{Name: [2]uint8{1}, Flags: 2}, "open"),
		open(sensorCall{Name: [2]uint8{1}, How: uint8(sensorCallHowCALL_EMPTIES)}, "creat"),
		open(sensorCall{Name: [2]uint8{2}, Flags: 3}, "openat"),
		open(sensorCall{Name: [2]uint8{2}, Flags: 3, How: uint8(sensorCallHowCALL_STRUCT)}, "openat2"),
		open(sensorCall{Flags: 3}, "open_by_handle_at"),

		change(sensorKindKIND_RENAME, sensorCall{Name: [2]uint8{1, 2}}, "rename"),
		change(sensorKindKIND_RENAME, sensorCall{Name: [2]uint8{2, 4}, Dir: [2]uint8{1, 3}}, "renameat"),
		change(sensorKindKIND_RENAME, sensorCall{Name: [2]uint8{2, 4}, Dir: [2]uint8{1, 3}, Flags: 5}, "renameat2"),
		change(sensorKindKIND_UNLINK, sensorCall{Name: [2]uint8{1}}, "unlink"),
		change(sensorKindKIND_UNLINK, sensorCall{Name: [2]uint8{2}, Dir: [2]uint8{1}, Flags: 3}, "unlinkat"),
		change(sensorKindKIND_RMDIR, sensorCall{Name: [2]uint8{1}}, "rmdir"),
		change(sensorKindKIND_MKDIR, sensorCall{Name: [2]uint8{1}}, "mkdir"),
		change(sensorKindKIND_MKDIR, sensorCall{Name: [2]uint8{2}, Dir: [2]uint8{1}}, "mkdirat"),
		change(sensorKindKIND_MKNOD, sensorCall{Name: [2]uint8{1}}, "mknod"),
		change(sensorKindKIND_MKNOD, sensorCall{Name: [2]uint8{2}, Dir: [2]uint8{1}}, "mknodat"),
		change(sensorKindKIND_LINK, sensorCall{Name: [2]uint8{1, 2}}, "link"),
		change(sensorKindKIND_LINK, sensorCall{Name: [2]uint8{2, 4}, Dir: [2]uint8{1, 3}, Flags: 5}, "linkat"),
		change(sensorKindKIND_SYMLINK, sensorCall{Name: [2]uint8{2, 1}}, "symlink"),
		change(sensorKindKIND_SYMLINK, sensorCall{Name: [2]uint8{3, 1}, Dir: [2]uint8{2}}, "symlinkat"),
		change(sensorKindKIND_TRUNCATE, sensorCall{Name: [2]uint8{1}, How: follows}, "truncate"),
		change(sensorKindKIND_TRUNCATE, sensorCall{Dir: [2]uint8{1}, How: object}, "ftruncate", "fallocate"),

		attr(mode, sensorCall{Name: [2]uint8{1}, Value: 2, How: follows}, "chmod"),
		attr(mode, sensorCall{Dir: [2]uint8{1}, Value: 2, How: object}, "fchmod"),
		attr(mode, sensorCall{Name: [2]uint8{2}, Dir: [2]uint8{1}, Value: 3, How: follows}, "fchmodat"),
		attr(mode, sensorCall{Name: [2]uint8{2}, Dir: [2]uint8{1}, Value: 3, Flags: 4, How: follows}, "fchmodat2"),
		attr(owner, sensorCall{Name: [2]uint8{1}, Value: 2, How: follows}, "chown"),
		attr(owner, sensorCall{Name: [2]uint8{1}, Value: 2}, "lchown"),
		attr(owner, sensorCall{Dir: [2]uint8{1}, Value: 2, How: object}, "fchown"),
		attr(owner, sensorCall{Name: [2]uint8{2}, Dir: [2]uint8{1}, Value: 3, Flags: 5, How: follows}, "fchownat"),
		attr(times, sensorCall{Name: [2]uint8{1}, How: follows}, "utime", "utimes"),
		attr(times, sensorCall{Name: [2]uint8{2}, Dir: [2]uint8{1}, How: follows}, "futimesat"),
		attr(times, sensorCall{Name: [2]uint8{2}, Dir: [2]uint8{1}, Flags: 4, How: follows}, "utimensat"),
		attr(xattr, sensorCall{Name: [2]uint8{1, 2}, How: follows}, "setxattr"),
		attr(xattr, sensorCall{Name: [2]uint8{1, 2}}, "lsetxattr"),
		attr(xattr, sensorCall{Name: [2]uint8{0, 2}, Dir: [2]uint8{1}, How: object}, "fsetxattr"),
		attr(xattr, sensorCall{Name: [2]uint8{2, 4}, Dir: [2]uint8{1}, Flags: 3, How: follows}, "setxattrat"),
		attr(removed, sensorCall{Name: [2]uint8{1, 2}, How: follows}, "removexattr"),
		attr(removed, sensorCall{Name: [2]uint8{1, 2}}, "lremovexattr"),
		attr(removed, sensorCall{Name: [2]uint8{0, 2}, Dir: [2]uint8{1}, How: object}, "fremovexattr"),
		attr(removed, sensorCall{Name: [2]uint8{2, 4}, Dir: [2]uint8{1}, Flags: 3, How: follows}, "removexattrat"),
		attr(fileAt, sensorCall{Name: [2]uint8{2}, Dir: [2]uint8{1}, Flags: 5, How: follows}, "file_setattr"),

		read(sensorCall{Dir: [2]uint8{1}}, "read", "pread64", "readv", "preadv", "preadv2"),
		read(sensorCall{Dir: [2]uint8{0, 1}}, "write", "pwrite64", "writev", "pwritev", "pwritev2"),
		read(sensorCall{Dir: [2]uint8{2, 1}}, "sendfile", "sendfile64"),
		read(sensorCall{Dir: [2]uint8{1, 3}}, "splice", "copy_file_range"),
		by(sensorProgMapped, event.KindFileRead, sensorCall{}, "mmap"),
	}
}

// uringPrograms see what is asked of io_uring, and how it ended.
func uringPrograms() []program {
	kinds := []event.Kind{
		event.KindFileOpen, event.KindFileCreate, event.KindFileRename, event.KindFileDelete, event.KindFileLink,
		event.KindFileAttr, event.KindFileRead, event.KindFileWrite, event.KindConnect, event.KindAccept,
	}
	return []program{
		{
			name: sensorProgUringSubmitted, older: sensorProgUringSubmittedOld, armed: true, kinds: kinds,
			lack: "what is done through io_uring",
		},
		{
			name: sensorProgUringEnded, older: sensorProgUringEndedOld, armed: true, kinds: kinds,
			lack: "connections made and bytes moved through io_uring, and whether the rest of it succeeded",
		},
		{
			name: sensorProgUringOverflowed, armed: true, kinds: []event.Kind{event.KindFileRead},
			lack: "that the end of an io_uring request was not told",
		},
	}
}
