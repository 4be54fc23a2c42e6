package store

import (
	"bytes"
	"fmt"
	"maps"

	"github.com/klauspost/compress/zstd"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Records are kept in blocks: JSON lines, compressed together, because records
// that follow each other repeat their process and their attribution. Alone a
// record takes 660 bytes, in a block about 40, and a block costs a tenth of the
// inserts.
const (
	maxBlockRecords = 256
	maxBlockBytes   = 256 << 10 // of JSON; a larger record gets a block of its own
	maxRecordBytes  = 8 << 20   // of JSON
)

// A blockRef is what the blocks table says of a block.
type blockRef struct {
	seq             int64 // of its first line; line i is record seq+i
	count           int   // lines, emptied ones included
	first, last     int64 // times of its records, nanoseconds since 1970, both inclusive
	firstID, lastID string
}

// A block is one that is being filled or changed.
type block struct {
	blockRef
	raw   []byte          // count lines; that of an amended record is empty
	terms map[string]bool // true: written

	latest terms // of the record that was added last
}

func (b *block) full() bool { return b.count >= maxBlockRecords || len(b.raw) >= maxBlockBytes }

// clone copies what add changes. raw is shared: add writes only behind its end.
func (b *block) clone() *block {
	c := *b
	c.terms = maps.Clone(b.terms)
	return &c
}

// add puts a record and its JSON at the end.
func (b *block) add(r *event.Record, line []byte) {
	t := nanos(r.Time)
	if b.count == 0 {
		b.first, b.last, b.firstID, b.lastID = t, t, r.ID, r.ID
	}
	b.first, b.last = min(b.first, t), max(b.last, t)
	b.firstID, b.lastID = min(b.firstID, r.ID), max(b.lastID, r.ID)
	b.raw = append(append(b.raw, line...), '\n')
	b.count++
	b.latest.add(b.terms, r)
}

// without returns the lines with that of every record in ids emptied, and those
// as they were. Emptied lines keep their place, so that no number moves.
func without(raw []byte, ids map[string]bool) (out []byte, emptied [][]byte) {
	out = make([]byte, 0, len(raw))
	for line := range bytes.Lines(raw) {
		if ids[lineID(line)] {
			emptied = append(emptied, line)
			line = []byte("\n")
		}
		out = append(out, line...)
	}
	return out, emptied
}

// lineID returns the record's ID without parsing the line: it is the first
// field of what encoding/json makes of a Record.
func lineID(line []byte) string {
	rest, ok := bytes.CutPrefix(line, []byte(`{"id":"`))
	if !ok {
		return ""
	}
	id, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(id)
}

// codec compresses blocks. The encoder belongs to the writer; the decoder's
// DecodeAll may be called from several goroutines.
type codec struct {
	enc    *zstd.Encoder
	dec    *zstd.Decoder
	packed []byte
}

func newCodec() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(64<<10), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("make encoder: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(2*maxRecordBytes),
		zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("make decoder: %w", err)
	}
	return &codec{enc: enc, dec: dec}, nil
}

func (c *codec) close() {
	_ = c.enc.Close() // writes to nothing
	c.dec.Close()
}

// pack compresses. What it returns is good until the next call.
func (c *codec) pack(raw []byte) []byte {
	if cap(c.packed) > 2*maxBlockBytes {
		c.packed = nil
	}
	c.packed = c.enc.EncodeAll(raw, c.packed[:0])
	return c.packed
}

func (c *codec) unpack(body []byte) ([]byte, error) {
	raw, err := c.dec.DecodeAll(body, nil)
	if err != nil {
		return nil, fmt.Errorf("decompress block: %w", err)
	}
	return raw, nil
}
