// Package attribution says for whom a process acts: for which gateway, session,
// run, tool call and skill, with what evidence, and how sure that is.
//
// Two kinds of facts meet here. The kernel tells who forked whom and what was
// executed; OpenClaw's own records tell which tool calls a model made. A shell
// whose command is the text of exactly one recorded call is the root of that
// call's execution; whatever it forks inherits the call, through setsid, double
// forks, a cleaned environment and reparenting, because only the kernel's fork
// events count. Which skill a call was for follows from the table in weigh.go.
//
// Annotate on exec, inherit on fork, keep the evidence: a Scope is what one
// image of one process stands for; it never changes owner, and children share
// their parent's until they exec.
//
// Records may come after the kernel's fact. Settled says whether a fact can be
// attributed already; the caller holds it until then. The package starts
// nothing, does no I/O and reads no clock: time is told by Tick.
package attribution

import (
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// How long facts wait for one another.
const (
	// settle: a row that was written before an exec has been read by then. Until
	// then a second session with the same command may still turn up.
	settle = 700 * time.Millisecond
	// deadline: rows come up to five seconds late.
	deadline = 6 * time.Second
	// late: for so long after its deadline an execution can still be matched.
	late = 5 * time.Minute
	// inProcess: a gateway's own file access waits for the row of its tool call.
	inProcess = 1200 * time.Millisecond
	// opening: an interpreter opens its script within this time of its exec.
	opening = time.Second
	// claim: a process that took OpenClaw's name is looked at by then.
	claim = 5 * time.Second
	// sweep: old calls are looked for this often.
	sweep = 30 * time.Second
	// lead: a row is written before the exec it leads to, give or take the
	// rounding of two clocks.
	lead = 50 * time.Millisecond
)

// An Engine attributes. Use New.
type Engine struct {
	now      time.Time
	swept    time.Time
	scopes   map[event.ProcID]*Scope
	gateways map[string]*gateway
	open     []*execution // not decided, or unmatched and still matchable
	changed  []*execution // the answer changed since the last call of Amended
	left     legacies
	holding  map[event.ProcID][]*grasp // who may have records open for writing
	images   map[event.FileID]*image   // programs outside of the system's directories
	clean    func(string) string
	version  uint64 // of all that answers about executions depend on
}

// New returns an engine that knows nothing. Evidence quotes what others wrote;
// clean takes the secrets out of it. nil: it is left as it is.
func New(clean func(string) string) *Engine {
	if clean == nil {
		clean = func(s string) string { return s }
	}
	return &Engine{scopes: map[event.ProcID]*Scope{}, gateways: map[string]*gateway{}, left: newLegacies(), holding: map[event.ProcID][]*grasp{}, images: map[event.FileID]*image{}, clean: clean, version: 1}
}

// Tick tells the time and decides what the time allows.
func (e *Engine) Tick(now time.Time) {
	if now.After(e.now) {
		e.now = now
	}
	e.decide()
	e.open = slices.DeleteFunc(e.open, func(x *execution) bool { return x.final(e.now) })
	if e.now.Sub(e.swept) < sweep {
		return
	}
	e.swept = e.now
	for _, g := range e.gateways {
		g.expire(e.now)
	}
}

// Scope returns what a process stands for now, or nil.
func (e *Engine) Scope(id event.ProcID) *Scope { return e.scopes[id] }

// Forget drops a process that nobody refers to any more.
func (e *Engine) Forget(id event.ProcID) {
	e.letGo(id)
	delete(e.scopes, id)
}

// Observe takes in one fact and returns the scope in which it happened: that of
// the acting process after the fact. Nil: the process is in no known tree.
func (e *Engine) Observe(ev event.Event) *Scope {
	switch ev.Body.(type) {
	case event.GatewayFound, event.Skill, event.SessionStart, event.ToolCall, event.ToolResult, event.ToolPhase:
		e.version++
	}
	e.wrote(ev)
	switch b := ev.Body.(type) {
	case event.Candidate:
		return e.candidate(ev)
	case event.GatewayFound:
		return e.gatewayFound(ev, b)
	case event.Fork:
		if s := e.scopes[b.Parent]; s != nil && e.scopes[ev.Proc] == nil {
			e.scopes[ev.Proc] = s
		}
		for _, o := range e.holding[b.Parent] {
			e.hold(ev.Proc, o)
		}
	case event.Exec:
		e.exec(ev, b)
		e.ran(e.scopes[ev.Proc], ev, b)
	case event.Exit:
		e.letGo(ev.Proc)
		if s := e.scopes[ev.Proc]; s != nil && s.role == event.RoleGateway && s.origin.gateway != nil && s.origin.gateway.server == ev.Proc {
			s.origin.gateway.server = event.ProcID{}
		}
	case event.FileOpen:
		if !b.PathOnly && !b.Attempted {
			e.opened(ev.Proc, b.Path)
		}
	case event.Heir:
		return e.heir(ev, b)
	case event.Left:
		if b.How.Asked() {
			e.handed(ev, b)
		} else {
			e.told(b)
		}
		return nil
	case event.Digest:
		e.digest(ev, b)
		return nil
	case event.Skill:
		g := e.gateway(b.Gateway)
		g.catalogue.put(b, ev.Time)
		g.restored(b.ID)
		e.compare(g, b)
	case event.SessionStart:
		e.gateway(b.Gateway).start(b)
	case event.Prompt:
		g := e.gateway(b.Gateway)
		g.network.asks(g.session(b.Session, b.SessionKey, b.Agent, ev.Time), ev.Time, true)
	case event.LLMCall:
		g := e.gateway(b.Gateway)
		g.network.asks(g.session(b.Session, b.SessionKey, b.Agent, ev.Time), ev.Time, false)
	case event.DNSAnswer:
		if s := e.scopes[ev.Proc]; s.Gateway() != nil && s.role != event.RoleTool {
			s.origin.gateway.network.resolved(b, ev.Time)
		}
	case event.ToolCall:
		g := e.gateway(b.Gateway)
		if c := g.call(ev.Time, e.now, b); c != nil && c.Command != "" {
			e.contest(g, c)
		}
	case event.ToolResult:
		e.gateway(b.Gateway).result(ev.Time, b)
	case event.ToolPhase:
		e.phase(ev, b)
	}
	s := e.scopes[ev.Proc]
	e.leave(s, ev)
	return s
}

func (e *Engine) gateway(id string) *gateway {
	g := e.gateways[id]
	if g == nil {
		g = newGateway(e, id)
		e.gateways[id] = g
	}
	return g
}

// Gateway returns what is known of a gateway by its ID.
func (e *Engine) Gateway(id string) event.GatewayFound { return e.gateway(id).found }

// candidate enters the top of a tree before it is known whose it is, so that
// what it forks in the meantime has a place to belong to.
func (e *Engine) candidate(ev event.Event) *Scope {
	if s := e.scopes[ev.Proc]; s != nil {
		return s
	}
	s := &Scope{origin: &origin{proc: ev.Proc, seen: ev.Time}, root: ev.Proc}
	e.scopes[ev.Proc] = s
	return s
}

func (e *Engine) gatewayFound(ev event.Event, b event.GatewayFound) *Scope {
	g := e.gateway(b.ID)
	if b.Role == event.RoleGateway || g.found.Role == "" {
		g.found = b
		g.catalogue.roots = b.SkillRoots
	}
	s := e.scopes[ev.Proc]
	switch {
	case s == nil:
		s = &Scope{origin: &origin{proc: ev.Proc, seen: ev.Time}, root: ev.Proc}
		e.scopes[ev.Proc] = s
	case s.role.ByTool():
		return s // an openclaw command that a tool call ran is that call's doing
	}
	if s.root != ev.Proc { // it came out of another OpenClaw process
		s = &Scope{origin: &origin{proc: ev.Proc, seen: ev.Time}, root: ev.Proc}
		e.scopes[ev.Proc] = s
	}
	s.role, s.origin.gateway, s.origin.command = b.Role, g, b.Role == event.RoleCLI
	if b.Role == event.RoleGateway {
		g.server = ev.Proc
	}
	return s
}

// exec gives a process its new scope.
func (e *Engine) exec(ev event.Event, b event.Exec) {
	s := e.scopes[ev.Proc]
	if s == nil {
		s = e.scopes[b.Parent]
	}
	if s == nil && (b.Claim != "" || b.Known != nil) {
		s = e.claimed(ev, b)
	}
	if s == nil {
		return
	}
	next := *s
	next.answers = [2]answer{}
	if !s.role.ByTool() {
		if s.root == ev.Proc {
			return // OpenClaw's process itself, or its launcher
		}
		next.role, next.exec = e.classify(ev, b, s)
		next.broker = next.role == event.RoleHelper && isBroker(b.Args)
	}
	if next.role.ByTool() {
		e.annotate(&next, ev, b)
		if x := s.exec; x != nil && ev.Proc == x.root && s.script == next.script && !x.runs(b.Args) {
			x.replaced = true
			e.version++
		}
		if next.tag, next.tagAt = b.Tag, ev.Time; b.Tag == next.exec.tag {
			next.tag = ""
		}
		if s.exec == next.exec && s.script == next.script && s.tag == next.tag && slices.Equal(s.cwd, next.cwd) {
			e.scopes[ev.Proc] = s // nothing new: it stands for what it stood for
			return
		}
	}
	e.scopes[ev.Proc] = &next
}

// claimed makes a scope for a process that was left behind before anybody
// watched: nothing but the variables it has says whose it is, or what was known
// of it before the agent was started anew.
func (e *Engine) claimed(ev event.Event, b event.Exec) *Scope {
	id := b.Claim
	if b.Known != nil {
		id = b.Known.Gateway
	}
	o := &origin{proc: ev.Proc, gateway: e.gateway(id), seen: ev.Time}
	x := &execution{known: b.Known, root: ev.Proc, origin: o, seen: ev.Time, started: ev.Time, cwd: b.Cwd, decided: true, claimed: true, old: true}
	return &Scope{role: event.RoleTool, origin: o, exec: x, root: ev.Proc}
}

// classify tells a tool call's root from what OpenClaw runs for itself.
func (e *Engine) classify(ev event.Event, b event.Exec, s *Scope) (event.Role, *execution) {
	cmd, wrapped, isShell := shellCommand(b.Args)
	text, preamble := modelCommand(cmd)
	switch {
	case isShell && helperCommand(cmd):
		return event.RoleHelper, nil
	case isShell && (wrapped || preamble):
	case isShell && s.origin.gateway != nil && s.origin.gateway.recorded(text):
	case isShell && e.fromBroker(s, b):
	default:
		return event.RoleHelper, nil
	}
	x := &execution{
		root: ev.Proc, origin: s.origin, command: text, truncated: b.ArgsTruncated,
		seen: ev.Time, started: ev.Time, cwd: b.Cwd, given: slipping(b.EnvNames), tag: b.Tag, old: b.Snapshot,
	}
	if b.Snapshot && !b.Began.IsZero() && b.Began.Before(ev.Time) {
		x.started = b.Began
	}
	e.open = append(e.open, x)
	return event.RoleTool, x
}

// fromBroker reports whether the process was forked by the spawn broker, which
// runs the exec tool calls, and little else: npm, and programs of OpenClaw's
// own.
func (e *Engine) fromBroker(s *Scope, b event.Exec) bool {
	p := e.scopes[b.Parent]
	return p != nil && p.role == event.RoleHelper && p.broker && s.role != event.RoleTool
}

func isBroker(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return strings.HasSuffix(a, "/spawn-broker/worker.js") })
}

