// Package learn says from records what each version of a skill does, and which
// additions to the policy would allow it.
//
// Only what is certainly or strongly a skill's is learned; the rest is counted.
// It is a description of what was done, and no judgement: a skill that was
// hostile all week has a profile, too. So what no skill should do is never
// suggested, whoever does it how often: what the policy restricts, writing to
// software and settings, OpenClaw's own files, canaries, loopback, and connections whose
// name is in doubt.
//
// Names come from hostile programs: of each sort 512 are kept of one profile.
package learn

import (
	"cmp"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
)

// Bounds of what is learned.
const (
	maxProfiles = 1024
	maxNames    = 512 // of one sort, of one profile
	maxSessions = 64  // that are counted of one name
	maxName     = 1024
)

// A Seen is one thing that a skill did.
type Seen struct {
	Name     string    `json:"name"`
	Port     uint16    `json:"port,omitempty"`
	Write    bool      `json:"write,omitempty"`
	Allowed  bool      `json:"allowed"`            // by the policy in force
	LeftOut  string    `json:"left_out,omitempty"` // why it is not suggested
	Count    int       `json:"count"`
	Sessions int       `json:"sessions"` // in how many; 64: or more
	Certain  bool      `json:"certain"`  // each time, and never only strong
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Example  string    `json:"example"` // ID of the first event

	sessions map[string]bool
}

// A Profile is what one version of a skill did.
type Profile struct {
	Gateway     string        `json:"gateway"`
	Skill       event.SkillID `json:"skill"`
	Events      int           `json:"events"`
	Doubtful    int           `json:"doubtful"` // events that may be this skill's, and are not in the profile
	First       time.Time     `json:"first,omitzero"`
	Last        time.Time     `json:"last,omitzero"`
	Hosts       []*Seen       `json:"hosts,omitempty"`
	Files       []*Seen       `json:"files,omitempty"`
	Programs    []*Seen       `json:"programs,omitempty"`
	Variables   []*Seen       `json:"variables,omitempty"`
	MaxSent     uint64        `json:"max_bytes_sent"` // in one run
	MaxReceived uint64        `json:"max_bytes_received"`
	Limit       uint64        `json:"limit"`              // of the policy in force; 0: none
	Override    string        `json:"override,omitempty"` // of the policy, that its gateway is under
	More        int           `json:"more,omitempty"`     // of names beyond those that are kept
	known       map[seenKey]*Seen
}

type seenKey struct {
	sort, name string
	port       uint16
	write      bool
}

type profileKey struct{ gateway, dir, name, sha256 string }

// A Learner takes in records.
type Learner struct {
	profiles map[profileKey]*Profile
	doubts   map[profileKey]int
}

// New makes a Learner that knows nothing.
func New() *Learner {
	return &Learner{profiles: map[profileKey]*Profile{}, doubts: map[profileKey]int{}}
}

// Add takes in one record with the policy for its gateway, and what its run had
// moved by then.
func (l *Learner) Add(r *event.Record, view *policy.View, sent, received uint64) {
	a := r.Attribution
	if a == nil || r.Stranger {
		return
	}
	if a.Skill == nil || a.Confidence != event.Certain && a.Confidence != event.Strong {
		l.doubt(a)
		return
	}
	p := l.profile(a.Gateway, *a.Skill)
	if p == nil {
		return
	}
	p.Events++
	if p.First.IsZero() || r.Time.Before(p.First) {
		p.First = r.Time
	}
	if r.Time.After(p.Last) {
		p.Last = r.Time
	}
	p.MaxSent, p.MaxReceived, p.Limit = max(p.MaxSent, sent), max(p.MaxReceived, received), uint64(view.Limits().BytesPerRun)
	p.Override = view.Override()
	switch {
	case r.Kind == event.KindConnect && r.Network != nil:
		p.host(r, view)
	case r.Env != nil:
		p.variables(r, view)
	case r.File != nil:
		p.file(r, view)
	case r.Kind == event.KindExec && r.Process != nil && r.Process.Executable != nil:
		p.see(r, seenKey{sort: "program", name: r.Process.Executable.Path}, true, "")
	}
}

// doubt counts what may be a skill's. No skill gets a profile by it.
func (l *Learner) doubt(a *event.Attribution) {
	all := a.Candidates
	if a.Skill != nil {
		all = []event.SkillID{*a.Skill}
	}
	for _, id := range all {
		if key := keyOf(a.Gateway, id); l.doubts[key] > 0 || len(l.doubts) < maxProfiles {
			l.doubts[key]++
		}
	}
}

func keyOf(gateway string, id event.SkillID) profileKey {
	return profileKey{gateway, id.Dir, id.Name, id.SHA256}
}

func (l *Learner) profile(gateway string, id event.SkillID) *Profile {
	key := keyOf(gateway, id)
	p := l.profiles[key]
	if p == nil && len(l.profiles) < maxProfiles {
		p = &Profile{Gateway: gateway, Skill: id, known: map[seenKey]*Seen{}}
		l.profiles[key] = p
	}
	return p
}

