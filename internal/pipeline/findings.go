package pipeline

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

// A findingKey says what makes two findings one alert: the same rule about the
// same thing in the same execution, or session, of the same skill.
type findingKey struct {
	rule, gateway, session, skill, subject string
	execution                              event.ProcID
}

// A finding is an alert that may still happen again.
type finding struct {
	alert event.Alert
	last  time.Time
	given time.Time
	dirty bool // counted since it was given out
}

// Bounds on repeated findings.
const (
	keepFinding  = 10 * time.Minute // after the last time
	againFinding = 5 * time.Second  // between two reports of the same alert
	maxFindings  = 8192
	maxEvents    = 16 // IDs of records in one alert
	maxGroup     = 20 // alerts of one rule in one execution
)

// findings hold what was found lately. The first finding of a kind is an alert
// at once; those that follow are counted in it, and it is given out again.
type findings map[findingKey]*finding

// alert gives out a new alert, or counts one that is known. It returns the
// alert's place for a later amendment.
func (p *Pipeline) alert(it *item, rec *event.Record, f rules.Finding) *finding {
	key := keyOf(it, rec, f.Rule.Name)
	if known := p.findings[key]; known != nil {
		known.count(rec, f, p.now)
		return known
	}
	group := key
	group.subject = ""
	if g := p.groups[group]; g != nil {
		if g.members++; g.members > maxGroup {
			g.latest.suppress(rec, p.now)
			return g.latest
		}
	}
	p.stats.Alerts++
	n := &finding{last: p.now, given: p.now, alert: event.Alert{
		ID: p.NewID(rec.Time), Time: rec.Time, Rule: f.Rule, Message: f.Message,
		Attribution: rec.Attribution, Process: rec.Process, Events: []string{rec.ID}, Count: 1,
	}}
	if len(p.findings) < maxFindings {
		p.findings[key] = n
	}
	g := p.groups[group]
	if g == nil && len(p.groups) < maxFindings {
		p.groups[group] = &findingGroup{members: 1, latest: n}
	} else if g != nil {
		g.latest = n
	}
	p.Sink.Alert(n.copy())
	return n
}

// A findingGroup is what one rule found in one execution. The first maxGroup
// things are alerts of their own; the rest is counted as suppressed in the
// last of them. The records are all kept.
type findingGroup struct {
	members int
	latest  *finding
}

func (f *finding) suppress(rec *event.Record, now time.Time) {
	f.alert.Suppressed++
	f.last, f.dirty = now, true
	if len(f.alert.Events) < maxEvents {
		f.alert.Events = append(f.alert.Events, rec.ID)
	}
}

func keyOf(it *item, rec *event.Record, rule string) findingKey {
	key := findingKey{rule: rule, execution: it.scope.Execution()}
	if a := rec.Attribution; a != nil {
		key.gateway, key.session = a.Gateway, a.Session
		if a.Skill != nil {
			key.skill = a.Skill.Dir
		}
	}
	if key.execution.IsZero() && rec.Process != nil {
		key.execution = it.ev.Proc
	}
	switch {
	case rec.Skill != nil:
		key.subject = rec.Skill.ID.Dir + " " + rec.Skill.ID.SHA256
	case rec.Env != nil:
		key.subject = string(rec.Env.Method) + " " + strings.Join(rec.Env.Names, " ")
		if rec.File != nil {
			key.subject += " " + rec.File.Path
		}
	case rec.Access != nil:
		key.subject = string(rec.Access.Method) + " " + strconv.Itoa(rec.Access.Signal)
		if t := rec.Access.Target; t != nil {
			key.subject += " " + strconv.Itoa(int(t.PID))
		}
	case rec.File != nil:
		key.subject = rec.File.Operation + " " + rec.File.Path
	case rec.Network != nil:
		if addr, err := netip.ParseAddr(rec.Network.PeerAddress); err == nil {
			key.subject = netip.AddrPortFrom(addr, rec.Network.PeerPort).String()
		} else {
			n := rec.Network
			key.subject = strings.Join([]string{string(n.Transport), n.PeerAddress, n.LocalAddress, n.Family, n.SocketType}, " ")
		}
	case rec.Effects != nil:
		key.subject = rec.Tool.CallID
	case rec.LLM != nil:
		key.subject = rec.LLM.Provider
	case rec.Sensor != nil:
		key.subject = rec.Sensor.Probe + " " + rec.Sensor.Reason
	}
	for _, s := range rec.Sensitive {
		if !strings.Contains(key.subject, " "+s.Type) {
			key.subject += " " + s.Type
		}
	}
	return key
}

// count adds one more occurrence. One whose attribution is surer speaks for the
// alert from then on.
func (f *finding) count(rec *event.Record, found rules.Finding, now time.Time) {
	f.alert.Count++
	f.last, f.dirty = now, true
	if len(f.alert.Events) < maxEvents {
		f.alert.Events = append(f.alert.Events, rec.ID)
	}
	if surer(rec.Attribution, f.alert.Attribution) {
		f.alert.Attribution, f.alert.Process, f.alert.Message = rec.Attribution, rec.Process, found.Message
	}
}

// copy is the alert as it is given out: what is counted later must not change
// it.
func (f *finding) copy() event.Alert {
	a := f.alert
	a.Events = slices.Clone(a.Events)
	return a
}

var ranks = []event.Confidence{event.None, event.Ambiguous, event.Weak, event.Strong, event.Certain}

func surer(a, b *event.Attribution) bool {
	return a != nil && b != nil && slices.Index(ranks, a.Confidence) > slices.Index(ranks, b.Confidence)
}

// repeat gives out again what was counted, and forgets what is over.
func (p *Pipeline) repeat(all bool) {
	var due []*finding
	for key, f := range p.findings {
		if f.dirty && (all || p.now.Sub(f.given) >= againFinding) {
			due = append(due, f)
		}
		if p.now.Sub(f.last) >= keepFinding {
			delete(p.findings, key)
			key.subject = ""
			if g := p.groups[key]; g != nil && p.now.Sub(g.latest.last) >= keepFinding {
				delete(p.groups, key)
			}
		}
	}
	slices.SortFunc(due, func(a, b *finding) int { return cmp.Compare(a.alert.ID, b.alert.ID) })
	for _, f := range due {
		p.giveAgain(f)
	}
}

func (p *Pipeline) giveAgain(f *finding) {
	f.dirty, f.given = false, p.now
	a := f.copy()
	a.Amended = true
	p.Sink.Alert(a)
}
