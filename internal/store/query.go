package store

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A Query says which records or alerts are wanted. The zero Query wants all,
// newest first.
type Query struct {
	Since   time.Time // inclusive; zero: from the oldest
	Until   time.Time // exclusive; zero: to the newest
	Skill   string    // name: attributed to it, or (skill.*) about it; candidates do not count
	Session string    // ID or key
	Gateway string
	Kind    string // "file.open", or all of a family: "file.*" or "file"; not for alerts
	Rule    string // alerts of this rule; for records: those that such an alert names
	PID     int32
	Tree    bool // with PID: its descendants too, as far as their ancestors tell
	Limit   int  // 0: no limit
	Oldest  bool // oldest first
	// After, when not 0, wants only what was appended after this cursor (see
	// Head), in the order in which it was appended.
	After int64

	upTo int64 // only what was appended up to this cursor; 0: all
}

// maxTerm bounds what a hostile name can cost in the index. The record itself
// is compared in full.
const maxTerm = 128

func term(field byte, value string) string {
	if len(value) > maxTerm {
		value = value[:maxTerm]
	}
	return string(field) + ":" + value
}

// terms are what a record can be found by. Records that follow each other have
// most of them in common.
type terms struct {
	kind        event.Kind
	process     *event.Process
	attribution *event.Attribution
}

// add adds a record's terms to a set, as not written where they are new.
func (t *terms) add(set map[string]bool, r *event.Record) {
	one := func(field byte, value string) {
		if value != "" {
			if s := term(field, value); !set[s] {
				set[s] = false
			}
		}
	}
	if r.Kind != t.kind {
		one('k', string(r.Kind))
	}
	if a := r.Attribution; a != nil && a != t.attribution {
		one('e', a.Session)
		one('e', a.SessionKey)
		one('g', a.Gateway)
		if a.Skill != nil {
			one('s', a.Skill.Name)
		}
	}
	if r.Session != nil {
		one('e', r.Session.Key)
	}
	if r.Skill != nil {
		one('s', r.Skill.ID.Name)
	}
	if p := r.Process; p != nil && p != t.process {
		one('p', strconv.Itoa(int(p.PID)))
		for _, a := range p.Ancestors {
			one('p', strconv.Itoa(int(a.PID)))
		}
	}
	*t = terms{r.Kind, r.Process, r.Attribution}
}

// terms gives the SQL conditions on blocks.seq that narrow the search to blocks
// in which a record may match.
func (q Query) terms() (conditions []string, args []any) {
	one := func(field byte, value string) {
		if value != "" {
			conditions = append(conditions, "seq IN (SELECT seq FROM terms WHERE term = ?)")
			args = append(args, term(field, value))
		}
	}
	one('s', q.Skill)
	one('e', q.Session)
	one('g', q.Gateway)
	if q.PID != 0 {
		one('p', strconv.Itoa(int(q.PID)))
	}
	if q.Kind != "" {
		k := term('k', q.family())
		conditions = append(conditions, "seq IN (SELECT seq FROM terms WHERE term = ? OR (term > ? AND term < ?))")
		args = append(args, k, k+".", k+"/")
	}
	return conditions, args
}

func (q Query) family() string { return strings.TrimSuffix(q.Kind, ".*") }

// needles are byte strings without which no line can match. They save parsing
// most lines of a block; match decides.
func (q Query) needles() [][]byte {
	var n [][]byte
	for _, s := range []string{q.Skill, q.Session, q.Gateway} {
		if s != "" {
			quoted, err := json.Marshal(s) // with the escapes that the line has
			if err == nil {
				n = append(n, quoted)
			}
		}
	}
	if q.Kind != "" {
		n = append(n, []byte(`"kind":"`+q.family()))
	}
	if q.PID != 0 {
		n = append(n, []byte(`"pid":`+strconv.Itoa(int(q.PID))))
	}
	return n
}

func containsAll(line []byte, needles [][]byte) bool {
	for _, n := range needles {
		if !bytes.Contains(line, n) {
			return false
		}
	}
	return true
}

// match reports whether the record is wanted, Rule, Limit and cursors aside.
func (q Query) match(r *event.Record) bool {
	if !q.inTime(r.Time) {
		return false
	}
	if f := q.family(); f != "" && string(r.Kind) != f && !strings.HasPrefix(string(r.Kind), f+".") {
		return false
	}
	a := r.Attribution
	if a == nil {
		a = &event.Attribution{}
	}
	if q.Skill != "" && (a.Skill == nil || a.Skill.Name != q.Skill) && (r.Skill == nil || r.Skill.ID.Name != q.Skill) {
		return false
	}
	if q.Session != "" && a.Session != q.Session && a.SessionKey != q.Session && (r.Session == nil || r.Session.Key != q.Session) {
		return false
	}
	return (q.Gateway == "" || a.Gateway == q.Gateway) && q.matchPID(r.Process)
}

func (q Query) inTime(t time.Time) bool {
	return (q.Since.IsZero() || !t.Before(q.Since)) && (q.Until.IsZero() || t.Before(q.Until))
}

func (q Query) matchPID(p *event.Process) bool {
	if q.PID == 0 {
		return true
	}
	if p == nil {
		return false
	}
	return p.PID == q.PID || q.Tree && slices.ContainsFunc(p.Ancestors, func(a event.Ancestor) bool { return a.PID == q.PID })
}

func (q Query) since() int64 {
	if q.Since.IsZero() {
		return math.MinInt64
	}
	return nanos(q.Since)
}

// until is exclusive.
func (q Query) until() int64 {
	if q.Until.IsZero() {
		return math.MaxInt64
	}
	return nanos(q.Until)
}
