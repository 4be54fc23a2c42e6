// Package jsonl appends records and alerts to a file, one JSON object a line,
// in the shape that "clawwatch events --json" and "alerts --json" print. An
// alert is the object that has a rule.
//
// It is for log shippers that follow a file, and for recording. A line that
// Export accepted survives the death of the process, not of the machine. The
// file is never rotated here; when something else moves it away, the next
// Export begins a new one.
package jsonl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/clawwatch/clawwatch/exporters"
)

var _ exporters.Exporter = (*Exporter)(nil)

// An Exporter appends to one file.
type Exporter struct {
	path string

	mu      sync.Mutex
	file    *os.File
	dropped int64
}

// New opens the file, or makes it, 0600. Its directory must exist. A symbolic
// link at its place is not followed.
func New(path string) (*Exporter, error) {
	x := &Exporter{path: path}
	if err := x.open(); err != nil {
		return nil, err
	}
	return x, nil
}

func (x *Exporter) open() error {
	f, err := os.OpenFile(x.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("open log file: %w", err)
	}
	if x.file != nil {
		_ = x.file.Close() // each Export has already had its write's answer
	}
	x.file = f
	return nil
}

// Export appends the batch: all of it, or nothing.
func (x *Exporter) Export(_ context.Context, b exporters.Batch) error {
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	enc.SetEscapeHTML(false)
	var errs []error
	for i := range b.Records {
		errs = append(errs, enc.Encode(&b.Records[i]))
	}
	for i := range b.Alerts {
		errs = append(errs, enc.Encode(&b.Alerts[i]))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := errors.Join(append(errs, x.append(lines.Bytes()))...); err != nil {
		x.dropped += int64(b.Len())
		return fmt.Errorf("append to log file: %w", err)
	}
	return nil
}

// append writes the lines, and takes back what a full disk cut short.
func (x *Exporter) append(lines []byte) error {
	if x.moved() {
		if err := x.open(); err != nil {
			return err
		}
	}
	n, err := x.file.Write(lines)
	if err == nil || n == 0 {
		return err
	}
	info, statErr := x.file.Stat()
	if statErr != nil {
		return errors.Join(err, statErr)
	}
	return errors.Join(err, x.file.Truncate(info.Size()-int64(n)))
}

// moved reports whether the path no longer names the open file.
func (x *Exporter) moved() bool {
	now, err := os.Lstat(x.path)
	if err != nil {
		return true
	}
	then, err := x.file.Stat()
	return err != nil || !os.SameFile(now, then)
}

// Dropped is how many records and alerts were not written.
func (x *Exporter) Dropped() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.dropped
}

// Loops has none: there is nothing left to deliver.
func (x *Exporter) Loops() []func(context.Context) error { return nil }

// Close closes the file.
func (x *Exporter) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.file.Close()
}
