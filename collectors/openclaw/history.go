package openclaw

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/clawwatch/clawwatch/internal/event"
)

// start sets the last row to the newest one from before the collector's time,
// and learns from the sessions that may still go on.
func (r *records) start(ctx context.Context, emit func(event.Event)) error {
	newest, err := r.conn.maxRowID(ctx)
	if err != nil {
		return fmt.Errorf("find newest row: %w", err)
	}
	recent, err := r.conn.recentSessions(ctx, r.since.Add(-backfillAge), backfillSessions)
	if err != nil {
		return err
	}
	if r.last, err = r.lastBefore(ctx, newest, recent); err != nil {
		return fmt.Errorf("find first row: %w", err)
	}
	ids, metas, err := r.conn.list(ctx, r.last-overlap, overlap)
	if err != nil {
		return err
	}
	ids = ids[:len(ids)-countAbove(ids, r.last)]
	r.remember(ids, metas[:len(ids)])
	for _, id := range recent {
		if r.enough() {
			break // what is left is learned when it goes on
		}
		if _, err := r.session(ctx, id, emit); err != nil {
			return err
		}
	}
	return nil
}

// lastBefore gives the row before the first one of the collector's time: of
// those in recent sessions, and of the newest ones where sessions are not told.
func (r *records) lastBefore(ctx context.Context, newest int64, recent []string) (int64, error) {
	since := r.since.UnixMilli()
	last := newest
	first := func(text string, args ...any) error {
		var n sql.NullInt64
		err := r.conn.row(ctx, text, args...).scan(&n)
		if n.Valid {
			last = min(last, n.Int64-1)
		}
		return err
	}
	at := r.conn.column("transcript_events", "t", "created_at")
	err := first(`SELECT min(id) FROM (SELECT rowid AS id, `+at+` AS at FROM transcript_events t
		ORDER BY rowid DESC LIMIT ?) WHERE at >= ?`, batch, since)
	for _, id := range recent {
		if err == nil {
			err = first(`SELECT min(id) FROM (SELECT rowid AS id, `+at+` AS at FROM transcript_events t
				WHERE session_id = ? ORDER BY `+r.conn.seq()+` DESC LIMIT ?) WHERE at >= ?`, id, maxLook, since)
		}
	}
	return last, err
}

func countAbove(ids []int64, last int64) int {
	n := 0
	for _, id := range ids {
		if id > last {
			n++
		}
	}
	return n
}
