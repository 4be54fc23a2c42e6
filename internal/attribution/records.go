package attribution

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A call is a recorded tool call.
type call struct {
	event.ToolCall
	at      time.Time
	unread  time.Time // when it was not in the records yet
	arrived time.Time // when it was read
	late    bool      // it lies before rows that had been read already
	ended   time.Time // of the first result; zero: none yet
	pid     int32     // of a background call's root
	session *session
	host    string // that its URL leads to; empty: none
	port    uint16
	paths   []string       // Paths, absolute, every reading of them
	span    *span          // as the plugin said it; nil: it did not
	masked  *regexp.Regexp // the commands that OpenClaw can have masked to this one; nil: it is as it was
	taken   *execution
	exact   *execution   // whose right tag it is
	claims  []*execution // that it fitted when they were decided
}

// A read is one use of a skill: its SKILL.md was read.
type read struct {
	skill   event.SkillID
	run     string
	at      time.Time
	how     string
	call    *call
	command bool // a command names the file: it counts once a process of it was seen to open that
}

// A session is one conversation with an agent.
type session struct {
	id, key, agent, parent string
	reads                  []read
	touched                time.Time
	newest                 time.Time // of its calls
	started                time.Time
	runs                   []run  // latest last
	first                  string // ID of its first run, where that was seen to begin
}

// unseen stands for a first run that nobody saw begin.
const unseen = "\x01"

// A run is what one message to a session led to.
type run struct {
	id string
	at time.Time // of its first call
}

// ran notes the run of a call.
func (s *session) ran(c *call) {
	if len(s.runs) == 0 {
		s.first = c.Run
		if c.Backfill || c.Run == "" {
			s.first = unseen
		}
	}
	if n := len(s.runs); n > 0 && (s.runs[n-1].id == c.Run || c.at.Before(s.runs[n-1].at)) {
		return
	}
	if s.runs = append(s.runs, run{c.Run, c.at}); len(s.runs) > maxRuns {
		s.runs = slices.Delete(s.runs, 0, 1)
	}
}

// runAt is the ID of the run that went on at a time, as far as its calls tell.
func (s *session) runAt(at time.Time) string {
	for _, r := range slices.Backward(s.runs) {
		if r.at.Before(at) {
			return r.id
		}
	}
	return noRun
}

// Bounds on what is kept of one gateway's records.
const (
	maxCommands = 4096
	maxSessions = 4096
	maxReads    = 256
	maxRuns     = 64
	// keepCall: so long a call can be matched by processes, once it has ended.
	keepCall = time.Minute
)

// A gateway is what is known of one OpenClaw state directory.
type gateway struct {
	engine    *Engine
	found     event.GatewayFound
	catalogue catalogue
	sessions  map[string]*session
	byKey     map[string]*session
	news      uint64             // counts what came about calls
	commands  []*call            // exec calls, oldest first
	files     map[string][]*call // in-process calls by path
	calls     map[string]*call   // by session and ID
	authors   map[string]*author // by path: who changed files of skills
	ran       map[string]bool    // scripts and programs of skills
	made      programSet
	forgery   forgery
	network   network
	server    event.ProcID // the gateway itself, while it lives
	word      word
}

// records reports whether what an OpenClaw process runs is in the gateway's
// records. A command runs tool calls by itself only where no gateway lives that
// has the state directory; whoever does so beside one only takes the name.
func (g *gateway) records(o *origin) bool {
	return g.server.IsZero() || o.proc == g.server || !o.command
}

func newGateway(e *Engine, id string) *gateway {
	return &gateway{
		engine: e,
		news:   1, found: event.GatewayFound{ID: id}, sessions: map[string]*session{}, byKey: map[string]*session{},
		files: map[string][]*call{}, calls: map[string]*call{}, authors: map[string]*author{}, ran: map[string]bool{}, made: programSet{}, network: newNetwork(),
	}
}

func (g *gateway) session(id, key, agent string, at time.Time) *session {
	s := g.sessions[id]
	if s == nil {
		if len(g.sessions) >= maxSessions {
			g.dropOldestSession()
		}
		s = &session{id: id}
		g.sessions[id] = s
	}
	if key != "" {
		s.key = key
		g.byKey[key] = s
	}
	if agent != "" {
		s.agent = agent
	}
	s.touched = at
	return s
}

func (g *gateway) dropOldestSession() {
	var oldest *session
	for _, s := range g.sessions {
		if oldest == nil || s.touched.Before(oldest.touched) {
			oldest = s
		}
	}
	delete(g.sessions, oldest.id)
	if g.byKey[oldest.key] == oldest {
		delete(g.byKey, oldest.key)
	}
}

func (g *gateway) start(b event.SessionStart) {
	s := g.session(b.Session, b.SessionKey, b.Agent, b.StartedAt)
	s.parent, s.started = b.ParentKey, b.StartedAt
}

