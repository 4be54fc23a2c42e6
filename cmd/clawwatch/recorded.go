package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds on recorded events: they may be from anywhere.
const (
	maxRecordLine = 4 << 20
	maxAhead      = 24 * time.Hour // of this host's clock
)

// A badLine is a line that is no event. The others are read all the same.
type badLine struct {
	file string
	line int
	err  error
}

func (b badLine) Error() string { return fmt.Sprintf("%s:%d: %v", text(b.file), b.line, b.err) }

// recorded is a file of events, one JSON object a line, as "events --json" and
// "run --record" write it. Alerts in it are passed over.
type recorded struct {
	file   string
	events int
	bad    int
}

// openRecorded opens a file, or standard input for "-".
func openRecorded(file string) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || fi.IsDir() {
		return nil, errors.Join(fmt.Errorf("read %s: a file of events is wanted", text(file)), err, f.Close())
	}
	return f, nil
}

// read gives each event of the file to one function, and each line that is none
// to the other. The error is that of the file.
func (r *recorded) read(ctx context.Context, in io.Reader, each func(event.Record), bad func(badLine)) error {
	lines := bufio.NewReaderSize(in, 64<<10)
	for n := 1; ctx.Err() == nil; n++ {
		line, whole, err := boundedLine(lines)
		if len(line) > 0 || !whole {
			rec, is, wrong := recordOf(line, whole)
			switch {
			case wrong != nil:
				r.bad++
				bad(badLine{r.file, n, wrong})
			case is:
				r.events++
				each(rec)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", text(r.file), err)
		}
	}
	return ctx.Err()
}

// boundedLine reads a line without its end. Of one that is too long the rest is
// passed over, and it is not whole.
func boundedLine(in *bufio.Reader) (line []byte, whole bool, err error) {
	whole = true
	for {
		part, err := in.ReadSlice('\n')
		if whole = whole && len(line)+len(part) <= maxRecordLine; whole {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSpace(line), whole, err
		}
	}
}

// recordOf reads one line; is reports whether it is an event, and no alert.
func recordOf(line []byte, whole bool) (rec event.Record, is bool, err error) {
	switch {
	case !whole:
		return rec, false, fmt.Errorf("longer than %d bytes", maxRecordLine)
	case bytes.Contains(line, []byte(`"rule":{`)): // in a text the quotes would be escaped
		return rec, false, json.Unmarshal(line, new(event.Alert))
	}
	if err := json.Unmarshal(line, &rec); err != nil {
		return rec, false, fmt.Errorf("parse event: %s", text(err.Error()))
	}
	switch {
	case rec.ID == "" || rec.Kind == "" || rec.Time.IsZero():
		return rec, false, errors.New("no event: id, kind and time are wanted")
	case rec.Time.After(time.Now().Add(maxAhead)):
		return rec, false, fmt.Errorf("the time %s has not come yet", rec.Time.Format(time.RFC3339))
	}
	return rec, true, nil
}
