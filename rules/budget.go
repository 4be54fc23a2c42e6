package rules

import (
	"fmt"
	"time"
)

// What one rule may take. A rule that takes more, or fails, is left out for the rest
// of the window; the third time it is left out until the rules are loaded anew. The
// time is that of the wall, so the limits are far over what a busy host does to a
// rule: text in records is bounded, and a usual rule takes some microseconds of it at
// its longest.
const (
	window      = 10 * time.Second
	slowSpent   = 500 * time.Millisecond // in one window, by evaluations that take
	slowAverage = time.Millisecond       // in the middle, and are
	slowLeast   = 3                      // at least as many
	slowOnce    = 2 * time.Second        // in one window, by however few
	mostSpent   = window / 2             // in one window, by however quick ones
	mostFailed  = 100                    // in one window, if they are nine of ten
	strikes     = 3
	forgiven    = 6 // windows without another strike
)

// An allowance is what a rule took lately. Only Eval uses it.
type allowance struct {
	window            time.Duration // when it ends
	spent             time.Duration
	evaluated, failed int
	strikes, well     int
	until             time.Duration // left out until then
	off               bool
}

// An Overrun says that a rule took too much or failed, or does so no more.
type Overrun struct {
	Rule     string
	Reason   string // empty: it is well again
	Disabled bool   // until the rules are loaded anew
}

// Overruns gives what there is to say since it was asked last. It must not be called
// at the same time as Eval.
func (s *Set) Overruns() []Overrun {
	all := s.overruns
	s.overruns = nil
	return all
}

// stopwatch counts from when it was made.
func stopwatch() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

// rests reports whether the rule is left out at the moment.
func (r *rule) rests(at time.Duration) bool {
	if b := &r.allowance; !b.off && at >= b.until {
		return false
	}
	r.skipped.Add(1)
	return true
}

// charge notes what an evaluation took. A built-in rule is never left out: what it
// takes is known, and on a host that somebody keeps busy a clock that goes on while
// nobody evaluates would be a way to be rid of it.
func (s *Set) charge(r *rule, took, now time.Duration, failed bool) {
	if r.builtin {
		return
	}
	b := &r.allowance
	if now >= b.window {
		s.nextWindow(r, now)
	}
	b.spent += took
	if b.evaluated++; failed {
		b.failed++
	}
	reason := b.overrun()
	if reason == "" {
		return
	}
	b.strikes, b.well, b.until = b.strikes+1, 0, b.window
	if b.off = b.strikes >= strikes; b.off {
		r.disabled.Store(true)
	}
	if last := r.lastError.Load(); failed && last != nil {
		reason += ", at last with: " + *last
	}
	s.overruns = append(s.overruns, Overrun{string(r.Name), reason, b.off})
}

func (s *Set) nextWindow(r *rule, now time.Duration) {
	b := &r.allowance
	passed := int((now - b.window) / window)
	b.window, b.spent, b.evaluated, b.failed = now+window, 0, 0, 0
	if b.strikes == 0 {
		return
	}
	if b.well += 1 + passed; b.well > forgiven {
		b.strikes, b.well = 0, 0
		s.overruns = append(s.overruns, Overrun{Rule: string(r.Name)})
	}
}

// overrun says what was too much in this window; empty: nothing.
func (b *allowance) overrun() string {
	switch {
	case b.spent > mostSpent, b.spent > slowSpent && b.spent/time.Duration(b.evaluated) > slowAverage && (b.evaluated >= slowLeast || b.spent > slowOnce):
		return fmt.Sprintf("%d evaluations took %s", b.evaluated, b.spent.Round(time.Millisecond))
	case b.failed >= mostFailed && b.failed*10 >= b.evaluated*9:
		return fmt.Sprintf("%d of %d evaluations failed", b.failed, b.evaluated)
	}
	return ""
}
