package store

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// What one timeline may hold and cost.
const (
	maxTimeline    = 40
	maxCallRecords = 50_000    // of the session, read
	aroundCall     = time.Hour // before and after the record that is asked about
)

// A Timeline is what one tool call did that a person should see: each thing
// once, oldest first.
type Timeline struct {
	Records []event.Record `json:"records"`
	More    int            `json:"more,omitempty"`    // things left out, the least notable ones
	Partial bool           `json:"partial,omitempty"` // the session has more records than were looked at
}

// Timeline returns what the tool call of an attribution did around a time; nil
// where no call is known.
func (s *Store) Timeline(ctx context.Context, a *event.Attribution, around time.Time) (*Timeline, error) {
	if a == nil || a.ToolCall == "" || a.Session == "" {
		return nil, nil
	}
	q := Query{Session: a.Session, Gateway: a.Gateway, Since: around.Add(-aroundCall), Until: around.Add(aroundCall)}
	var t Timeline
	seen, read := map[string]bool{}, 0
	for r, err := range s.Events(ctx, q) {
		if err != nil {
			return nil, err
		}
		if read++; read > maxCallRecords {
			t.Partial = true
			break
		}
		if r.Attribution == nil || r.Attribution.ToolCall != a.ToolCall || telling(&r) == 0 {
			continue
		}
		key := sameness(&r)
		if seen[key] {
			continue
		}
		seen[key] = true
		t.Records = append(t.Records, r)
		if len(t.Records) > 2*maxTimeline {
			t.shorten()
		}
	}
	t.shorten()
	slices.SortStableFunc(t.Records, func(a, b event.Record) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID)) })
	return &t, nil
}

// shorten keeps the most telling ones.
func (t *Timeline) shorten() {
	over := len(t.Records) - maxTimeline
	if over <= 0 {
		return
	}
	slices.SortStableFunc(t.Records, func(a, b event.Record) int { return cmp.Compare(telling(&b), telling(&a)) })
	t.Records = slices.Clip(t.Records[:maxTimeline])
	t.More += over
}

// telling ranks what a person wants to see of a call; 0: not at all.
func telling(r *event.Record) int {
	switch r.Kind {
	case event.KindToolCall, event.KindToolResult:
		return 5
	case event.KindToolEffects:
		if x := r.Effects; x != nil && (x.Silent || len(x.Examples) > 0) {
			return 5
		}
		return 0
	case event.KindConnect, event.KindListen, event.KindAccept, event.KindAccess, event.KindCredentials, event.KindNamespace, event.KindSocket:
		return 4
	case event.KindExec:
		return 2
	case event.KindEnvRead:
		if r.Env != nil && r.Env.Method == event.EnvExec {
			return 0
		}
		return 4
	}
	if r.File == nil || r.Process == nil || r.File.Opened {
		return 0
	}
	return notable(r)
}

// sameness is equal for records of which one is enough. Not all who do the same
// are shown, and not all of a file's openings.
func sameness(r *event.Record) string {
	parts := []string{string(r.Kind)}
	switch {
	case r.Kind == event.KindExec && r.Process != nil:
		parts = append(parts, strings.Join(r.Process.CommandArgs, " "))
	case r.Env != nil:
		parts = append(parts, string(r.Env.Method), strings.Join(r.Env.Names, " "))
	case r.File != nil:
		parts = append(parts, r.File.Operation, r.File.Path)
	case r.Network != nil:
		parts = append(parts, r.Network.Direction, r.Network.PeerAddress, strconv.Itoa(int(r.Network.PeerPort)), r.Network.LocalAddress, r.Network.Family)
	default:
		parts = append(parts, r.ID)
	}
	return strings.Join(parts, "\x00")
}
