package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// maxSessions bounds one answer about sessions.
const maxSessions = 2_000

// A Session is one conversation with an agent, and what came of it.
type Session struct {
	Record  event.Record `json:"record"` // session.start
	Last    time.Time    `json:"last"`   // of its records, to within a block of them
	Alerts  int          `json:"alerts"`
	Alerted time.Time    `json:"last_alert,omitzero"`
}

// Sessions gives the sessions whose start the query wants, newest first, each
// once. With Skill: those in which that skill was at work.
func (s *Store) Sessions(ctx context.Context, q Query) ([]Session, error) {
	alerts, err := s.alertCounts(ctx, "session", Query{})
	if err != nil {
		return nil, err
	}
	limit := maxSessions
	if q.Limit > 0 {
		limit = min(limit, q.Limit)
	}
	var used map[string]bool
	if q.Skill != "" {
		if used, err = s.sessionsOf(ctx, q); err != nil {
			return nil, err
		}
		q.Skill = "" // a session's start is no skill's
	}
	q.Kind, q.Limit, q.Oldest, q.After = string(event.KindSessionStart), 0, false, 0
	seen := map[[2]string]bool{}
	var sessions []Session
	for r, err := range s.Events(ctx, q) {
		if err != nil {
			return nil, err
		}
		var id, gateway string
		if r.Attribution != nil {
			id, gateway = r.Attribution.Session, r.Attribution.Gateway
		}
		if used != nil && !used[id] || id != "" && seen[[2]string{gateway, id}] {
			continue
		}
		seen[[2]string{gateway, id}] = true
		if len(sessions) == limit {
			break
		}
		last, err := s.lastOf(ctx, 'e', id)
		if err != nil {
			return nil, err
		}
		if last.Before(r.Time) {
			last = r.Time
		}
		c := alerts[id]
		sessions = append(sessions, Session{Record: r, Last: last, Alerts: c.count, Alerted: c.last})
	}
	return sessions, nil
}

// sessionsOf returns the IDs of the sessions in which a skill was at work.
func (s *Store) sessionsOf(ctx context.Context, q Query) (map[string]bool, error) {
	q.Limit = maxScanned
	ids := map[string]bool{}
	for r, err := range s.Events(ctx, q) {
		if err != nil {
			return nil, err
		}
		if r.Attribution != nil && r.Attribution.Session != "" {
			ids[r.Attribution.Session] = true
		}
	}
	return ids, nil
}

// lastOf returns when the newest block with a term ends.
func (s *Store) lastOf(ctx context.Context, field byte, value string) (time.Time, error) {
	var last sql.NullInt64
	if value == "" {
		return time.Time{}, nil
	}
	err := s.r.QueryRowContext(ctx, `SELECT max(last) FROM blocks WHERE seq IN (SELECT seq FROM terms WHERE term = ?)`, term(field, value)).Scan(&last)
	if err != nil {
		return time.Time{}, fmt.Errorf("read newest time of %s: %w", value, err)
	}
	if !last.Valid {
		return time.Time{}, nil
	}
	return time.Unix(0, last.Int64).UTC(), nil
}
