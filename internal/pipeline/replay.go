package pipeline

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/attribution"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/internal/redact"
	"github.com/clawwatch/clawwatch/rules"
)

// Bounds on what a replay remembers.
const (
	maxToldGateways = 256
	maxTold         = 65536 // processes, calls, and records by ID
)

// A Replay judges records that were given out before: what comes behind the
// attribution in a Pipeline, which is taken over as it stands. Records come in
// the order in which they happened, or nearly so; their times are the clock.
//
// What the records do not say is made up for as well as they allow: which
// execution a process belonged to, by the tool call and else by the parents that
// are in the records; a gateway's directories, by its gateway.found or else by
// its name; name servers, by the answers that were trusted. Not known are the
// model providers of a gateway and what was given out before the first record.
type Replay struct {
	p        *Pipeline
	ticked   time.Time
	gateways recent[string, event.GatewayFound]
	procs    recent[event.ProcID, toldProc]
	roots    recent[callKey, event.ProcID]
	judged   recent[string, []*finding]
	users    map[uint32]string // of gateways
}

// A toldProc is what records say of a process.
type toldProc struct {
	parent event.ProcID
	role   event.Role
	args   []string
}

// NewReplay needs of the configuration the rules, the policy, the host, NewID
// and the sink, which is given alerts alone.
func NewReplay(cfg Config) *Replay {
	cfg.Redactor, cfg.UserName, cfg.Leave = redact.New(nil), func(uint32) string { return "" }, nil
	cfg.Sink = alertsOnly{cfg.Sink}
	r := &Replay{users: map[uint32]string{}}
	cfg.Host.UserName = r.userName(cfg.Host.UserName)
	r.p = New(cfg)
	r.gateways.most, r.procs.most, r.roots.most, r.judged.most = maxToldGateways, maxTold, maxTold, maxTold
	return r
}

// userName gives the name that a user has on the host of the records, else here.
func (r *Replay) userName(here func(uint32) string) func(uint32) string {
	return func(uid uint32) string {
		if name := r.users[uid]; name != "" || here == nil {
			return name
		}
		return here(uid)
	}
}

type alertsOnly struct{ Sink }

func (alertsOnly) Record(event.Record) {}

// Stats returns the counts.
func (r *Replay) Stats() Stats { return r.p.Stats() }

// Push judges one record, and returns what the rules found, alerts or not. One
// that comes again under its ID is not judged again; where it is amended, its
// alerts are.
func (r *Replay) Push(rec event.Record) []rules.Finding {
	r.tick(rec.Time)
	if known, ok := r.judged.get(rec.ID); ok {
		r.amend(rec, known)
		return nil
	}
	it := r.take(&rec)
	found := r.p.judge(it, r.p.input(it, &rec, r.p.view(it.scope, rec.Attribution)))
	r.judged.put(rec.ID, it.found)
	return found
}

// Look takes in a record without judging it, and returns what it would be judged
// with; nil for one that comes again under its ID.
func (r *Replay) Look(rec event.Record) (*policy.View, rules.Run) {
	r.tick(rec.Time)
	if _, ok := r.judged.get(rec.ID); ok {
		return nil, rules.Run{}
	}
	r.judged.put(rec.ID, nil)
	it := r.take(&rec)
	view := r.p.view(it.scope, rec.Attribution)
	return view, r.p.input(it, &rec, view).Run
}

// take learns from a record, and makes of it the fact that it may have been.
func (r *Replay) take(rec *event.Record) *item {
	r.learn(rec)
	it := r.item(rec)
	r.parent(rec)
	r.p.stats.Pushed++
	return it
}

// tick tells the time, as often as it matters.
func (r *Replay) tick(now time.Time) {
	if now.After(r.p.now) {
		r.p.now = now
	}
	if r.p.now.Sub(r.ticked) >= time.Second {
		r.ticked = r.p.now
		r.p.Tick(r.p.now)
	}
}

// Flush gives out what was counted since.
func (r *Replay) Flush() { r.p.Flush() }

// Know takes in a record from before those that are judged, such as a gateway's.
func (r *Replay) Know(rec event.Record) { r.learn(&rec) }

func (r *Replay) amend(rec event.Record, found []*finding) {
	if !rec.Amended {
		return // delivered twice
	}
	for _, f := range found {
		f.alert.Attribution = rec.Attribution
		r.p.findings.counted[f] = true
	}
}

// learn takes in what a record says that others need.
func (r *Replay) learn(rec *event.Record) {
	if p := rec.Process; p != nil {
		id := event.ProcID{PID: p.PID, Start: p.StartTime}
		r.procs.put(id, toldProc{event.ProcID{PID: p.ParentPID, Start: p.ParentStart}, p.Role, p.CommandArgs})
	}
	a := rec.Attribution
	if a == nil || a.Gateway == "" {
		return
	}
	g, known := r.gateways.get(a.Gateway)
	before := len(g.Resolvers) + len(g.SkillRoots)
	switch {
	case rec.Gateway != nil:
		told := gatewayTold(a.Gateway, rec.Gateway.StateDir)
		told.Workspaces, told.SkillRoots, told.Port = rec.Gateway.Workspaces, rec.Gateway.SkillRoots, rec.Gateway.Port
		told.Role, told.Version, told.ContainerID = rec.Gateway.Role, rec.Gateway.Version, rec.Gateway.ContainerID
		told.Resolvers = g.Resolvers
		if u := rec.Gateway.User; u != nil {
			told.UID = u.ID
			if len(r.users) < maxToldGateways {
				r.users[u.ID] = u.Name
			}
		}
		g, before = told, -1
	case !known:
		g = gatewayTold(a.Gateway, a.Gateway[strings.Index(a.Gateway, ":/")+1:])
		g.Workspaces = []string{g.StateDir + "/workspace"}
		g.SkillRoots = []string{g.StateDir + "/workspace/skills", g.StateDir + "/skills"}
		before = -1
	}
	if a.Skill != nil && a.Skill.Root != "" && !slices.Contains(g.SkillRoots, a.Skill.Root) && len(g.SkillRoots) < maxMoments {
		g.SkillRoots = append(slices.Clone(g.SkillRoots), a.Skill.Root)
	}
	if rec.DNS != nil && rec.DNS.Trusted {
		if addr, ok := serverOf(rec.DNS.Server); ok && !slices.Contains(g.Resolvers, addr) && len(g.Resolvers) < maxMoments {
			g.Resolvers = append(slices.Clone(g.Resolvers), addr)
		}
	}
	if before != len(g.Resolvers)+len(g.SkillRoots) {
		r.gateways.put(a.Gateway, g)
		delete(r.p.views, a.Gateway)
	}
}

