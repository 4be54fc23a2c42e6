package pipeline

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/rules"
)

// again replays what a bench gave out, as JSON has it.
func (b *bench) again() *bench {
	b.t.Helper()
	r := &bench{t: b.t}
	n := 0
	replay := NewReplay(Config{
		Policy: policy.Default(), Rules: rules.Builtin(), Sink: r, Host: b.Host,
		NewID: func(time.Time) string { n++; return fmt.Sprintf("RE%04d", n) },
	})
	for _, rec := range b.records {
		text, err := json.Marshal(rec)
		if err != nil {
			b.t.Fatal(err)
		}
		var back event.Record
		if err := json.Unmarshal(text, &back); err != nil {
			b.t.Fatal(err)
		}
		replay.Push(back)
	}
	replay.Flush()
	return r
}

// told is how alerts stand at the end, by what they say.
func (b *bench) told() []string {
	last := map[string]event.Alert{}
	for _, a := range b.alerts {
		last[a.ID] = a
	}
	var all []string
	for _, a := range last {
		who := "nobody"
		if a.Attribution != nil {
			who = string(a.Attribution.Confidence)
			if a.Attribution.Skill != nil {
				who += " " + a.Attribution.Skill.Name
			}
		}
		all = append(all, fmt.Sprintf("%s, %s: %s (%d, %d) %v", a.Rule.Name, who, a.Message, a.Count, a.Suppressed, a.Events))
	}
	slices.Sort(all)
	return all
}

// Whatever a pipeline gave out has the same alerts when it is replayed.
func TestAReplayFindsWhatWasFound(t *testing.T) {
	volume := func(b *bench) {
		b.use(1, "bash "+script)
		b.run(1.5, "bash "+script)
		peer := netip.MustParseAddrPort("198.51.100.1:443")
		b.push(3, proc(101), event.Connect{Transport: event.TCP, Peer: peer})
		for i := range 30 { // totals: 12 MB at the end
			b.push(4+float64(i), proc(101), event.Send{Transport: event.TCP, Socket: 77, Peer: peer, Sent: uint64(i+1) * 400_000})
		}
		b.push(40, proc(101), event.Close{Transport: event.TCP, Socket: 77, Peer: peer, Sent: 12_000_000})
	}
	for name, story := range map[string]func(b *bench){
		"a skill reads a secret": func(b *bench) {
			b.use(1, "bash "+script)
			b.run(1.5, "bash "+script)
			b.push(2.1, proc(101), event.FileOpen{Path: "/home/dev/.ssh/id_ed25519", Read: true})
			b.push(2.2, proc(101), event.FileOpen{Path: workspace + "/notes.md", Write: true})
		},
		"much is sent": volume,
		"a flood in one execution": func(b *bench) {
			b.use(1, "bash "+script)
			b.run(1.5, "bash "+script)
			for i := range 100 {
				b.push(3, proc(101), event.FileOpen{Path: fmt.Sprint("/data/", i), Read: true})
			}
		},
		"it is known late whose it is": func(b *bench) {
			b.shell(2, "cat /etc/shadow")
			b.push(2.1, proc(100), event.FileOpen{Path: "/etc/shadow", Read: true})
			b.Tick(at(9))
			b.use(1, "cat /etc/shadow")
			b.Tick(at(10))
		},
		"a stranger": func(b *bench) {
			b.stranger(5, 3, proc(500), event.FileOpen{Path: state + "/openclaw.json", Read: true})
			b.stranger(6, 4, proc(501), event.FileOpen{Path: state + "/openclaw.json", Read: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 0)
			story(b)
			b.Tick(at(100))
			b.Flush()
			live, again := b.told(), b.again().told()
			if len(live) == 0 || !slices.Equal(live, again) || name == "much is sent" && !strings.Contains(strings.Join(again, "\n"), "unusual-data-volume") {
				t.Errorf("alerts\n%s\nreplayed\n%s", strings.Join(live, "\n"), strings.Join(again, "\n"))
			}
		})
	}
}

func TestARecordThatComesTwiceIsJudgedOnce(t *testing.T) {
	b := newBench(t, 0)
	b.use(1, "bash "+script)
	b.run(1.5, "bash "+script)
	b.push(3, proc(101), event.FileOpen{Path: "/etc/shadow", Read: true})
	b.Flush()
	want := b.told()
	b.records = append(b.records, b.records...)
	if got := b.again().told(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// An override of the policy counts for the user that the records name, and for
// root no more than for others where they name none.
func TestAReplayKnowsWhoseTheGatewayIs(t *testing.T) {
	pol, err := policy.Load("p", []byte("version: 1\noverrides:\n"+
		"  - {name: hers, users: [eve], policy: {limits: {bytes_per_run: 1MB}}}\n  - {name: roots, users: [\"0\"], policy: {limits: {bytes_per_run: 2MB}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := NewReplay(Config{Policy: pol, Rules: rules.Builtin(), Sink: &bench{t: t}, NewID: func(time.Time) string { return "ID" }})
	a := &event.Attribution{Gateway: state}
	if view, _ := r.Look(event.Record{ID: "1", Kind: event.KindExit, Attribution: a}); view.Override() != "" {
		t.Errorf("nobody's gateway is under %q", view.Override())
	}
	found := event.Record{ID: "2", Kind: event.KindGateway, Attribution: a, Gateway: &event.Gateway{StateDir: state, User: &event.User{ID: 1001, Name: "eve"}}}
	if view, _ := r.Look(found); view.Override() != "hers" {
		t.Errorf("eve's gateway is under %q", view.Override())
	}
	if view, _ := r.Look(found); view != nil {
		t.Error("a record that comes twice is taken in twice")
	}
}

// Any value may be missing, and any number wrong: nothing is found, or something.
func FuzzReplay(f *testing.F) {
	f.Add([]byte(`{"id":"A","time":"2026-11-22T07:00:00Z","kind":"network.close","network":{"bytes_sent":99999999999,"bytes_received":1},"attribution":{"gateway":"x","skill":{"name":"w"}}}`))
	f.Add([]byte(`{"id":"A","kind":"file.open","process":{"pid":-1,"role":"tool","ancestors":[{"pid":1}]},"file":{},"attribution":{"candidates":[{}]}}`))
	f.Add([]byte(`{"id":"A","kind":"gateway.found","gateway":{"state_dir":"relative"},"attribution":{"gateway":"c:/x"}}`))
	f.Add([]byte(`{"id":"A","kind":"skill.installed","skill":{},"stranger":true,"process":{}}`))
	set := rules.Builtin()
	f.Fuzz(func(t *testing.T, line []byte) {
		var rec event.Record
		if json.Unmarshal(line, &rec) != nil {
			return
		}
		b := &bench{t: t}
		r := NewReplay(Config{Policy: policy.Default(), Rules: set, Sink: b, NewID: func(time.Time) string { return "ID" }})
		for _, id := range []string{"A", "B", "A"} {
			rec.ID = id
			r.Push(rec)
		}
		r.Flush()
	})
}
