package ebpf

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// Numbers of TLS that a ClientHello is found by.
const (
	recordHandshake   = 22
	clientHello       = 1
	extServerName     = 0
	extEncryptedHello = 0xfe0d
	nameOfHost        = 0
)

// A hello is what a ClientHello tells in the clear.
type hello struct {
	name string // empty: none was given, or none that could be a name
	ech  bool
}

// A look says how far a parser came.
type look int

const (
	foreign look = iota // it is something else
	partial             // more is needed; what was found is there already
	whole
)

// parseRecords reads a ClientHello from the beginning of a connection. It may
// lie in several records, each of which may lie in several segments.
func parseRecords(b []byte) (hello, look) {
	if len(b) > 0 && b[0] != recordHandshake || len(b) > 1 && b[1] != 3 {
		return hello{}, foreign
	}
	var message []byte
	for len(b) >= 5 && b[0] == recordHandshake && b[1] == 3 {
		n := int(binary.BigEndian.Uint16(b[3:]))
		b = b[5:]
		if n == 0 {
			return hello{}, foreign
		}
		take := min(n, len(b))
		message = append(message, b[:take]...)
		b = b[take:]
		if h, l := parseHello(message); l != partial || take < n {
			return h, l
		}
	}
	h, l := parseHello(message)
	if l == partial && len(b) >= 5 {
		l = foreign // another record came between
	}
	return h, l
}

// parseHello reads a ClientHello message, or as much of it as there is.
func parseHello(b []byte) (hello, look) {
	if len(b) > 0 && b[0] != clientHello {
		return hello{}, foreign
	}
	if len(b) < 4 {
		return hello{}, partial
	}
	length := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	cutShort := len(b)-4 < length
	c := cursor{b: b[4:min(len(b), 4+length)]}
	c.skip(2 + 32) // version and random
	c.vector8()    // session
	c.vector16()   // cipher suites
	c.vector8()    // compression
	extensions := cursor{b: c.rest16()}
	var h hello
	for !extensions.short && len(extensions.b) > 0 {
		typ := extensions.uint16()
		body := extensions.vector16()
		if extensions.short {
			break
		}
		switch typ {
		case extServerName:
			h.name = serverName(body)
		case extEncryptedHello:
			h.ech = true
		}
	}
	switch {
	case cutShort:
		return h, partial
	case c.short || extensions.short:
		return h, foreign
	}
	return h, whole
}

func serverName(b []byte) string {
	list := cursor{b: b}
	list = cursor{b: list.vector16()}
	for !list.short && len(list.b) > 0 {
		typ := list.uint8()
		name := list.vector16()
		if !list.short && typ == nameOfHost {
			return hostName(string(name))
		}
	}
	return ""
}

// hostName is a name as policies have it, or nothing where it cannot be one.
func hostName(s string) string {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if len(s) == 0 || len(s) > 253 {
		return ""
	}
	if addr, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return addr.Unmap().WithZone("").String()
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return ""
		}
	}
	return s
}

// A cursor reads the vectors that TLS is made of. Once something is missing it
// is short, and gives nothing any more.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) skip(n int) []byte {
	if c.short || len(c.b) < n {
		c.short, c.b = true, nil
		return nil
	}
	head := c.b[:n]
	c.b = c.b[n:]
	return head
}

func (c *cursor) uint8() int {
	if b := c.skip(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (c *cursor) uint16() int {
	if b := c.skip(2); b != nil {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (c *cursor) vector8() []byte  { return c.skip(c.uint8()) }
func (c *cursor) vector16() []byte { return c.skip(c.uint16()) }

// rest16 gives the last vector, or as much of it as there is.
func (c *cursor) rest16() []byte { return c.skip(min(c.uint16(), len(c.b))) }
