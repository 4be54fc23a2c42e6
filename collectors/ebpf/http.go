package ebpf

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

const (
	maxURLPath = 256 // bytes of a path that are kept
	maxHosts   = 4   // Host lines of one request
)

// A request is the head of a request of HTTP/1.
type request struct {
	method string
	path   string   // without query
	hosts  []string // different ones; honest clients send one
}

// parseRequest reads the head of a request. It is whole with the empty line at
// its end.
func parseRequest(b []byte) (request, look) {
	b = bytes.TrimLeft(b, "\r\n") // servers pass over empty lines
	line, rest, ended := bytes.Cut(b, []byte("\n"))
	if !ended {
		if len(b) >= 16 && !bytes.ContainsRune(b, ' ') {
			return request{}, foreign
		}
		return request{}, partial
	}
	method, target, ok := strings.Cut(string(bytes.TrimRight(line, "\r")), " ")
	target, version, ok2 := cutLast(target, " ")
	if !ok || !ok2 || !strings.HasPrefix(version, "HTTP/1.") || !isMethod(method) {
		return request{}, foreign
	}
	r := request{method: method}
	r.target(target)
	proxied := len(r.hosts) > 0 // what the line says counts, then
	for len(rest) > 0 {
		line, rest, ended = bytes.Cut(rest, []byte("\n"))
		if !ended {
			return r, partial // the line may go on
		}
		line = bytes.TrimRight(line, "\r")
		if len(line) == 0 {
			return r, whole
		}
		name, value, ok := strings.Cut(string(line), ":")
		if ok && !proxied && strings.EqualFold(strings.TrimSpace(name), "host") {
			r.host(strings.TrimSpace(value))
		}
	}
	return r, partial
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func isMethod(s string) bool {
	if len(s) == 0 || len(s) > 16 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return true
}

// target takes in what a request asks for: a path, a whole URL to a proxy, or
// for CONNECT a host and port.
func (r *request) target(s string) {
	if r.method == "CONNECT" {
		r.host(s)
		return
	}
	if !strings.HasPrefix(s, "/") && s != "*" {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" {
			return
		}
		r.host(u.Host)
		s = u.EscapedPath()
	}
	r.path = cleanPath(s)
}

func (r *request) host(s string) {
	if h, _, err := net.SplitHostPort(s); err == nil {
		s = h
	}
	s = hostName(s)
	for _, known := range r.hosts {
		if known == s {
			return
		}
	}
	if s != "" && len(r.hosts) < maxHosts {
		r.hosts = append(r.hosts, s)
	}
}

// cleanPath leaves out what follows the path, which is where secrets travel.
func cleanPath(s string) string {
	if i := strings.IndexAny(s, "?#;"); i >= 0 {
		s = s[:i]
	}
	s = s[:min(len(s), maxURLPath)]
	var b strings.Builder
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// parseStatus reads the status of an answer; 0: it has none, or an answer is
// still to follow.
func parseStatus(b []byte) int {
	version, rest, ok := strings.Cut(string(b), " ")
	if !ok || !strings.HasPrefix(version, "HTTP/1.") || len(rest) < 3 {
		return 0
	}
	n, err := strconv.ParseUint(rest[:3], 10, 16)
	if err != nil || n < 200 || n > 999 {
		return 0
	}
	return int(n)
}
