package store

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// fill gives every field of a value something that is not nothing.
func fill(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1_800_000_000, int64(n)).UTC()))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), n+i)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n+1)
	case reflect.String:
		v.SetString("<a & \"b\">\u2028\xff" + string(rune('a'+n%26)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(n + 1))
	default:
		v.SetUint(uint64(n + 1))
	}
}

// The fields come in another order; all else is as encoding/json has it, also
// where records share what they point to, and where they do not.
func TestALineIsTheRecordsJSON(t *testing.T) {
	var whole, other event.Record
	fill(reflect.ValueOf(&whole).Elem(), 0)
	fill(reflect.ValueOf(&other).Elem(), 7)
	bare := event.Record{ID: "01BARE", Kind: event.KindLost}
	same := other
	same.ID, same.Process, same.File = "01SAME", whole.Process, nil
	again := same
	again.ID = "01AGAIN"
	whole.ID, other.ID = "01WHOLE", "01OTHER"
	records := []event.Record{whole, other, bare, same, again}
	e := newEncoder()
	for range 2 { // the second batch in the memory of the first
		lines, err := e.all(records)
		if err != nil || len(lines) != len(records) {
			t.Fatalf("%d lines of %d records: %v", len(lines), len(records), err)
		}
		for i, l := range lines {
			text, err := json.Marshal(records[i])
			if err != nil {
				t.Fatal(err)
			}
			var got, want any
			if err := json.Unmarshal(l.json, &got); err != nil {
				t.Fatalf("%s: %v", l.json, err)
			}
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("line %d is\n%s\nwant, in any order,\n%s", i, l.json, text)
			}
			if lineID(l.json) != records[i].ID {
				t.Errorf("line %d does not begin with its ID: %.40s", i, l.json)
			}
		}
	}
}

func TestAProcessThatComesToLieWhereAnotherWasIsItself(t *testing.T) {
	e, p := newEncoder(), new(event.Process)
	for pid := range int32(3) {
		p.PID = pid + 1 // as memory that is used again
		lines, err := e.all([]event.Record{{ID: "01", Process: p}})
		if err != nil {
			t.Fatal(err)
		}
		var r event.Record
		if err := json.Unmarshal(lines[0].json, &r); err != nil || r.Process.PID != pid+1 {
			t.Fatalf("%s: %v, want pid %d", lines[0].json, err, pid+1)
		}
	}
}

func TestARecordThatCannotBeEncodedLeavesTheOthersWhole(t *testing.T) {
	bad := event.Record{ID: "01BAD", Time: time.Date(math.MaxInt32, 1, 1, 0, 0, 0, 0, time.UTC)}
	lines, err := newEncoder().all([]event.Record{{ID: "01A"}, bad, {Kind: event.KindExit}, {ID: "01B"}})
	if err == nil {
		t.Error("nothing is said of the two that cannot be stored")
	}
	if len(lines) != 2 || !json.Valid(lines[0].json) || !json.Valid(lines[1].json) {
		t.Errorf("%d lines, or they are no JSON: %+v", len(lines), lines)
	}
}