// see counts one thing, and returns it; nil: there is no room.
func (p *Profile) see(r *event.Record, key seenKey, allowed bool, leftOut string) {
	s := p.known[key]
	list := p.list(key.sort)
	if s == nil {
		if len(*list) >= maxNames || len(key.name) > maxName {
			p.More++
			return
		}
		s = &Seen{Name: key.name, Port: key.port, Write: key.write, Allowed: true, Certain: true, First: r.Time, Example: r.ID, sessions: map[string]bool{}}
		p.known[key] = s
		*list = append(*list, s)
	}
	s.Count++
	s.Allowed = s.Allowed && allowed
	s.LeftOut = cmp.Or(s.LeftOut, leftOut)
	s.Certain = s.Certain && r.Attribution.Confidence == event.Certain
	if len(s.sessions) < maxSessions {
		s.sessions[r.Attribution.Session] = true
		s.Sessions = len(s.sessions)
	}
	if r.Time.Before(s.First) {
		s.First, s.Example = r.Time, r.ID
	}
	if r.Time.After(s.Last) {
		s.Last = r.Time
	}
}

func (p *Profile) list(sort string) *[]*Seen {
	switch sort {
	case "host":
		return &p.Hosts
	case "file":
		return &p.Files
	case "program":
		return &p.Programs
	}
	return &p.Variables
}

func (p *Profile) host(r *event.Record, view *policy.View) {
	n := r.Network
	if n.Direction != "outbound" || n.Transport != event.TCP && n.Transport != event.UDP {
		return
	}
	addr, err := netip.ParseAddr(n.PeerAddress)
	if err != nil {
		return
	}
	addr = addr.Unmap().WithZone("")
	name, leftOut := n.Vouched(), ""
	switch {
	case addr.IsLoopback():
		leftOut = "loopback: what listens there is not known"
	case name == "" && n.Host != "":
		leftOut = "only the process itself called it by a name, " + n.Host
	case n.HostAlso != "":
		leftOut = "it was called by another name, too, " + n.HostAlso
	case name != "" && !isHost(name):
		leftOut = "it has a name that a policy cannot have"
	}
	if name == "" {
		name = addr.String()
	}
	p.see(r, seenKey{sort: "host", name: name, port: n.PeerPort}, view.Endpoint(netip.AddrPortFrom(addr, n.PeerPort), n.Vouched(), p.Skill.Name), leftOut)
}

const canary = "it is a canary, which nothing has a reason to touch"

func isHost(name string) bool {
	var h policy.HostName
	return !strings.Contains(name, "*") && h.UnmarshalText([]byte(name)) == nil
}

func (p *Profile) variables(r *event.Record, view *policy.View) {
	names, leftOut := r.Env.Names, ""
	switch r.Env.Method {
	case event.EnvExec:
		names = r.Env.Referenced // the others are handed to every command
	case event.EnvGetenv, event.EnvShell:
	default:
		leftOut = "not asked for by name, but taken with all others (" + string(r.Env.Method) + ")"
	}
	for _, name := range names {
		if view.CanaryVariable(name) {
			p.see(r, seenKey{sort: "variable", name: name}, false, canary)
		} else if view.SecretName(name) {
			p.see(r, seenKey{sort: "variable", name: name}, view.EnvApproved(name, p.Skill.Name), leftOut)
		}
	}
}

func (p *Profile) file(r *event.Record, view *policy.View) {
	f := r.File
	write := event.Changes(f.Operation)
	for _, file := range []string{f.Path, f.OldPath} {
		if file == "" || strings.HasPrefix(file, "/proc/") {
			continue
		}
		id := p.Skill
		tier := view.Directory(file, write, &id)
		allowed := tier == policy.Public || tier == policy.Internal
		leftOut := ""
		if allowed {
			file = path.Dir(file) // a profile need not name each of them
		} else if leftOut = p.leaveFile(f, file, tier, write, view); f.Directory {
			file += "/." // and nothing in it
		}
		p.see(r, seenKey{sort: "file", name: file, write: write}, allowed, leftOut)
	}
}

// leaveFile says why access to a file is not suggested; empty: it may be.
func (p *Profile) leaveFile(f *event.File, file string, tier policy.Tier, write bool, view *policy.View) string {
	id := p.Skill
	switch {
	case view.CanaryFile(file):
		return canary
	case tier == policy.Restricted:
		return "the policy restricts it"
	case write && view.Directory(file, false, &id) == policy.Public:
		return "software or settings, which are to be read alone"
	case f.Truncated || f.Unresolved || f.Attempted || !path.IsAbs(file):
		return "where it is, or that it was done, is not known for sure"
	case strings.HasPrefix(file, stateOf(p.Gateway)+"/"):
		return "OpenClaw's own"
	case !isPattern(file):
		return "it has a name that a policy cannot have"
	}
	return ""
}

// stateOf is the state directory that a gateway is named by.
func stateOf(gateway string) string { return gateway[strings.Index(gateway, ":/")+1:] }

func isPattern(file string) bool {
	var p policy.Pattern
	return !strings.ContainsAny(file, "*?$") && p.UnmarshalText([]byte(file)) == nil
}

// Profiles gives what was learned, by name of the skill.
func (l *Learner) Profiles() []*Profile {
	var all []*Profile
	for key, p := range l.profiles {
		p.Doubtful = l.doubts[key]
		for _, list := range []*[]*Seen{&p.Hosts, &p.Files, &p.Programs, &p.Variables} {
			slices.SortFunc(*list, func(a, b *Seen) int {
				return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port), cmp.Compare(strconv.FormatBool(a.Write), strconv.FormatBool(b.Write)))
			})
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Profile) int {
		return cmp.Or(cmp.Compare(a.Skill.Name, b.Skill.Name), cmp.Compare(a.Gateway, b.Gateway), cmp.Compare(a.Skill.Dir, b.Skill.Dir), a.First.Compare(b.First), cmp.Compare(a.Skill.SHA256, b.Skill.SHA256))
	})
	return all
}