// gatewayTold is a gateway of which the state directory is known. It lies in the
// home of its user, if it has its usual name; who that is is nobody, until it is known.
func gatewayTold(id, state string) event.GatewayFound {
	g := event.GatewayFound{ID: id, Role: event.RoleGateway, StateDir: state, UID: math.MaxUint32}
	if home, ok := strings.CutSuffix(state, "/.openclaw"); ok {
		g.Home = home
	}
	return g
}

// serverOf reads a name server's address, with or without a port.
func serverOf(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().WithZone(""), true
	}
	addr, err := netip.ParseAddr(s)
	return addr.WithZone(""), err == nil
}

// item makes of a record the fact that it may have been.
func (r *Replay) item(rec *event.Record) *item {
	ev := event.Event{Time: rec.Time, Source: rec.Source, Stranger: rec.Stranger, Body: event.Coverage{}}
	var role event.Role
	if p := rec.Process; p != nil {
		ev.Proc, role = event.ProcID{PID: p.PID, Start: p.StartTime}, p.Role
	}
	if n := rec.Network; n != nil && n.BytesSent != nil && n.BytesReceived != nil {
		switch rec.Kind {
		case event.KindClose:
			ev.Body = event.Close{Socket: socketOf(ev.Proc, n), Sent: *n.BytesSent, Received: *n.BytesReceived}
		case event.KindSend:
			ev.Body = event.Send{Socket: socketOf(ev.Proc, n), Sent: *n.BytesSent, Received: *n.BytesReceived}
		}
	}
	var g event.GatewayFound
	if a := rec.Attribution; a != nil {
		g, _ = r.gateways.get(a.Gateway)
	}
	return &item{id: rec.ID, ev: ev, scope: attribution.Told(role, r.root(rec, ev.Proc, role), g), process: rec.Process, arrived: r.p.now}
}

// root gives the execution of a process: that of the first process seen of the
// tool call, else the highest of its ancestors that worked for a tool call.
func (r *Replay) root(rec *event.Record, id event.ProcID, role event.Role) event.ProcID {
	if !role.ByTool() {
		return event.ProcID{}
	}
	top := id
	for range maxAncestors {
		proc, _ := r.procs.get(top)
		up, ok := r.procs.get(proc.parent)
		if !ok || !up.role.ByTool() {
			break
		}
		top = proc.parent
	}
	a := rec.Attribution
	if role != event.RoleTool || a == nil || a.ToolCall == "" {
		return top
	}
	key := callKey{a.Gateway, a.Session, a.ToolCall}
	if root, ok := r.roots.get(key); ok {
		return root
	}
	r.roots.put(key, top)
	return top
}

// parent puts back what a record leaves out as another has it: the parent's
// arguments.
func (r *Replay) parent(rec *event.Record) {
	p := rec.Process
	if p == nil || len(p.Ancestors) == 0 {
		return
	}
	if up, ok := r.procs.get(event.ProcID{PID: p.ParentPID, Start: p.ParentStart}); ok {
		p.Ancestors[0].Args = up.args
	}
}

// socketOf tells connections apart as a record does.
func socketOf(id event.ProcID, n *event.Network) uint64 {
	h := fnv.New64a()
	var number [20]byte
	binary.LittleEndian.PutUint32(number[0:], uint32(id.PID))
	binary.LittleEndian.PutUint64(number[4:], id.Start)
	binary.LittleEndian.PutUint16(number[12:], n.LocalPort)
	binary.LittleEndian.PutUint16(number[14:], n.PeerPort)
	for _, part := range []string{string(number[:]), string(n.Transport), n.Direction, n.LocalAddress, n.PeerAddress} {
		h.Write([]byte(part + "\x00")) //nolint:errcheck // never fails, says its documentation
	}
	return max(h.Sum64(), 1)
}

// recent keeps the latest of what was put in.
type recent[K comparable, V any] struct {
	most  int
	all   map[K]V
	order []K
}

func (r *recent[K, V]) get(k K) (V, bool) {
	v, ok := r.all[k]
	return v, ok
}

func (r *recent[K, V]) put(k K, v V) {
	if r.all == nil {
		r.all = map[K]V{}
	}
	if _, known := r.all[k]; !known {
		if r.order = append(r.order, k); len(r.order) > r.most {
			delete(r.all, r.order[0])
			r.order = r.order[1:]
		}
	}
	r.all[k] = v
}
