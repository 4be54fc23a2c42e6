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
// same thing in the same execution, or session, of the same skill; of who is in
// no tree, by the same program of the same user.
type findingKey struct {
	rule, gateway, session, skill, stranger, subject string
	execution                                        event.ProcID
}

// A finding is an alert that may still happen again.
type finding struct {
	alert    event.Alert
	key      findingKey
	source   *source
	root     event.ProcID  // the execution that the alert's attribution is of
	begun    time.Time     // when it was found first
	last     time.Time     // and last
	given    time.Time     // when it was last given out
	again    time.Duration // until it is given out again with its counts
	throttle time.Duration // the rule's throttle; 0: none
}

// Bounds on repeated findings.
const (
	keepFinding   = 10 * time.Minute // after the last time
	againFinding  = 5 * time.Second  // between the first two reports of the same alert; then twice as long each time
	seldomFinding = time.Minute      // at most
	maxFindings   = 8192
	maxOfSource   = 256 // of these, those of one source
	maxEvents     = 16  // IDs of records in one alert
	maxGroup      = 20  // alerts of one rule in one execution
)

// findings hold what was found lately. The first finding of a kind is an alert
// at once; those that follow are counted in it, and it is given out again.
type findings struct {
	known   map[findingKey]*finding
	groups  map[findingKey]*findingGroup // by key without a subject
	counted map[*finding]bool            // since they were given out
	limits  limits
}

func newFindings() findings {
	return findings{
		known: map[findingKey]*finding{}, groups: map[findingKey]*findingGroup{}, counted: map[*finding]bool{}, limits: newLimits(),
	}
}

// alert gives out a new alert, or counts one that is known. It returns the alert
// if it speaks for the fact's execution, for a later amendment.
// ids are those of the records that it speaks for, this one last.
func (p *Pipeline) alert(it *item, rec *event.Record, f rules.Finding, ids []string) *finding {
	fs := &p.findings
	key := keyOf(it, rec, f)
	if known := fs.known[key]; known != nil && !known.over(p.now) {
		known.count(it, rec, f, p.now)
		known.alert.Count += len(ids) - 1
		return fs.noted(known, it)
	}
	group := groupOf(it, key)
	g := fs.groups[group]
	if g != nil {
		if g.members++; g.members > maxGroup {
			g.last = p.now
			g.latest.suppress(rec, p.now)
			return fs.noted(g.latest, it)
		}
	}
	src := fs.limits.source(it, rec, f.Rule, p.now)
	if !fs.limits.admit(src, p.now) {
		src.latest.suppress(rec, p.now)
		fs.noted(src.latest, it)
		p.holdBack(src, rec)
		return nil
	}
	p.stats.Alerts++
	n := &finding{
		key: key, root: it.scope.Execution(), begun: p.now, last: p.now, given: p.now, again: againFinding, throttle: f.Throttle,
		alert: event.Alert{
			ID: p.NewID(rec.Time), Time: rec.Time, Rule: f.Rule, Message: f.Message,
			Attribution: rec.Attribution, Process: rec.Process, Events: ids[max(0, len(ids)-maxEvents):], Count: len(ids),
		},
	}
	p.remember(n, src)
	if g == nil && len(fs.groups) < maxFindings {
		fs.groups[group] = &findingGroup{members: 1, latest: n, last: p.now}
	} else if g != nil {
		g.latest, g.last = n, p.now
	}
	p.Sink.Alert(n.copy())
	return n
}

// noted marks an alert as to be given out again. One that speaks for another
// execution is not the fact's to amend: nil.
func (fs *findings) noted(f *finding, it *item) *finding {
	fs.counted[f] = true
	if f.root != it.scope.Execution() {
		return nil
	}
	return f
}

// remember keeps a new alert, so that what follows is counted in it. Where there
// is no room, whoever has most gives way: the source itself when it has its
// share, else the one that has the largest.
func (p *Pipeline) remember(n *finding, src *source) {
	fs := &p.findings
	if old := fs.known[n.key]; old != nil {
		p.forget(old)
	}
	if len(src.kept) >= maxOfSource {
		p.forget(src.kept[0])
	}
	if len(fs.known) >= maxFindings {
		p.forget(fs.limits.largest().kept[0])
	}
	fs.known[n.key] = n
	n.source, src.latest = src, n
	src.kept = append(src.kept, n)
}

// forget gives out what was counted in an alert, and counts no more in it.
func (p *Pipeline) forget(f *finding) {
	if p.findings.counted[f] {
		p.giveAgain(f)
	}
	delete(p.findings.known, f.key)
	f.source.kept = slices.DeleteFunc(f.source.kept, func(k *finding) bool { return k == f })
}

// over reports whether what is found from now on is another alert.
func (f *finding) over(now time.Time) bool {
	if f.throttle > 0 {
		return now.Sub(f.begun) >= f.throttle
	}
	return now.Sub(f.last) >= keepFinding
}

// A findingGroup is what one rule found in one execution. The first maxGroup
// things are alerts of their own; the rest is counted as suppressed in the
// last of them. The records are all kept.
type findingGroup struct {
	members int
	latest  *finding
	last    time.Time
}

