package ebpf

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A turn is a piece of a conversation: what the client sent, or with < in
// front what was answered.
func play(h *heads, socket uint64, turns ...string) []string {
	var out []string
	offset := uint32(0)
	for i, s := range turns {
		p := &head{socket: socket, boot: uint64(i), transport: event.TCP, data: []byte(s), offset: offset}
		if answer, ok := strings.CutPrefix(s, "<"); ok {
			p.answer, p.data = true, []byte(answer)
		} else {
			offset += uint32(len(s))
		}
		out = append(out, said(h.take(p))...)
	}
	return out
}

func said(all []saying) (out []string) {
	for _, x := range all {
		switch b := x.body.(type) {
		case event.HTTPExchange:
			out = append(out, fmt.Sprint(b.Method, " ", b.Host, b.Path, " ", b.Status))
		case event.TLSName:
			out = append(out, fmt.Sprint("tls ", b.Name, " ", b.Truncated))
		}
	}
	return out
}

func TestConversations(t *testing.T) {
	flight := string(firstFlight(t, &tls.Config{ServerName: "a.example"}))
	get := "GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n"
	for _, tt := range []struct {
		what  string
		turns []string
		want  string // at once, then | at its end
	}{
		{"a request and its answer", []string{get, "<HTTP/1.1 200 OK\r\n"}, "GET a.example/x 200|"},
		{"one that is not answered", []string{get}, "|GET a.example/x 0"},
		{"two, and their answers", []string{get, "POST /y HTTP/1.1\r\nHost: b.example\r\n\r\n", "<HTTP/1.1 200 OK\r\n", "<HTTP/1.1 401 No\r\n"}, "GET a.example/x 200;POST b.example/y 401|"},
		{"an answer before the end", []string{"GET /x HTTP/1.1\r\n", "<HTTP/1.1 302 Found", "Host: a.example\r\n\r\n"}, "GET a.example/x 302|"},
		{"to go on comes first", []string{get, "<HTTP/1.1 100 Cont", "<HTTP/1.1 201 Made"}, "GET a.example/x 201|"},
		{"a line that looks like another request", []string{"GET /x HTTP/1.1\r\nX: ", "GET \r\nHost: evil.example\r\n\r\n"}, "|GET evil.example/x 0"},
		{"half a request", []string{"GET /x HTTP/1.1\r\nHost: a.example\r\n"}, "|GET a.example/x 0"},
		{"TLS behind a proxy", []string{"CONNECT a.example:443 HTTP/1.1\r\n\r\n", "<HTTP/1.1 200 OK\r\n", flight}, "CONNECT a.example 200;tls a.example false|"},
		{"TLS behind half a request", []string{"CONNECT a.example:443 HTTP/1.1\r\n", flight, "<HTTP/1.1 200 OK\r\n"}, "tls a.example false;CONNECT a.example 200|"},
		{"TLS in pieces", []string{flight[:1], flight[1:50], flight[50:]}, "tls a.example false|"},
		{"a hello longer than is looked at", []string{flight[:3] + "\x20\x00\x01\x00\x1f\xfc" + strings.Repeat("\x03", 34) + "\x00\x00\x10" + strings.Repeat("\x00", 4200)}, "tls  true|"},
		{"another protocol", []string{"EHLO a.example\r\n"}, "|"},
	} {
		var h heads
		now := play(&h, 1, tt.turns...)
		got := strings.Join(now, ";") + "|" + strings.Join(said(h.closed(1)), ";")
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
		if len(h.of) != 0 {
			t.Errorf("%s: a closed conversation is kept", tt.what)
		}
	}
}

func TestARequestWithoutAnAnswerIsToldAfterAWhile(t *testing.T) {
	var h heads
	play(&h, 1, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	if got := h.due(uint64(keepPending / 2)); len(got) != 0 {
		t.Errorf("%+v too early", got)
	}
	if got := said(h.due(uint64(keepPending + time.Second))); len(got) != 1 || got[0] != "GET a.example/ 0" {
		t.Errorf("%q", got)
	}
}

func TestConversationsAreBounded(t *testing.T) {
	var h heads
	told := 0
	for socket := range uint64(maxConversations + 100) {
		told += len(play(&h, socket+1, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"))
	}
	lost, some := h.takeLost()
	if len(h.of) != maxConversations || told != 100 || !some || lost.Count != 100 {
		t.Errorf("%d kept, %d told early, lost %+v", len(h.of), told, lost)
	}
	var one heads
	for range 100 {
		play(&one, 1, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	}
	if n := len(one.of[1].pending); n > maxPending {
		t.Errorf("%d requests wait", n)
	}
}

func FuzzConversation(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), uint8(3))
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		var h heads
		for at := 0; at < len(b); at += int(n) + 1 {
			h.take(&head{socket: 1, transport: event.TCP, offset: uint32(at), data: b[at:min(len(b), at+int(n)+1)]})
		}
		if c := h.of[1]; c != nil && len(c.buf) > maxHead {
			t.Errorf("%d bytes kept", len(c.buf))
		}
		h.closed(1)
	})
}
