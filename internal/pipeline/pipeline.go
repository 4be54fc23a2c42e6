// Package pipeline turns facts into records and alerts: it joins each fact with
// its process, waits until it can be attributed, redacts, judges, and hands the
// result on.
//
// It is driven by one caller: Push for each fact, Tick for the time. It starts
// no goroutine, takes no lock, does no I/O and reads no clock, so live and
// recorded events go the same way.
//
// A fact whose attribution may still change is held, at most a few seconds
// (package attribution says how long), in a queue of its execution. Facts
// leave in order within an execution. What is held is bounded; when the bound
// is reached the oldest queue is let go with what is known by then. If a record
// that explains an execution comes later still, its facts are given out once
// more, with the same ID and marked as amended.
package pipeline

import (
	"container/list"
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/attribution"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/internal/proctab"
	"github.com/clawwatch/clawwatch/internal/redact"
	"github.com/clawwatch/clawwatch/rules"
)

// A Sink takes what comes out. An ID that comes again is the same thing,
// amended.
type Sink interface {
	Record(event.Record)
	Alert(event.Alert)
}

// Config is what a pipeline is made of.
type Config struct {
	Policy   *policy.Policy
	Host     policy.Host
	Rules    *rules.Set
	Redactor *redact.Redactor
	NewID    func(time.Time) string // unique, sorting by time
	UserName func(uid uint32) string
	Sink     Sink
	Leave    func(event.Left) // what tool calls leave behind: at once, and again when it is known for whom; nil: nobody asks
	MaxHeld  int              // facts held back at most; 0: 100,000
	Self     event.ProcID     // the agent's own process
}

// A Pipeline is the stages in order.
type Pipeline struct {
	Config
	now    time.Time
	swept  time.Time
	table  *proctab.Table
	engine *attribution.Engine
	views  map[string]*policy.View
	queues map[event.ProcID]*list.Element // of *queue in order
	order  *list.List
	held   int
	given  given

	findings findings
	names    names
	claims   claims
	doors    doors
	servers  servers
	moved    moved
	digests  digests
	days     days
	repeats  repeats
	habits   habits
	writers  writers
	unsigned []unsigned // skills that changed, while it is not known who did it
	runs     runs
	ledgers  ledgers
	stats    Stats
}

// Stats count since the start.
type Stats struct {
	Pushed     uint64 // facts that came in
	Records    uint64 // records that went out, amendments included
	Alerts     uint64
	HeldBack   uint64 // findings that came faster than alerts are given out, and were counted in another
	Suppressed uint64 // reads of OpenClaw's own program files by itself
	Overflowed uint64 // facts let go before their time because too many were held
	Amended    uint64
	Held       int // now
	Processes  int // now
}

// An item is a fact on its way.
type item struct {
	id      string
	ev      event.Event
	scope   *attribution.Scope
	process *event.Process // as it was at the time
	image   *event.Exec    // what it ran then; nil: not known
	arrived time.Time
	names   []string // of the peer, as known at the time
	server  *item    // the listening of the followed process that it connects to; nil: none is known
	did     rules.Deed
	found   []*finding // raised for it, kept for an amendment
}

// New makes a pipeline.
func New(cfg Config) *Pipeline {
	if cfg.MaxHeld == 0 {
		cfg.MaxHeld = 100_000
	}
	p := &Pipeline{
		Config: cfg, engine: attribution.New(cfg.Redactor.String), views: map[string]*policy.View{},
		queues: map[event.ProcID]*list.Element{}, order: list.New(),
		given: given{items: map[event.ProcID][]*item{}}, writers: writers{}, runs: runs{}, findings: newFindings(), names: names{}, digests: digests{},
		ledgers: newLedgers(), claims: claims{}, doors: doors{}, servers: servers{}, moved: moved{}, repeats: repeats{},
	}
	p.table = proctab.New(proctab.DefaultLimits, p.engine.Forget)
	p.describe()
	return p
}

// Stats returns the counts.
func (p *Pipeline) Stats() Stats {
	s := p.stats
	s.Held, s.Processes = p.held, p.table.Len()
	return s
}

