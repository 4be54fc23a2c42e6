package plugin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// serve listens to one peer until it, or the agent, has enough.
func (c *Collector) serve(ctx context.Context, conn *net.UnixConn) {
	id, g, err := c.peer(ctx, conn)
	if err != nil {
		if ctx.Err() == nil {
			c.drop("connections of a process that is not believed: "+err.Error(), 1)
		}
		return
	}
	lines := bufio.NewScanner(conn)
	lines.Buffer(make([]byte, 0, 512), maxLine)
	limit, mistakes, greeted := budget{rate: perSecond, most: burst}, 0, false
	for lines.Scan() {
		now := time.Now()
		if _, _, ok := c.cfg.Known(id.PID); !ok {
			c.drop("connections of a gateway that had ended", 1)
			return
		}
		if !limit.take(now) {
			c.drop("messages beyond the limit", 1)
			greeted = false // it may have been a tag
			continue
		}
		m, err := parse(lines.Bytes())
		if err != nil || m.State != "" && m.State != g.StateDir {
			c.drop("messages that are none", 1)
			if mistakes++; mistakes >= maxMistakes {
				return
			}
			continue
		}
		c.spoken.Store(true)
		if !greeted || m.Lost > 0 || m.Event == "hello" {
			greeted = true
			c.tell(event.Event{Time: now, Proc: id, Source: event.SourcePlugin, Body: event.ToolPhase{Phase: event.PhaseJoined}})
		}
		if m.Event != "hello" {
			c.tell(event.Event{Time: m.when(now), Proc: id, Source: event.SourcePlugin, Body: m.phase()})
		}
	}
	if lines.Err() != nil && ctx.Err() == nil {
		c.drop("connections that were cut, or sent too long a line", 1)
	}
}

// A message is one line of the plugin's.
type message struct {
	Version int    `json:"v"`
	Event   string `json:"ev"`
	Time    int64  `json:"t"` // ms since 1970
	State   string `json:"state"`
	Agent   string `json:"agent"`
	Session string `json:"session"`
	Key     string `json:"key"`
	Run     string `json:"run"`
	Call    string `json:"call"`
	Tool    string `json:"tool"`
	Tag     string `json:"tag"`
	Open    bool   `json:"open"`
	Lost    uint32 `json:"lost"`
}

// maxText bounds the names in a message, in bytes: the plugin says at most 256
// UTF-16 units.
const maxText = 768

// parse reads one line. Fields that it does not know are ignored, as a later
// plugin may have more.
func parse(line []byte) (message, error) {
	var m message
	if err := json.Unmarshal(line, &m); err != nil {
		return message{}, fmt.Errorf("read message: %w", err)
	}
	if m.Version != 1 {
		return message{}, fmt.Errorf("read message: version %d, want 1", m.Version)
	}
	for _, s := range []string{m.Agent, m.Session, m.Key, m.Run, m.Call, m.Tool} {
		if len(s) > maxText {
			return message{}, errors.New("read message: a name is too long")
		}
	}
	switch m.Event {
	case "hello":
		return m, nil
	case "tag":
		if m.Session == "" || !isTag(m.Tag) {
			return message{}, errors.New("read message: a tag without a session, or of another shape")
		}
		return m, nil
	case "begin", "end":
		if m.Session == "" || m.Call == "" {
			return message{}, errors.New("read message: a call without a name")
		}
		return m, nil
	}
	return message{}, errors.New("read message: an event that is not known")
}

// when gives the message's own time, as far as it can be true.
func (m message) when(now time.Time) time.Time {
	t := time.UnixMilli(m.Time)
	if t.After(now) || now.Sub(t) > maxAge {
		return now
	}
	return t
}

func (m message) phase() event.ToolPhase {
	p := event.ToolPhase{Phase: event.Phase(m.Event), Agent: m.Agent, Session: m.Session, SessionKey: m.Key}
	if m.Event == "tag" {
		p.Tag = m.Tag
		return p
	}
	p.Run, p.ID, p.Name, p.Open = m.Run, m.Call, m.Tool, m.Open
	return p
}

// A budget allows so many a second.
type budget struct {
	rate, most float64
	left       float64
	at         time.Time
}

func (b *budget) take(now time.Time) bool {
	if b.at.IsZero() {
		b.left = b.most
	} else {
		b.left = min(b.most, b.left+b.rate*now.Sub(b.at).Seconds())
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
