package fanotify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// An Act is something that a process did to a file.
type Act struct {
	Mask     uint64 // of unix.FAN_*: several at once where the kernel merged them
	PID      int32  // thread-group leader, in the agent's PID namespace; 0: outside of it
	Pidfd    int    // of the process that did it, to be closed by the reader; negative: it has ended
	File     int    // the file, of a group of OpenFiles, to be closed by the reader; else negative
	Dir      Handle // of the directory
	Name     string // in it; "." is the directory itself
	From     Handle // rename: of the directory that it came from; empty: none that is marked
	FromName string
}

// Directory reports whether the file is one.
func (a Act) Directory() bool { return a.Mask&unix.FAN_ONDIR != 0 }

// A Handle identifies a directory on this host for as long as it exists: file
// system and inode with its generation. It is made of bytes and means nothing
// elsewhere.
type Handle string

// Sizes of what the kernel writes.
const (
	metadata = 24 // struct fanotify_event_metadata
	header   = 4  // struct fanotify_event_info_header
	fsid     = 8
	maxName  = 255
)

var errShort = errors.New("record is cut short")

// parse reads records one after the other. What of the last one is kept by each
// lives as long as b is left alone, but its strings are copies.
func parse(b []byte, each func(Act)) error {
	for len(b) > 0 {
		if len(b) < metadata {
			return errShort
		}
		size := binary.NativeEndian.Uint32(b)
		if size < metadata || uint64(size) > uint64(len(b)) {
			return errShort
		}
		if b[4] != 3 {
			return fmt.Errorf("record of version %d, want 3", b[4])
		}
		a := Act{
			Mask:  binary.NativeEndian.Uint64(b[8:]),
			File:  int(int32(binary.NativeEndian.Uint32(b[16:]))),
			PID:   int32(binary.NativeEndian.Uint32(b[20:])),
			Pidfd: unix.FAN_NOPIDFD,
		}
		length := binary.NativeEndian.Uint16(b[6:])
		if uint32(length) < metadata || uint32(length) > size {
			return errShort
		}
		if err := a.info(b[length:size]); err != nil {
			return err
		}
		each(a)
		b = b[size:]
	}
	return nil
}

// info reads what follows the fixed part of a record.
func (a *Act) info(b []byte) error {
	for len(b) > 0 {
		if len(b) < header {
			return errShort
		}
		size := int(binary.NativeEndian.Uint16(b[2:]))
		if size < header || size > len(b) {
			return errShort
		}
		body := b[header:size]
		var err error
		switch b[0] {
		case unix.FAN_EVENT_INFO_TYPE_DFID_NAME, unix.FAN_EVENT_INFO_TYPE_DFID, unix.FAN_EVENT_INFO_TYPE_NEW_DFID_NAME:
			a.Dir, a.Name, err = place(body)
		case unix.FAN_EVENT_INFO_TYPE_OLD_DFID_NAME:
			a.From, a.FromName, err = place(body)
		case unix.FAN_EVENT_INFO_TYPE_PIDFD:
			if len(body) < 4 {
				return errShort
			}
			a.Pidfd = int(int32(binary.NativeEndian.Uint32(body)))
		}
		if err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// place reads a directory and a name in it.
func place(b []byte) (Handle, string, error) {
	const fixed = fsid + 8 // and the length and type of the file handle
	if len(b) < fixed {
		return "", "", errShort
	}
	n := binary.NativeEndian.Uint32(b[fsid:])
	if uint64(n) > uint64(len(b)-fixed) {
		return "", "", errShort
	}
	end := fixed + int(n)
	name, _, _ := bytes.Cut(b[end:], []byte{0})
	if len(name) > maxName {
		return "", "", fmt.Errorf("name of %d bytes", len(name))
	}
	return Handle(b[:end]), string(name), nil
}

// handleOf makes the Handle of what the two parts say.
func handleOf(fs unix.Fsid, h unix.FileHandle) Handle {
	b := make([]byte, 0, fsid+8+h.Size())
	b = binary.NativeEndian.AppendUint32(b, uint32(fs.Val[0]))
	b = binary.NativeEndian.AppendUint32(b, uint32(fs.Val[1]))
	b = binary.NativeEndian.AppendUint32(b, uint32(h.Size()))
	b = binary.NativeEndian.AppendUint32(b, uint32(h.Type()))
	return Handle(append(b, h.Bytes()...))
}

// file is the part that names a file in its file system.
func (h Handle) file() unix.FileHandle {
	b := []byte(h)
	kind := int32(binary.NativeEndian.Uint32(b[fsid+4:]))
	return unix.NewFileHandle(kind, b[fsid+8:])
}