// SetRules puts other rules and another policy in force for what is judged from
// now on.
func (p *Pipeline) SetRules(set *rules.Set, pol *policy.Policy) {
	p.Rules, p.Policy = set, pol
	clear(p.views)
	p.describe()
}

// sweep is how often what is over is forgotten.
const sweep = 5 * time.Second

// Push takes in one fact.
func (p *Pipeline) Push(ev event.Event) {
	p.stats.Pushed++
	if x, ok := ev.Body.(event.Exec); ok && x.Snapshot && p.known(ev.Proc) {
		return
	}
	if ev.Stranger {
		p.stranger(ev)
		return
	}
	if !p.track(ev) {
		return
	}
	scope := p.engine.Observe(ev)
	switch b := ev.Body.(type) {
	case event.Candidate, event.Prompt, event.Left, event.ToolPhase:
		return
	case event.Heir:
		if scope == nil {
			return
		}
	case event.GatewayFound:
		delete(p.views, b.ID)
		p.doors.learn(b)
	case event.Skill:
		p.habits.tree(skillKey{b.Gateway, b.ID.Dir}, b.ID.SHA256, p.now) // at once: the record waits for who did it
		if b.Change == event.Installed || b.Change == event.Updated {
			p.installed(ev, b)
			return
		}
	case event.ToolCall:
		if b.Backfill {
			return
		}
	case event.ToolResult:
		if b.Backfill {
			return
		}
	case event.SessionStart:
		if b.Backfill {
			return
		}
	case event.EnvRead:
		read := p.asked(scope, b)
		if read == nil {
			return
		}
		ev.Body = *read
	}
	p.writers.note(ev, scope, p.gatewayOf(ev, scope), p.now)
	p.claims.note(ev.Body, p.now)
	p.saying(ev)
	it := p.newItem(ev, scope)
	if b, ok := ev.Body.(event.DNSAnswer); ok && p.trusted(it, b) {
		p.names.learn(it.asker(), b, p.now)
	}
	p.servers.note(it)
	p.leave(it, nil)
	p.hold(it)
	for _, more := range []*event.Event{p.environment(it), p.reached(it)} {
		if more != nil {
			p.hold(p.newItem(*more, scope))
		}
	}
	if ev.Body.Kind() == event.KindExit {
		p.table.Exit(ev.Proc, p.now)
	}
}

// known reports whether the sensor has already told what runs in a process that
// the first look at /proc reports once more.
func (p *Pipeline) known(id event.ProcID) bool {
	proc := p.table.Get(id)
	return proc != nil && proc.Path != ""
}

// track keeps the process table; an exit is noted after its fact has been
// taken in. It reports whether there is more to the fact than that.
func (p *Pipeline) track(ev event.Event) bool {
	switch b := ev.Body.(type) {
	case event.Digest:
		p.learn(b)
		p.engine.Observe(ev)
		return false
	case event.Credentials:
		return p.table.Become(ev.Proc, b.Creds) // each thread of a process may do it
	case event.Namespace:
		p.table.Enter(ev.Proc, b.Now)
	case event.Fork:
		p.table.Fork(ev.Proc, b)
	case event.Exec:
		p.table.Exec(ev.Proc, b)
	}
	return true
}

func (p *Pipeline) newItem(ev event.Event, scope *attribution.Scope) *item {
	it := &item{id: p.NewID(ev.Time), ev: ev, scope: scope, process: p.process(ev, scope), arrived: p.now}
	it.names, it.server = p.names.of(it), p.servers.servedBy(ev.Body)
	if proc := p.table.Get(ev.Proc); proc != nil {
		it.image = proc.Image
	}
	return it
}

