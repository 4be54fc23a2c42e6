package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A line that is too long, or is no event, takes no other with it.
func TestLinesAreBoundedOneByOne(t *testing.T) {
	good := func(id string) string {
		return `{"id":"` + id + `","time":"2026-11-22T07:00:00Z","kind":"process.exit"}`
	}
	in := strings.Join([]string{
		good("A"), strings.Repeat("x", maxRecordLine+1), "", good("B"), `{"id":"` + strings.Repeat("y", 3*maxRecordLine), "[[", good("C"),
		strings.Repeat("[", maxRecordLine-1), good("D") + strings.Repeat(" ", 100), good("E"),
	}, "\n")
	var ids, bad []string
	r := recorded{file: "f"}
	err := r.read(context.Background(), strings.NewReader(in), func(rec event.Record) { ids = append(ids, rec.ID) }, func(b badLine) { bad = append(bad, fmt.Sprint(b.line)) })
	if err != nil || strings.Join(ids, "") != "ABCDE" || strings.Join(bad, " ") != "2 5 6 8" || r.events != 5 || r.bad != 4 {
		t.Errorf("events %v, bad lines %v, %+v, %v", ids, bad, r, err)
	}
}

func TestAnAlertIsPrintedOnceWithItsLastCounts(t *testing.T) {
	var printed []string
	f := finals{print: func(a event.Alert) { printed = append(printed, fmt.Sprintf("%s %d %v", a.ID, a.Count, a.Amended)) }}
	for i := range maxFinals + 2 {
		f.note(event.Alert{ID: fmt.Sprintf("%06d", i), Count: 1})
	}
	f.note(event.Alert{ID: "000002", Count: 7, Amended: true})
	f.flush()
	if len(printed) != maxFinals+2 || printed[0] != "000000 1 false" || printed[2] != "000002 7 false" {
		t.Errorf("%d printed, %v", len(printed), printed[:3])
	}
}
