package pipeline

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

// states gives what the runs of a bench know, the latest first.
func (b *bench) states() []*runState {
	var all []*runState
	for e := b.runs.order.Front(); e != nil; e = e.Next() {
		all = append(all, e.Value.(*runState))
	}
	return all
}

func (b *bench) times(rule string) (n int) {
	for _, a := range b.alerts {
		if a.Rule.Name == rule && !a.Amended {
			n++
		}
	}
	return n
}

func TestARunKnowsWhatItsSkillDid(t *testing.T) {
	b := skill(t)
	b.watching(8)
	before := b.states()[0].did.Programs
	peer := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	for i, body := range []event.Body{
		event.FileOpen{Path: "/home/dev/.ssh/id_rsa", Read: true},
		event.FileOpen{Path: "/home/dev/.ssh", Read: true, Directory: true},
		event.FileOpen{Path: "/home/dev/.ssh/x", PathOnly: true},
		event.FileUse{Path: "/home/dev/.ssh/id_rsa", Opened: true, BytesRead: 9},
		event.FileRename{Old: "/home/dev/.ssh/id_rsa", New: "/tmp/x"},
		event.FileDelete{Path: "/home/dev/.ssh/id_dsa"},
		event.FileOpen{Path: "/srv/a", Read: true},
		event.FileOpen{Path: workspace + "/a", Read: true, Write: true},
		event.FileOpen{Path: "/usr/lib/libc.so", Read: true},
		event.Connect{Transport: event.TCP, Local: client, Peer: server, Socket: 1},
		event.Connect{Transport: event.TCP, Local: client, Peer: server, Socket: 2},
		event.Connect{Transport: event.TCP, Local: client, Peer: peer("[2001:db8::1]:80"), Socket: 3},
		event.Connect{Transport: event.TCP, Local: client, Peer: peer("127.0.0.1:80"), Socket: 4},
		event.Connect{Transport: event.Unix, Name: "/run/x.sock", Socket: 5},
		event.Exec{Path: "/usr/bin/env", Args: []string{"env"}, Parent: proc(100)},
	} {
		b.push(10+float64(i), proc(101), body)
	}
	b.Tick(at(40))
	b.Flush()
	if len(b.states()) < 2 {
		t.Fatalf("%d states", len(b.states()))
	}
	for _, s := range b.states()[:2] { // of the execution, and of the skill in the run
		want := rules.Counts{Hosts: 2, RestrictedFiles: 2, OutsideFiles: 1, InternalFiles: s.did.InternalFiles, Secrets: 3, Programs: before + 1}
		if s.did != want || s.did.InternalFiles == 0 || !slices.Equal(s.hosts, []string{"192.0.2.1", "2001:db8::1"}) {
			t.Errorf("%+v: %+v %v", s.key, s.did, s.hosts)
		}
	}
}

func TestASecretAndThenAnEndpointIsMoreThanTheTwo(t *testing.T) {
	const rule = "secret-then-unapproved-endpoint"
	secret, connect := event.FileOpen{Path: "/home/dev/.ssh/id_rsa", Read: true}, event.Connect{Transport: event.TCP, Local: client, Peer: server, Socket: 7}
	for what, tt := range map[string]struct {
		bodies []event.Body
		want   int
	}{
		"a secret and then an endpoint": {[]event.Body{secret, connect}, 1},
		"an endpoint and then a secret": {[]event.Body{connect, secret}, 0},
		"an endpoint":                   {[]event.Body{connect}, 0},
		"a secret":                      {[]event.Body{secret}, 0},
		"a file that is no secret":      {[]event.Body{event.FileOpen{Path: "/srv/x", Read: true}, connect}, 0},
	} {
		b := skill(t)
		for i, body := range tt.bodies {
			b.push(10+float64(i), proc(101), body)
		}
		b.Tick(at(20))
		b.Flush()
		if got := b.times(rule); got != tt.want {
			t.Errorf("%s: %d alerts", what, got)
		}
	}
}

