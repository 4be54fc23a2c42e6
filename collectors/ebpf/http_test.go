package ebpf

import (
	"fmt"
	"strings"
	"testing"
)

func TestARequestTellsWhomItIsFor(t *testing.T) {
	for _, tt := range []struct{ what, raw, want string }{
		{"plain", "GET /a/b?key=secret#x HTTP/1.1\r\nHost: Example.com:80\r\n\r\n", "GET /a/b [example.com] 2"},
		{"bare line ends", "GET / HTTP/1.0\nhOST:  example.com \n\n", "GET / [example.com] 2"},
		{"a blank before the colon", "GET / HTTP/1.1\r\nHost : example.com\r\n\r\n", "GET / [example.com] 2"},
		{"empty lines before", "\r\n\nGET / HTTP/1.1\r\nHost: example.com\r\n\r\n", "GET / [example.com] 2"},
		{"a body with a Host", "POST / HTTP/1.1\r\nHost: a.example\r\n\r\nHost: b.example\r\n", "POST / [a.example] 2"},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\nHost: a.example\r\n\r\n", "GET / [a.example b.example] 2"},
		{"through a proxy", "GET http://user:pw@real.example:8080/p?q HTTP/1.1\r\nHost: other.example\r\n\r\n", "GET /p [real.example] 2"},
		{"a tunnel", "CONNECT real.example:443 HTTP/1.1\r\nHost: other.example\r\n\r\n", "CONNECT  [real.example] 2"},
		{"a server as a whole", "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n", "OPTIONS * [a.example] 2"},
		{"control bytes", "GET /a\x1b[31m\tb HTTP/1.1\r\nHost: a\x00b\r\n\r\n", "GET /a%1B[31m%09b [] 2"},
		{"a long path", "GET /" + strings.Repeat("a", 999) + " HTTP/1.1\r\n\r\n", "GET /" + strings.Repeat("a", 255) + " [] 2"},
		{"half a line", "GET / HT", "  [] 1"},
		{"half a head", "GET / HTTP/1.1\r\nHost: a.exam", "GET / [] 1"},
		{"another protocol", "EHLO mail.example\r\n", "  [] 0"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "  [] 0"},
		{"no words", strings.Repeat("A", 100), "  [] 0"},
		{"nothing", "", "  [] 1"},
	} {
		r, l := parseRequest([]byte(tt.raw))
		if got := fmt.Sprintf("%s %s %v %d", r.method, r.path, r.hosts, l); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}
}

func TestAnAnswerHasAStatus(t *testing.T) {
	for s, want := range map[string]int{
		"HTTP/1.1 200 OK\r\n": 200, "HTTP/1.0 404 \r\n": 404, "HTTP/1.1 503\r\n\r\n": 503,
		"HTTP/1.1 100 Cont": 0, "HTTP/2 200 OK": 0, "HTTP/1.1 2x0": 0, "HTTP/1.1": 0, "": 0, "HTTP/1.1 -20 ": 0,
	} {
		if got := parseStatus([]byte(s)); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("GET /a?key=secret HTTP/1.1\r\nHost: example.com:80\r\n\r\n"))
	f.Add([]byte("CONNECT example.com:443 HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, _ := parseRequest(b)
		if len(r.hosts) > maxHosts || len(r.path) > 3*maxURLPath || strings.ContainsAny(r.path, "?#\n\x1b") {
			t.Errorf("%+v", r)
		}
		for _, h := range r.hosts {
			if h != hostName(h) {
				t.Errorf("host %q", h)
			}
		}
		parseStatus(b) // must not panic
	})
}
