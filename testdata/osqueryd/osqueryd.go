// Package osqueryd stands in for osqueryd in tests: a real thrift extension
// manager on a unix socket, with SQLite on top. Tables that an extension
// registers become virtual tables, and constraints go to it as osquery sends
// them: those on columns that are an index or additional, and of comparisons of
// text only equality and patterns.
//
// It is no osquery: it loads no extensions, checks no permissions of theirs, has
// no watchdog, and no tables of its own.
package osqueryd

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/osquery/osquery-go/gen/osquery"
	_ "modernc.org/sqlite" // the driver
	"modernc.org/sqlite/vtab"
)

// instances makes names of SQLite modules unique: they are the driver's, and
// outlive a Server.
var instances atomic.Int64

// A Server is a running osqueryd.
type Server struct {
	socket   string
	instance int64
	server   *thrift.TSimpleServer
	listener *listener
	done     chan error

	mu         sync.Mutex
	next       osquery.ExtensionRouteUUID
	extensions map[osquery.ExtensionRouteUUID]string // name
	tables     map[string]*registered
	changed    chan struct{} // closed, and replaced, when tables changed
}

// Start serves on a socket. One that is there already is removed, as osqueryd
// does.
func Start(socket string) (*Server, error) {
	s := &Server{
		socket: socket, instance: instances.Add(1), done: make(chan error, 1),
		extensions: map[osquery.ExtensionRouteUUID]string{}, tables: map[string]*registered{}, changed: make(chan struct{}),
		listener: &listener{TServerSocket: thrift.NewTServerSocketFromAddrTimeout(unixAddr(socket), 0)},
	}
	s.next = osquery.ExtensionRouteUUID(1000 * s.instance)
	_ = os.Remove(socket)
	if err := s.listener.Listen(); err != nil {
		return nil, fmt.Errorf("start osqueryd: %w", err)
	}
	s.server = thrift.NewTSimpleServer4(osquery.NewExtensionManagerProcessor(s), s.listener, thrift.NewTTransportFactory(), thrift.NewTBinaryProtocolFactoryConf(nil))
	s.server.SetLogContext(context.Background())
	go func() { s.done <- s.server.AcceptLoop() }()
	return s, nil
}

func unixAddr(path string) *net.UnixAddr { return &net.UnixAddr{Name: path, Net: "unix"} }

// Kill ends the server without a word to its extensions.
func (s *Server) Kill() error {
	s.listener.closeAll() // or Stop would wait for those who hold a connection
	if err := s.server.Stop(); err != nil {
		return fmt.Errorf("stop osqueryd: %w", err)
	}
	return <-s.done
}

// A listener knows its connections, to cut them.
type listener struct {
	*thrift.TServerSocket
	mu     sync.Mutex
	closed bool
	conns  []thrift.TTransport
}

// Accept waits for a connection.
func (l *listener) Accept() (thrift.TTransport, error) {
	conn, err := l.TServerSocket.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = conn.Close()
	}
	l.conns = append(l.conns, conn)
	return conn, nil
}

func (l *listener) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, c := range l.conns {
		_ = c.Close() // it may be at its end already
	}
}

// Wait waits until so many tables are registered, and answer.
func (s *Server) Wait(ctx context.Context, tables int) error {
	for {
		s.mu.Lock()
		n, changed := len(s.tables), s.changed
		sockets := map[string]bool{}
		for _, t := range s.tables {
			sockets[t.socket] = true
		}
		s.mu.Unlock()
		if n >= tables {
			return listening(ctx, sockets)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %d tables, %d are there: %w", tables, n, ctx.Err())
		case <-changed:
		}
	}
}

