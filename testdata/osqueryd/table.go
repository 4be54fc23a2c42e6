package osqueryd

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/osquery/osquery-go/gen/osquery"
	"modernc.org/sqlite/vtab"
)

// extensionTimeout is how long an extension may take for an answer.
const extensionTimeout = 30 * time.Second

// registered is an extension's table: an SQLite module, and its only table.
type registered struct {
	name, module string
	columns      osquery.ExtensionPluginResponse
	uuid         osquery.ExtensionRouteUUID
	socket       string
	known        bool // to the driver
}

// operators are SQLite's, as osquery passes them on.
var operators = map[vtab.ConstraintOp]int{
	vtab.OpEQ: 2, vtab.OpGT: 4, vtab.OpLE: 8, vtab.OpLT: 16, vtab.OpGE: 32,
	vtab.OpMATCH: 64, vtab.OpLIKE: 65, vtab.OpGLOB: 66, vtab.OpREGEXP: 67,
}

// Options of columns that make osquery pass constraints on.
const index, required, additional = 1, 2, 4

// A term is one constraint of a plan.
type term struct {
	Column int
	Op     int
}

// Create declares the table.
func (t *registered) Create(ctx vtab.Context, _ []string) (vtab.Table, error) {
	return t, ctx.Declare(t.schema())
}

// Connect is Create.
func (t *registered) Connect(ctx vtab.Context, args []string) (vtab.Table, error) {
	return t.Create(ctx, args)
}

// BestIndex takes the constraints that osquery would.
func (t *registered) BestIndex(info *vtab.IndexInfo) error {
	info.EstimatedCost = 1e6
	plan := []term{}
	for i := range info.Constraints {
		c := &info.Constraints[i]
		op, known := operators[c.Op]
		if !c.Usable || !known || c.Column < 0 || c.Column >= len(t.columns) {
			continue
		}
		column := t.columns[c.Column]
		ordered := c.Op == vtab.OpGT || c.Op == vtab.OpGE || c.Op == vtab.OpLT || c.Op == vtab.OpLE
		options, err := strconv.Atoi(column["op"])
		if err != nil || options&(index|required|additional) == 0 || column["type"] == "TEXT" && ordered {
			continue
		}
		c.ArgIndex = len(plan)
		plan = append(plan, term{c.Column, op})
		info.EstimatedCost = 1
	}
	text, err := json.Marshal(plan)
	info.IdxStr = string(text)
	return err
}

// Open makes a cursor.
func (t *registered) Open() (vtab.Cursor, error) { return &cursor{table: t}, nil }

// Disconnect and Destroy have nothing to end.
func (t *registered) Disconnect() error { return nil }

// Destroy is Disconnect.
func (t *registered) Destroy() error { return nil }

type cursor struct {
	table *registered
	rows  []map[string]string
	at    int
}

// Filter asks the extension.
func (c *cursor) Filter(_ int, plan string, values []vtab.Value) error {
	var terms []term
	if err := json.Unmarshal([]byte(plan), &terms); err != nil {
		return fmt.Errorf("read plan: %w", err)
	}
	type constraint struct {
		Op   int    `json:"op"`
		Expr string `json:"expr"`
	}
	lists := map[int][]constraint{}
	for i, t := range terms {
		if expr := expression(values[i]); expr != "" {
			lists[t.Column] = append(lists[t.Column], constraint{t.Op, expr})
		}
	}
	var all []map[string]any
	for i, column := range c.table.columns {
		var list any = "" // as osquery has an empty one
		if lists[i] != nil {
			list = lists[i]
		}
		all = append(all, map[string]any{"name": column["name"], "affinity": column["type"], "list": list})
	}
	request, err := json.Marshal(map[string]any{"constraints": all})
	if err != nil {
		return err
	}
	c.at = 0
	c.rows, err = c.table.generate(string(request))
	return err
}

func expression(v vtab.Value) string {
	switch v := v.(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatFloat(v, 'g', 15, 64)
	case []byte:
		return string(v)
	}
	return fmt.Sprint(v)
}

func (t *registered) generate(request string) ([]map[string]string, error) {
	config := &thrift.TConfiguration{ConnectTimeout: extensionTimeout, SocketTimeout: extensionTimeout}
	socket := thrift.NewTSocketFromAddrConf(unixAddr(t.socket), config)
	if err := socket.Open(); err != nil {
		return nil, fmt.Errorf("connect to extension: %w", err)
	}
	defer func() { _ = socket.Close() }()
	client := osquery.NewExtensionClientFactory(thrift.NewTBufferedTransport(socket, 64<<10), thrift.NewTBinaryProtocolFactoryConf(config))
	answer, err := client.Call(context.Background(), "table", t.name, osquery.ExtensionPluginRequest{"action": "generate", "context": request})
	if err != nil {
		return nil, fmt.Errorf("ask extension for %s: %w", t.name, err)
	}
	if answer.Status.Code != 0 {
		return nil, fmt.Errorf("ask extension for %s: %s", t.name, answer.Status.Message)
	}
	return answer.Response, nil
}

// Column gives a value in the column's type; what the row lacks, or does not
// have in that type, is NULL.
func (c *cursor) Column(i int) (vtab.Value, error) {
	column := c.table.columns[i]
	value, there := c.rows[c.at][column["name"]]
	if !there {
		return nil, nil
	}
	if column["type"] == "TEXT" {
		return value, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return nil, nil
	}
	return n, nil
}

// Next, Eof, Rowid and Close go through the answer.
func (c *cursor) Next() error { c.at++; return nil }

// Eof reports whether the answer is at its end.
func (c *cursor) Eof() bool { return c.at >= len(c.rows) }

// Rowid is the place in the answer.
func (c *cursor) Rowid() (int64, error) { return int64(c.at), nil }

// Close forgets the answer.
func (c *cursor) Close() error { c.rows = nil; return nil }
