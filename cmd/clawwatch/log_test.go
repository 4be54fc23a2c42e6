package main

import (
	"strings"
	"testing"
)

func TestAnEntryOfTheJournalIsOneLineWithItsPriority(t *testing.T) {
	var out strings.Builder
	log := newLog(&out, true).With("agent", 1).WithGroup("g")
	log.Info("two\nlines", "time", "2")
	log.Warn("w")
	log.Error("e", "error", "a\n<7>b")
	log.Debug("not said")
	const want = `<6>msg="two\nlines" agent=1 g.time=2
<4>msg=w agent=1
<3>msg=e agent=1 g.error="a\n<7>b"
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	if got := asPriority("clawwatch: run: x\nhint: y"); got != "<3>clawwatch: run: x\n<3>hint: y" {
		t.Errorf("an error that ends it all: %q", got)
	}
}
