package openclaw

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"strings"
	"time"
)

// Bounds on reading transcripts.
const (
	maxHistory = 1 << 20   // bytes from before the collector's time that are learned from
	maxReading = 16 << 20  // bytes of all transcripts of an agent in one reading; the rest has to wait
	maxHeader  = 64 << 10  // bytes of a first line
	mark       = 1 << 10   // bytes before the place reached that say that it is still the same
	lineBuffer = 256 << 10 // kept between lines; a longer line has one of its own
)

// A transcript is one session's file of JSON lines, read on from where the last
// reading ended. Lines are appended; but OpenClaw also writes the whole file anew,
// in place or beside it, and then it is read from its beginning: what was told
// before is known by its IDs.
type transcript struct {
	name    string // of the file
	session string
	version float64
	at      stamp // as of the last reading
	now     stamp // as of the last look
	changed time.Time
	dirty   bool // to be read
	gone    bool // renamed, and followed to its new name for what is left of it
	begun   bool
	err     error // why it could not be read

	offset int64     // of the first byte not read
	tail   uint64    // hash of the bytes before it
	began  time.Time // session, as the first line says
	latest time.Time // row read
	ended  time.Time // when it was last read to its end; zero: never
	long   bool      // in the middle of a line that is too long
}

// transcriptName reports whether a file is the transcript of a session, and no
// trajectory, checkpoint or archive beside it.
func transcriptName(name string) bool {
	base, ok := strings.CutSuffix(name, ".jsonl")
	return ok && base != "" && !strings.HasSuffix(base, ".trajectory") && !strings.Contains(base, ".checkpoint.")
}

var seed = maphash.MakeSeed()

// hashBefore hashes what lies before offset.
func hashBefore(f io.ReaderAt, offset int64) (uint64, error) {
	b := make([]byte, min(offset, mark))
	if _, err := f.ReadAt(b, offset-int64(len(b))); err != nil {
		return 0, err
	}
	return maphash.Bytes(seed, b), nil
}

// resume finds where to read on: where the last reading ended, at the beginning
// where the file was written anew, and in a file that is new here near the end of
// what is from before since. ok: there is a whole first line.
func (t *transcript) resume(f *os.File, size int64, since time.Time) (ok bool, err error) {
	if t.begun && t.offset <= size {
		hash, err := hashBefore(f, t.offset)
		if err == nil && hash == t.tail {
			return true, nil
		}
	}
	first, _, err := newLines(f, 0, size, maxHeader).next()
	switch {
	case errors.Is(err, io.EOF):
		return false, nil // half written
	case err != nil && !errors.Is(err, errLong):
		return false, err
	}
	r, err := parseRow(first)
	t.session, t.version, t.began = strings.TrimSuffix(t.name, ".jsonl"), 0, time.Time{}
	if err == nil && r.version != 0 {
		t.session, t.version, t.began = cmp.Or(r.id, t.session), r.version, r.at
	}
	if t.begun && t.latest.After(since) { // it was written anew, and all but the newest is known
		since = t.latest.Add(-rewritten)
	}
	t.begun, t.long, t.latest = true, false, time.Time{}
	t.offset = history(f, size, since)
	return true, nil
}

// history finds the row to begin with: at most some maxHistory bytes before the
// first one of since or later, whatever the size. Rows are in the order of time.
func history(f io.ReaderAt, size int64, since time.Time) int64 {
	from, to := int64(0), size
	for to-from > maxHistory {
		middle := from + (to-from)/2
		lines := newLines(f, middle, size, maxRow)
		_, n, _ := lines.next() // the rest of a line, most likely
		line, _, err := lines.next()
		r, wrong := parseRow(line)
		if err != nil || wrong != nil || r.at.IsZero() || !r.at.Before(since) {
			to = middle
		} else {
			from = middle + n
		}
	}
	return from
}

// read gives the whole lines that are new to f, up to limit bytes, and how many
// bytes that were. A line that is too long is given to lost.
func (t *transcript) read(f *os.File, size, limit int64, each func(line []byte, at int64), lost func(at int64)) (n int64, err error) {
	lines := newLines(f, t.offset, min(size, t.offset+limit), maxRow)
	for {
		line, size, err := lines.next()
		switch {
		case errors.Is(err, io.EOF) && size < maxRow:
			// The rest of a line that is being written; or limit is reached.
			if t.long {
				t.offset += size
				n += size
			}
			t.tail, err = hashBefore(f, t.offset)
			return n, err
		case errors.Is(err, io.EOF), errors.Is(err, errLong):
			if !t.long {
				lost(t.offset)
			}
			t.long = errors.Is(err, io.EOF)
		case err != nil:
			return n, fmt.Errorf("read %s: %w", f.Name(), err)
		case t.long:
			t.long = false // its end
		case len(bytes.TrimSpace(line)) > 0:
			each(line, t.offset)
		}
		t.offset += size
		n += size
	}
}

// date gives the time of a row: its own, else that of the one before it. No row
// is written before it happens.
func (t *transcript) date(r row, changed time.Time) time.Time {
	at := r.at
	if at.IsZero() {
		at = t.latest
	}
	if at.IsZero() {
		at = changed
	}
	if now := time.Now(); at.After(now) {
		at = now
	}
	t.latest = at
	return at
}

// errLong says that a line is longer than is read of one.
var errLong = errors.New("line too long")

// lines cuts a part of a file into lines with bounded memory.
type lines struct {
	in  *bufio.Reader
	buf []byte
	max int
}

func newLines(f io.ReaderAt, from, to int64, limit int) *lines {
	return &lines{in: bufio.NewReaderSize(io.NewSectionReader(f, from, to-from), 64<<10), max: limit}
}

// next gives the next line, which is valid until the following call, and how many
// bytes of the file it was. io.EOF: the rest, of so many bytes, is no whole line.
// errLong: it was longer than the limit, and is skipped.
func (l *lines) next() (line []byte, n int64, err error) {
	if cap(l.buf) > lineBuffer {
		l.buf = nil
	}
	l.buf = l.buf[:0]
	for {
		part, err := l.in.ReadSlice('\n')
		n += int64(len(part))
		if n <= int64(l.max) {
			l.buf = append(l.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return nil, n, err
		case n > int64(l.max):
			return nil, n, errLong
		default:
			return l.buf, n, nil
		}
	}
}
