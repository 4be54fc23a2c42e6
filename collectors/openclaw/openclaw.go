// Package openclaw finds OpenClaw's processes on this host and follows what the
// gateways record: sessions, tool calls with their commands, results, and calls
// of models.
//
// Discovery asks every process for its name every few seconds, and one process
// at once when it is nudged. Where a gateway keeps its things comes from the
// database it holds open, its environment and openclaw.json. A process that
// points at a state directory which is not its user's is reported as
// "unverified:PID" and nothing of it is read.
//
// There are two formats of records, and one teller of what is in them, which
// tells a row once though it may be in both.
//
// Since 2026.9 it is a database, agents/*/agent/openclaw-agent.sqlite (schema 23;
// others as far as their columns allow), read without a lock that anybody waits
// for, without making a file, and open for no longer than a reading takes. Before,
// up to 2026.6.11, a session was a file of JSON lines, agents/*/sessions/*.jsonl
// (version 3), and sessions.json said whose it was. Of these every whole line is
// read once, wherever it is after the file was cut, written anew, replaced or
// renamed. No symbolic link is followed to either, and nothing but a plain file of
// the gateway's user is read.
//
// inotify on the directories tells of a commit or a line, and it is out within
// some 50 ms: a command is recorded before it is started. What inotify loses, a
// look each second finds. A row of more than 8 MiB, or that makes no sense, is
// counted as lost; a reading takes 64 MiB or 4 s of a database and 16 MiB of
// transcripts, and the rest comes with the next; of what was there before the
// collector, the end of each recent session is learned. What is not understood is
// reported as coverage of the probe "openclaw:PATH".
//
// It costs a host without OpenClaw the reading of names: a millisecond or two of
// CPU for 100 processes every 5 s. A gateway at rest costs some stats a second
// and a look at its settings every 5 s; a commit, about two milliseconds.
//
// A gateway in a container is read through /proc/PID/root, by openat2 and
// descriptors that nothing done in the container can lead out of it. Its paths are
// given as it sees them, and its ID has its container in front.
//
// What it does not see: a gateway whose root directory was changed without
// its mounts (chroot); a profile given only as --profile, until the gateway has opened its database; calls
// that Code Mode makes, until they have ended; the HTTP status of a failed model
// call beyond what the message says; and calls that fail before any request is
// made. Transcripts name no run: it is that of the user's message that a row
// follows, under the ID of that message. A record says what OpenClaw wrote, and
// OpenClaw's user can write anything.
package openclaw

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Config says what the host is and how often to look. Zero intervals take the
// defaults.
type Config struct {
	Proc     fs.FS         // /proc
	ProcPath string        // where that is; /proc
	Since    time.Time     // rows from before are learned from, and not reported
	Scan     time.Duration // between looks at all processes; 5 s
	Poll     time.Duration // between looks at all databases; 1 s
	Log      *slog.Logger  // nil: discard
}

const (
	settle    = 20 * time.Millisecond  // from the first sign of a commit to its reading
	gap       = 50 * time.Millisecond  // between readings
	nudgeLook = 250 * time.Millisecond // between looks at a nudged process
	nudgeFor  = time.Minute            // that it is looked at
	young     = time.Minute            // age up to which a process may still take the name
	fullScan  = 12                     // one in so many asks the old ones, too
	linger    = 10 * time.Second       // that records are read on after their last process
	maxStates = 64                     // state directories followed
)

// Collector finds and follows. Nudge may be called from any goroutine, the rest
// belongs to the one that runs Run.
type Collector struct {
	cfg     Config
	nudges  chan event.ProcID
	nudged  map[event.ProcID]time.Time // until when it is looked at
	known   map[event.ProcID]*process
	others  map[int32]time.Time // processes that are not OpenClaw's: since when known
	scans   int
	states  map[string]*state // by gateway
	holders map[string]holder // of the names of gateways in containers
	watcher *fsnotify.Watcher // nil: none to be had, polling does
}

