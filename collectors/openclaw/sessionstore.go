package openclaw

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	storeName  = "sessions.json"
	maxStore   = 16 << 20 // bytes of it
	maxEntries = 8192     // sessions in it
)

// A store is sessions.json: which session has which key, and where its user is.
// Of each entry little is kept; the rest of it, copies of prompts among it, is
// passed over.
type store struct {
	at       stamp // as of the last reading
	err      error
	sessions map[string]event.SessionStart // by ID
}

// An entryJSON is what is read of one session.
type entryJSON struct {
	SessionID        scalar   `json:"sessionId"`
	FamilyIDs        []scalar `json:"usageFamilySessionIds"` // those before it, under the same key
	SpawnedBy        scalar   `json:"spawnedBy"`
	ParentSessionKey scalar   `json:"parentSessionKey"`
	SessionStartedAt scalar   `json:"sessionStartedAt"`
	ChatType         scalar   `json:"chatType"`
	Channel          scalar   `json:"channel"`
	LastChannel      scalar   `json:"lastChannel"`
	LastAccountID    scalar   `json:"lastAccountId"`
	Origin           struct {
		Provider     scalar `json:"provider"`
		ChatType     scalar `json:"chatType"`
		From         scalar `json:"from"`
		AccountID    scalar `json:"accountId"`
		DirectUserID scalar `json:"nativeDirectUserId"`
	} `json:"origin"`
}

// refresh reads the file again if it has changed. What cannot be read leaves what
// was known.
func (s *store) refresh(dir, agent string, uid uint32) {
	name := filepath.Join("agents", agent, "sessions", storeName)
	f, fi, err := openBelow(dir, uid, name)
	if err != nil {
		s.err = err
		return
	}
	defer f.Close()
	now := stamp{fi.Size(), fi.ModTime(), inode(fi)}
	if now == s.at {
		return
	}
	s.at, s.err = now, nil
	if fi.Size() > maxStore {
		s.err = fmt.Errorf("%s: %d bytes, more than the %d read", f.Name(), fi.Size(), maxStore)
		return
	}
	if found := parseStore(io.LimitReader(f, maxStore)); len(found) > 0 {
		s.sessions = found
	}
}

// parseStore reads the sessions there are, up to where the text ends or breaks.
func parseStore(r io.Reader) map[string]event.SessionStart {
	in := json.NewDecoder(r)
	if t, err := in.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	all := map[string]event.SessionStart{}
	former := map[string]event.SessionStart{}
	for in.More() && len(all)+len(former) < maxEntries {
		key, err := in.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			break
		}
		var e entryJSON
		var wrong *json.UnmarshalTypeError
		if err := in.Decode(&e); err != nil && !errors.As(err, &wrong) {
			break
		}
		start := e.start(clip(name, maxKey))
		if start.Session == "" {
			continue
		}
		all[start.Session] = start
		start.StartedAt = time.Time{}
		for _, id := range e.FamilyIDs[:min(len(e.FamilyIDs), maxSessions)] {
			former[clip(string(id), maxWord)] = start
		}
	}
	for id, start := range former {
		if _, ok := all[id]; !ok {
			start.Session = id
			all[id] = start
		}
	}
	return all
}

func (e entryJSON) start(key string) event.SessionStart {
	word := func(of ...scalar) string { return clip(string(cmp.Or(of...)), maxWord) }
	s := event.SessionStart{
		Session: word(e.SessionID), SessionKey: key, StartedAt: e.SessionStartedAt.time(),
		Channel:  word(e.Channel, e.LastChannel, e.Origin.Provider),
		Account:  word(e.Origin.AccountID, e.LastAccountID),
		ChatType: word(e.ChatType, e.Origin.ChatType),
		Actor:    word(e.Origin.DirectUserID, e.Origin.From),
	}
	s.ParentKey = clip(string(cmp.Or(e.ParentSessionKey, e.SpawnedBy)), maxKey)
	switch {
	case e.SpawnedBy != "":
		s.CreatedVia = "spawn"
	case strings.Contains(key, ":cron:"):
		s.CreatedVia = "cron"
	}
	return s
}
