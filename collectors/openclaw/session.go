package openclaw

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A session is what is remembered of one conversation while its rows pass.
type session struct {
	key    string
	prompt string   // the user's last message, until the model has answered it
	tools  []string // tools whose results came since the model last spoke
	// Calls that were reported under the name of the tool they carried; true
	// once that tool's own record, which is written when it has ended, has given
	// the result.
	wrapped map[string]bool
	run     string    // of the rows that name none: the user's message that they follow
	newest  time.Time // row
	copied  time.Time // rows from before that were copied from another session
}

// Bounds on what is remembered.
const (
	maxKey     = 1024 // bytes of a session key
	maxTools   = 16   // names in a prompt made of tool results
	maxWrapped = 1024 // calls
)

// readSession asks OpenClaw's tables who and where a session is. One that they
// do not know, or tables of another shape, give just the ID.
func (c *connection) readSession(ctx context.Context, id string) (event.SessionStart, error) {
	start := event.SessionStart{Session: id}
	if !c.columns["session_windows.session_id"] || !c.columns["session_windows.session_key"] {
		return start, nil
	}
	w := func(name string) string { return short(c.column("session_windows", "w", name)) }
	n := func(name string) string { return short(c.column("session_nodes", "n", name)) }
	v := func(name string) string { return short(c.column("conversations", "v", name)) }
	text := fmt.Sprintf(`SELECT %s, coalesce(%s, %s), coalesce(%s, %s), coalesce(%s, %s), coalesce(%s, %s, %s), %s, coalesce(%s, %s, %s), coalesce(%s, %s)
		FROM session_windows w`,
		w("session_key"),
		w("channel"), v("channel"),
		w("account_id"), v("account_id"),
		w("chat_type"), v("kind"),
		n("created_actor_id"), c.participant(), v("peer_id"),
		n("created_via"),
		w("parent_session_key"), n("parent_session_key"), w("spawned_by"),
		w("created_at"), w("started_at"))
	if c.columns["session_nodes.session_key"] {
		text += ` LEFT JOIN session_nodes n ON n.session_key = w.session_key`
	}
	if c.columns["conversations.conversation_id"] {
		text += ` LEFT JOIN conversations v ON v.conversation_id = w.primary_conversation_id`
	}
	var key, channel, account, chat, actor, via, parent sql.NullString
	var ms sql.NullInt64
	err := c.row(ctx, text+` WHERE w.session_id = ?`, id).scan(&key, &channel, &account, &chat, &actor, &via, &parent, &ms)
	if errors.Is(err, sql.ErrNoRows) {
		return start, nil
	}
	if err != nil {
		return start, fmt.Errorf("read session: %w", err)
	}
	start.SessionKey, start.ParentKey = clip(key.String, maxKey), clip(parent.String, maxKey)
	start.Channel, start.Account = clip(channel.String, maxWord), clip(account.String, maxWord)
	start.ChatType, start.Actor = clip(chat.String, maxWord), clip(actor.String, maxWord)
	start.CreatedVia = clip(via.String, maxWord)
	if ms.Int64 > 0 {
		start.StartedAt = time.UnixMilli(ms.Int64)
	}
	return start, nil
}

// participant gives the expression for who spoke most in a session.
func (c *connection) participant() string {
	if !c.columns["session_participants.session_key"] || !c.columns["session_participants.actor_id"] {
		return "NULL"
	}
	return `(SELECT ` + short("p.actor_id") + ` FROM session_participants p WHERE p.session_key = w.session_key
		ORDER BY ` + c.column("session_participants", "p", "contribution_count") + ` DESC LIMIT 1)`
}

// recentSessions gives the IDs of sessions touched since, newest first.
func (c *connection) recentSessions(ctx context.Context, since time.Time, limit int) ([]string, error) {
	if !c.columns["session_windows.session_id"] || !c.columns["session_windows.updated_at"] {
		return nil, nil
	}
	ids, err := values[string](ctx, c, `SELECT session_id FROM session_windows
		WHERE updated_at >= ? AND octet_length(session_id) <= 1024 ORDER BY updated_at DESC LIMIT ?`, since.UnixMilli(), limit)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return ids, nil
}

// runOf gives the run of a row: the one it names, else that which the last
// message of the user began. Releases that wrote transcripts name none.
func (s *session) runOf(named string) string { return cmp.Or(named, s.run) }

// see takes a row into what is remembered, and gives the prompt that a model's
// answer in it was given to.
func (s *session) see(r row) (prompt string) {
	switch {
	case r.asks:
		s.prompt, s.tools, s.run = r.user, nil, cmp.Or(r.run, r.id)
	case r.llm != nil:
		prompt = s.prompt
		if len(s.tools) > 0 {
			prompt = "tool results: " + strings.Join(s.tools, ", ")
		}
		if r.llm.StopReason != "error" { // else it is tried again
			s.prompt, s.tools = "", nil
		}
	case len(r.tools) > 0 && len(s.tools) < maxTools:
		s.prompt = ""
		s.tools = append(s.tools, r.tools...)
	}
	return prompt
}
