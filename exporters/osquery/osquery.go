// Package osquery gives the tables of package tables to an osquery on this
// host, as an extension of it: a thrift server on a socket beside osquery's.
//
// Rows come from the agent's socket, when a query needs them; what constraints
// on indexed columns leave out is never read. An answer has at most 10,000 rows,
// the newest, takes at most four seconds, and 32 MiB. What was left out is
// logged, and for ten minutes stands in clawwatch_coverage, in the row of the
// probe osquery. An agent that does not answer gives no rows, and a row in
// clawwatch_coverage that says so.
//
// What it does not do: it has no evented tables (extensions cannot), and it
// does not see which columns or how many rows a query wants: osquery tells
// extensions neither.
package osquery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	osquery "github.com/osquery/osquery-go"
	"github.com/osquery/osquery-go/plugin/table"

	"github.com/clawwatch/clawwatch/internal/api"
	"github.com/clawwatch/clawwatch/internal/tables"
)

// registered is the name under which the extension registers.
const registered = "clawwatch"

const (
	maxRows  = 10_000
	maxBytes = 32 << 20
	maxWait  = 4 * time.Second
	noteAge  = 10 * time.Minute // how long what was left out stands in clawwatch_coverage
	logAge   = time.Minute      // how long the same trouble is not logged again
)

// Config says whom to serve, and whom to ask.
type Config struct {
	Socket   string        // of osquery's extension manager; at most 97 bytes
	Timeout  time.Duration // for osquery to answer
	Interval time.Duration // between looks whether osquery is still there, and attempts to reach it
	Agent    *api.Client
	Version  string
	Log      *slog.Logger
	// Orphaned reports that whoever started the extension has ended. Another is
	// started by its successor; two of a name cannot register. Nil: never.
	Orphaned func() bool
}

// Run serves osquery until ctx is done or it is orphaned, and then returns nil.
// An osquery that is away is waited for.
func Run(ctx context.Context, cfg Config) error {
	if len(cfg.Socket) > osquery.MaxSocketPathCharacters {
		return fmt.Errorf("serve osquery: path of socket has %d bytes, at most %d", len(cfg.Socket), osquery.MaxSocketPathCharacters)
	}
	x := &extension{cfg: cfg, notes: map[string]note{}}
	away := false
	for {
		served, err := x.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if cfg.Orphaned != nil && cfg.Orphaned() {
			cfg.Log.Info("osquery has ended, and with it whoever started this extension")
			return nil
		}
		if !away || served {
			cfg.Log.Warn("osquery does not answer; waiting for it", "socket", cfg.Socket, "error", err.Error()) // without the stack that it carries
		}
		away = true
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(cfg.Interval):
		}
	}
}

type extension struct {
	cfg Config

	mu    sync.Mutex
	notes map[string]note // by table
}

// A note is what was left out of a table, or why there is nothing.
type note struct {
	said   string
	at     time.Time
	logged time.Time
}

// serve registers with osquery, and serves until it goes away or ctx is done.
// Served reports whether osquery was there for a while.
func (x *extension) serve(ctx context.Context) (served bool, err error) {
	srv, err := osquery.NewExtensionManagerServer(registered, x.cfg.Socket,
		osquery.ServerTimeout(x.cfg.Timeout), osquery.ServerPingInterval(x.cfg.Interval), osquery.ExtensionVersion(x.cfg.Version),
		osquery.WithTransportFactory(thrift.NewTBufferedTransportFactory(64<<10)))
	if err != nil {
		return false, err
	}
	for _, t := range tables.All() {
		srv.RegisterPlugin(table.NewPlugin(t.Name, definitions(t), x.generator(ctx, t), table.WithDescription(t.Description)))
	}
	// Run starts goroutines of its own, which end with the server but for the one
	// that served: it stays when it was a ping that failed.
	stop := context.AfterFunc(ctx, func() { _ = srv.Shutdown(context.WithoutCancel(ctx)) }) // Run tells
	defer stop()
	began := time.Now()
	if err = srv.Run(); err == nil {
		err = errors.New("it ended the extension")
	}
	return time.Since(began) >= x.cfg.Interval, err
}

