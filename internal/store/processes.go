package store

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// What one answer about processes may hold. Names and paths come from hostile
// programs, which could make any number of them.
const (
	maxProcesses   = 5_000
	maxScanned     = 300_000 // matching records read, newest first
	maxNotable     = 24      // files shown beside one process
	maxConnections = 24
	maxEnvNames    = 64
)

// Activities are processes and what they did, oldest first.
type Activities struct {
	Processes []Activity `json:"processes"`
	// Partial: there was more than one answer holds; what is older than From
	// was not looked at, or not entered.
	Partial bool      `json:"partial,omitempty"`
	From    time.Time `json:"from,omitzero"` // the oldest record that was looked at
}

// An Activity is one process and what it did.
type Activity struct {
	Process     event.Process      `json:"process"`
	Attribution *event.Attribution `json:"attribution,omitempty"`
	First       time.Time          `json:"first"` // its records in the time asked for
	Last        time.Time          `json:"last"`
	Exited      bool               `json:"exited,omitempty"`
	Files       map[string]int     `json:"files,omitempty"`   // by operation
	Notable     []NotableFile      `json:"notable,omitempty"` // most notable first
	Connections []Connection       `json:"connections,omitempty"`
	EnvNames    []string           `json:"env_names,omitempty"` // variables read
	More        int                `json:"more,omitempty"`      // files and connections left out of the lists
}

// A NotableFile is one that a person should see: changed, or outside of where
// reads are usual.
type NotableFile struct {
	Path      string `json:"path"`
	Operation string `json:"operation"` // the gravest
	Count     int    `json:"count"`
	rank      int
}

// A Connection sums up what went between a process and one peer.
type Connection struct {
	Direction   string `json:"direction"`
	Transport   string `json:"transport"`
	PeerAddress string `json:"peer_address"`
	PeerPort    uint16 `json:"peer_port"`
	Host        string `json:"host,omitempty"`
	Count       int    `json:"count"`
	Failed      int    `json:"failed,omitempty"`
	Sent        uint64 `json:"bytes_sent"` // of the sockets that were closed
	Received    uint64 `json:"bytes_received"`

	opened, closed int
}

// Processes gives the processes that the query's records are about. Limit is
// that of processes, the newest.
func (s *Store) Processes(ctx context.Context, q Query) (Activities, error) {
	limit := maxProcesses
	if q.Limit > 0 {
		limit = min(limit, q.Limit)
	}
	q.Limit, q.Oldest, q.After = 0, false, 0
	var all Activities
	at, scanned := map[event.ProcID]*Activity{}, 0
	for r, err := range s.Events(ctx, q) {
		if err != nil {
			return all, err
		}
		if r.Process == nil {
			continue
		}
		if scanned++; scanned > maxScanned {
			all.Partial = true
			break
		}
		id := event.ProcID{PID: r.Process.PID, Start: r.Process.StartTime}
		a := at[id]
		if a == nil {
			if len(at) == limit {
				all.Partial = true
				continue
			}
			a = &Activity{Process: *r.Process, Attribution: r.Attribution, Last: r.Time}
			at[id] = a
		}
		a.add(&r)
		all.From = r.Time
	}
	for _, a := range at {
		a.finish()
		all.Processes = append(all.Processes, *a)
	}
	slices.SortFunc(all.Processes, func(a, b Activity) int {
		return cmp.Or(cmp.Compare(a.Process.StartTime, b.Process.StartTime), a.First.Compare(b.First), cmp.Compare(a.Process.PID, b.Process.PID))
	})
	return all, nil
}

// add enters a record, which is older than those before it.
func (a *Activity) add(r *event.Record) {
	a.First = r.Time
	if a.Process.CommandArgs == nil && r.Process.CommandArgs != nil {
		exit, signal := a.Process.ExitCode, a.Process.ExitSignal
		a.Process = *r.Process
		a.Process.ExitCode, a.Process.ExitSignal = exit, signal
	}
	if a.Attribution == nil || a.Attribution.Skill == nil && r.Attribution != nil && r.Attribution.Skill != nil {
		a.Attribution = r.Attribution
	}
	if r.Kind == event.KindExit {
		a.Exited = true
		a.Process.ExitCode, a.Process.ExitSignal = r.Process.ExitCode, r.Process.ExitSignal
	}
	if r.File != nil {
		a.file(r)
	}
	if r.Network != nil {
		a.connection(r)
	}
	if r.Env != nil {
		for _, n := range r.Env.Names {
			if len(a.EnvNames) < maxEnvNames && !slices.Contains(a.EnvNames, n) {
				a.EnvNames = append(a.EnvNames, n)
			}
		}
	}
}

