package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/clawwatch/clawwatch/internal/event"
)

const maxKept = 64 // records kept with one alert

// Append stores records and alerts in one transaction and makes room where the
// limits ask for it; with nothing to append it only does that. A record that is
// marked Amended replaces the one with its ID, and so does any alert; whoever
// follows sees it again.
//
// A record that cannot be stored (no ID, or more than 8 MiB) is left out, the
// others are stored, and the error names it. On any other error nothing of the
// batch is stored; it wraps ErrFull when the disk is full.
func (s *Store) Append(records []event.Record, alerts []event.Alert) error {
	lines, skipped := s.encoder.all(records)
	if err := s.append(lines, alerts); err != nil {
		s.damaged = s.damaged || isDamage(err)
		if isFull(err) {
			err = fmt.Errorf("%w: %w", ErrFull, err)
		}
		return fmt.Errorf("append %d records, %d alerts: %w", len(records), len(alerts), err)
	}
	return skipped
}

// append does the work of Append. The store's own memory of the tail changes
// only once the transaction is through.
func (s *Store) append(lines []line, alerts []event.Alert) error {
	tx, err := s.w.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit: does nothing
	w := &writer{s: s, tx: tx, next: s.next, tail: s.tail, spare: s.spare}
	for _, l := range lines {
		w.count(l.record, 1)
	}
	if lines, err = w.inventory(lines); err != nil {
		return err
	}
	if err := w.amend(lines); err != nil {
		return err
	}
	if err := w.putUses(); err != nil {
		return err
	}
	if err := w.blocks(lines); err != nil {
		return err
	}
	head := heads{records: w.next - 1}
	if head.alerts, err = w.alerts(alerts, lines); err != nil {
		return err
	}
	trimmed, err := w.trim()
	if err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if s.spare = w.spare; s.spare == nil && s.tail != nil && w.tail != nil && s.tail.seq != w.tail.seq && cap(s.tail.raw) <= 2*maxBlockBytes {
		s.spare = s.tail.raw[:0] // which nobody reads any more
	}
	s.next, s.tail, s.written = w.next, w.tail, s.written+w.written
	if len(lines) > 0 || len(alerts) > 0 {
		s.publish(head)
	}
	if trimmed {
		s.written = 0
		s.vacuum()
	}
	return nil
}

// A writer is one Append under way.
type writer struct {
	s       *Store
	tx      *sql.Tx
	next    int64
	tail    *block
	spare   []byte // memory for the lines of a new block; nil: none
	written int64
	uses    map[useKey]*tally
}

// blocks fills the tail and as many new blocks as it takes.
func (w *writer) blocks(lines []line) error {
	b := w.tail
	if b != nil {
		b = b.clone()
	}
	dirty := false
	for _, l := range lines {
		if b == nil || b.full() {
			if err := w.put(b, dirty); err != nil {
				return err
			}
			b = w.block(b)
		}
		b.add(l.record, l.json)
		w.next++
		dirty = true
	}
	if err := w.put(b, dirty); err != nil {
		return err
	}
	w.tail = b
	return nil
}

// block begins a new block, in the memory of one that is written. That of the
// store's tail stays as it is: the transaction may yet fail.
func (w *writer) block(done *block) *block {
	memory := w.spare
	switch tail := w.s.tail; {
	case done != nil && (tail == nil || tail.seq != done.seq) && cap(done.raw) <= 2*maxBlockBytes:
		memory = done.raw[:0]
	case memory != nil:
		w.spare = nil
	default:
		memory = make([]byte, 0, maxBlockBytes+maxBlockBytes/4)
	}
	return &block{blockRef: blockRef{seq: w.next}, raw: memory, terms: map[string]bool{}}
}

// put writes a block whole, in place of its former self where there is one.
func (w *writer) put(b *block, dirty bool) error {
	if b == nil || !dirty {
		return nil
	}
	body := w.s.codec.pack(b.raw)
	w.written += int64(len(body))
	if _, err := w.tx.Stmt(w.s.insert.block).Exec(b.seq, b.count, b.first, b.last, b.firstID, b.lastID); err != nil {
		return fmt.Errorf("insert block: %w", err)
	}
	if _, err := w.tx.Stmt(w.s.insert.body).Exec(b.seq, body); err != nil {
		return fmt.Errorf("insert block body: %w", err)
	}
	insert := w.tx.Stmt(w.s.insert.term)
	for t, written := range b.terms {
		if written {
			continue
		}
		if _, err := insert.Exec(t, b.seq); err != nil {
			return fmt.Errorf("insert term: %w", err)
		}
		b.terms[t] = true
	}
	return nil
}

// amend empties the lines that amended records had before, and renews the
// copies kept with alerts.
func (w *writer) amend(lines []line) error {
	found := map[int64]map[string]bool{} // IDs to be emptied, by block
	for _, l := range lines {
		if !l.record.Amended {
			continue
		}
		rows, err := w.tx.Query(`SELECT seq FROM blocks WHERE last_id >= ? AND first_id <= ?`, l.record.ID, l.record.ID)
		if err != nil {
			return fmt.Errorf("find block of %s: %w", l.record.ID, err)
		}
		seqs, err := collect[int64](rows)
		if err != nil {
			return fmt.Errorf("find block of %s: %w", l.record.ID, err)
		}
		for _, seq := range seqs {
			if found[seq] == nil {
				found[seq] = map[string]bool{}
			}
			found[seq][l.record.ID] = true
		}
		if _, err := w.tx.Exec(`UPDATE kept SET body = ? WHERE id = ?`, string(l.json), l.record.ID); err != nil {
			return fmt.Errorf("renew kept copy of %s: %w", l.record.ID, err)
		}
	}
	for seq, ids := range found {
		if err := w.empty(seq, ids); err != nil {
			return err
		}
	}
	return nil
}

