package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// usesTable holds what each skill was seen to use. It is counted as records
// come, and so outlives them; of records that are amended only the last form
// counts.
const usesTable = `
CREATE TABLE IF NOT EXISTS uses (
	gateway TEXT NOT NULL,
	dir     TEXT NOT NULL,    -- of the skill
	what    TEXT NOT NULL,    -- bin, env, host, resolver, call, version
	name    TEXT NOT NULL,    -- empty: all beyond the bound
	detail  TEXT NOT NULL,
	count   INTEGER NOT NULL,
	first   INTEGER NOT NULL, -- times, nanoseconds since 1970
	last    INTEGER NOT NULL,
	PRIMARY KEY (gateway, dir, what, name)
) WITHOUT ROWID;
`

// Bounds on uses. Names come from hostile programs.
const (
	maxUses    = 256    // names of one sort, of one skill
	maxAllUses = 50_000 // rows that trimming leaves
)

// useVersion is not used, but seen: the skill's tree, by hash. The others are traits.
const useVersion = "version"

type useKey struct{ gateway, dir, what, name string }

// A use is what one record says of the skill that it was done for.
type use struct {
	useKey
	detail string
}

// usesOf gives what a record tells.
func usesOf(r *event.Record) []use {
	a := r.Attribution
	if r.Skill != nil && a != nil && r.Kind != event.KindSkillRemoved {
		return []use{{useKey{a.Gateway, r.Skill.ID.Dir, useVersion, r.Skill.ID.SHA256}, r.Skill.ID.Version}}
	}
	var all []use
	for _, t := range r.Traits() {
		all = append(all, use{useKey{a.Gateway, a.Skill.Dir, string(t.What), t.Name}, t.Detail})
	}
	return all
}

// A tally is how often something was used, in the records of one Append.
type tally struct {
	detail      string
	count       int
	first, last int64
}

// count takes in a record, or takes one back with n -1.
func (w *writer) count(r *event.Record, n int) {
	if w.uses == nil {
		w.uses = map[useKey]*tally{}
	}
	t := nanos(r.Time)
	for _, u := range usesOf(r) {
		sum := w.uses[u.useKey]
		if sum == nil {
			sum = &tally{first: t, last: t}
			w.uses[u.useKey] = sum
		}
		sum.count += n
		if n > 0 {
			sum.detail = cmp.Or(u.detail, sum.detail)
			sum.first, sum.last = min(sum.first, t), max(sum.last, t)
		}
	}
}

// retract takes back a record that is amended.
func (w *writer) retract(line []byte) {
	var r event.Record
	if json.Unmarshal(line, &r) == nil {
		w.count(&r, -1)
	}
}

// putUses writes what was counted.
func (w *writer) putUses() error {
	for _, key := range slices.SortedFunc(maps.Keys(w.uses), useKey.compare) {
		if err := w.putUse(key, w.uses[key]); err != nil {
			return fmt.Errorf("count %s of %s: %w", key.what, key.dir, err)
		}
	}
	return nil
}

func (k useKey) compare(l useKey) int {
	return cmp.Or(cmp.Compare(k.gateway, l.gateway), cmp.Compare(k.dir, l.dir), cmp.Compare(k.what, l.what), cmp.Compare(k.name, l.name))
}

func (w *writer) putUse(k useKey, t *tally) error {
	const at = ` WHERE gateway = ? AND dir = ? AND what = ? AND name = ?`
	done, err := w.tx.Exec(`UPDATE uses SET count = count + ?, first = min(first, ?), last = max(last, ?), detail = CASE ? WHEN '' THEN detail ELSE ? END`+at,
		t.count, t.first, t.last, t.detail, t.detail, k.gateway, k.dir, k.what, k.name)
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n > 0 {
		if err == nil && t.count < 0 {
			_, err = w.tx.Exec(`DELETE FROM uses`+at+` AND count <= 0`, k.gateway, k.dir, k.what, k.name)
		}
		return err
	}
	if t.count <= 0 {
		return nil
	}
	var known int
	if err := w.tx.QueryRow(`SELECT count(*) FROM uses WHERE gateway = ? AND dir = ? AND what = ?`, k.gateway, k.dir, k.what).Scan(&known); err != nil {
		return err
	}
	if known >= maxUses && k.name != "" {
		return w.putUse(useKey{k.gateway, k.dir, k.what, ""}, &tally{count: t.count, first: t.first, last: t.last})
	}
	_, err = w.tx.Exec(`INSERT INTO uses(gateway, dir, what, name, detail, count, first, last) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		k.gateway, k.dir, k.what, k.name, t.detail, t.count, t.first, t.last)
	return err
}

// trimUses deletes what was last seen before a time, and the oldest of what is
// too much.
func (w *writer) trimUses(before int64) error {
	for query, arg := range map[string]int64{
		`DELETE FROM uses WHERE last < ?`: before,
		`DELETE FROM uses WHERE (gateway, dir, what, name) IN (SELECT gateway, dir, what, name FROM uses ORDER BY last DESC LIMIT -1 OFFSET ?)`: maxAllUses,
	} {
		if _, err := w.tx.Exec(query, arg); err != nil {
			return fmt.Errorf("delete old uses: %w", err)
		}
	}
	return nil
}

// A Use is one thing that a skill was seen to use.
type Use struct {
	Name   string    `json:"name"`
	Detail string    `json:"detail,omitempty"` // a program's file; what a process called a host; a version; how a variable was read
	Count  int       `json:"count"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
}