func (a *Activity) file(r *event.Record) {
	if a.Files == nil {
		a.Files = map[string]int{}
	}
	times := 1 + r.File.Opens
	if r.File.Opened {
		times = r.File.Opens // the first open was counted when it came
	}
	if times > 0 {
		a.Files[r.File.Operation] += times
	}
	if r.File.Opened {
		return
	}
	rank := notable(r)
	if rank == 0 {
		return
	}
	for i := range a.Notable {
		if f := &a.Notable[i]; f.Path == r.File.Path {
			f.Count++
			if rank > f.rank {
				f.rank, f.Operation = rank, r.File.Operation
			}
			return
		}
	}
	f := NotableFile{Path: r.File.Path, Operation: r.File.Operation, Count: 1, rank: rank}
	if len(a.Notable) < maxNotable {
		a.Notable = append(a.Notable, f)
		return
	}
	a.More++
	least := 0
	for i := range a.Notable {
		if a.Notable[i].rank < a.Notable[least].rank {
			least = i
		}
	}
	if a.Notable[least].rank < rank {
		a.Notable[least] = f
	}
}

func (a *Activity) connection(r *event.Record) {
	n := r.Network
	switch r.Kind {
	case event.KindListen, event.KindSocket: // no peer
		return
	}
	i := slices.IndexFunc(a.Connections, func(c Connection) bool {
		return c.PeerAddress == n.PeerAddress && c.PeerPort == n.PeerPort && c.Direction == n.Direction && c.Transport == string(n.Transport)
	})
	if i < 0 {
		if len(a.Connections) == maxConnections {
			a.More++
			return
		}
		i = len(a.Connections)
		a.Connections = append(a.Connections, Connection{Direction: n.Direction, Transport: string(n.Transport), PeerAddress: n.PeerAddress, PeerPort: n.PeerPort})
	}
	c := &a.Connections[i]
	c.Host = cmp.Or(c.Host, n.Vouched())
	switch r.Kind {
	case event.KindClose:
		if n.BytesSent != nil {
			c.Sent += *n.BytesSent
		}
		if n.BytesReceived != nil {
			c.Received += *n.BytesReceived
		}
		c.closed++
	case event.KindSend, event.KindTLSName, event.KindHTTP: // more about one that is counted
	default:
		c.opened++
		if n.Errno != 0 {
			c.Failed++
		}
	}
	c.Count = max(c.opened, c.closed) // the beginning may be older than the time asked for
}

// finish puts the lists in order.
func (a *Activity) finish() {
	slices.SortFunc(a.Notable, func(x, y NotableFile) int {
		return cmp.Or(-cmp.Compare(x.rank, y.rank), cmp.Compare(x.Path, y.Path))
	})
	slices.SortFunc(a.Connections, func(x, y Connection) int {
		return cmp.Or(-cmp.Compare(x.Sent+x.Received, y.Sent+y.Received), cmp.Compare(x.PeerAddress, y.PeerAddress), cmp.Compare(x.PeerPort, y.PeerPort))
	})
	slices.Sort(a.EnvNames)
}

// notable ranks a file for display: 3 for what usually holds secrets, 2 for a
// change, 1 for a read outside the home, the system's own files and the working
// directory, 0 for the rest. It is no judgement: rules judge.
func notable(r *event.Record) int {
	f := r.File
	if secretive(f.Path) {
		return 3
	}
	if event.Changes(f.Operation) {
		return 2
	}
	if f.Directory {
		return 0
	}
	usual := []string{"/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/proc", "/sys", "/dev", "/opt", "/run", "/snap", "/nix"}
	if r.Process.Cwd != "" && r.Process.Cwd != "/" {
		usual = append(usual, r.Process.Cwd)
	}
	if r.Attribution != nil && r.Attribution.Gateway != "" {
		usual = append(usual, path.Dir(r.Attribution.Gateway)) // the state directory is in the home
	}
	for _, dir := range usual {
		if f.Path == dir || strings.HasPrefix(f.Path, strings.TrimSuffix(dir, "/")+"/") {
			return 0
		}
	}
	return 1
}

// secretive tells names that usually hold secrets.
func secretive(name string) bool {
	base := path.Base(name)
	if base == ".env" || strings.HasPrefix(base, ".env.") || base == "shadow" || base == "environ" && strings.HasPrefix(name, "/proc/") {
		return true
	}
	for _, part := range []string{"/.ssh/", "/.aws/", "/.gnupg/", "/.kube/", "/.config/gcloud/", "/credentials", "/.netrc", "/.npmrc", "/.git-credentials", "/.docker/config.json"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
