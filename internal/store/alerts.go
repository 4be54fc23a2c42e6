package store

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

const alertPage = 256 // alerts read in one transaction

// Alerts yields the alerts that a query wants. Kind does not count. An After is
// a cursor of alerts.
func (s *Store) Alerts(ctx context.Context, q Query) iter.Seq2[event.Alert, error] {
	return func(yield func(event.Alert, error) bool) {
		where, args := q.alertConditions()
		key, order, next := "time", "DESC", "<"
		if q.Oldest {
			order, next = "ASC", ">"
		}
		if q.After != 0 {
			key, order, next = "seq", "ASC", ">"
		}
		page, pageArgs, n := where, args, 0
		for {
			alerts, at, err := s.alertPage(ctx, fmt.Sprintf(`SELECT seq, time, body FROM alerts WHERE %s ORDER BY %s %s, seq %s LIMIT %d`,
				strings.Join(page, " AND "), key, order, order, alertPage), pageArgs)
			if err != nil {
				yield(event.Alert{}, err)
				return
			}
			for _, a := range alerts {
				if n++; !yield(a, nil) || n == q.Limit {
					return
				}
			}
			if len(alerts) < alertPage {
				return
			}
			page = append(slices.Clip(where), fmt.Sprintf("(%s, seq) %s (?, ?)", key, next))
			pageArgs = append(slices.Clip(args), at[key], at["seq"])
		}
	}
}

func (q Query) alertConditions() (where []string, args []any) {
	where, args = []string{"time >= ?", "time < ?"}, []any{q.since(), q.until()}
	for _, c := range []struct {
		column, value string
	}{{"rule", q.Rule}, {"skill", q.Skill}, {"gateway", q.Gateway}} {
		if c.value != "" {
			where, args = append(where, c.column+" = ?"), append(args, c.value)
		}
	}
	if q.Session != "" {
		where, args = append(where, "(session = ? OR session_key = ?)"), append(args, q.Session, q.Session)
	}
	if q.PID != 0 {
		where, args = append(where, "pid = ?"), append(args, q.PID)
	}
	if q.After != 0 {
		where, args = append(where, "seq > ?"), append(args, q.After)
	}
	if q.upTo != 0 {
		where, args = append(where, "seq <= ?"), append(args, q.upTo)
	}
	return where, args
}

// alertPage returns alerts and the place of the last.
func (s *Store) alertPage(ctx context.Context, query string, args []any) ([]event.Alert, map[string]int64, error) {
	rows, err := s.r.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, nil, fmt.Errorf("read alerts: %w", err)
	}
	defer rows.Close() // its error is that of rows.Err
	var alerts []event.Alert
	at := map[string]int64{}
	for rows.Next() {
		var seq, time int64
		var body []byte
		if err := rows.Scan(&seq, &time, &body); err != nil {
			return nil, nil, fmt.Errorf("read alerts: %w", err)
		}
		var a event.Alert
		if err := json.Unmarshal(body, &a); err != nil {
			return nil, nil, fmt.Errorf("read alert %d: %w", seq, err)
		}
		alerts = append(alerts, a)
		at["seq"], at["time"] = seq, time
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("read alerts: %w", err)
	}
	return alerts, at, nil
}

// alertsByID returns the alerts whose ID is between from and to, both
// inclusive.
func (s *Store) alertsByID(ctx context.Context, from, to string) (map[string]Found, error) {
	alerts, _, err := s.alertPage(ctx, `SELECT seq, time, body FROM alerts WHERE id BETWEEN ? AND ? LIMIT 16`, []any{from, to})
	if err != nil {
		return nil, err
	}
	found := map[string]Found{}
	for _, a := range alerts {
		found[a.ID] = Found{Alert: &a}
	}
	return found, nil
}