// Settled reports whether a fact can be attributed for good: nothing that is
// still to come within the usual delays could change the answer. arrived is
// when the fact was observed.
func (e *Engine) Settled(s *Scope, ev event.Event, arrived time.Time) bool {
	if s == nil {
		if _, row := ev.Body.(event.ToolCall); row { // who else opened the records by then is told a moment later
			return e.now.Sub(arrived) >= settle
		}
		return true
	}
	if s.origin.gateway == nil {
		return e.now.Sub(arrived) >= claim
	}
	switch s.role {
	case event.RoleTool, event.RoleHeir:
		if !s.exec.decided || s.exec.heir != nil && !s.exec.heir.of.known() || s.script != nil && s.script.left != nil && !s.script.left.known() {
			return false
		}
		if _, wait := e.strange(s); wait {
			return false
		}
		return s.script == nil || s.script.opened || e.now.Sub(s.script.at) >= opening
	case event.RoleGateway, event.RoleCLI:
		switch ev.Body.(type) {
		case event.Connect, event.Close, event.Send, event.TLSName, event.HTTPExchange, event.DNSAnswer,
			event.FileOpen, event.FileRename, event.FileDelete, event.FileLink, event.FileAttr, event.FileTruncate, event.FileUse:
			return e.now.Sub(arrived) >= inProcess
		}
	}
	return true
}