// empty empties the lines of one block that have these IDs, if it has any.
func (w *writer) empty(seq int64, ids map[string]bool) error {
	var raw []byte
	inTail := w.tail != nil && w.tail.seq == seq
	if inTail {
		raw = w.tail.raw
	} else {
		var body []byte
		err := w.tx.QueryRow(`SELECT body FROM bodies WHERE seq = ?`, seq).Scan(&body)
		if err == nil {
			raw, err = w.s.codec.unpack(body)
		}
		if err != nil {
			return fmt.Errorf("read block %d: %w", seq, err)
		}
	}
	raw, emptied := without(raw, ids)
	if len(emptied) == 0 {
		return nil
	}
	for _, l := range emptied {
		w.retract(l)
	}
	if inTail {
		w.tail = w.tail.clone()
		w.tail.raw = raw
	}
	if _, err := w.tx.Stmt(w.s.insert.body).Exec(seq, w.s.codec.pack(raw)); err != nil {
		return fmt.Errorf("rewrite block %d: %w", seq, err)
	}
	return nil
}

// alerts writes alerts and keeps the records they name. It returns the cursor
// of the newest alert.
func (w *writer) alerts(alerts []event.Alert, lines []line) (int64, error) {
	head, _ := w.s.heads()
	json := make(map[string][]byte, len(lines))
	if len(alerts) > 0 {
		for _, l := range lines {
			json[l.record.ID] = l.json
		}
	}
	for i := range alerts {
		seq, err := w.alert(&alerts[i])
		if err != nil {
			return 0, fmt.Errorf("insert alert %s: %w", alerts[i].ID, err)
		}
		head.alerts = seq
		if err := w.keep(&alerts[i], json); err != nil {
			return 0, fmt.Errorf("keep records of alert %s: %w", alerts[i].ID, err)
		}
	}
	return head.alerts, nil
}

func (w *writer) alert(a *event.Alert) (int64, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return 0, err
	}
	var skill string
	by := a.Attribution
	if by == nil {
		by = &event.Attribution{}
	}
	if by.Skill != nil {
		skill = by.Skill.Name
	}
	var pid int32
	if a.Process != nil {
		pid = a.Process.PID
	}
	done, err := w.tx.Exec(`INSERT OR REPLACE INTO alerts(id, time, rule, skill, session, session_key, gateway, pid, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		a.ID, nanos(a.Time), a.Rule.Name, skill, by.Session, by.SessionKey, by.Gateway, pid, string(body))
	if err != nil {
		return 0, err
	}
	return done.LastInsertId()
}

// keep copies the records that the alert names, from this batch or from what is
// stored. One that is neither is left out.
func (w *writer) keep(a *event.Alert, batch map[string][]byte) error {
	for i, id := range a.Events {
		if i == maxKept {
			break
		}
		body, ok := batch[id]
		if !ok {
			var err error
			body, err = w.s.lineOf(context.Background(), w.tx, id)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
		}
		if _, err := w.tx.Exec(`INSERT OR REPLACE INTO kept(alert, id, body) VALUES (?, ?, ?)`, a.ID, id, string(body)); err != nil {
			return err
		}
	}
	return nil
}

// An asker is a *sql.DB or a *sql.Tx.
type asker interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// lineOf returns a record by its whole ID: the copy kept with an alert, else that
// in a block, which has to be unpacked. ErrNotFound: there is none.
func (s *Store) lineOf(ctx context.Context, db asker, id string) ([]byte, error) {
	var body []byte
	err := db.QueryRowContext(ctx, `SELECT body FROM kept WHERE id = ? LIMIT 1`, id).Scan(&body)
	if !errors.Is(err, sql.ErrNoRows) {
		return body, err
	}
	lines, err := s.linesByID(ctx, db, id, id)
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		return nil, ErrNotFound
	}
	return lines[0], nil
}

// linesByID returns the lines whose ID is between from and to, both inclusive,
// in order of ID.
func (s *Store) linesByID(ctx context.Context, db asker, from, to string) ([][]byte, error) {
	rows, err := db.QueryContext(ctx, `SELECT body FROM bodies WHERE seq IN (SELECT seq FROM blocks WHERE last_id >= ? AND first_id <= ?)`, from, to)
	if err != nil {
		return nil, err
	}
	bodies, err := collect[[]byte](rows)
	if err != nil {
		return nil, err
	}
	var found [][]byte
	for _, body := range bodies {
		raw, err := s.codec.unpack(body)
		if err != nil {
			return nil, err
		}
		for l := range bytes.Lines(raw) {
			if id := lineID(l); id >= from && id <= to {
				found = append(found, bytes.Clone(l))
			}
		}
	}
	return found, nil
}

// collect reads the only column of rows and closes them.
func collect[T any](rows *sql.Rows) (out []T, err error) {
	defer func() { err = cmp.Or(err, rows.Close()) }()
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
