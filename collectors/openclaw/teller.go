package openclaw

import (
	"path/filepath"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	maxSeen     = 4096        // IDs of rows remembered
	maxSessions = 512         // sessions remembered
	rewritten   = time.Minute // what is this much older than the newest row of its session was there before
)

// A teller makes events of the rows of one agent, in whatever format and however
// often they are read: the database, transcripts, or both while one is turned
// into the other. A row is told once, by the ID that it keeps in all of them.
type teller struct {
	dir      string // the state directory, as it is reached from here
	gateway  string // its ID
	agent    string
	since    time.Time
	seen     *lru.Cache[string, struct{}]
	sessions *lru.Cache[string, *session]
	unread   time.Time // when what is told now was not in the records yet; zero: not known
}

func newTeller(dir, agent string, since time.Time) *teller {
	seen, _ := lru.New[string, struct{}](maxSeen) // the error is for a size below 1
	sessions, _ := lru.New[string, *session](maxSessions)
	return &teller{dir: dir, gateway: dir, agent: agent, since: since, seen: seen, sessions: sessions}
}

// called is what a file of the agent is called where it is spoken of.
func (t *teller) called(elems ...string) string {
	return filepath.Join(t.gateway, "agents", t.agent, filepath.Join(elems...))
}

// begin announces a session and gives what is to be remembered of it.
func (t *teller) begin(start event.SessionStart, emit func(event.Event)) *session {
	s := &session{key: start.SessionKey, wrapped: map[string]bool{}}
	t.sessions.Add(start.Session, s)
	start.Gateway, start.Agent = t.gateway, t.agent
	start.Backfill = !start.StartedAt.IsZero() && start.StartedAt.Before(t.since)
	at := start.StartedAt
	if at.IsZero() {
		at = time.Now()
	}
	emit(event.Event{Time: at, Source: event.SourceOpenClaw, Body: start})
	return s
}

// tell makes events of a row, unless it was told before. Calls and results from
// before the collector's time are told to be learned from, and no more; so are
// rows that are old in their session and yet new here, as when a transcript is
// rewritten, copied to go on elsewhere, or turned into a database.
func (t *teller) tell(r row, id string, created time.Time, s *session, emit func(event.Event)) {
	if found, _ := t.seen.ContainsOrAdd(id+"/"+r.id, struct{}{}); found {
		return
	}
	at := r.at
	if at.IsZero() {
		at = created
	}
	now := time.Now()
	if s.newest.After(now) { // the clock was set back
		s.newest = time.Time{}
	}
	backfill := created.Before(t.since) || at.Before(t.since.Add(-rewritten)) || at.Before(s.newest.Add(-rewritten)) || at.Before(s.copied)
	if at.After(s.newest) && !at.After(now) {
		s.newest = at
	}
	prompt := s.see(r)
	send := func(b event.Body) {
		emit(event.Event{Time: created, Source: event.SourceOpenClaw, Body: b})
	}
	if r.user != "" && !backfill {
		send(event.Prompt{Gateway: t.gateway, Agent: t.agent, Session: id, SessionKey: s.key})
	}
	_, known := s.wrapped[r.parent]
	known = known && r.nested
	for _, c := range r.calls {
		if known {
			continue // reported when it was asked for
		}
		if c.wrapped && len(s.wrapped) < maxWrapped {
			s.wrapped[c.ID] = false
		}
		c.Gateway, c.Agent, c.Session, c.SessionKey, c.Backfill = t.gateway, t.agent, id, s.key, backfill
		c.Run, c.Unread, c.Read, c.Database = s.runOf(c.Run), t.unread, now, r.database
		send(c.ToolCall)
	}
	for _, res := range r.results {
		if s.wrapped[res.ID] {
			continue
		}
		if known {
			res.ID = r.parent
			s.wrapped[res.ID] = true
		}
		res.Gateway, res.Agent, res.Session, res.Backfill = t.gateway, t.agent, id, backfill
		res.Run = s.runOf(res.Run)
		send(res)
	}
	if r.llm != nil && !backfill {
		c := *r.llm
		c.Gateway, c.Agent, c.Session, c.SessionKey, c.Prompt = t.gateway, t.agent, id, s.key, clip(prompt, maxText)
		c.Run = s.runOf(c.Run)
		send(c)
	}
}

// coverage is what was last said to be seen of some records.
type coverage struct{ said event.Coverage }

// cover reports what is seen of the records at path, when that changes.
func (c *coverage) cover(emit func(event.Event), path, fidelity, reason string) {
	reason = reached.ReplaceAllString(reason, "")
	if c.said.Fidelity == fidelity && c.said.Reason == reason {
		return
	}
	c.said = event.Coverage{
		Probe:    "openclaw:" + path,
		Kinds:    []event.Kind{event.KindToolCall, event.KindToolResult, event.KindLLMCall, event.KindSessionStart},
		Fidelity: fidelity,
		Reason:   reason,
	}
	emit(event.Event{Time: time.Now(), Source: event.SourceOpenClaw, Body: c.said})
}
