package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/clawwatch/clawwatch/internal/console"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
	"github.com/clawwatch/clawwatch/rules"
)

// FuzzHostileText puts a text into every field of a record and of an alert, and has
// them judged, printed, written as JSON, stored and read again.
func FuzzHostileText(f *testing.F) {
	for _, s := range []string{
		"", "plain", "\x1b[2J\x1b]0;owned\x07", "a\nb\r\nc\x00d", "\xff\xfe\xc3", "\u202eexe.\u2066", "\u009b31m\u2028", `"}\u0000{{'--;DROP TABLE`, "%s%n{who}${x}",
		strings.Repeat("long ", 3_000), "\U000e0041\ufeff\ufffd\U0010ffff",
	} {
		f.Add(s)
	}
	set, err := rules.Load(append(rules.BuiltinFiles(), rules.Source{Name: "a", Data: []byte(`rules:
  - name: all
    description: d
    severity: low
    condition: process.pid == 7
    message: "{who} {did} {endpoint} {process.command_line} {file.path} {list(process.args)} {network.host}{by}"
`)})...)
	if err != nil {
		f.Fatal(err)
	}
	s, err := store.Open(filepath.Join(f.TempDir(), "events.db"), store.Limits{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	n, now := 0, time.Now().UTC() // the store lets go of what is old
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 16<<10 { // the store takes records of 8 MiB
			return
		}
		n++
		id := fmt.Sprintf("01J%023d", n)
		var rec event.Record
		fill(reflect.ValueOf(&rec).Elem(), text)
		rec.ID, rec.Time, rec.Kind, rec.Process.PID = id, now.Add(time.Duration(n)), event.KindExec, 7
		rec.Amended = false
		found := set.Eval(rules.Input{Record: &rec})
		if len(found) == 0 {
			t.Fatal("nothing was found")
		}
		for _, finding := range found {
			printable(t, finding.Message, 0)
		}
		var al event.Alert
		fill(reflect.ValueOf(&al).Elem(), text)
		al.Time, al.Amended = rec.Time, false
		printable(t, console.FormatAlert(al, false), 1)
		for _, v := range []any{rec, al} {
			line, err := json.Marshal(v)
			if err != nil || !json.Valid(line) || !utf8.Valid(line) || strings.ContainsFunc(string(line), func(r rune) bool { return r < ' ' }) {
				t.Errorf("%v: %q", err, line)
			}
		}
		al.ID = "02J" + id[3:]
		if err := s.Append([]event.Record{rec}, []event.Alert{al}); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{rec.ID, al.ID} {
			got, err := s.Get(context.Background(), id)
			if err != nil || got.Record == nil && got.Alert == nil {
				t.Errorf("%s is not in the store: %v", id, err)
			} else if a := got.Alert; a != nil && a.Message != strings.ToValidUTF8(text, "\ufffd") && utf8.ValidString(text) {
				t.Errorf("stored %q, read %q", text, a.Message)
			}
		}
	})
}

func printable(t *testing.T, s string, lines int) {
	t.Helper()
	bad := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
	if !utf8.ValidString(s) || strings.Count(s, "\n") != lines || strings.ContainsFunc(s, bad) || len(s) > 8<<10 {
		t.Errorf("%d bytes: %.500q", len(s), s)
	}
}

// fill sets every text to s, two elements to every list.
func fill(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Pointer:
		if v.Type() != reflect.TypeFor[*time.Time]() {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), s)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), s)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type() != reflect.TypeFor[time.Time]() {
				fill(v.Field(i), s)
			}
		}
	}
}
