package tables

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/store"
)

// A Query is a question to the agent.
type Query struct {
	store.Query
	ID string // of one record or alert; what else the query says then does not count
}

// An Op compares a column with a value.
type Op int

// The comparisons that can narrow a question.
const (
	Equal Op = iota + 1
	Greater
	GreaterOrEqual
	Less
	LessOrEqual
	Like // as SQL has it, without regard to case
	Glob
)

// A Constraint is one condition that all rows have to meet.
type Constraint struct {
	Column string
	Op     Op
	Value  string
}

// lastSecond is the greatest time that is asked for: the store counts
// nanoseconds in 64 bits, up to the year 2262.
const lastSecond = 9_000_000_000

var (
	kindShape   = regexp.MustCompile(`^[a-z]+\.[a-z]+$`)
	familyShape = regexp.MustCompile(`^([a-z]+)\.[*%]$`)
	idShape     = regexp.MustCompile(`^[0-9A-Za-z]{8,128}$`)
)

// Narrow makes constraints, as many as can, part of a question; some is false
// when no row can meet them. Those that cannot are left out: the answer then
// has more than is wanted, and never less.
func (t Table) Narrow(constraints []Constraint) (q Query, some bool) {
	q.Kind = t.Kind
	since, until := int64(0), int64(lastSecond)
	for _, c := range constraints {
		possible := true
		switch t.filter(c.Column) {
		case ByTime:
			since, until = narrowTime(since, until, c)
		case ByKind:
			possible = q.narrowKind(t.Kind, c)
		case ByPID:
			possible = q.narrowPID(c)
		case ByID:
			if c.Op == Equal {
				possible, q.ID = idShape.MatchString(c.Value), c.Value
			}
		case BySkill:
			name(&q.Skill, c)
		case BySession:
			name(&q.Session, c)
		case ByGateway:
			name(&q.Gateway, c)
		case ByRule:
			name(&q.Rule, c)
		}
		if !possible {
			return q, false
		}
	}
	if since > 0 {
		q.Since = time.Unix(since, 0).UTC()
	}
	if until < lastSecond {
		q.Until = time.Unix(until, 0).UTC()
	}
	return q, since < until
}

func (t Table) filter(column string) Filter {
	i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == column })
	if i < 0 {
		return None
	}
	return t.Columns[i].Filter
}

// name takes an equal name. One that was made safe is not the agent's: it does
// not narrow.
func name(to *string, c Constraint) {
	if c.Op == Equal && *to == "" && len(c.Value) < maxText && !strings.ContainsAny(c.Value, `\…`) {
		*to = c.Value
	}
}

// narrowTime narrows [since, until), in seconds, as a column of whole seconds
// compares.
func narrowTime(since, until int64, c Constraint) (int64, int64) {
	f, err := strconv.ParseFloat(c.Value, 64)
	if err != nil || math.IsNaN(f) {
		return since, until
	}
	f = max(-1, min(f, lastSecond))
	ceil, next := int64(math.Ceil(f)), int64(math.Floor(f))+1
	switch c.Op {
	case Equal:
		return max(since, ceil), min(until, next)
	case Greater:
		return max(since, next), until
	case GreaterOrEqual:
		return max(since, ceil), until
	case Less:
		return since, min(until, ceil)
	case LessOrEqual:
		return since, min(until, next)
	}
	return since, until
}

func (q *Query) narrowPID(c Constraint) (possible bool) {
	f, err := strconv.ParseFloat(c.Value, 64)
	if c.Op != Equal || err != nil || q.PID != 0 {
		return true
	}
	if f != math.Trunc(f) || f < 1 || f > math.MaxInt32 {
		return false
	}
	q.PID = int32(f)
	return true
}

// narrowKind takes a kind, or all of a family: LIKE 'file.%', GLOB 'file.*'. own
// is the table's, to which others do not belong.
func (q *Query) narrowKind(own string, c Constraint) (possible bool) {
	wanted := c.Value
	switch c.Op {
	case Equal:
		if !kindShape.MatchString(wanted) {
			return false
		}
	case Like, Glob:
		if c.Op == Like {
			wanted = strings.ToLower(wanted)
		}
		wild := map[Op]string{Like: "%", Glob: "*"}[c.Op]
		m := familyShape.FindStringSubmatch(wanted)
		if m == nil || !strings.HasSuffix(wanted, wild) {
			return true
		}
		wanted = m[1] + ".*"
	default:
		return true
	}
	if !within(wanted, own) && !within(own, wanted) {
		return false
	}
	if within(wanted, q.Kind) {
		q.Kind = wanted
	}
	return true
}

// within reports whether a kind, or family of kinds, belongs to another; to the
// empty one all do.
func within(kind, family string) bool {
	if family == "" || kind == family {
		return true
	}
	prefix, ok := strings.CutSuffix(family, "*")
	return ok && strings.HasPrefix(kind, prefix)
}
