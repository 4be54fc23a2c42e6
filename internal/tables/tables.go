// Package tables declares what can be asked about in rows and columns: each
// table once, with its columns, what they mean, and how the agent is asked for
// it. osquery and the documentation read the same declaration.
//
// A table holds nothing: its rows come from the agent's socket when they are
// wanted. Constraints on time, skill, session, gateway, PID, kind, rule and ID
// become part of the question (see Narrow), so that the agent reads only what
// may match. They only ever narrow: whoever asks filters the rows again.
//
// What it costs: nothing until asked; then about 20 µs a row here, and what the
// agent's query costs there.
//
// What is not known is absent from a row. Every text in a row is one line
// without control characters, of at most 4 KiB: names and paths come from
// hostile programs, and end up on terminals.
package tables

import (
	"context"
	"encoding/json"
	"iter"
	"math"
	"strconv"
	"time"

	"github.com/clawwatch/clawwatch/internal/api"
	"github.com/clawwatch/clawwatch/internal/redact"
)

// A Type is that of a column, by its name in SQL.
type Type string

// The types there are.
const (
	Text    Type = "TEXT"
	Integer Type = "INTEGER" // 32 bits
	BigInt  Type = "BIGINT"  // 64 bits, signed
)

// A Filter says what a constraint on a column narrows in the question to the
// agent.
type Filter string

// The filters there are.
const (
	None      Filter = ""
	ByTime    Filter = "time"
	ByID      Filter = "id"
	ByKind    Filter = "kind"
	ByPID     Filter = "pid"
	ByRule    Filter = "rule"
	BySkill   Filter = "skill"
	BySession Filter = "session"
	ByGateway Filter = "gateway"
)

// A Column is one column of a table.
type Column struct {
	Name        string
	Type        Type
	Filter      Filter
	Description string
}

// A Table is one table.
type Table struct {
	Name        string
	Description string
	Columns     []Column
	Examples    []string // SQL
	Kind        string   // the kind, or family of kinds, that its records have; empty: any, or no records
	// MaxRows is the most that the agent gives in one answer; 0: no limit of its own.
	MaxRows int

	rows func(context.Context, *api.Client, Query) iter.Seq2[Row, error]
}

// A Row has the value of each column that is known.
type Row map[string]string

// Rows asks the agent. Rows come newest first; Limit of the query counts. Errors
// are those of the client.
func (t Table) Rows(ctx context.Context, c *api.Client, q Query) iter.Seq2[Row, error] {
	return t.rows(ctx, c, q)
}

// A field is a column, and its value in a T; an empty value is not known.
type field[T any] struct {
	Column
	value func(*T) string
}

// asker gives the T that a query wants.
type asker[T any] func(context.Context, *api.Client, Query) iter.Seq2[T, error]

// define makes a table of what ask gives.
func define[T any](name, description string, ask asker[T], fields ...[]field[T]) Table {
	t := Table{Name: name, Description: description}
	var all []field[T]
	for _, some := range fields {
		all = append(all, some...)
	}
	for _, f := range all {
		t.Columns = append(t.Columns, f.Column)
	}
	t.rows = func(ctx context.Context, c *api.Client, q Query) iter.Seq2[Row, error] {
		return func(yield func(Row, error) bool) {
			for v, err := range ask(ctx, c, q) {
				if err != nil {
					yield(nil, err)
					return
				}
				row := make(Row, len(all))
				for _, f := range all {
					if s := f.value(&v); s != "" {
						row[f.Name] = s
					}
				}
				if !yield(row, nil) {
					return
				}
			}
		}
	}
	return t
}

const (
	maxText = 4096 // bytes of one value
	maxItem = 512  // bytes of one item of a list
)

// text is hostile text made safe.
func text(s string) string { return redact.Sanitize(s, maxText) }

// list is a JSON array of hostile texts, of as many as there is room for.
func list[S ~string](all []S) string {
	if len(all) == 0 {
		return ""
	}
	b := []byte{'['}
	for _, s := range all {
		item, err := json.Marshal(redact.Sanitize(string(s), maxItem))
		if err != nil || len(b)+len(item)+2 > maxText {
			break
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, item...)
	}
	return string(append(b, ']'))
}

// number is absent when it is 0.
func number[N ~int | ~int32 | ~int64 | ~uint16 | ~uint32](n N) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(int64(n), 10)
}

// count is never absent.
func count[N ~int | ~int64](n N) string { return strconv.FormatInt(int64(n), 10) }

// optional is absent when there is none.
func optional(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

// big is a number that SQL's integers may be too small for.
func big(n uint64) string { return strconv.FormatUint(min(n, math.MaxInt64), 10) }

func optionalBig(n *uint64) string {
	if n == nil {
		return ""
	}
	return big(*n)
}

func boolean(set bool) string {
	if set {
		return "1"
	}
	return "0"
}

// seconds is a time as osquery has it.
func seconds(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.Unix(), 10)
}

func datetime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