// The skill reads a key in one tool call and sends in the next.
func TestARunIsMoreThanOneToolCall(t *testing.T) {
	fact := func(root int32, skill, run string, body event.Body) (*item, *event.Attribution) {
		a := &event.Attribution{Gateway: state, Session: "s", Run: run, ToolCall: "c", Confidence: event.Certain}
		if skill != "" {
			a.Skill = &event.SkillID{Dir: skill}
		}
		return &item{ev: event.Event{Time: at(1), Proc: proc(root), Body: body}}, a
	}
	var r runs
	read, a := fact(1, weather, "r1", event.FileOpen{})
	read.did = rules.Deed{Counts: rules.Counts{Secrets: 1}}
	r.add(read, a, moved{}, at(1))
	for _, tt := range []struct {
		skill, run string
		want       int
	}{{weather, "r1", 1}, {"/other", "r1", 0}, {weather, "r2", 0}, {"", "r1", 0}} {
		it, a := fact(2, tt.skill, tt.run, event.Connect{})
		it.ev.Time = at(61)
		got := r.add(it, a, moved{}, at(61))
		if got.Did.Secrets != tt.want || got.Previous.Secrets != tt.want || tt.want == 1 && got.Duration != time.Minute {
			t.Errorf("%s in %s: %+v", tt.skill, tt.run, got)
		}
	}
	it, a := fact(2, weather, "r1", event.Connect{})
	a.ToolCall = ""
	if got := r.add(it, a, moved{}, at(61)); got.Did.Secrets != 0 {
		t.Errorf("what is no tool call's: %+v", got)
	}
}

func TestRunsAreBounded(t *testing.T) {
	var r runs
	for i := range maxRuns + 10 {
		a := &event.Attribution{Gateway: state, Session: "s", Run: fmt.Sprint(i), ToolCall: "c", Skill: &event.SkillID{Dir: weather}}
		for h := range 10 {
			it := &item{ev: event.Event{Body: event.Connect{}}, did: rules.Deed{Host: fmt.Sprint(h)}}
			r.add(it, a, moved{}, at(0))
		}
	}
	if len(r.states) > maxRuns || r.order.Len() != len(r.states) || r.hosts > maxRunHosts || r.hosts < maxRunHosts/2 {
		t.Errorf("%d runs, %d in order, %d hosts", len(r.states), r.order.Len(), r.hosts)
	}
	a := &event.Attribution{Gateway: state, ToolCall: "c", Run: "x", Skill: &event.SkillID{Dir: weather}}
	var run rules.Run
	for i := range rules.MaxHosts + 10 {
		run = r.add(&item{ev: event.Event{Body: event.Connect{}}, did: rules.Deed{Host: fmt.Sprint("h", i)}}, a, moved{}, at(1))
	}
	if len(run.Hosts) != rules.MaxHosts || run.Did.Hosts != rules.MaxHosts || run.Previous.Hosts != rules.MaxHosts {
		t.Errorf("%d hosts, %+v", len(run.Hosts), run.Did)
	}
	r.expire(at(0).Add(keepRun + 500*time.Millisecond))
	if len(r.states) != 1 {
		t.Errorf("%d runs after a day", len(r.states))
	}
	r.expire(at(1).Add(keepRun + time.Second))
	if len(r.states) != 0 || r.hosts != 0 || r.order.Len() != 0 {
		t.Errorf("%d runs, %d hosts in the end", len(r.states), r.hosts)
	}
}

func TestAReplayCountsRunsAsThePipelineDid(t *testing.T) {
	b := skill(t)
	b.push(10, proc(101), event.FileOpen{Path: "/home/dev/.ssh/id_rsa", Read: true})
	b.push(11, proc(101), event.Connect{Transport: event.TCP, Local: client, Peer: server, Socket: 7})
	b.Tick(at(20))
	b.Flush()
	again := &bench{t: t}
	r := NewReplay(Config{
		Policy: b.Policy, Host: b.Host, Rules: rules.Builtin(), Sink: again,
		NewID: func(at time.Time) string { return at.String() },
	})
	for _, rec := range b.records {
		r.Push(rec)
	}
	r.Flush()
	const rule = "secret-then-unapproved-endpoint"
	if b.times(rule) != 1 || again.times(rule) != 1 {
		t.Errorf("%d alerts, and %d again", b.times(rule), again.times(rule))
	}
}
