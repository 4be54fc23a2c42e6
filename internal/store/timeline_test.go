package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

// A storm of one call's events leaves the few that matter, each once.
func TestATimelineShowsWhatMattersOfOneCall(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{})
	opened := func(n int, call, path string) event.Record {
		return done(n, event.Strong, event.KindFileOpen, func(r *event.Record) {
			r.Attribution.Gateway, r.Attribution.Session, r.Attribution.ToolCall = "/home/dev/.openclaw", "ses", call
			r.File = &event.File{Path: path, Operation: "read"}
		})
	}
	var records []event.Record
	for n := range 200 {
		records = append(records, opened(n, "call_1", fmt.Sprintf("/data/%d", n%100)), opened(1000+n, "call_1", "/usr/lib/x.so"), opened(2000+n, "call_2", "/other"))
	}
	secret := opened(500, "call_1", "/home/dev/.ssh/id_ed25519")
	out := connected(501, "192.0.2.1", 443, "", "")
	out.Attribution.Gateway, out.Attribution.Session = "/home/dev/.openclaw", "ses"
	add(t, s, append(records, secret, out))
	got, err := s.Timeline(context.Background(), secret.Attribution, secret.Time)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Records) != 40 || got.More != 62 || got.Partial {
		t.Errorf("%d records, %d more, partial %v", len(got.Records), got.More, got.Partial)
	}
	last := got.Records[len(got.Records)-2:]
	if last[0].ID != secret.ID || last[1].ID != out.ID {
		t.Errorf("the telling ones are not there: %+v", last)
	}
	if none, err := s.Timeline(context.Background(), &event.Attribution{Session: "ses"}, secret.Time); none != nil || err != nil {
		t.Errorf("no call has a timeline: %+v, %v", none, err)
	}
}
