package store

import (
	"context"
	"iter"
	"slices"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Follow yields the newest records that the query wants, oldest first and at
// most Limit (0: none), and then each as it is appended, until ctx is done.
// Rule, Oldest and After do not count.
func (s *Store) Follow(ctx context.Context, q Query) iter.Seq2[event.Record, error] {
	q.Rule = ""
	return follow(ctx, s, q, s.Events, func(h heads) int64 { return h.records })
}

// FollowAlerts is Follow for alerts; Rule counts.
func (s *Store) FollowAlerts(ctx context.Context, q Query) iter.Seq2[event.Alert, error] {
	return follow(ctx, s, q, s.Alerts, func(h heads) int64 { return h.alerts })
}

func follow[T any](ctx context.Context, s *Store, q Query, ask func(context.Context, Query) iter.Seq2[T, error], of func(heads) int64) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		h, changed := s.heads()
		at := of(h)
		q.Oldest, q.After, q.upTo = false, 0, at
		if at > 0 && q.Limit > 0 && !yieldBackwards(yield, ask(ctx, q)) {
			return
		}
		q.Limit = 0
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			h, changed = s.heads()
			if of(h) == at {
				continue
			}
			q.After, q.upTo, at = at, of(h), of(h)
			q.Oldest = q.After == 0 // nothing was there: all is new
			for v, err := range ask(ctx, q) {
				if ctx.Err() != nil || !yield(v, err) || err != nil {
					return
				}
			}
		}
	}
}

// yieldBackwards yields newest-first values oldest first. It holds them all:
// the caller bounds them with Limit.
func yieldBackwards[T any](yield func(T, error) bool, newest iter.Seq2[T, error]) bool {
	var all []T
	for v, err := range newest {
		if err != nil {
			yield(v, err)
			return false
		}
		all = append(all, v)
	}
	for _, v := range slices.Backward(all) {
		if !yield(v, nil) {
			return false
		}
	}
	return true
}
