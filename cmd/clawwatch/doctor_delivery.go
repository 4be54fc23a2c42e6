package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/agent"
	"github.com/clawwatch/clawwatch/internal/console"
	"github.com/clawwatch/clawwatch/internal/event"
)

// queue is what an exporter says of one of its queues.
type queue struct {
	Items, Bytes, Full, Failed, Rejected, Damaged int64
	LastError                                     string
	LastSuccess                                   time.Time
}

func (q queue) dropped() int64 { return q.Full + q.Failed + q.Rejected + q.Damaged }

func (e *examination) delivery(s agent.Status) {
	names := slices.Sorted(maps.Keys(s.Delivery))
	for _, name := range names {
		var d struct {
			Alerts, Events *queue
			Dropped        int64 `json:"dropped"`
		}
		if err := again(s.Delivery[name], &d); err != nil {
			e.add("delivery", isAmiss, "", "%s: %v", name, err)
			continue
		}
		if d.Alerts == nil || d.Events == nil { // a file
			e.target(name, queue{Failed: d.Dropped}, false)
			continue
		}
		e.target(name+" alerts", *d.Alerts, true)
		e.target(name+" events", *d.Events, true)
	}
	if len(names) == 0 {
		e.add("delivery", isNote, "name a receiver under otlp in the configuration; see docs/siem.md", "nothing leaves this host")
	}
}

func (e *examination) target(name string, q queue, remote bool) {
	what := name
	if remote {
		what += fmt.Sprintf(": %d waiting (%s)", q.Items, console.Bytes(uint64(max(q.Bytes, 0))))
		if q.LastSuccess.IsZero() {
			what += ", none delivered yet"
		} else {
			what += ", last delivered " + console.Time(q.LastSuccess)
		}
	}
	if q.dropped() > 0 {
		what += fmt.Sprintf(", %d dropped", q.dropped())
	}
	switch {
	case q.LastError != "":
		e.add("delivery", isAmiss, "is the receiver reachable from here, and does it take the headers? What waits is kept on disk", "%s; last error: %s", what, q.LastError)
	case q.dropped() > 0:
		e.add("delivery", isAmiss, "make queue_size larger, or the receiver faster", "%s", what)
	default:
		e.add("delivery", isWell, "", "%s", what)
	}
}

// losses judges what the agent said that it lost in the last day.
func (e *examination) losses(s agent.Status, lost func(func(event.Record, error) bool)) {
	sum, unread, gaps, causes := uint64(0), uint64(0), 0, map[string]bool{}
	for r, err := range lost {
		if err != nil {
			e.add("losses", isAmiss, "", "cannot be asked for: %v", err)
			return
		}
		if r.Sensor != nil && r.Sensor.Of == event.KindEnvRead {
			unread += r.Sensor.Lost // there is a ration, and the coverage says so
			continue
		}
		if r.Sensor != nil {
			if sum += r.Sensor.Lost; r.Sensor.Lost == 0 {
				gaps++
			}
			causes[words(string(r.Sensor.Of), r.Sensor.Reason)] = true
		}
	}
	if s.Pipeline.HeldBack > 0 {
		e.add("losses", isNote, "", "%d findings came faster than alerts are given out, and are counted as suppressed in others; their records are kept", s.Pipeline.HeldBack)
	}
	if s.Pipeline.Overflowed > 0 {
		e.add("losses", isNote, "", "%d facts went out before their skill could be known, because too many waited", s.Pipeline.Overflowed)
	}
	if unread > 0 {
		e.add("losses", isNote, "", "%d processes in the last day were not looked into for variables that they ask for by name", unread)
	}
	if sum == 0 && gaps == 0 {
		e.add("losses", isWell, "", "none in the last day")
		return
	}
	list := slices.Sorted(maps.Keys(causes))
	what := fmt.Sprintf("%d events", sum)
	if gaps > 0 {
		what += " and " + count(gaps, "gap") + " of unknown size"
	}
	e.add("losses", isBlind, "make ring_size larger if the ring was full; clawwatch events --kind sensor.lost has each", "%s in the last day: %s", what, strings.Join(list[:min(len(list), 5)], "; "))
}