// New gives a Collector that has not looked at anything yet.
func New(cfg Config) *Collector {
	if cfg.Scan == 0 {
		cfg.Scan = 5 * time.Second
	}
	if cfg.Poll == 0 {
		cfg.Poll = time.Second
	}
	if cfg.ProcPath == "" {
		cfg.ProcPath = "/proc"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Collector{
		cfg:    cfg,
		nudges: make(chan event.ProcID, 256),
		nudged: map[event.ProcID]time.Time{},
		known:  map[event.ProcID]*process{},
		others: map[int32]time.Time{},
		states: map[string]*state{}, holders: map[string]holder{},
	}
}

// Nudge asks for a look at a process now, and for a minute at what becomes of
// it. It never blocks; in a flood the regular scan has to do.
func (c *Collector) Nudge(id event.ProcID) {
	select {
	case c.nudges <- id:
	default:
	}
}

// Close gives back the watches. It may be called without Run, and
// not while Run is running.
func (c *Collector) Close() error {
	for _, s := range c.states {
		s.release()
	}
	if c.watcher == nil {
		return nil
	}
	return c.watcher.Close()
}

// Run finds and follows until ctx is done, and then returns nil. Its only
// failure is a process list that cannot be read.
func (c *Collector) Run(ctx context.Context, emit func(event.Event)) error {
	var changes <-chan fsnotify.Event
	var failures <-chan error
	w, err := fsnotify.NewBufferedWatcher(1024)
	if err != nil {
		c.cfg.Log.Warn("watch records: polling instead", "error", err)
	} else {
		c.watcher = w
		changes, failures = w.Events, w.Errors
	}
	scan, poll, look := time.NewTicker(c.cfg.Scan), time.NewTicker(c.cfg.Poll), time.NewTimer(nudgeLook)
	defer scan.Stop()
	defer poll.Stop()
	defer look.Stop()
	read := time.NewTimer(0)
	defer read.Stop()
	var last time.Time
	armed := true // read will fire: a storm of commits must not put it off
	if err := c.scan(emit); err != nil {
		return err
	}
	c.poll(read)
	for {
		select {
		case <-ctx.Done():
			return nil
		case id := <-c.nudges:
			if len(c.nudged) == 0 {
				look.Reset(nudgeLook)
			}
			c.nudged[id] = time.Now().Add(nudgeFor)
			c.look(id, emit)
			c.poll(read)
		case <-look.C:
			if c.lookAtNudged(emit); len(c.nudged) > 0 {
				look.Reset(nudgeLook)
			}
		case <-scan.C:
			if err := c.scan(emit); err != nil {
				return err
			}
			c.poll(read)
		case <-poll.C:
			c.poll(read)
		case e := <-changes:
			if c.touched(e.Name) && !armed {
				armed = true
				read.Reset(max(settle, gap-time.Since(last)))
			}
		case err := <-failures:
			c.cfg.Log.Warn("watch records", "error", err)
			c.poll(read) // an overflow: anything may have changed
		case <-read.C:
			armed, last = false, time.Now()
			for _, s := range c.states {
				if s.stale {
					c.refresh(s)
					s.poll()
				}
				s.read(ctx, emit)
			}
		}
	}
}

// follow begins to read a state directory, or keeps it being read.
func (c *Collector) follow(found event.GatewayFound, emit func(event.Event)) {
	s := c.states[found.ID]
	if s == nil {
		if len(c.states) >= maxStates && !c.dropIdle() {
			emit(event.Event{Time: time.Now(), Source: event.SourceOpenClaw, Body: event.Coverage{
				Probe: "openclaw:" + found.ID, Kinds: []event.Kind{event.KindToolCall}, Fidelity: "none",
				Reason: fmt.Sprintf("more than %d state directories", maxStates),
			}})
			return
		}
		s = &state{id: found.ID, uid: found.UID, since: c.cfg.Since, agents: map[string]*agentRecords{}}
	}
	was := s.dir
	err := s.at(found)
	if was != "" && was != s.dir {
		c.unwatch(was)
	}
	if err != nil {
		c.cfg.Log.Debug("reach state directory", "gateway", found.ID, "error", err) // gone, or not yet made
		return
	}
	c.states[found.ID] = s
	s.until = time.Now().Add(max(linger, 3*c.cfg.Scan))
}

// dropIdle makes room among the state directories.
func (c *Collector) dropIdle() bool {
	for id, s := range c.states {
		if !s.live() {
			s.release()
			delete(c.states, id)
			return true
		}
	}
	return false
}

// poll looks at the databases of all live gateways, and arms the timer when one
// has changed.
func (c *Collector) poll(read *time.Timer) {
	due := false
	for _, s := range c.states {
		if s.live() {
			c.refresh(s)
		} else if s.pin != nil {
			c.unwatch(s.dir)
			s.release()
		}
		due = s.poll() || due
	}
	if due {
		read.Reset(0)
	}
}

// refresh takes in what is new in a state directory, and watches it.
func (c *Collector) refresh(s *state) {
	for _, dir := range s.refresh() {
		if c.watcher == nil {
			continue
		}
		// What went meanwhile comes again, and what cannot be watched is polled.
		if err := c.watcher.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.cfg.Log.Debug("watch records", "directory", dir, "error", err)
		}
	}
}

// unwatch gives back the watches below a directory.
func (c *Collector) unwatch(dir string) {
	if c.watcher == nil {
		return
	}
	for _, w := range c.watcher.WatchList() {
		if w == dir || strings.HasPrefix(w, dir+"/") {
			_ = c.watcher.Remove(w) // its error says that it is gone already
		}
	}
}

// touched marks what a change in the file system is about, and reports whether
// there is something to read.
func (c *Collector) touched(name string) bool {
	for _, s := range c.states {
		if rest, ok := strings.CutPrefix(name, s.dir+"/"); ok {
			return s.touched(rest)
		}
	}
	return false
}
