package pipeline

import (
	"cmp"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
)

// Bounds on what is kept of calls under way.
const (
	maxLedgers  = 2048
	maxEffects  = 1000 // different files and hosts of one call
	maxExamples = 5
	maxMoments  = 256              // of what a gateway did, of each sort
	effectsWait = 8 * time.Second  // after the result: until the facts of the call have been let go
	background  = 10 * time.Minute // after a result that says that the call runs on
	keepLedger  = time.Hour        // of a call without a result
)

type callKey struct{ gateway, session, id string }

// A ledger adds up what one tool call was seen to do.
type ledger struct {
	call  event.ToolCall
	at    time.Time
	ended time.Time // by its result; zero: none yet
	due   time.Time // when the sum is drawn
	exit  bool      // the result says that a program ran
	fails bool

	paths  []string // named by the call
	cwd    string
	seen   map[effect]bool
	made   map[string]bool // temporary files that it made
	ran    bool
	wrote  bool
	totals event.Effects
}

// An effect is one thing that a call did: read, write or connect, and to what.
type effect struct{ word, name string }

// ledgers are the calls that are not summed up yet, and what their gateways did
// outside of any call that is known.
type ledgers struct {
	open    map[callKey]*ledger
	sight   sight
	doubts  map[string][]time.Time // by gateway: processes and writes that may be any call's
	network map[string][]time.Time // by gateway: when its own process used the network
	found   map[string]time.Time   // when each gateway was first found
}

func newLedgers() ledgers {
	return ledgers{
		open: map[callKey]*ledger{}, doubts: map[string][]time.Time{}, network: map[string][]time.Time{}, found: map[string]time.Time{},
		sight: sight{probes: map[string]event.Coverage{}, since: map[event.Kind]time.Time{}},
	}
}

// saying takes in what OpenClaw and the sensors say, when it comes.
func (p *Pipeline) saying(ev event.Event) {
	ls := &p.ledgers
	switch b := ev.Body.(type) {
	case event.GatewayFound:
		if _, known := ls.found[b.ID]; !known && len(ls.found) < maxMoments {
			ls.found[b.ID] = ev.Time
		}
	case event.ToolCall:
		key := callKey{b.Gateway, b.Session, b.ID}
		if len(ls.open) < maxLedgers && ls.open[key] == nil {
			l := &ledger{call: b, at: ev.Time, seen: map[effect]bool{}, made: map[string]bool{}}
			l.paths, l.cwd = p.engine.NamedBy(b)
			ls.open[key] = l
		}
	case event.ToolResult:
		l := ls.open[callKey{b.Gateway, b.Session, b.ID}]
		if l == nil {
			return
		}
		l.ended, l.fails = ev.Time, b.IsError
		l.exit = l.exit || b.ExitCode != nil || b.Running
		if l.due = p.now.Add(effectsWait); b.Running {
			l.due = p.now.Add(background)
		}
	default:
		ls.sight.note(ev)
	}
}

// doing takes in a fact with whom it was done for.
func (p *Pipeline) doing(it *item, a *event.Attribution, view *policy.View) {
	if a == nil || it.ev.Stranger || it.ev.Proc.IsZero() {
		return
	}
	ls := &p.ledgers
	switch it.scope.Role() {
	case event.RoleTool:
		l := ls.open[callKey{a.Gateway, a.Session, a.ToolCall}]
		if l == nil {
			if a.ToolCall == "" && it.ev.Body.Kind() == event.KindExec {
				moment(ls.doubts, a.Gateway, it.ev.Time)
			}
			return
		}
		l.ran = true
		if it.ev.Body.Kind() == event.KindExec {
			l.totals.Processes++
		}
		p.file(l, it, a, view)
		p.host(l, it, a, view)
	case event.RoleGateway, event.RoleCLI:
		switch it.ev.Body.(type) {
		case event.Connect, event.Send, event.Close, event.DNSAnswer:
			moment(ls.network, a.Gateway, it.ev.Time)
			return
		}
		changed, _, write := touched(it.ev.Body)
		if !write {
			return
		}
		for key, l := range ls.open { // the path may have led there by a link: the name is enough
			if key.gateway == a.Gateway && l.names(changed) {
				l.wrote = true
			}
		}
	}
}

// names reports whether a call's arguments have a path that ends so.
func (l *ledger) names(file string) bool {
	return slices.ContainsFunc(l.call.Paths, func(p string) bool { return path.Base(p) == path.Base(file) })
}

func moment(of map[string][]time.Time, gateway string, at time.Time) {
	if of[gateway] = append(of[gateway], at); len(of[gateway]) > maxMoments {
		of[gateway] = of[gateway][1:]
	}
}

// touched gives the file that a fact is about, and another name of it, and
// whether it was changed. Empty: no file, or one that another fact tells of.
func touched(body event.Body) (file, other string, write bool) {
	switch b := body.(type) {
	case event.FileOpen:
		if !b.Directory && !b.PathOnly && !b.Attempted {
			return b.Path, "", b.Write || b.Create || b.Emptied
		}
	case event.FileUse:
		if !b.Opened {
			return b.Path, "", b.Kind() == event.KindFileWrite
		}
	case event.FileRename:
		return b.New, b.Old, true
	case event.FileDelete:
		return b.Path, "", true
	case event.FileLink:
		return b.Path, "", true
	case event.FileAttr:
		return b.Path, "", true
	case event.FileTruncate:
		return b.Path, "", true
	}
	return "", "", false
}

