package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A Skill is one skill of the inventory: a directory from which a gateway can
// load it.
type Skill struct {
	Gateway string            `json:"gateway,omitempty"`
	Skill   event.SkillChange `json:"skill"`
	Change  event.Kind        `json:"change"`            // the last that was recorded
	Record  string            `json:"record"`            // ID of its record
	Seen    time.Time         `json:"seen"`              // when a collector last reported it
	Removed bool              `json:"removed,omitempty"` // it is no longer there
	Alerts  int               `json:"alerts"`            // attributed to a skill of this name, since Query.Since
	Last    time.Time         `json:"last_alert,omitzero"`
}

// inventory brings the table of skills up to date. It returns the lines without
// those that say only that a skill is still there: skill.present is stored when
// it tells something new, not at each start.
func (w *writer) inventory(lines []line) ([]line, error) {
	kept := make([]line, 0, len(lines))
	for _, l := range lines {
		if l.record.Skill != nil {
			news, err := w.skill(l)
			if err != nil {
				return nil, fmt.Errorf("update inventory with %s: %w", l.record.ID, err)
			}
			if !news {
				continue
			}
		}
		kept = append(kept, l)
	}
	return kept, nil
}

// skill enters one report, and tells whether it was news.
func (w *writer) skill(l line) (news bool, err error) {
	r := l.record
	gateway := ""
	if r.Attribution != nil {
		gateway = r.Attribution.Gateway
	}
	if r.Kind == event.KindSkillPresent {
		var body string
		var removed bool
		err := w.tx.QueryRow(`SELECT body, removed FROM skills WHERE gateway = ? AND dir = ?`, gateway, r.Skill.ID.Dir).Scan(&body, &removed)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return false, err
		}
		var former event.Record
		if err == nil && !removed && json.Unmarshal([]byte(body), &former) == nil && former.Skill != nil && former.Skill.ID == r.Skill.ID &&
			reflect.DeepEqual(former.Skill.Declares, r.Skill.Declares) {
			_, err := w.tx.Exec(`UPDATE skills SET seen = ? WHERE gateway = ? AND dir = ?`, nanos(r.Time), gateway, r.Skill.ID.Dir)
			return false, err
		}
	}
	_, err = w.tx.Exec(`INSERT OR REPLACE INTO skills(gateway, dir, removed, seen, body) VALUES (?, ?, ?, ?, ?)`,
		gateway, r.Skill.ID.Dir, r.Kind == event.KindSkillRemoved, nanos(r.Time), string(l.json))
	return true, err
}

// Skills returns the inventory by name, removed skills last, each with its
// alerts. Of the query Skill, Gateway and, for the alerts, Since and Until
// count.
func (s *Store) Skills(ctx context.Context, q Query) ([]Skill, error) {
	alerts, err := s.alertCounts(ctx, "skill", q)
	if err != nil {
		return nil, err
	}
	rows, err := s.r.QueryContext(ctx, `SELECT gateway, removed, seen, body FROM skills ORDER BY removed, gateway, dir`)
	if err != nil {
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	defer rows.Close() // its error is that of rows.Err
	var skills []Skill
	for rows.Next() {
		var k Skill
		var seen int64
		var body []byte
		if err := rows.Scan(&k.Gateway, &k.Removed, &seen, &body); err != nil {
			return nil, fmt.Errorf("read inventory: %w", err)
		}
		var r event.Record
		if err := json.Unmarshal(body, &r); err != nil || r.Skill == nil {
			return nil, fmt.Errorf("read inventory: parse record: %w", err)
		}
		k.Skill, k.Change, k.Record, k.Seen = *r.Skill, r.Kind, r.ID, time.Unix(0, seen).UTC()
		c := alerts[k.Skill.ID.Name]
		k.Alerts, k.Last = c.count, c.last
		if (q.Skill == "" || q.Skill == k.Skill.ID.Name) && (q.Gateway == "" || q.Gateway == k.Gateway) {
			skills = append(skills, k)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read inventory: %w", err)
	}
	return skills, nil
}

// An alertCount is how many alerts something has, and when the last was.
type alertCount struct {
	count int
	last  time.Time
}

// alertCounts counts alerts by a column of the table, which is ours to name.
func (s *Store) alertCounts(ctx context.Context, column string, q Query) (map[string]alertCount, error) {
	rows, err := s.r.QueryContext(ctx, `SELECT `+column+`, count(*), max(time) FROM alerts WHERE time >= ? AND time < ? GROUP BY 1`,
		q.since(), q.until())
	if err != nil {
		return nil, fmt.Errorf("count alerts: %w", err)
	}
	defer rows.Close() // its error is that of rows.Err
	counts := map[string]alertCount{}
	for rows.Next() {
		var name string
		var c alertCount
		var last int64
		if err := rows.Scan(&name, &c.count, &last); err != nil {
			return nil, fmt.Errorf("count alerts: %w", err)
		}
		c.last = time.Unix(0, last).UTC()
		counts[name] = c
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count alerts: %w", err)
	}
	return counts, nil
}
