package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// minPrefix is how much of an ID must be given: eight characters of a ULID are
// a second.
const minPrefix = 8

// planned is how many blocks are looked up at once.
const planned = 4096

// A numbered record has its cursor.
type numbered struct {
	seq    int64
	record event.Record
}

// Events yields the records that a query wants. A block that cannot be read is
// an error; whoever goes on after it gets the rest.
func (s *Store) Events(ctx context.Context, q Query) iter.Seq2[event.Record, error] {
	return func(yield func(event.Record, error) bool) {
		var n int
		for r, err := range s.records(ctx, q) {
			if !yield(r.record, err) {
				return
			}
			if n++; err == nil && n == q.Limit {
				return
			}
		}
	}
}

// records yields without regard to Limit.
func (s *Store) records(ctx context.Context, q Query) iter.Seq2[numbered, error] {
	if q.Rule != "" {
		return s.ofRule(ctx, q)
	}
	return func(yield func(numbered, error) bool) {
		var waiting []numbered // matched, and perhaps younger than what comes next
		for refs, err := range s.plan(ctx, q) {
			if err != nil {
				yield(numbered{}, err)
				return
			}
			for _, ref := range refs {
				ready := q.ready(waiting, ref)
				for _, r := range waiting[:ready] {
					if !yield(r, nil) {
						return
					}
				}
				waiting = slices.Delete(waiting, 0, ready)
				found, err := s.scan(ctx, q, ref)
				if err != nil && !yield(numbered{}, err) {
					return
				}
				waiting = append(waiting, found...)
				slices.SortStableFunc(waiting, q.compare)
			}
		}
		for _, r := range waiting {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// compare orders as the query asks.
func (q Query) compare(a, b numbered) int {
	if q.After != 0 {
		return cmp.Compare(a.seq, b.seq)
	}
	c := cmp.Or(a.record.Time.Compare(b.record.Time), cmp.Compare(a.seq, b.seq))
	if q.Oldest {
		return c
	}
	return -c
}

// ready is how many of the waiting records come before all that ref and the
// blocks after it can hold.
func (q Query) ready(waiting []numbered, ref blockRef) int {
	i := slices.IndexFunc(waiting, func(r numbered) bool {
		t := nanos(r.record.Time)
		switch {
		case q.After != 0:
			return r.seq >= ref.seq
		case q.Oldest:
			return t >= ref.first
		}
		return t <= ref.last
	})
	if i < 0 {
		return len(waiting)
	}
	return i
}

// plan yields, some at a time, the blocks that may hold what the query wants,
// in the order in which they are to be read.
func (s *Store) plan(ctx context.Context, q Query) iter.Seq2[[]blockRef, error] {
	where, args := q.terms()
	where = append(where, "last >= ?", "first < ?")
	args = append(args, q.since(), q.until())
	if q.upTo != 0 {
		where, args = append(where, "seq <= ?"), append(args, q.upTo)
	}
	if q.After != 0 { // a block that begins before the cursor may reach beyond it
		where, args = append(where, "seq > ?"), append(args, q.After-maxBlockRecords)
	}
	key, order := "last", "DESC"
	if q.Oldest {
		key, order = "first", "ASC"
	}
	if q.After != 0 {
		key, order = "seq", "ASC"
	}
	next := map[string]string{"ASC": ">", "DESC": "<"}[order]
	return func(yield func([]blockRef, error) bool) {
		page, pageArgs := where, args
		for {
			refs, err := s.refs(ctx, fmt.Sprintf(`SELECT seq, count, first, last FROM blocks WHERE %s ORDER BY %s %s, seq %s LIMIT %d`,
				strings.Join(page, " AND "), key, order, order, planned), pageArgs)
			if !yield(refs, err) || err != nil || len(refs) < planned {
				return
			}
			end := refs[len(refs)-1]
			at := map[string]int64{"last": end.last, "first": end.first, "seq": end.seq}[key]
			page = append(slices.Clip(where), fmt.Sprintf("(%s, seq) %s (?, ?)", key, next))
			pageArgs = append(slices.Clip(args), at, end.seq)
		}
	}
}

func (s *Store) refs(ctx context.Context, query string, args []any) ([]blockRef, error) {
	rows, err := s.r.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("find blocks: %w", err)
	}
	defer rows.Close() // its error is that of rows.Err
	var refs []blockRef
	for rows.Next() {
		var b blockRef
		if err := rows.Scan(&b.seq, &b.count, &b.first, &b.last); err != nil {
			return nil, fmt.Errorf("find blocks: %w", err)
		}
		refs = append(refs, b)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("find blocks: %w", err)
	}
	return refs, nil
}

// scan reads one block and returns what matches. A block that has been deleted
// since it was planned holds nothing.
func (s *Store) scan(ctx context.Context, q Query, ref blockRef) ([]numbered, error) {
	var body []byte
	err := s.r.QueryRowContext(ctx, `SELECT body FROM bodies WHERE seq = ?`, ref.seq).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read block %d: %w", ref.seq, err)
	}
	raw, err := s.codec.unpack(body)
	if err != nil {
		return nil, fmt.Errorf("read block %d: %w", ref.seq, err)
	}
	needles := q.needles()
	var found []numbered
	seq := ref.seq - 1
	for line := range bytes.Lines(raw) {
		seq++
		// A block that grew since it was planned is read as it was then.
		if seq >= ref.seq+int64(ref.count) {
			break
		}
		if len(line) <= 1 || seq <= q.After || q.upTo != 0 && seq > q.upTo || !containsAll(line, needles) {
			continue
		}
		r := numbered{seq: seq}
		if err := json.Unmarshal(line, &r.record); err != nil {
			return found, fmt.Errorf("read block %d: parse record %d: %w", ref.seq, seq, err)
		}
		if q.match(&r.record) {
			found = append(found, r)
		}
	}
	return found, nil
}

// maxOfRule bounds what one answer holds of the records that alerts name.
const maxOfRule = 10_000

// ofRule yields the records that alerts of a rule name, each once.
func (s *Store) ofRule(ctx context.Context, q Query) iter.Seq2[numbered, error] {
	return func(yield func(numbered, error) bool) {
		seen := map[string]bool{}
		var found []numbered
		for a, err := range s.Alerts(ctx, Query{Rule: q.Rule, Skill: q.Skill, Session: q.Session, Gateway: q.Gateway, Oldest: q.Oldest}) {
			var records []event.Record
			if err == nil {
				records, _, err = s.Named(ctx, a)
			}
			if err != nil {
				yield(numbered{}, err)
				return
			}
			for _, r := range records {
				if !seen[r.ID] && q.match(&r) {
					found = append(found, numbered{record: r})
				}
				seen[r.ID] = true
			}
			if len(found) >= maxOfRule {
				break
			}
		}
		slices.SortStableFunc(found, q.compare)
		for _, r := range found {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Named returns the records that an alert names, as far as they are kept, and
// the IDs of those that are not.
func (s *Store) Named(ctx context.Context, a event.Alert) (records []event.Record, missing []string, err error) {
	for _, id := range a.Events {
		r, err := s.record(ctx, id)
		switch {
		case errors.Is(err, ErrNotFound):
			missing = append(missing, id)
		case err != nil:
			return records, missing, err
		default:
			records = append(records, r)
		}
	}
	return records, missing, nil
}

func (s *Store) record(ctx context.Context, id string) (event.Record, error) {
	var r event.Record
	body, err := s.lineOf(ctx, s.r, id)
	if errors.Is(err, ErrNotFound) {
		return r, err
	}
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	if err != nil {
		return r, fmt.Errorf("read record %s: %w", id, err)
	}
	return r, nil
}

// Get returns the record or alert with this ID, or, when no other begins so,
// with an ID that begins with it; eight characters at least. Errors wrap
// ErrNotFound or ErrAmbiguous.
func (s *Store) Get(ctx context.Context, id string) (Found, error) {
	id = strings.ToUpper(id)
	if len(id) < minPrefix || len(id) > maxTerm {
		return Found{}, fmt.Errorf("get %q: %w: an ID has %d to %d characters", id, ErrNotFound, minPrefix, maxTerm)
	}
	from, to := id, id+"~" // no ID has a greater character
	found, err := s.alertsByID(ctx, from, to)
	if err != nil {
		return Found{}, fmt.Errorf("get %s: %w", id, err)
	}
	lines, err := s.linesByID(ctx, s.r, from, to)
	if err != nil {
		return Found{}, fmt.Errorf("get %s: %w", id, err)
	}
	rows, err := s.r.QueryContext(ctx, `SELECT body FROM kept WHERE id BETWEEN ? AND ?`, from, to)
	if err != nil {
		return Found{}, fmt.Errorf("get %s: %w", id, err)
	}
	kept, err := collect[[]byte](rows)
	if err != nil {
		return Found{}, fmt.Errorf("get %s: %w", id, err)
	}
	for _, line := range append(lines, kept...) {
		var r event.Record
		if err := json.Unmarshal(line, &r); err != nil {
			return Found{}, fmt.Errorf("get %s: parse record: %w", id, err)
		}
		found[r.ID] = Found{Record: &r}
	}
	if f, ok := found[id]; ok {
		return f, nil
	}
	switch len(found) {
	case 0:
		return Found{}, fmt.Errorf("get %s: %w", id, ErrNotFound)
	case 1:
		for _, f := range found {
			return f, nil
		}
	}
	return Found{}, fmt.Errorf("get %s: %w", id, ErrAmbiguous)
}
