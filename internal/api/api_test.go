package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/api"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

var epoch = time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)

func id(n int) string { return fmt.Sprintf("01J%023d", n) }

func record(n int) event.Record {
	return event.Record{
		ID: id(n), Time: epoch.Add(time.Duration(n) * time.Second), Kind: event.KindFileOpen, Source: event.SourceEBPF,
		Process:     &event.Process{PID: 41, StartTime: 7, CommandArgs: []string{"cat"}},
		File:        &event.File{Path: "/etc/hostname", Operation: "read"},
		Attribution: &event.Attribution{Gateway: "/g", Session: "ses", Skill: &event.SkillID{Name: "weather"}, Confidence: event.Strong},
	}
}

// serve starts a server on a store with ten records, an alert, a skill, a
// session and a model call; it ends with the test.
func serve(t *testing.T) (*store.Store, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(filepath.Join(dir, "events.db"), store.Limits{Now: func() time.Time { return epoch.Add(time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	var records []event.Record
	for n := range 10 {
		records = append(records, record(n))
	}
	at := epoch.Add(time.Minute)
	records = append(records,
		event.Record{ID: id(10), Time: at, Kind: event.KindSkillInstalled, Skill: &event.SkillChange{ID: event.SkillID{Name: "weather", Dir: "/s/weather"}}},
		event.Record{ID: id(11), Time: at, Kind: event.KindSessionStart, Session: &event.Session{Key: "agent:main"}, Attribution: &event.Attribution{Session: "ses"}},
		event.Record{ID: id(12), Time: at, Kind: event.KindLLMCall, LLM: &event.LLM{Provider: "p", Model: "m"}})
	alert := event.Alert{ID: id(20), Time: at, Rule: event.RuleRef{Name: "r", Severity: event.High}, Events: []string{id(3), id(999)}, Count: 2}
	if err := s.Append(records, []event.Alert{alert}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "run", "clawwatch.sock")
	l, err := api.Listen(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- api.New(s, func(context.Context, bool) any { return map[string]int{"drops": 0} }).Serve(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, path
}

func get(t *testing.T, path, target string) (int, string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	resp, err := c.Get("http://clawwatch" + target)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestTheClientGetsWhatTheStoreHolds(t *testing.T) {
	_, path := serve(t)
	c, ctx := api.Dial(path), context.Background()
	var got []string
	for r, err := range c.Events(ctx, store.Query{Kind: "file.*", Limit: 3}, false) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.ID)
	}
	if want := []string{id(9), id(8), id(7)}; !reflect.DeepEqual(got, want) {
		t.Errorf("events: got %v, want %v", got, want)
	}
	for r, err := range c.Events(ctx, store.Query{Limit: 1, Oldest: true}, false) {
		if err != nil || !reflect.DeepEqual(r, record(0)) {
			t.Errorf("record changed on its way: %+v, %v", r, err)
		}
	}
	tree, err := c.Tree(ctx, store.Query{Skill: "weather"})
	if err != nil || len(tree.Processes) != 1 || tree.Processes[0].Files["read"] != 10 {
		t.Errorf("tree: %+v, %v", tree, err)
	}
	if status, err := c.Status(ctx, false); err != nil || string(status) != `{"drops":0}` {
		t.Errorf("status: %s, %v", status, err)
	}
	for name, n := range map[string]int{
		"alerts": count(t, c.Alerts(ctx, store.Query{}, false)), "llm": count(t, c.LLM(ctx, store.Query{}, false)), "skills": count(t, c.Skills(ctx, store.Query{})),
		"sessions": count(t, c.Sessions(ctx, store.Query{})), "processes": count(t, c.Processes(ctx, store.Query{})),
	} {
		if n != 1 {
			t.Errorf("%s: %d, want 1", name, n)
		}
	}
}

func count[T any](t *testing.T, values func(func(T, error) bool)) (n int) {
	t.Helper()
	for _, err := range values {
		if err != nil {
			t.Error(err)
		}
		n++
	}
	return n
}

func TestWhySaysAllThereIsAndWhatIsMissing(t *testing.T) {
	_, path := serve(t)
	c, ctx := api.Dial(path), context.Background()
	why, err := c.Why(ctx, id(20))
	if err != nil || why.Alert == nil || len(why.Events) != 1 || why.Events[0].ID != id(3) || !reflect.DeepEqual(why.Missing, []string{id(999)}) {
		t.Errorf("alert: %+v, %v", why, err)
	}
	if why, err := c.Why(ctx, id(3)); err != nil || why.Record == nil || why.Alert != nil {
		t.Errorf("record: %+v, %v", why, err)
	}
	if _, err := c.Why(ctx, id(888)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("nothing: %v", err)
	}
	if _, err := c.Why(ctx, id(3)[:12]); !errors.Is(err, store.ErrAmbiguous) {
		t.Errorf("many: %v", err)
	}
	if _, err := c.Why(ctx, "../status"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a path is no ID: %v", err)
	}
}

func TestAFollowerGetsOldAndThenNew(t *testing.T) {
	s, path := serve(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	want := []string{id(8), id(9), id(50), id(51)}
	for r, err := range api.Dial(path).Events(ctx, store.Query{Kind: "file.open", Limit: 2}, true) {
		if err != nil {
			t.Fatal(err)
		}
		if r.ID != want[0] {
			t.Fatalf("got %s, want %s", r.ID, want[0])
		}
		want = want[1:]
		if len(want) == 2 {
			if err := s.Append([]event.Record{record(50)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if len(want) == 1 {
			if err := s.Append([]event.Record{record(51)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if len(want) == 0 {
			cancel()
		}
	}
	if len(want) != 0 {
		t.Errorf("never came: %v", want)
	}
}

func TestAHostileRequestIsRefusedInOneLine(t *testing.T) {
	_, path := serve(t)
	for _, target := range []string{
		"/v1/events?limit=-1", "/v1/events?limit=99999999999999999999", "/v1/events?limit=%00", "/v1/events?since=yesterday", "/v1/events?since=-5m",
		"/v1/events?since=99999999999d", "/v1/events?kind=file.%25", "/v1/events?kind=a'b", "/v1/events?pid=0", "/v1/events?pid=4294967297", "/v1/events?order=sideways",
		"/v1/events?limit=1&limit=2", "/v1/events?nonsense=%0a%1b[2J", "/v1/events?%zz", "/v1/events?a;b", "/v1/events?follow=maybe",
		"/v1/events?skill=" + strings.Repeat("x", 5000), "/v1/events?since=1m&until=2m", "/v1/tree?pid=x", "/v1/skills?limit=x",
	} {
		status, body := get(t, path, target)
		if status != http.StatusBadRequest || strings.Count(body, "\n") != 1 || strings.ContainsRune(body, 0x1b) {
			t.Errorf("%s: %d %q", target, status, body)
		}
	}
	for target, want := range map[string]int{
		"/v1/events?skill=%27%20OR%201%3D1": 200, "/v1/events?skill=%00%ff": 200, "/v1/nothing": 404, "/v1/why/x": 404, "/v1/why/%2e%2e%2f%2e%2e%2f": 404,
	} {
		if status, _ := get(t, path, target); status != want {
			t.Errorf("%s: %d, want %d", target, status, want)
		}
	}
	for _, raw := range []string{"POST /v1/events HTTP/1.1\r\nHost: x\r\n\r\n", "\x00\x01\x02\r\n\r\n", "GET /v1/events HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 64<<10) + "\r\n\r\n"} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, raw) // it may hang up in the midst
		answer := make([]byte, 16)
		n, _ := conn.Read(answer)
		if got := string(answer[:n]); n > 0 && !strings.HasPrefix(got, "HTTP/1.1 4") {
			t.Errorf("%.20q: %q", raw, got)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := count(t, api.Dial(path).Events(context.Background(), store.Query{}, false)); n != 13 {
		t.Errorf("afterwards: %d records", n)
	}
}

// Followers fill their own places and leave the others to ask.
func TestFollowersAreBoundedAndDoNotShutOutOthers(t *testing.T) {
	_, path := serve(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	refused := 0
	for range 12 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://clawwatch/v1/events?follow=1&limit=0", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable {
			refused++
		}
	}
	if refused != 4 {
		t.Errorf("%d of 12 refused, want 4", refused)
	}
	if status, body := get(t, path, "/v1/status"); status != 200 {
		t.Errorf("status: %d %s", status, body)
	}
}

func TestASlowReaderDoesNotHoldUpTheWriter(t *testing.T) {
	s, path := serve(t)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	batch := make([]event.Record, 5000)
	for i := range batch {
		batch[i] = record(100 + i)
	}
	if err := s.Append(batch, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /v1/events?limit=0 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil { // it has begun, and now nobody reads
		t.Fatal(err)
	}
	for n := range 50 {
		if err := s.Append([]event.Record{record(10_000 + n)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, api.Dial(path).Events(context.Background(), store.Query{}, false)); n != 13+5000+50 {
		t.Errorf("%d records", n)
	}
}

func TestNoAgentIsSaidPlainly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nobody.sock")
	_, err := api.Dial(path).Status(context.Background(), false)
	if !errors.Is(err, api.ErrNotRunning) || !strings.Contains(err.Error(), path) {
		t.Errorf("no socket: %v", err)
	}
	leaveSocket(t, path)
	if _, err := api.Dial(path).Status(context.Background(), false); !errors.Is(err, api.ErrNotRunning) {
		t.Errorf("dead socket: %v", err)
	}
}

func TestAnAnswerThatBreaksOffIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	answers := []string{"{\"id\":\"1\"}\n{\"error\":\"disk on fire\"}\n", "{\"id\":\"1\"}\nnot JSON\n"}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, answers[0])
		answers = answers[1:]
	})}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	for _, want := range []string{"disk on fire", "parse answer"} {
		var last error
		n := 0
		for _, err := range api.Dial(path).Events(context.Background(), store.Query{}, false) {
			last = err
			n++
		}
		if n != 2 || last == nil || !strings.Contains(last.Error(), want) {
			t.Errorf("%d values, error %v; want %q", n, last, want)
		}
	}
}
