package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/clawwatch/clawwatch/internal/event"
)

// leftSchema is made in a file of any age: what it holds is of no use to a store
// without it, and the other way round.
const leftSchema = `
CREATE TABLE IF NOT EXISTS left_behind (
	dev   INTEGER NOT NULL,
	inode INTEGER NOT NULL,
	body  TEXT NOT NULL,
	PRIMARY KEY (dev, inode)
) WITHOUT ROWID;
`

// KeepLeft remembers files that tool calls left behind, each in the place of
// what had its identity before, and forgets others. The caller bounds how many there are.
func (s *Store) KeepLeft(keep []event.Left, forget []event.FileKey) error {
	tx, err := s.w.Begin()
	if err != nil {
		return fmt.Errorf("keep files left behind: %w", err)
	}
	defer tx.Rollback() // after Commit: does nothing
	for _, k := range forget {
		if _, err := tx.Exec(`DELETE FROM left_behind WHERE dev = ? AND inode = ?`, int64(k.Dev), int64(k.Inode)); err != nil {
			return fmt.Errorf("forget file left behind: %w", err)
		}
	}
	for _, l := range keep {
		body, err := json.Marshal(l)
		if err != nil {
			return fmt.Errorf("keep file left behind: %w", err)
		}
		if _, err := tx.Exec(`INSERT OR REPLACE INTO left_behind(dev, inode, body) VALUES (?, ?, ?)`, int64(l.File.Dev), int64(l.File.Inode), string(body)); err != nil {
			return fmt.Errorf("keep file left behind: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("keep files left behind: %w", err)
	}
	return nil
}

// Left gives the files that tool calls left behind, oldest first.
func (s *Store) Left(ctx context.Context) ([]event.Left, error) {
	rows, err := s.r.QueryContext(ctx, `SELECT body FROM left_behind ORDER BY json_extract(body, '$.At')`)
	if err != nil {
		return nil, fmt.Errorf("read files left behind: %w", err)
	}
	defer rows.Close() // its error is that of rows.Err
	var all []event.Left
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return nil, fmt.Errorf("read files left behind: %w", err)
		}
		var l event.Left
		if err := json.Unmarshal(body, &l); err != nil {
			return nil, fmt.Errorf("read files left behind: parse %.80s: %w", body, err)
		}
		all = append(all, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read files left behind: %w", err)
	}
	return all, nil
}
