package store_test

import (
	"context"
	"iter"
	"path/filepath"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

func TestFollowMissesNothingAndEndsWithItsContext(t *testing.T) {
	const after = 700
	for _, c := range []struct{ before, limit, first int }{
		{before: 5, limit: 1 << 30, first: 0},
		{before: 5, limit: 3, first: 2},
	} {
		s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{})
		for i := range c.before {
			add(t, s, []event.Record{fileOpen(i, "weather", 41)})
		}
		ctx, cancel := context.WithCancel(context.Background())
		records, stop := iter.Pull2(s.Follow(ctx, store.Query{Limit: c.limit, Skill: "weather"}))
		next := func(want int) {
			t.Helper()
			if r, err, ok := records(); !ok || err != nil || r.ID != id(want) {
				t.Fatalf("%+v: got %s, %v, %v; want %s", c, r.ID, err, ok, id(want))
			}
		}
		for i := c.first; i < c.before; i++ {
			next(i)
		}
		for i := c.before; i < c.before+after; i += 7 {
			var batch []event.Record
			for j := range 7 {
				batch = append(batch, fileOpen(i+j, "weather", 41))
			}
			add(t, s, append(batch, fileOpen(100_000+i, "news", 1)))
		}
		for i := range after {
			next(c.before + i)
		}
		cancel()
		if r, err, ok := records(); ok {
			t.Errorf("after the end: %s, %v", r.ID, err)
		}
		stop()
	}
}

// What is appended while nothing was there, or nothing old was asked for, is
// seen too.
func TestFollowSeesWhatIsAppendedLater(t *testing.T) {
	for _, before := range []int{0, 5} {
		s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{})
		for i := range before {
			add(t, s, []event.Record{fileOpen(i, "weather", 41)})
		}
		first := make(chan string, 1)
		go func() {
			for r := range s.Follow(context.Background(), store.Query{}) {
				first <- r.ID
				return
			}
		}()
		var got string
		for n := before; got == ""; n++ { // nothing tells that it has begun: append until it sees one
			add(t, s, []event.Record{fileOpen(n, "weather", 41)})
			select {
			case got = <-first:
			default:
			}
		}
		if got < id(before) {
			t.Errorf("%d before: the first it saw is %s", before, got)
		}
	}
}
