package otlp

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Each archive in testdata is a record or an alert as clawwatch prints it, and
// the log record that must come of it. CLAWWATCH_UPDATE=1 writes the latter anew.
func TestMapping(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(archive), "-- want --\n")
			got := render(mapped(t, input))
			if os.Getenv("CLAWWATCH_UPDATE") != "" {
				if err := os.WriteFile(name, []byte(input+"-- want --\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// mapped sends the record or alert of an archive through encoding and back.
func mapped(t *testing.T, input string) plog.LogRecord {
	t.Helper()
	var r event.Record
	var al event.Alert
	var err error
	now := time.Date(2026, 11, 22, 7, 0, 1, 0, time.UTC)
	put := func(dst plog.LogRecord, _ int) { putRecord(dst, &r, now) }
	if _, data, ok := strings.Cut(input, "-- alert --\n"); ok {
		err = json.Unmarshal([]byte(data), &al)
		put = func(dst plog.LogRecord, _ int) { putAlert(dst, &al, now) }
	} else {
		_, data, _ := strings.Cut(input, "-- record --\n")
		err = json.Unmarshal([]byte(data), &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	entries, err := encode(map[string]string{"service.name": "clawwatch"}, 1, put)
	if err != nil {
		t.Fatal(err)
	}
	return records(t, entries[0].data)[0]
}

// records decodes a request.
func records(t testing.TB, request []byte) []plog.LogRecord {
	t.Helper()
	req := plogotlp.NewExportRequest()
	if err := req.UnmarshalProto(request); err != nil {
		t.Fatal(err)
	}
	return flatten(req.Logs())
}

func flatten(logs plog.Logs) (all []plog.LogRecord) {
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, r := range sl.LogRecords().All() {
				all = append(all, r)
			}
		}
	}
	return all
}

// id is the event.id of a record.
func id(r plog.LogRecord) string {
	v, _ := r.Attributes().Get("event.id")
	return v.AsString()
}

// render writes a log record for a person.
func render(r plog.LogRecord) string {
	lines := make([]string, 0, r.Attributes().Len())
	for k, v := range r.Attributes().All() {
		lines = append(lines, fmt.Sprintf("%s: %s %s", k, strings.ToLower(v.Type().String()), v.AsString()))
	}
	slices.Sort(lines)
	return fmt.Sprintf("%s %s (%d)\ntime %s, observed %s\nbody: %s\n\n%s\n",
		r.EventName(), r.SeverityText(), r.SeverityNumber(),
		r.Timestamp().AsTime().Format(time.RFC3339Nano), r.ObservedTimestamp().AsTime().Format(time.RFC3339Nano),
		r.Body().AsString(), strings.Join(lines, "\n"))
}

func TestEntriesAreBoundedAndJoinInOrder(t *testing.T) {
	all := make([]event.Record, 250)
	for i := range all {
		all[i].ID = fmt.Sprint(i)
		if i >= 100 { // large ones: fewer fit
			all[i].Tool = &event.Tool{Command: strings.Repeat("x", 1<<20)}
		}
	}
	entries, err := encode(nil, len(all), func(dst plog.LogRecord, i int) { putRecord(dst, &all[i], time.Time{}) })
	if err != nil {
		t.Fatal(err)
	}
	var request []byte
	for _, e := range entries {
		if e.items > maxEntryItems || len(e.data) > maxEntryBytes {
			t.Errorf("entry of %d items, %d bytes", e.items, len(e.data))
		}
		request = append(request, e.data...)
	}
	got := records(t, request)
	if len(got) != len(all) {
		t.Fatalf("%d records, want %d", len(got), len(all))
	}
	for i, r := range got {
		if id(r) != all[i].ID {
			t.Fatalf("record %d is %s", i, id(r))
		}
	}
}

func TestHostileRecordIsBounded(t *testing.T) {
	long := strings.Repeat("ä\xff", 1<<20)
	many := slices.Repeat([]string{long}, 1000)
	r := event.Record{
		ID: long, Kind: event.Kind(long),
		Process:     &event.Process{CommandArgs: many, EnvNames: many, Cwd: long},
		LLM:         &event.LLM{Prompt: long, Response: long},
		Attribution: &event.Attribution{Evidence: slices.Repeat([]event.Evidence{{Kind: long, Detail: long}}, 1000)},
	}
	entries, err := encode(nil, 1, func(dst plog.LogRecord, _ int) { putRecord(dst, &r, time.Time{}) })
	if err != nil {
		t.Fatal(err)
	}
	if n := len(entries[0].data); n > 256<<10 {
		t.Errorf("%d bytes", n)
	}
	got := records(t, entries[0].data)[0]
	for k, v := range got.Attributes().All() {
		if !utf8.ValidString(v.AsString()) {
			t.Errorf("%s is not UTF-8", k)
		}
		if v.Type() == pcommon.ValueTypeSlice && v.Slice().Len() > maxElements {
			t.Errorf("%s has %d elements", k, v.Slice().Len())
		}
	}
}

func FuzzClip(f *testing.F) {
	f.Add("häß\xff", 2)
	f.Fuzz(func(t *testing.T, s string, most int) {
		if most < 0 || most > 1<<16 {
			return
		}
		got := clip(s, most)
		if len(got) > most || !utf8.ValidString(got) {
			t.Errorf("clip(%q, %d) = %q", s, most, got)
		}
		if len(s) <= most && utf8.ValidString(s) && !strings.ContainsRune(s, utf8.RuneError) && got != s {
			t.Errorf("clip(%q, %d) = %q", s, most, got)
		}
	})
}

// sample gives records such as a skill at work makes: half file accesses, a
// third processes, the rest connections. IDs and numbers are random, paths and
// arguments vary.
func sample(n int) []event.Record {
	rnd := rand.New(rand.NewPCG(1, 2))
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	code := 0
	skill := event.SkillID{Name: "weather", Version: "1.2.0", SHA256: strings.Repeat("ab12", 16), Root: "/home/dev/.openclaw/skills"}
	all := make([]event.Record, n)
	for i := range all {
		id := []byte("01KAN8Q9XY")
		for range 16 {
			id = append(id, alphabet[rnd.IntN(32)])
		}
		r := &all[i]
		*r = event.Record{
			ID: string(id), Source: event.SourceEBPF,
			Time: time.Unix(1_795_000_000, int64(i)*3_000_000+rnd.Int64N(1_000_000)),
			Process: &event.Process{
				PID: 4000 + int32(i/4), StartTime: 1234567 + uint64(i/4), ParentPID: 3990 + int32(i/20),
				Executable: &event.Executable{Path: "/usr/bin/python3.11"}, User: &event.User{ID: 1000, Name: "dev"},
				CommandArgs: []string{"python3", "scripts/w.py", fmt.Sprintf("--city=%d", rnd.IntN(1000))},
				Cwd:         "/home/dev/.openclaw/workspace",
			},
			Attribution: &event.Attribution{
				Gateway: "/home/dev/.openclaw", Agent: "main", Session: "3f2c9a10-77aa-4f0e-9d57-0d5b8a1c2e44",
				Run: fmt.Sprintf("run-%d", i/50), ToolCall: fmt.Sprintf("call_%08x", i/10*2654435761),
				Skill: &skill, Confidence: event.Strong,
				Evidence: []event.Evidence{{Kind: "script_path", Detail: "/home/dev/.openclaw/skills/weather/scripts/w.py"}},
			},
		}
		switch i % 6 {
		case 0, 1, 2:
			r.Kind = event.KindFileOpen
			r.File = &event.File{Path: fmt.Sprintf("/home/dev/.openclaw/workspace/data/%x.json", rnd.Uint32()), Operation: "read"}
		case 3:
			r.Kind = event.KindExec
		case 4:
			r.Kind, r.Process.ExitCode = event.KindExit, &code
		case 5:
			r.Kind = event.KindConnect
			r.Network = &event.Network{
				Transport: event.TCP, Direction: "outbound", PeerPort: 443,
				PeerAddress: fmt.Sprintf("198.51.100.%d", rnd.IntN(256)), LocalAddress: "192.0.2.7", LocalPort: uint16(32768 + rnd.IntN(28000)),
			}
		}
	}
	return all
}
