package pipeline

import (
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

// maxDays bounds the skills of which days are counted. Who makes up more of them has
// their names in alerts of other rules by then.
const maxDays = 4096

// days add up what each skill of each gateway moved in the day that it is, by UTC.
type days struct {
	date  time.Time
	moved map[skillKey]rules.Day
}

type skillKey struct{ gateway, dir string }

// add counts what a fact added to its run, and returns the day's totals before and
// after. What no skill is named for counts for none.
func (d *days) add(a *event.Attribution, run rules.Run, now time.Time) rules.Day {
	sent, received := run.BytesSent-run.PreviousBytesSent, run.BytesReceived-run.PreviousBytesReceived
	if a == nil || a.Skill == nil || sent == 0 && received == 0 {
		return rules.Day{}
	}
	if date := now.UTC().Truncate(24 * time.Hour); !date.Equal(d.date) {
		d.date, d.moved = date, map[skillKey]rules.Day{}
	}
	key := skillKey{a.Gateway, a.Skill.Dir}
	m, known := d.moved[key]
	if !known && len(d.moved) >= maxDays {
		return rules.Day{}
	}
	m.PreviousBytesSent, m.PreviousBytesReceived = m.BytesSent, m.BytesReceived
	m.BytesSent += sent
	m.BytesReceived += received
	d.moved[key] = m
	return m
}
