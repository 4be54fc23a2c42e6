package api

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/clawwatch/clawwatch/internal/store"
)

const (
	defaultLimit = 100
	maxValue     = 4096 // bytes of one parameter
)

// kindShape is that of a kind, or of a family of them.
var kindShape = regexp.MustCompile(`^[a-z]+(\.[a-z]+|\.\*)?$`)

// ParseQuery reads the parameters of a request:
//
//	since, until  10m, 7d, RFC 3339, or a date      skill, session, gateway, rule
//	kind          file.open, file.*, file           pid, tree=1 (descendants too)
//	limit         default 100, 0: none              order newest (default) or oldest
//	follow        1: go on as more happens
//
// An unknown or doubled parameter is an error.
func ParseQuery(v url.Values, now time.Time) (q store.Query, follow bool, err error) {
	q.Limit = defaultLimit
	for name, values := range v {
		if len(values) != 1 || len(values[0]) > maxValue {
			return q, false, fmt.Errorf("parameter %.40q: want it once, with at most %d bytes", name, maxValue)
		}
		value := values[0]
		switch name {
		case "since":
			q.Since, err = ParseTime(value, now)
		case "until":
			q.Until, err = ParseTime(value, now)
		case "skill":
			q.Skill = value
		case "session":
			q.Session = value
		case "gateway":
			q.Gateway = value
		case "rule":
			q.Rule = value
		case "kind":
			if !kindShape.MatchString(value) {
				err = fmt.Errorf("%.40q is no kind; want one like file.open or file.*", value)
			}
			q.Kind = value
		case "pid":
			q.PID, err = parsePID(value)
		case "limit":
			q.Limit, err = strconv.Atoi(value)
			if err != nil || q.Limit < 0 {
				err = fmt.Errorf("%.40q is no number of 0 or more", value)
			}
		case "order":
			q.Oldest = value == "oldest"
			if value != "oldest" && value != "newest" {
				err = fmt.Errorf("%.40q is neither newest nor oldest", value)
			}
		case "tree":
			q.Tree, err = parseFlag(value)
		case "follow":
			follow, err = parseFlag(value)
		default:
			err = fmt.Errorf("unknown")
		}
		if err != nil {
			return q, false, fmt.Errorf("parameter %.40q: %w", name, err)
		}
	}
	if !q.Since.IsZero() && !q.Until.IsZero() && !q.Since.Before(q.Until) {
		return q, false, fmt.Errorf("since %s is not before until %s", q.Since.Format(time.RFC3339), q.Until.Format(time.RFC3339))
	}
	return q, follow, nil
}

// Values is the inverse of ParseQuery.
func Values(q store.Query, follow bool) url.Values {
	v := url.Values{"limit": {strconv.Itoa(q.Limit)}}
	for name, value := range map[string]string{"skill": q.Skill, "session": q.Session, "gateway": q.Gateway, "rule": q.Rule, "kind": q.Kind} {
		if value != "" {
			v.Set(name, value)
		}
	}
	for name, t := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !t.IsZero() {
			v.Set(name, t.Format(time.RFC3339Nano))
		}
	}
	for name, set := range map[string]bool{"tree": q.Tree, "follow": follow} {
		if set {
			v.Set(name, "1")
		}
	}
	if q.PID != 0 {
		v.Set("pid", strconv.Itoa(int(q.PID)))
	}
	if q.Oldest {
		v.Set("order", "oldest")
	}
	return v
}

// ParseTime reads a time: an age before now ("90s", "10m", "2h30m", "7d"),
// RFC 3339, or a date of now's time zone.
func ParseTime(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, now.Location()); err == nil {
		return t, nil
	}
	var age time.Duration
	var err error
	if days, ok := cutDays(s); ok {
		age = days
	} else {
		age, err = time.ParseDuration(s)
	}
	if err != nil || age < 0 {
		return time.Time{}, fmt.Errorf("%.40q is no time; want an age like 10m or 7d, or one like 2026-11-22T07:00:00Z", s)
	}
	return now.Add(-age), nil
}

// cutDays reads whole days, which time.ParseDuration does not know.
func cutDays(s string) (time.Duration, bool) {
	n := len(s) - 1
	if n < 1 || s[n] != 'd' {
		return 0, false
	}
	const day = 24 * time.Hour
	days, err := strconv.ParseUint(s[:n], 10, 31)
	if err != nil || days > uint64(math.MaxInt64/day) {
		return 0, false
	}
	return time.Duration(days) * day, true
}

func parsePID(s string) (int32, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%.40q is no PID", s)
	}
	return int32(n), nil
}

func parseFlag(s string) (bool, error) {
	switch s {
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, fmt.Errorf("%.40q is neither 1 nor 0", s)
}
