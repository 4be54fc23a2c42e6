package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

func TestProcessesSumUpWhatEachDid(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{})
	n := 0
	var records []event.Record
	put := func(change func(*event.Record)) {
		n++
		r := fileOpen(n, "weather", 41)
		r.File = nil
		r.Process.Cwd = "/work"
		change(&r)
		records = append(records, r)
	}
	file := func(operation, path string) {
		put(func(r *event.Record) { r.File = &event.File{Path: path, Operation: operation} })
	}
	net := func(k event.Kind, sent uint64, errno int) {
		put(func(r *event.Record) {
			r.Kind = k
			r.Network = &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: "192.0.2.1", PeerPort: 443, Errno: errno}
			if k == event.KindClose {
				r.Network.BytesSent, r.Network.BytesReceived = &sent, &sent
			}
		})
	}
	put(func(r *event.Record) { r.Kind, r.Process.CommandArgs = event.KindExec, []string{"curl"} })
	for _, path := range []string{"/usr/lib/x", "/opt/in", "/home/dev/notes", "/home/dev/.ssh/id_ed25519", "/srv/data"} {
		file("read", path)
	}
	file("write", "/opt/out")
	file("write", "/opt/out")
	net(event.KindConnect, 0, 0)
	net(event.KindConnect, 0, 111)
	net(event.KindClose, 500, 0)
	put(func(r *event.Record) { r.Kind, r.Env = event.KindEnvRead, &event.Env{Names: []string{"B", "A", "B"}} })
	put(func(r *event.Record) { code := 3; r.Kind, r.Process.ExitCode = event.KindExit, &code })
	put(func(r *event.Record) { r.Process.PID = 42 }) // another
	add(t, s, records)
	all, err := s.Processes(context.Background(), store.Query{Skill: "weather"})
	if err != nil || len(all.Processes) != 2 || all.Partial {
		t.Fatalf("%+v, %v", all, err)
	}
	p := all.Processes[0]
	if p.Process.PID != 41 {
		p = all.Processes[1]
	}
	var notable []string
	for _, f := range p.Notable {
		notable = append(notable, fmt.Sprintf("%s %s %d", f.Operation, f.Path, f.Count))
	}
	got := fmt.Sprintf("%v exited=%v code=%d files=%v notable=%v env=%v net=%d failed=%d sent=%d first=%d last=%d", p.Process.CommandArgs, p.Exited, *p.Process.ExitCode, p.Files,
		notable, p.EnvNames, p.Connections[0].Count, p.Connections[0].Failed, p.Connections[0].Sent, p.First.Sub(epoch)/time.Second, p.Last.Sub(epoch)/time.Second)
	want := "[curl] exited=true code=3 files=map[read:5 write:2] notable=[read /home/dev/.ssh/id_ed25519 1 write /opt/out 2 read /srv/data 1] env=[A B] net=2 failed=1 sent=500 first=1 last=13"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if one, err := s.Processes(context.Background(), store.Query{Limit: 1}); err != nil || len(one.Processes) != 1 || one.Processes[0].Process.PID != 42 || !one.Partial {
		t.Errorf("limit takes the newest and says that there is more: %+v, %v", one, err)
	}
}

func TestWhatAHostileProcessDoesToAnAnswerIsBounded(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{})
	var records []event.Record
	for n := range 500 {
		r := fileOpen(3*n, "weather", 41)
		r.File = &event.File{Path: fmt.Sprintf("/out/%d", n), Operation: "write"}
		c := fileOpen(3*n+1, "weather", 41)
		c.File, c.Kind, c.Network = nil, event.KindConnect, &event.Network{PeerAddress: "192.0.2.1", PeerPort: uint16(n)}
		e := fileOpen(3*n+2, "weather", 41)
		e.File, e.Kind, e.Env = nil, event.KindEnvRead, &event.Env{Names: []string{fmt.Sprint("NAME", n)}}
		records = append(records, r, c, e)
	}
	add(t, s, records)
	all, err := s.Processes(context.Background(), store.Query{})
	if err != nil || len(all.Processes) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	p := all.Processes[0]
	if len(p.Notable) > 50 || len(p.Connections) > 50 || len(p.EnvNames) > 100 || p.More < 800 || p.Files["write"] != 500 {
		t.Errorf("%d files, %d connections, %d names, %d more, %v", len(p.Notable), len(p.Connections), len(p.EnvNames), p.More, p.Files)
	}
}

func TestSessionsAreListedOnceWithWhatCameOfThem(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{})
	start := func(n int, session string) event.Record {
		return event.Record{
			ID: id(n), Time: epoch.Add(time.Duration(n) * time.Second), Kind: event.KindSessionStart,
			Session: &event.Session{Key: "agent:main"}, Attribution: &event.Attribution{Gateway: "/g", Session: session},
		}
	}
	add(t, s, []event.Record{start(1, "ses-weather"), start(2, "ses-news"), start(3, "ses-weather")})
	add(t, s, []event.Record{fileOpen(60, "weather", 41)}, alert(61, "r", "weather"))
	all, err := s.Sessions(context.Background(), store.Query{})
	if err != nil || len(all) != 2 || all[0].Record.ID != id(3) || all[0].Alerts != 1 || all[1].Alerts != 0 || !all[0].Last.Equal(epoch.Add(60*time.Second)) {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err := s.Sessions(context.Background(), store.Query{Skill: "weather"}); err != nil || len(all) != 1 {
		t.Errorf("of a skill: %+v, %v", all, err)
	}
}
