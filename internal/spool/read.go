package spool

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
)

// Read gives the oldest entries that are not acknowledged, without removing
// them: together at most so many items and bytes of data, but at least one
// entry, and none only if the queue is empty. It may give fewer than there are.
func (s *Spool) Read(maxItems, maxBytes int) ([]Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	for s.trim() {
		if entries := s.readSegment(maxItems, maxBytes); len(entries) > 0 {
			return entries, nil
		}
	}
	return nil, nil
}

// Ack removes the first n entries of the last Read. An error means that they
// will be read again after a restart; until then they are gone.
func (s *Spool) Ack(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if n == 0 {
		return nil
	}
	for _, m := range s.ends[:n] {
		s.stats.Items -= m.items
	}
	s.advance(s.ends[n-1].offset)
	s.ends = s.ends[n:]
	err := writeCursor(s.cursor, s.segments[0].number, s.head)
	s.trim()
	if err != nil {
		return fmt.Errorf("write queue cursor: %w", err)
	}
	return nil
}

func (s *Spool) advance(to int64) {
	s.stats.Bytes -= to - s.head
	s.head = to
}

// trim unlinks delivered segments and reports whether something is left to read.
func (s *Spool) trim() bool {
	for len(s.segments) > 0 {
		g := s.segments[0]
		last := len(s.segments) == 1
		if s.head < g.size {
			return true
		}
		if last && s.writable && g.size < recycleSize {
			break
		}
		// Neither failure loses anything: the cursor is past this segment, and
		// the next Open removes it.
		_ = g.file.Close()
		_ = s.root.Remove(segmentName(g.number))
		s.segments = s.segments[1:]
		s.head, s.ends = 0, nil
		if last {
			s.writable = false
		}
	}
	s.stats.Items, s.stats.Bytes = 0, 0 // what was damaged unseen is gone too
	return false
}

// readSegment reads whole entries of segments[0] from head to the next damaged
// place. Damage at head is passed over.
func (s *Spool) readSegment(maxItems, maxBytes int) []Entry {
	g := s.segments[0]
	s.ends = s.ends[:0]
	var entries []Entry
	items, size := 0, 0
	for off := s.head; off < g.size; {
		h, at := nextHeader(g.file, off, g.size)
		data, ok := []byte(nil), at == off
		if ok {
			if len(entries) > 0 && (items+int(h.items) > maxItems || size+int(h.length) > maxBytes) {
				break
			}
			data, ok = readData(g.file, at, h)
		}
		if !ok {
			if len(entries) > 0 {
				break // deliver these first: then the damage is at head
			}
			off = s.skip(off, at, h)
			continue
		}
		off += h.size()
		items, size = items+int(h.items), size+len(data)
		entries = append(entries, Entry{Data: data, Items: int(h.items)})
		s.ends = append(s.ends, mark{offset: off, items: int64(h.items)})
	}
	return entries
}

// skip passes over the damage that begins at off and gives the place after it:
// a whole frame at at or, if there at once, a header whose data is damaged.
func (s *Spool) skip(off, at int64, h header) int64 {
	if at == off {
		at += h.size()
		s.stats.DamagedItems += int64(h.items)
		s.stats.Items -= int64(h.items)
	}
	s.stats.DamagedBytes += at - off
	s.advance(at)
	return at
}

func readData(f *os.File, at int64, h header) ([]byte, bool) {
	data := make([]byte, h.length)
	if _, err := f.ReadAt(data, at+headerSize); err != nil {
		return nil, false
	}
	return data, crc32.Checksum(data, castagnoli) == h.sum
}

// The cursor is 20 bytes: segment, offset, and the CRC-32C of both. It is
// written in place, and first by Open, so that moving on needs no space on a
// full disk.
const cursorSize = 20

func writeCursor(f *os.File, number uint64, offset int64) error {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, cursorSize), number)
	b = binary.BigEndian.AppendUint64(b, uint64(offset))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	_, err := f.WriteAt(b, 0)
	return err
}

// readCursor gives zeros for a cursor that is new or damaged: delivery begins
// again at the oldest segment.
func readCursor(f *os.File) (number uint64, offset int64) {
	var b [cursorSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return 0, 0
	}
	return parseCursor(b[:])
}

func parseCursor(b []byte) (number uint64, offset int64) {
	if len(b) < cursorSize || binary.BigEndian.Uint32(b[16:]) != crc32.Checksum(b[:16], castagnoli) {
		return 0, 0
	}
	number, offset = binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:]))
	if offset < 0 || number == ^uint64(0) {
		return 0, 0
	}
	return number, offset
}
