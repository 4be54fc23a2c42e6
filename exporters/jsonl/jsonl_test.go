package jsonl

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/clawwatch/clawwatch/exporters"
	"github.com/clawwatch/clawwatch/internal/event"
)

func export(t *testing.T, x *Exporter, b exporters.Batch) {
	t.Helper()
	if err := x.Export(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func records(ids ...string) (b exporters.Batch) {
	for _, id := range ids {
		b.Records = append(b.Records, event.Record{ID: id, Kind: event.KindExec, Source: event.SourceEBPF})
	}
	return b
}

const lineA = `{"id":"a","time":"0001-01-01T00:00:00Z","kind":"process.exec","source":"ebpf"}` + "\n"

func want(t *testing.T, path, text string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != text {
		t.Errorf("%s has\n%s\nwant\n%s", filepath.Base(path), got, text)
	}
}

func TestEachLineIsOneObjectAndReopeningAppends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	for range 2 {
		x, err := New(path)
		if err != nil {
			t.Fatal(err)
		}
		b := records("a")
		b.Alerts = []event.Alert{{ID: "x", Rule: event.RuleRef{Name: "r", Severity: event.Low}, Message: "a < b\n"}}
		export(t, x, b)
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	alert := `{"id":"x","time":"0001-01-01T00:00:00Z","rule":{"name":"r","severity":"low"},"message":"a < b\n","events":null,"count":0,"suppressed":0}` + "\n"
	want(t, path, lineA+alert+lineA+alert)
}

func TestFileThatWasMovedAwayIsBegunAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	x, err := New(path)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	export(t, x, records("a"))
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	export(t, x, records("a"))
	want(t, path+".1", lineA)
	want(t, path, lineA)
}

func TestWhatCannotBeWrittenIsCounted(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "events.jsonl")
	x, err := New(path)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", path); err != nil { // and the link is not followed
		t.Fatal(err)
	}
	if err := x.Export(t.Context(), records("a", "b")); err == nil || x.Dropped() != 2 {
		t.Errorf("dropped %d, %v", x.Dropped(), err)
	}
}