func (f *finding) suppress(rec *event.Record, now time.Time) {
	f.alert.Suppressed++
	f.last = now
	if len(f.alert.Events) < maxEvents {
		f.alert.Events = append(f.alert.Events, rec.ID)
	}
}

// groupOf gives the group of a key: who is in no execution is a group of his own.
func groupOf(it *item, key findingKey) findingKey {
	key.subject, key.stranger, key.execution = "", "", it.scope.Execution()
	if key.execution.IsZero() {
		key.execution = it.ev.Proc
	}
	return key
}

func keyOf(it *item, rec *event.Record, f rules.Finding) findingKey {
	key := findingKey{rule: f.Rule.Name, execution: it.scope.Execution(), subject: subjectOf(rec)}
	if a := rec.Attribution; a != nil {
		key.gateway, key.session = a.Gateway, a.Session
		if a.Skill != nil {
			key.skill = a.Skill.Dir
		}
	}
	if key.execution.IsZero() && rec.Process != nil {
		key.execution = it.ev.Proc
	}
	switch { // a job that comes again every minute is a process of its own each time
	case it.ev.Stranger:
		key.execution, key.stranger = event.ProcID{}, strangerOf(rec.Process)
	case rec.Kind == event.KindHeir:
		key.execution = event.ProcID{}
	}
	if f.Throttle > 0 {
		key.session, key.execution = "", event.ProcID{}
	}
	if f.Repeat.Of > 1 { // what it says is how often, and not of what
		key.subject = ""
	}
	return key
}

// strangerOf names a program and its user.
func strangerOf(p *event.Process) string {
	if p == nil {
		return ""
	}
	return userOf(p) + " " + programOf(p)
}

func userOf(p *event.Process) string {
	if p == nil || p.User == nil {
		return ""
	}
	return strconv.FormatUint(uint64(p.User.ID), 10)
}

func programOf(p *event.Process) string {
	if p == nil || p.Executable == nil {
		return ""
	}
	return p.Executable.Path
}

// subjectOf names what a record is about.
func subjectOf(rec *event.Record) (subject string) {
	switch {
	case rec.Skill != nil:
		subject = rec.Skill.ID.Dir + " " + rec.Skill.ID.SHA256
	case rec.Env != nil:
		subject = string(rec.Env.Method) + " " + strings.Join(rec.Env.Names, " ")
		if rec.File != nil {
			subject += " " + rec.File.Path
		}
	case rec.Access != nil:
		subject = string(rec.Access.Method) + " " + strconv.Itoa(rec.Access.Signal)
		if t := rec.Access.Target; t != nil {
			subject += " " + strconv.Itoa(int(t.PID))
		}
	case rec.File != nil:
		subject = rec.File.Operation + " " + rec.File.Path
	case rec.Network != nil:
		if addr, err := netip.ParseAddr(rec.Network.PeerAddress); err == nil {
			subject = netip.AddrPortFrom(addr, rec.Network.PeerPort).String()
		} else {
			n := rec.Network
			subject = strings.Join([]string{string(n.Transport), n.PeerAddress, n.LocalAddress, n.Family, n.SocketType}, " ")
		}
	case rec.Effects != nil:
		subject = rec.Tool.CallID
	case rec.LLM != nil:
		subject = rec.LLM.Provider
	case rec.Sensor != nil:
		subject = rec.Sensor.Probe + " " + rec.Sensor.Reason
	}
	for _, s := range rec.Sensitive {
		if !strings.Contains(subject, " "+s.Type) {
			subject += " " + s.Type
		}
	}
	return subject
}

// count adds one more occurrence. One whose attribution is surer speaks for the
// alert from then on.
func (f *finding) count(it *item, rec *event.Record, found rules.Finding, now time.Time) {
	f.alert.Count++
	f.last = now
	if len(f.alert.Events) < maxEvents {
		f.alert.Events = append(f.alert.Events, rec.ID)
	}
	if surer(rec.Attribution, f.alert.Attribution) {
		f.alert.Attribution, f.alert.Process, f.alert.Message = rec.Attribution, rec.Process, found.Message
		f.root = it.scope.Execution()
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

// repeat gives out again what was counted, all of it or what is due.
func (p *Pipeline) repeat(all bool) {
	var due []*finding
	for f := range p.findings.counted {
		if all || p.now.Sub(f.given) >= f.again {
			due = append(due, f)
		}
	}
	slices.SortFunc(due, func(a, b *finding) int { return cmp.Compare(a.alert.ID, b.alert.ID) })
	for _, f := range due {
		p.giveAgain(f)
		f.again = min(2*f.again, seldomFinding)
	}
	if all {
		p.letGo(true)
	}
}

// expire forgets what is over.
func (p *Pipeline) expireFindings() {
	fs := &p.findings
	for _, f := range fs.known {
		if f.over(p.now) {
			p.forget(f)
		}
	}
	for key, g := range fs.groups {
		if p.now.Sub(g.last) >= keepFinding {
			delete(fs.groups, key)
		}
	}
	p.letGo(false)
	fs.limits.expire(p.now, fs.counted)
}

func (p *Pipeline) giveAgain(f *finding) {
	delete(p.findings.counted, f)
	f.given = p.now
	a := f.copy()
	a.Amended = true
	p.Sink.Alert(a)
}