// listening waits until extensions listen: they do so only after they have
// registered, and say no word of it.
func listening(ctx context.Context, sockets map[string]bool) error {
	for socket := range sockets {
		for {
			conn, err := net.DialUnix("unix", nil, unixAddr(socket))
			if err == nil {
				_ = conn.Close() // it was for the asking
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for extension at %s: %w", socket, err)
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return nil
}

// Select runs one statement. Values of a row are nil, int64, float64 or string.
func (s *Server) Select(ctx context.Context, statement string) (columns []string, rows [][]any, err error) {
	db, err := s.open()
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = db.Close() }()
	result, err := db.QueryContext(ctx, statement)
	if err != nil {
		return nil, nil, fmt.Errorf("select: %w", err)
	}
	defer func() { _ = result.Close() }()
	if columns, err = result.Columns(); err != nil {
		return nil, nil, fmt.Errorf("select: %w", err)
	}
	for result.Next() {
		row := make([]any, len(columns))
		to := make([]any, len(columns))
		for i := range row {
			to[i] = &row[i]
		}
		if err := result.Scan(to...); err != nil {
			return nil, nil, fmt.Errorf("select: %w", err)
		}
		rows = append(rows, row)
	}
	if err := result.Err(); err != nil {
		return nil, nil, fmt.Errorf("select: %w", err)
	}
	return columns, rows, nil
}

// open gives a database with the tables that are registered now. Modules bind
// only to connections that are opened after them.
func (s *Server) open() (*sql.DB, error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.SetMaxOpenConns(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, t := range s.tables {
		if !t.known {
			if err := vtab.RegisterModule(db, t.module, t); err != nil {
				return nil, fmt.Errorf("register module of %s: %w", name, err)
			}
			t.known = true
		}
	}
	for name, t := range s.tables {
		if _, err := db.Exec("CREATE VIRTUAL TABLE temp." + name + " USING " + t.module); err != nil {
			return nil, fmt.Errorf("attach %s: %w", name, err)
		}
	}
	return db, nil
}

// Ping answers an extension that looks whether osquery is there.
func (s *Server) Ping(context.Context) (*osquery.ExtensionStatus, error) { return ok(0), nil }

// RegisterExtension takes an extension's tables. As osquery does, it refuses a
// name that is there already.
func (s *Server) RegisterExtension(_ context.Context, info *osquery.InternalExtensionInfo, registry osquery.ExtensionRegistry) (*osquery.ExtensionStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.extensions {
		if name == info.Name {
			return &osquery.ExtensionStatus{Code: 1, Message: "Duplicate extension registered"}, nil
		}
	}
	s.next++
	uuid := s.next
	s.extensions[uuid] = info.Name
	for name, columns := range registry["table"] {
		s.tables[name] = &registered{
			name: name, module: fmt.Sprintf("m%d_%d_%s", s.instance, uuid, name), columns: columns,
			uuid: uuid, socket: fmt.Sprintf("%s.%d", s.socket, uuid),
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return ok(uuid), nil
}

// DeregisterExtension forgets an extension and its tables.
func (s *Server) DeregisterExtension(_ context.Context, uuid osquery.ExtensionRouteUUID) (*osquery.ExtensionStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.extensions, uuid)
	for name, t := range s.tables {
		if t.uuid == uuid {
			delete(s.tables, name)
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return ok(uuid), nil
}

// Extensions lists what is registered.
func (s *Server) Extensions(context.Context) (osquery.InternalExtensionList, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := osquery.InternalExtensionList{}
	for uuid, name := range s.extensions {
		all[uuid] = &osquery.InternalExtensionInfo{Name: name}
	}
	return all, nil
}

// Call, Shutdown, Options, Query and GetQueryColumns are asked by nobody here.
func (s *Server) Call(context.Context, string, string, osquery.ExtensionPluginRequest) (*osquery.ExtensionResponse, error) {
	return nil, fmt.Errorf("call: osqueryd has no plugins")
}

// Shutdown does nothing.
func (s *Server) Shutdown(context.Context) error { return nil }

// Options are none.
func (s *Server) Options(context.Context) (osquery.InternalOptionList, error) {
	return osquery.InternalOptionList{}, nil
}

// Query is not served over thrift: see Select.
func (s *Server) Query(context.Context, string) (*osquery.ExtensionResponse, error) {
	return nil, fmt.Errorf("query: not over thrift")
}

// GetQueryColumns is not served either.
func (s *Server) GetQueryColumns(context.Context, string) (*osquery.ExtensionResponse, error) {
	return nil, fmt.Errorf("get columns: not over thrift")
}

func ok(uuid osquery.ExtensionRouteUUID) *osquery.ExtensionStatus {
	return &osquery.ExtensionStatus{Message: "OK", UUID: uuid}
}

// schema is the table as SQLite wants to hear of it.
func (t *registered) schema() string {
	var columns []string
	for _, c := range t.columns {
		columns = append(columns, fmt.Sprintf("%q %s", c["name"], c["type"]))
	}
	return "CREATE TABLE x(" + strings.Join(columns, ", ") + ")"
}
