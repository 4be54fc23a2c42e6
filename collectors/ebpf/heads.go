package ebpf

import (
	"fmt"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds on the connections whose beginning is put together.
const (
	maxConversations = 4096
	maxHead          = 4096
	maxPending       = 16              // requests of one connection without an answer
	keepPending      = 5 * time.Second // then they are told without one
)

// A head is a piece of what was sent at the beginning of a connection, or the
// beginning of an answer.
type head struct {
	proc      event.ProcID
	boot      uint64
	socket    uint64
	addrs     sensorAddrs
	offset    uint32
	answer    bool
	data      []byte
	transport event.Transport
}

func decodeHead(raw []byte) (*head, error) {
	r, rest, err := split[sensorHeadRec](raw)
	if err != nil {
		return nil, err
	}
	data, _, err := cut(rest, r.Len)
	if err != nil {
		return nil, err
	}
	return &head{
		proc: event.ProcID{PID: int32(r.H.Pid), Start: r.H.Start}, boot: r.H.Time, socket: r.Cookie, addrs: r.A,
		offset: r.Offset, answer: r.H.Flags&sensorFlagsANSWERED != 0, data: []byte(data), transport: transport(&r.A),
	}, nil
}

// heads puts together what clients say at the beginning of connections, by
// socket, and pairs requests with their answers. The zero value is ready.
type heads struct {
	of   map[uint64]*conversation
	lost uint64 // conversations given up because there were too many
}

type conversation struct {
	head
	buf     []byte // from start on
	start   uint32
	read    bool       // what is in buf was told
	pieces  *handshake // of QUIC
	pending []exchange
	early   int // status of an answer that came before the request was whole
}

type exchange struct {
	event.HTTPExchange
	boot uint64
}

// A saying is an event that comes out of a conversation.
type saying struct {
	proc event.ProcID
	boot uint64
	body event.Body
}

// take takes in a piece and gives what is known by it.
func (h *heads) take(p *head) []saying {
	c := h.of[p.socket]
	if c == nil {
		if p.answer {
			return nil
		}
		out := h.makeRoom()
		c = &conversation{head: *p, start: p.offset}
		h.of[p.socket] = c
		return append(out, h.said(c, p)...)
	}
	if p.answer {
		return c.answered(p)
	}
	return h.said(c, p)
}

func (h *heads) makeRoom() []saying {
	if h.of == nil {
		h.of = map[uint64]*conversation{}
	}
	if len(h.of) < maxConversations {
		return nil
	}
	for socket, c := range h.of { // any
		delete(h.of, socket)
		h.lost++
		return c.end()
	}
	return nil
}

// said adds a piece of what the client sent.
func (h *heads) said(c *conversation, p *head) []saying {
	if p.transport == event.UDP {
		return h.quic(c, p)
	}
	var out []saying
	if len(c.buf) > 0 && c.buf[0] != recordHandshake && beginsTLS(p.data) {
		out = c.unfinished() // a proxy was content with less than a whole request
		c.read = true
	}
	if c.read || p.offset != c.start+uint32(len(c.buf)) {
		c.start, c.buf, c.read = p.offset, nil, false
	}
	c.buf = append(c.buf, p.data[:min(len(p.data), maxHead-len(c.buf))]...)
	if hello, l := parseRecords(c.buf); l != foreign {
		full := len(c.buf) >= maxHead
		if l == partial && !full {
			return out
		}
		c.read, c.buf = true, nil
		if len(c.pending) == 0 {
			delete(h.of, p.socket)
		}
		return append(out, c.named(p, hello, l == partial))
	}
	r, l := parseRequest(c.buf)
	if l == foreign {
		c.read, c.buf = true, nil
		if len(c.pending) == 0 {
			delete(h.of, p.socket)
		}
		return out
	}
	if l == partial && len(c.buf) < 2048 {
		return out
	}
	c.read, c.buf = true, nil
	return append(out, c.asked(p, r)...)
}

func beginsTLS(b []byte) bool { return len(b) > 1 && b[0] == recordHandshake && b[1] == 3 }

func (c *conversation) named(p *head, h hello, cutShort bool) saying {
	a := &p.addrs
	return saying{c.proc, p.boot, event.TLSName{
		Transport: c.transport, Local: addrPort(a.Local, a.LocalPort), Peer: addrPort(a.Peer, a.PeerPort),
		Socket: c.socket, Name: h.name, ECH: h.ech, Truncated: cutShort && h.name == "",
	}}
}

// asked notes a request. One with several hosts is several: who answers it may
// take any of them.
func (c *conversation) asked(p *head, r request) (out []saying) {
	if r.method == "" {
		return nil
	}
	a := &p.addrs
	x := exchange{event.HTTPExchange{
		Local: addrPort(a.Local, a.LocalPort), Peer: addrPort(a.Peer, a.PeerPort), Socket: c.socket,
		Method: r.method, Path: r.path,
	}, p.boot}
	if len(r.hosts) == 0 {
		r.hosts = []string{""}
	}
	for _, x.Host = range r.hosts[1:] {
		out = append(out, saying{c.proc, p.boot, x.HTTPExchange})
	}
	x.Host = r.hosts[0]
	if x.Status, c.early = c.early, 0; x.Status != 0 {
		return append(out, saying{c.proc, p.boot, x.HTTPExchange})
	}
	if len(c.pending) == maxPending {
		out = append(out, saying{c.proc, c.pending[0].boot, c.pending[0].HTTPExchange})
		c.pending = c.pending[1:]
	}
	c.pending = append(c.pending, x)
	return out
}

// answered gives the oldest request its status.
func (c *conversation) answered(p *head) []saying {
	status := parseStatus(p.data)
	if status == 0 {
		return nil
	}
	if len(c.pending) == 0 {
		if len(c.buf) > 0 {
			c.early = status
		}
		return nil
	}
	x := c.pending[0]
	x.Status = status
	c.pending = c.pending[1:]
	return []saying{{c.proc, p.boot, x.HTTPExchange}}
}

// unfinished takes the beginning of a request for a request.
func (c *conversation) unfinished() []saying {
	if r, l := parseRequest(c.buf); l == partial {
		return c.asked(&c.head, r)
	}
	return nil
}

// end gives the requests that had no answer.
func (c *conversation) end() (out []saying) {
	if !c.read {
		out = c.unfinished()
	}
	for _, x := range c.pending {
		out = append(out, saying{c.proc, x.boot, x.HTTPExchange})
	}
	c.pending = nil
	return out
}

// closed ends the conversation of a socket.
func (h *heads) closed(socket uint64) []saying {
	c := h.of[socket]
	if c == nil {
		return nil
	}
	delete(h.of, socket)
	return c.end()
}

// due gives the requests that wait for an answer too long.
func (h *heads) due(boot uint64) (out []saying) {
	for _, c := range h.of {
		for len(c.pending) > 0 && c.pending[0].boot+uint64(keepPending) < boot {
			out = append(out, saying{c.proc, c.pending[0].boot, c.pending[0].HTTPExchange})
			c.pending = c.pending[1:]
		}
	}
	return out
}

// takeLost gives a reason, once, where conversations were given up.
func (h *heads) takeLost() (event.Lost, bool) {
	n := h.lost
	h.lost = 0
	return event.Lost{Of: event.KindHTTP, Count: n, Cause: fmt.Sprintf("more than %d connections at once that say names", maxConversations)}, n > 0
}
