package store

import (
	"context"
	"fmt"
)

const (
	trimEvery  = 1 << 20 // bytes of blocks between two looks at the limits
	trimBlocks = 64      // oldest blocks deleted before the size is looked at again
	trimAlerts = 256
	trimRounds = 16 // at most, so that one Append does not stall for long
)

// trim deletes what is too old, and then the oldest of what is too much: blocks
// first, and alerts only when no block is left. It tells whether it deleted.
func (w *writer) trim() (bool, error) {
	if w.next != w.s.next && w.s.written+w.written < trimEvery {
		return false, nil
	}
	now := w.s.limits.Now()
	expired, err := w.delete(`SELECT seq FROM blocks WHERE last < ? ORDER BY last LIMIT ?`, nanos(now.Add(-w.s.limits.MaxAge)), trimBlocks*trimRounds)
	if err != nil {
		return false, err
	}
	alertsBefore := nanos(now.Add(-alertAges * w.s.limits.MaxAge))
	gone, err := w.deleteAlerts(`time < ?`, alertsBefore)
	if err != nil {
		return false, err
	}
	if _, err := w.tx.Exec(`DELETE FROM skills WHERE removed AND seen < ?`, alertsBefore); err != nil {
		return false, fmt.Errorf("delete removed skills: %w", err)
	}
	if err := w.trimUses(alertsBefore); err != nil {
		return false, err
	}
	shrunk, err := w.shrink()
	return expired+gone > 0 || shrunk, err
}

// shrink deletes until the used pages are within the limit.
func (w *writer) shrink() (deleted bool, err error) {
	for range trimRounds {
		used, err := usedBytes(context.Background(), w.tx)
		if err != nil || used <= w.s.limits.MaxBytes {
			return deleted, err
		}
		n, err := w.delete(`SELECT seq FROM blocks ORDER BY seq LIMIT ?`, trimBlocks)
		if err == nil && n == 0 {
			n, err = w.deleteAlerts(`seq IN (SELECT seq FROM alerts ORDER BY time LIMIT ?)`, trimAlerts)
		}
		if err != nil || n == 0 {
			return deleted, err
		}
		deleted = true
	}
	return deleted, nil
}

// delete deletes the blocks that a query finds, and returns how many.
func (w *writer) delete(query string, args ...any) (int64, error) {
	rows, err := w.tx.Query(query, args...)
	if err != nil {
		return 0, fmt.Errorf("find oldest blocks: %w", err)
	}
	seqs, err := collect[int64](rows)
	if err != nil {
		return 0, fmt.Errorf("find oldest blocks: %w", err)
	}
	for _, seq := range seqs {
		for _, table := range []string{"blocks", "bodies", "terms"} {
			if _, err := w.tx.Exec(`DELETE FROM `+table+` WHERE seq = ?`, seq); err != nil {
				return 0, fmt.Errorf("delete block %d from %s: %w", seq, table, err)
			}
		}
		if w.tail != nil && w.tail.seq == seq {
			w.tail = nil
		}
	}
	if len(seqs) > 0 { // cursors must not be given out again when no block is left to tell
		if _, err := w.tx.Exec(`INSERT OR REPLACE INTO meta(key, value) VALUES ('next', ?)`, fmt.Sprint(w.next)); err != nil {
			return 0, fmt.Errorf("write cursor: %w", err)
		}
	}
	return int64(len(seqs)), nil
}

// deleteAlerts deletes alerts by a condition, with the records kept for them.
func (w *writer) deleteAlerts(where string, arg any) (int64, error) {
	if _, err := w.tx.Exec(`DELETE FROM kept WHERE alert IN (SELECT id FROM alerts WHERE `+where+`)`, arg); err != nil {
		return 0, fmt.Errorf("delete kept records: %w", err)
	}
	done, err := w.tx.Exec(`DELETE FROM alerts WHERE `+where, arg)
	if err != nil {
		return 0, fmt.Errorf("delete alerts: %w", err)
	}
	return done.RowsAffected()
}

// vacuum gives free pages back to the file system, some at a time. It may fail:
// what is appended next takes free pages first.
func (s *Store) vacuum() { _, _ = s.w.Exec(`PRAGMA incremental_vacuum(4096)`) }