// definitions are the columns as osquery has them. Additional makes osquery hand
// over constraints; Index would promise that a value has one row.
func definitions(t tables.Table) []table.ColumnDefinition {
	var all []table.ColumnDefinition
	for _, c := range t.Columns {
		all = append(all, table.ColumnDefinition{
			Name: c.Name, Type: table.ColumnType(c.Type), Description: c.Description, Additional: c.Filter != tables.None,
		})
	}
	return all
}

// generator answers for one table.
func (x *extension) generator(ctx context.Context, t tables.Table) table.GenerateFunc {
	return func(call context.Context, given table.QueryContext) ([]map[string]string, error) {
		call, cancel := context.WithTimeout(call, maxWait)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		q, some := t.Narrow(constraints(given))
		if !some {
			return nil, nil
		}
		rows, left := collect(call, x.cfg.Agent, t, q)
		if left != "" {
			x.note(t.Name, left)
		}
		if t.Name == "clawwatch_coverage" {
			rows = append(rows, x.noted()...)
		}
		return rows, nil
	}
}

// collect gives the rows of an answer, and what is wrong with it, if anything.
func collect(ctx context.Context, agent *api.Client, t tables.Table, q tables.Query) (rows []map[string]string, left string) {
	most := maxRows
	if t.MaxRows > 0 {
		most = min(most, t.MaxRows)
	}
	q.Limit = most + 1
	bytes := 0
	for row, err := range t.Rows(ctx, agent, q) {
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, api.ErrNotRunning), errors.Is(err, api.ErrNotAllowed):
			return rows, err.Error()
		case err != nil:
			return rows, fmt.Sprintf("%d rows and then: %v", len(rows), err)
		case len(rows) == most:
			return rows, fmt.Sprintf("more than %d rows, the rest is left out; narrow time, skill, session, pid or kind", most)
		default:
			for name, value := range row {
				bytes += len(name) + len(value)
			}
			if bytes > maxBytes {
				return rows, fmt.Sprintf("more than %d MiB, of which %d rows are given; narrow time, skill, session, pid or kind", maxBytes>>20, len(rows))
			}
			rows = append(rows, row)
			continue
		}
		break
	}
	if ctx.Err() != nil {
		return rows, fmt.Sprintf("only %d rows within %v; narrow time, skill, session, pid or kind", len(rows), maxWait)
	}
	return rows, ""
}

// note keeps what is wrong with a table's answer, and logs it.
func (x *extension) note(name, said string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := time.Now()
	n := x.notes[name]
	if now.Sub(n.logged) >= logAge {
		x.cfg.Log.Warn("answer is not whole", "table", name, "reason", said)
		n.logged = now
	}
	n.said, n.at = said, now
	x.notes[name] = n
}

// noted gives the rows of clawwatch_coverage that tell of notes.
func (x *extension) noted() []map[string]string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var rows []map[string]string
	for name, n := range x.notes {
		if time.Since(n.at) < noteAge {
			rows = append(rows, map[string]string{
				"probe": "osquery", "fidelity": "sampled",
				"reason": fmt.Sprintf("%s, %s: %s", name, n.at.UTC().Format(time.RFC3339), n.said),
			})
		}
	}
	slices.SortFunc(rows, func(a, b map[string]string) int { return strings.Compare(a["reason"], b["reason"]) })
	return rows
}

// operators are those that can narrow, as osquery numbers them.
var operators = map[table.Operator]tables.Op{
	table.OperatorEquals: tables.Equal, table.OperatorGreaterThan: tables.Greater, table.OperatorGreaterThanOrEquals: tables.GreaterOrEqual,
	table.OperatorLessThan: tables.Less, table.OperatorLessThanOrEquals: tables.LessOrEqual,
	table.OperatorLike: tables.Like, table.OperatorGlob: tables.Glob,
}

func constraints(given table.QueryContext) []tables.Constraint {
	var all []tables.Constraint
	for column, list := range given.Constraints {
		for _, c := range list.Constraints {
			if op, ok := operators[c.Operator]; ok {
				all = append(all, tables.Constraint{Column: column, Op: op, Value: c.Expression})
			}
		}
	}
	return all
}
