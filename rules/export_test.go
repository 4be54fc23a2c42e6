package rules

import "time"

// SetClock has the time that rules take measured by another clock.
func (s *Set) SetClock(now func() time.Duration) { s.now = now }

// EvalEvery is Eval without the index: every rule of the kind is evaluated.
func (s *Set) EvalEvery(in Input) []Finding {
	s.words.fill(s.whole(in), s.commandLine)
	var found []Finding
	for _, r := range s.byKind[in.Record.Kind] {
		if f, yes, _ := s.judge(r, in.Record, found == nil); yes {
			found = append(found, f)
		}
	}
	return found
}