// Tick tells the time, and lets go what can go.
func (p *Pipeline) Tick(now time.Time) {
	if now.After(p.now) {
		p.now = now
	}
	p.engine.Tick(p.now)
	p.sign(false)
	for e := p.order.Front(); e != nil; {
		next := e.Next()
		p.release(e, false)
		e = next
	}
	for _, root := range p.engine.Amended() {
		p.amend(root)
	}
	p.repeat(false)
	if p.now.Sub(p.swept) >= sweep {
		p.swept = p.now
		p.sumUp(false)
		p.table.Expire(p.now)
		p.runs.expire(p.now)
		p.repeats.expire(p.now)
		p.writers.expire(p.now)
		p.expireFindings()
		p.names.expire(p.now)
		p.claims.expire(p.now)
		p.moved.expire(p.now)
		if n := p.engine.Overlooked(); n > 0 {
			p.hold(p.newItem(event.Event{Time: p.now, Source: event.SourceAgent, Body: event.Lost{
				Of: event.KindHeir, Count: n, Cause: "files left behind by one tool call beyond those that are followed",
			}}, nil))
		}
	}
}

// Flush lets go everything that is held, with what is known.
func (p *Pipeline) Flush() {
	p.sign(true)
	for e := p.order.Front(); e != nil; e = p.order.Front() {
		p.release(e, true)
	}
	p.sumUp(true)
	p.repeat(true)
}

// finish attributes, records and judges a fact.
func (p *Pipeline) finish(it *item) {
	a := p.attribute(it)
	view := p.view(it.scope, a)
	p.doing(it, a, view)
	rec := p.record(it, a, view)
	if p.own(it, a, view) {
		p.stats.Suppressed++
		return
	}
	p.leave(it, a)
	p.stats.Records++
	p.Sink.Record(rec)
	p.judge(it, p.input(it, &rec, view))
	if root := it.scope.Execution(); !root.IsZero() {
		p.given.keep(root, it)
	}
}

// input is a record with what it is judged by, and counts it into that.
func (p *Pipeline) input(it *item, rec *event.Record, view *policy.View) rules.Input {
	it.did = rules.DeedOf(rec, view)
	in := rules.Input{Record: rec, View: view, Tier: it.did.Tier, Run: p.runs.add(it, rec.Attribution, p.moved, p.now)}
	in.Day = p.days.add(rec.Attribution, in.Run, p.now)
	in.Profile = p.habits.add(rec, p.now)
	return in
}

// judge holds the rules against a record.
func (p *Pipeline) judge(it *item, in rules.Input) []rules.Finding {
	found := p.Rules.Eval(in)
	for _, f := range found {
		ids, ok := p.complete(it, in.Record, f)
		if !ok {
			continue
		}
		p.runs.fired(it, in.Record.Attribution, f.Rule.Name)
		if n := p.alert(it, in.Record, f, ids); n != nil && !slices.Contains(it.found, n) {
			it.found = append(it.found, n)
		}
	}
	return found
}

// view returns the policy as it stands for the gateway of a fact.
func (p *Pipeline) view(s *attribution.Scope, a *event.Attribution) *policy.View {
	var g event.GatewayFound
	if found := s.Gateway(); found != nil {
		g = *found
	} else if a != nil {
		g = p.engine.Gateway(a.Gateway)
	}
	v := p.views[g.ID]
	if v == nil {
		h := p.Host
		h.Resolvers = append(slices.Clone(h.Resolvers), g.Resolvers...)
		v = p.Policy.For(g, h)
		p.views[g.ID] = v
	}
	return v
}

// own reports whether a fact is OpenClaw reading its own program, which no one
// asks about: a read by the gateway or a helper of it, for no tool call, of a
// file that the policy calls public or that lies in an npm package.
func (p *Pipeline) own(it *item, a *event.Attribution, view *policy.View) bool {
	var path string
	switch b := it.ev.Body.(type) {
	case event.FileOpen:
		if b.Write || b.Create || b.Emptied {
			return false
		}
		path = b.Path
	case event.FileUse:
		if b.Kind() == event.KindFileWrite {
			return false
		}
		path = b.Path
	default:
		return false
	}
	if a == nil || a.ToolCall != "" {
		return false
	}
	switch it.scope.Role() {
	case event.RoleGateway, event.RoleHelper, event.RoleCLI:
		return inPackage(path) || view.Directory(path, false, nil) == policy.Public
	}
	return false
}
