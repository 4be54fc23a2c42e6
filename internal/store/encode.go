package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A line is a record and its JSON.
type line struct {
	record *event.Record
	json   []byte
}

// An encoder makes lines. Nine tenths of a record's JSON are its process and
// its attribution, which the records that follow each other share: each of
// them is made JSON once a batch, and put behind the rest of every record.
type encoder struct {
	out          bytes.Buffer
	rest         *json.Encoder // into out
	processes    shared[event.Process]
	attributions shared[event.Attribution]
}

func newEncoder() *encoder {
	e := &encoder{processes: shared[event.Process]{}, attributions: shared[event.Attribution]{}}
	e.rest = json.NewEncoder(&e.out)
	return e
}

// all encodes what can be stored; of records with the same ID the last. What it
// returns is good until the next call.
func (e *encoder) all(records []event.Record) ([]line, error) {
	var skipped []error
	e.out.Reset()
	if e.out.Cap() > maxRecordBytes/2 { // after records larger than is usual
		e.out = bytes.Buffer{}
	}
	defer clear(e.processes) // another process may come to lie where one was
	defer clear(e.attributions)
	lines, at := make([]line, 0, len(records)), make(map[string]int, len(records))
	for i := range records {
		b, err := e.one(&records[i])
		if err != nil {
			skipped = append(skipped, err)
			continue
		}
		l := line{&records[i], b}
		if j, again := at[records[i].ID]; again {
			lines[j] = l
			continue
		}
		at[records[i].ID] = len(lines)
		lines = append(lines, l)
	}
	return lines, errors.Join(skipped...)
}

// one gives the JSON of a record as blocks hold it: that of encoding/json, but
// for the order of the fields.
func (e *encoder) one(r *event.Record) ([]byte, error) {
	if r.ID == "" {
		return nil, fmt.Errorf("encode record of kind %s: no ID", r.Kind)
	}
	from := e.out.Len()
	rest := *r
	rest.Process, rest.Attribution = nil, nil
	err := e.rest.Encode(&rest)
	if err == nil {
		e.out.Truncate(e.out.Len() - len("}\n"))
		err = errors.Join(
			e.processes.put(&e.out, `,"process":`, r.Process),
			e.attributions.put(&e.out, `,"attribution":`, r.Attribution))
		e.out.WriteByte('}')
	}
	if err != nil {
		e.out.Truncate(from)
		return nil, fmt.Errorf("encode record %s: %w", r.ID, err)
	}
	b := e.out.Bytes()[from:]
	if len(b) > maxRecordBytes {
		e.out.Truncate(from)
		return nil, fmt.Errorf("encode record %s: %d bytes, at most %d", r.ID, len(b), maxRecordBytes)
	}
	return b[:len(b):len(b)], nil
}

// shared is the JSON of values by where they lie. They do not change.
type shared[T any] map[*T][]byte

// put writes a field, where there is a value.
func (s shared[T]) put(out *bytes.Buffer, name string, v *T) error {
	if v == nil {
		return nil
	}
	b, ok := s[v]
	if !ok {
		var err error
		if b, err = json.Marshal(v); err != nil {
			return err
		}
		s[v] = b
	}
	out.WriteString(name)
	out.Write(b)
	return nil
}