// file enters a file.
func (p *Pipeline) file(l *ledger, it *item, a *event.Attribution, view *policy.View) {
	file, other, write := touched(it.ev.Body)
	if file == "" {
		return
	}
	if b, ok := it.ev.Body.(event.FileOpen); ok && b.Create && temporary(file) && len(l.made) < maxEffects {
		l.made[file] = true
	}
	if b, ok := it.ev.Body.(event.FileRename); ok && l.made[b.Old] {
		l.made[b.New] = l.made[b.New] || temporary(b.New)
	}
	word, count, unexplained := "read", &l.totals.FilesRead, &l.totals.UnexplainedReads
	if write {
		word, count, unexplained = "write", &l.totals.FilesChanged, &l.totals.UnexplainedWrites
	}
	if !l.first(effect{word, file}, count) {
		return
	}
	ex := explaining{p, l, it, a, view}
	if !ex.file(file, write) || other != "" && !ex.file(other, write) {
		*unexplained++
		l.example(effect{word, file})
	}
}

// host enters the other end of a connection.
func (p *Pipeline) host(l *ledger, it *item, a *event.Attribution, view *policy.View) {
	b, ok := it.ev.Body.(event.Connect)
	if !ok || b.Transport != event.TCP && b.Transport != event.UDP || !b.Peer.IsValid() {
		return
	}
	peer := netip.AddrPortFrom(b.Peer.Addr().Unmap().WithZone(""), b.Peer.Port())
	if peer.Port() == 53 && view.Endpoint(peer, "", "") {
		return // a name server of the host's
	}
	name := peer.Addr().String()
	if len(it.names) > 0 {
		name = it.names[0]
	}
	if !l.first(effect{"connect", name}, &l.totals.Hosts) {
		return
	}
	if !(explaining{p, l, it, a, view}).host(peer.Addr(), it.names) {
		l.totals.UnexplainedHosts++
		l.example(effect{"connect", name})
	}
}

// first counts an effect that is new, up to the bound.
func (l *ledger) first(e effect, count *int) bool {
	if l.seen[e] || len(l.seen) >= maxEffects {
		return false
	}
	l.seen[e] = true
	*count++
	return true
}

func (l *ledger) example(e effect) {
	if len(l.totals.Examples) < maxExamples {
		l.totals.Examples = append(l.totals.Examples, e.word+" "+e.name)
	}
}

// sumUp gives out the effects of the calls that have ended, and forgets those
// that never did. all: without waiting.
func (p *Pipeline) sumUp(all bool) {
	var due []*ledger
	for key, l := range p.ledgers.open {
		switch {
		case !l.ended.IsZero() && (all || !p.now.Before(l.due)):
			due = append(due, l)
			delete(p.ledgers.open, key)
		case l.ended.IsZero() && p.now.Sub(l.at) > keepLedger:
			delete(p.ledgers.open, key)
		}
	}
	slices.SortFunc(due, func(a, b *ledger) int {
		return cmp.Or(a.at.Compare(b.at), strings.Compare(a.call.Session, b.call.Session), strings.Compare(a.call.ID, b.call.ID))
	})
	for _, l := range due {
		p.judgeSilence(l)
		p.hold(p.newItem(event.Event{Time: l.ended, Source: event.SourceAgent, Body: event.ToolEffects{
			Gateway: l.call.Gateway, Session: l.call.Session, ID: l.call.ID, Name: l.call.Name, Effects: l.totals,
		}}, nil))
	}
}

// A promise is what a tool says that it does, and what shows that it did.
type promise struct {
	missing string
	needs   []event.Kind
}

var promises = map[string]promise{
	"exec":        {"no process of it was seen", []event.Kind{event.KindFork, event.KindExec}},
	"write":       {"no write of its path was seen", []event.Kind{event.KindFileOpen, event.KindFileCreate, event.KindFileRename}},
	"edit":        {"no write of its path was seen", []event.Kind{event.KindFileOpen, event.KindFileCreate, event.KindFileRename}},
	"apply_patch": {"no write of its paths was seen", []event.Kind{event.KindFileOpen, event.KindFileCreate, event.KindFileRename, event.KindFileDelete}},
	"web_fetch":   {"the gateway was not seen to use the network", []event.Kind{event.KindConnect}},
}

// judgeSilence says whether a call that ended well left no trace of what it says,
// or why that cannot be said.
func (p *Pipeline) judgeSilence(l *ledger) {
	promised, known := promises[l.call.Name]
	ls := &p.ledgers
	from, to := l.at.Add(-time.Second), l.ended.Add(3*time.Second)
	kept := l.ran || l.wrote
	if l.call.Name == "web_fetch" {
		kept = within(ls.network[l.call.Gateway], from, to)
	}
	found, watched := ls.found[l.call.Gateway]
	switch {
	case !known || l.fails || kept || l.call.Name == "exec" && (!l.exit || l.call.Command == "") || l.call.Name != "exec" && l.call.Name != "web_fetch" && len(l.call.Paths) == 0:
	case !watched || l.at.Before(found.Add(adjustment)):
		l.totals.Unjudged = "the gateway was found only then"
	case !ls.sight.clear(promised.needs, from, to):
		l.totals.Unjudged = "not all of the events that would show it were seen at that time"
	case l.call.Name == "exec" && within(ls.doubts[l.call.Gateway], from, to):
		l.totals.Unjudged = "a process of that time could not be matched with a call"
	default:
		l.totals.Silent, l.totals.Missing = true, promised.missing
	}
}

func within(moments []time.Time, from, to time.Time) bool {
	return slices.ContainsFunc(moments, func(t time.Time) bool { return !t.Before(from) && !t.After(to) })
}
