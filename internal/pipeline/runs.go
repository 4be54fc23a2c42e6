package pipeline

import (
	"container/list"
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

// A runKey names one skill's part in one run of an agent, or one execution.
type runKey struct {
	gateway, session, run, skill string
	root                         event.ProcID
}

// A runState is what is known of one of these.
type runState struct {
	key            runKey
	began          time.Time // its first event
	at             time.Time
	sent, received uint64
	did            rules.Counts
	hosts          []string
	fired          []string // rules
}

// runs are what executions did, the least lately heard of last. The zero value is
// ready.
type runs struct {
	states map[runKey]*list.Element // of *runState in order
	order  list.List
	hosts  int // names kept, in all
}

// Bounds on what is kept of runs.
const (
	keepRun     = 24 * time.Hour
	maxRuns     = 16384
	maxRunHosts = 65536 // of all together
)

// add counts a fact into its run and returns the totals before and after. Who read
// a secret and who sends may be one process tree of which no skill is known, or one
// skill in two tool calls of a run: a fact counts in its execution and in its
// skill's run, and the larger of the two speaks.
func (r *runs) add(it *item, a *event.Attribution, moved moved, now time.Time) rules.Run {
	if a == nil || !it.scope.Role().ByTool() && a.ToolCall == "" {
		return rules.Run{}
	}
	var socket, sent, received uint64
	switch b := it.ev.Body.(type) {
	case event.Close:
		socket, sent, received = b.Socket, b.Sent, b.Received
	case event.Send: // without a socket its end will tell
		socket, sent, received = b.Socket, b.Sent, b.Received
	}
	if _, closed := it.ev.Body.(event.Close); closed || socket != 0 {
		sent, received = moved.since(socket, sent, received, now)
	} else {
		sent, received = 0, 0
	}
	key := runOf(it, a)
	s := r.state(key, it.ev.Time, now)
	run := rules.Run{PreviousBytesSent: s.sent, PreviousBytesReceived: s.received, BytesSent: s.sent + sent, BytesReceived: s.received + received}
	s.sent, s.received = run.BytesSent, run.BytesReceived
	run.Previous = s.did
	r.count(s, it.did)
	run.Did, run.Hosts, run.Fired, run.Duration = s.did, s.hosts, slices.Clip(s.fired), it.ev.Time.Sub(s.began)
	if root := it.scope.Execution(); key.root.IsZero() && !root.IsZero() {
		s := r.state(runKey{root: root}, it.ev.Time, now)
		before := s.did
		r.count(s, it.did)
		larger(&run, s, before)
		for _, name := range s.fired {
			if !slices.Contains(run.Fired, name) {
				run.Fired = append(run.Fired, name)
			}
		}
	}
	r.bound()
	return run
}

// runOf says in which run a fact counts.
func runOf(it *item, a *event.Attribution) runKey {
	key := runKey{gateway: a.Gateway, session: a.Session, run: a.Run}
	if a.Skill != nil {
		key.skill = a.Skill.Dir
	}
	if a.Run == "" || a.Skill == nil {
		key.root = it.scope.Execution()
	}
	return key
}

// fired notes that a rule gave an alert for a fact that was added.
func (r *runs) fired(it *item, a *event.Attribution, rule string) {
	if a == nil {
		return
	}
	for _, key := range []runKey{runOf(it, a), {root: it.scope.Execution()}} {
		e := r.states[key]
		if e == nil {
			continue
		}
		if s := e.Value.(*runState); len(s.fired) < rules.MaxFired && !slices.Contains(s.fired, rule) {
			s.fired = append(s.fired, rule)
		}
	}
}

// larger takes over what a second state knows more of.
func larger(run *rules.Run, s *runState, before rules.Counts) {
	if s.did.Hosts > run.Did.Hosts {
		run.Hosts = s.hosts
	}
	for _, c := range []struct{ did, previous, more, before *int }{
		{&run.Did.Hosts, &run.Previous.Hosts, &s.did.Hosts, &before.Hosts},
		{&run.Did.RestrictedFiles, &run.Previous.RestrictedFiles, &s.did.RestrictedFiles, &before.RestrictedFiles},
		{&run.Did.OutsideFiles, &run.Previous.OutsideFiles, &s.did.OutsideFiles, &before.OutsideFiles},
		{&run.Did.InternalFiles, &run.Previous.InternalFiles, &s.did.InternalFiles, &before.InternalFiles},
		{&run.Did.Secrets, &run.Previous.Secrets, &s.did.Secrets, &before.Secrets},
		{&run.Did.Programs, &run.Previous.Programs, &s.did.Programs, &before.Programs},
	} {
		if *c.more > *c.did {
			*c.did, *c.previous = *c.more, *c.before
		}
	}
}

func (r *runs) state(key runKey, seen, now time.Time) *runState {
	if e := r.states[key]; e != nil {
		r.order.MoveToFront(e)
		s := e.Value.(*runState)
		s.at = now
		return s
	}
	if r.states == nil {
		r.states = map[runKey]*list.Element{}
	}
	s := &runState{key: key, began: seen, at: now}
	r.states[key] = r.order.PushFront(s)
	return s
}

func (r *runs) count(s *runState, did rules.Deed) {
	if did.Host != "" && len(s.hosts) < rules.MaxHosts && !slices.Contains(s.hosts, did.Host) {
		s.hosts = append(s.hosts, did.Host)
		did.Hosts = 1
		r.hosts++
	}
	s.did.Add(did.Counts)
}

// bound forgets the runs that were not heard of for longest.
func (r *runs) bound() {
	for len(r.states) > maxRuns || r.hosts > maxRunHosts {
		r.forget(r.order.Back())
	}
}

func (r *runs) forget(e *list.Element) {
	s := r.order.Remove(e).(*runState)
	r.hosts -= len(s.hosts)
	delete(r.states, s.key)
}

func (r *runs) expire(now time.Time) {
	for e := r.order.Back(); e != nil && now.Sub(e.Value.(*runState).at) > keepRun; e = r.order.Back() {
		r.forget(e)
	}
}
