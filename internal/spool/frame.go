package spool

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// A frame is one entry on disk: a header of headerSize bytes, big endian, then
// the data. The header has a checksum of its own, so that counting what is
// queued reads headers only, and a magic number, so that whatever follows a
// damaged place can be found again.
//
//	0  magic
//	4  length of the data, bytes
//	8  items
//	12 CRC-32C of the data
//	16 CRC-32C of bytes 0 to 15
const (
	headerSize = 20
	magic      = 0xC1A3_F00D
	maxData    = 4 << 20 // bytes; no honest frame is longer
)

// list, never changed
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type header struct {
	length, items, sum uint32
}

func (h header) size() int64 { return headerSize + int64(h.length) }

// appendFrame appends the frame of data to dst.
func appendFrame(dst, data []byte, items int) []byte {
	start := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, magic)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(data)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(items))
	dst = binary.BigEndian.AppendUint32(dst, crc32.Checksum(data, castagnoli))
	dst = binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
	return append(dst, data...)
}

// parseHeader reports false for anything but a whole, undamaged header.
func parseHeader(b []byte) (header, bool) {
	if len(b) < headerSize || binary.BigEndian.Uint32(b) != magic ||
		binary.BigEndian.Uint32(b[16:]) != crc32.Checksum(b[:16], castagnoli) {
		return header{}, false
	}
	h := header{
		length: binary.BigEndian.Uint32(b[4:]),
		items:  binary.BigEndian.Uint32(b[8:]),
		sum:    binary.BigEndian.Uint32(b[12:]),
	}
	return h, h.length <= maxData
}

// nextHeader finds the first whole frame at or after off in the first size
// bytes of r. At is where it begins: past off where something is damaged, and
// size when there is no more. What cannot be read is as good as damaged.
func nextHeader(r io.ReaderAt, off, size int64) (h header, at int64) {
	var b [headerSize]byte
	if size-off >= headerSize {
		if _, err := r.ReadAt(b[:], off); err == nil {
			if h, ok := parseHeader(b[:]); ok && off+h.size() <= size {
				return h, off
			}
		}
	}
	return resync(r, off+1, size)
}

// resync looks for the next header byte by byte.
func resync(r io.ReaderAt, off, size int64) (header, int64) {
	const chunk = 64 << 10
	want := binary.BigEndian.AppendUint32(nil, magic)
	buf := make([]byte, chunk)
	for size-off >= headerSize {
		n, _ := r.ReadAt(buf[:min(chunk, size-off)], off)
		if n < headerSize {
			break // unreadable, or the file is shorter than it was
		}
		for i := 0; i+headerSize <= n; i++ {
			j := bytes.Index(buf[i:n], want)
			if j < 0 {
				break
			}
			i += j
			if h, ok := parseHeader(buf[i:n]); ok && off+int64(i)+h.size() <= size {
				return h, off + int64(i)
			}
		}
		off += int64(n - headerSize + 1) // a header may lie across two chunks
	}
	return header{}, size
}