// call takes in a row, and returns what is new in it or nil.
func (g *gateway) call(at, arrived time.Time, b event.ToolCall) *call {
	g.news++
	key := b.Session + "\x00" + b.ID
	if g.calls[key] != nil {
		return nil
	}
	if !b.Read.IsZero() {
		arrived = b.Read
	}
	unread := arrived
	if !b.Unread.IsZero() && b.Unread.Before(arrived) {
		unread = b.Unread
	}
	c := &call{ToolCall: b, at: at, unread: unread, arrived: arrived, session: g.session(b.Session, b.SessionKey, b.Agent, at)}
	c.late = !b.Backfill && at.Before(c.session.newest.Add(-disorder))
	if at.After(c.session.newest) {
		c.session.newest = at
	}
	c.session.ran(c)
	c.masked = unmasked(b.Command)
	g.calls[key], c.span = c, g.word.spans[key]
	for _, p := range b.Paths {
		c.paths = append(c.paths, g.readings(p)...)
	}
	for _, p := range c.paths {
		g.files[p] = append(g.files[p], c)
	}
	if c.host, c.port = goal(b.URL); c.host != "" {
		g.network.fetches = append(g.network.fetches, c)
		if over := len(g.network.fetches) - maxCommands; over > 0 {
			g.network.fetches = slices.Delete(g.network.fetches, 0, over)
		}
	}
	g.noteReads(c)
	if b.Command != "" {
		g.commands = append(g.commands, c)
		if over := len(g.commands) - maxCommands; over > 0 {
			g.commands = slices.Delete(g.commands, 0, over)
		}
	}
	return c
}

// noteReads records the skills that a call loads: by the read tool, or by a
// command that names a SKILL.md.
func (g *gateway) noteReads(c *call) {
	paths, how := c.paths, "tool call "+c.ID+" read"
	if c.Command != "" {
		paths, how = mentionedPaths(c.Command, g.found.Home, g.workdir(c)), "tool call "+c.ID+" names"
	} else if c.Name != "read" {
		return
	}
	for _, p := range paths {
		said := how + " " + p
		if strings.Contains(p, mask) {
			said += ", masked by OpenClaw"
		}
		for _, id := range g.catalogue.manuals(p) {
			if len(c.session.reads) < maxReads {
				c.session.reads = append(c.session.reads, read{skill: id, run: c.Run, at: c.at, how: said, call: c, command: c.Command != ""})
			}
		}
	}
}

func (g *gateway) result(at time.Time, b event.ToolResult) {
	g.news++
	c := g.calls[b.Session+"\x00"+b.ID]
	if c == nil {
		return
	}
	if !b.Backfill {
		g.network.asks(c.session, at, true) // of the model, with the result
	}
	if c.ended.IsZero() {
		c.ended = at
	}
	if b.PID != 0 {
		c.pid = b.PID
	}
}

// recorded reports whether an exec call with this command waits for its
// process.
func (g *gateway) recorded(command string) bool {
	x := &execution{command: command}
	return slices.ContainsFunc(g.commands, func(c *call) bool {
		return c.taken == nil && (sameCommand(c.Command, x) || c.unmasks(x))
	})
}

// readings returns the absolute paths that a model's path can mean.
func (g *gateway) readings(p string) []string {
	switch {
	case strings.HasPrefix(p, "~/"):
		return []string{absolute(g.found.Home+p[1:], "/")}
	case strings.HasPrefix(p, "/"):
		return []string{absolute(p, "/")}
	}
	var all []string
	for _, w := range g.found.Workspaces {
		if a := absolute(p, w); a != "" {
			all = append(all, a)
		}
	}
	return all
}

// workdir is the directory in which a call's command starts.
func (g *gateway) workdir(c *call) string {
	if c.Cwd != "" {
		if dirs := g.readings(c.Cwd); len(dirs) > 0 {
			return dirs[0]
		}
	}
	if len(g.found.Workspaces) > 0 {
		return g.found.Workspaces[0]
	}
	return ""
}

// expire forgets calls that no process can belong to any more.
func (g *gateway) expire(now time.Time) {
	gone := func(c *call) bool {
		over := !c.ended.IsZero() && c.pid == 0 // a background call's only result is that it runs
		return over && now.Sub(c.ended) > keepCall || now.Sub(c.at) > 24*time.Hour
	}
	g.network.expire(now)
	g.commands = slices.DeleteFunc(g.commands, gone)
	g.word.expire(now)
	for k, c := range g.calls {
		if gone(c) {
			delete(g.calls, k)
			for _, p := range c.paths {
				g.files[p] = slices.DeleteFunc(g.files[p], gone)
				if len(g.files[p]) == 0 {
					delete(g.files, p)
				}
			}
		}
	}
}
