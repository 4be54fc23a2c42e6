package procfs

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/internal/event"
)

// told gives an event in a line.
func told(ev event.Event) string {
	switch b := ev.Body.(type) {
	case event.Fork:
		return fmt.Sprintf("fork %v<-%v %s", ev.Proc, b.Parent, b.Comm)
	case event.Exec:
		return fmt.Sprintf("exec %v %v", ev.Proc, b.Args)
	case event.Exit:
		return fmt.Sprintf("exit %v unknown %v", ev.Proc, b.Unknown)
	case event.Candidate:
		return fmt.Sprintf("candidate %v %s", ev.Proc, b.Comm)
	}
	return fmt.Sprintf("%T", ev.Body)
}

func TestLooksAtProcTellWhatBecameOfTheTree(t *testing.T) {
	gateway := proc{10, 1, "openclaw-gatewa", 100, 7, "openclaw-gateway", ""}
	film := [][]proc{
		{gateway, {50, 1, "bash", 90, 7, "bash", ""}},
		{gateway, {50, 1, "bash", 90, 7, "bash", ""}, {12, 11, "sh", 121, 7, "sh -c x", ""}, {11, 10, "node", 120, 7, "node w.js", ""}, {51, 50, "ls", 130, 7, "ls", ""}},
		{gateway, {50, 1, "bash", 90, 7, "bash", ""}, {12, 11, "curl", 121, 7, "curl evil", ""}, {11, 77, "other", 150, 7, "other", ""}},
		{gateway, {50, 1, "openclaw", 90, 7, "openclaw tui", ""}, {12, 1, "curl", 121, 7, "curl evil", ""}},
	}
	want := []string{
		"0 exec 10@100 [openclaw-gateway]",
		"1 fork 11@120<-10@100 node", "1 fork 12@121<-11@120 sh", "1 exec 11@120 [node w.js]", "1 exec 12@121 [sh -c x]",
		"2 exit 11@120 unknown true", "2 exec 12@121 [curl evil]",
		"3 candidate 50@90 openclaw", "3 exec 50@90 [openclaw tui]",
	}
	host := fstest.MapFS{}
	set := func(ps []proc) {
		clear(host)
		maps.Copy(host, fake(ps...))
	}
	set(film[0])
	p := &poller{proc: host, others: map[int32]time.Time{}, shown: map[event.ProcID]string{}}
	if err := p.Watch(event.ProcID{PID: 10, Start: 100}); err != nil {
		t.Fatal(err)
	}
	if err := p.Watch(event.ProcID{PID: 10, Start: 99}); err == nil {
		t.Error("a reused PID is watched")
	}
	var got []string
	for n, scene := range film {
		set(scene)
		err := p.look(time.Unix(int64(n), 0), func(ev event.Event) { got = append(got, fmt.Sprint(n, " ", told(ev))) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !slices.Equal(p.All(), []event.ProcID{{PID: 50, Start: 90}, {PID: 10, Start: 100}, {PID: 12, Start: 121}}) {
		t.Errorf("watched: %v", p.All())
	}
}

func TestPollingIsSampledAndSaysSo(t *testing.T) {
	c, err := Probe.Open(collectors.Config{Proc: fake(proc{1, 0, "init", 1, 0, "init", ""})})
	if err == nil {
		t.Errorf("%v polls a /proc that it is not in itself", c)
	}
	if Probe.Fidelity != collectors.Sampled || len((&poller{}).Coverage()) != 1 {
		t.Error("polling is not called what it is")
	}
}
