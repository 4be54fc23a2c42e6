package policy

import (
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A Tier says how sensitive a path is.
type Tier string

// The tiers there are.
const (
	Public     Tier = "public"     // of no interest: the system, caches, temporary files
	Internal   Tier = "internal"   // work: used as intended, and recorded
	Restricted Tier = "restricted" // credentials, customer data: no skill's business
	Outside    Tier = "outside"    // in no approved directory
)

// rank orders the tiers for ties.
func (t Tier) rank() int {
	switch t {
	case Restricted:
		return 2
	case Internal:
		return 1
	}
	return 0
}

// A tree holds patterns by component, so that a lookup costs what the path is
// long and not what the policy is long.
type tree struct {
	root node // patterns as they are, variables replaced
	own  node // patterns below ${skill}
}

type node struct {
	literal map[string]*node
	globs   []glob
	deep    *node // after **
	entries []entry
}

type glob struct {
	pattern string
	next    *node
}

// An entry is what a pattern says of the paths it matches.
type entry struct {
	tier   Tier
	write  bool
	self   bool // the directory itself only
	skills []string
}

// bind adds a pattern once for each value of its variable.
func (t *tree) bind(pattern string, values map[string][]string, e entry) {
	pattern, e.self = strings.CutSuffix(pattern, "/.")
	name, rest, ok := cutVariable(pattern)
	switch {
	case !ok:
		t.root.add(components(pattern), e)
	case name == "skill":
		t.own.add(components(rest), e)
	default:
		for _, value := range values[name] {
			// A gateway that has not told, or says "/", must not approve everything.
			if value = path.Clean(value); path.IsAbs(value) && value != "/" {
				t.root.addBelow(components(value), components(rest), e)
			}
		}
	}
}

// addBelow takes base as it is: a star in a directory's name is a star.
func (n *node) addBelow(base, pattern []string, e entry) {
	for _, c := range base {
		n = n.child(c)
	}
	n.add(pattern, e)
}

func (n *node) add(pattern []string, e entry) {
	for _, c := range pattern {
		switch {
		case c == "**":
			if n.deep == nil {
				n.deep = new(node)
			}
			n = n.deep
		case strings.ContainsAny(c, "*?"):
			n = n.glob(c)
		default:
			n = n.child(c)
		}
	}
	n.entries = append(n.entries, e)
}

func (n *node) child(c string) *node {
	if n.literal == nil {
		n.literal = map[string]*node{}
	}
	if n.literal[c] == nil {
		n.literal[c] = new(node)
	}
	return n.literal[c]
}

func (n *node) glob(c string) *node {
	i := slices.IndexFunc(n.globs, func(g glob) bool { return g.pattern == c })
	if i < 0 {
		i, n.globs = len(n.globs), append(n.globs, glob{c, new(node)})
	}
	return n.globs[i].next
}

// A search looks for the entry that decides.
type search struct {
	skill string
	best  *entry
	score [4]int // depth, components written out, names the skill, rank of the tier
}

func (t *tree) lookup(p string, write bool, skill *event.SkillID) Tier {
	best, _ := t.decide(p, skill)
	if best == nil || write && !best.write && best.tier != Restricted {
		return Outside
	}
	return best.tier
}

// decide gives the entry that decides on a path, or nil, and whether it names the
// skill.
func (t *tree) decide(p string, skill *event.SkillID) (best *entry, named bool) {
	if !strings.HasPrefix(p, "/") {
		return nil, false
	}
	p = path.Clean(p) // does not copy a clean one
	var s search
	if skill != nil {
		s.skill = skill.Name
		if rest, ok := below(p, skill.Dir); ok {
			base := strings.Count(path.Clean(skill.Dir), "/")
			s.walk(&t.own, rest, base, base)
		}
	}
	s.walk(&t.root, p[1:], 0, 0)
	return s.best, s.best != nil && len(s.best.skills) > 0
}

// walk follows every pattern that can still match. There is at most one ** in
// a pattern, so the work is the length of the path times that of the patterns.
func (s *search) walk(n *node, rest string, depth, literal int) {
	for i := range n.entries {
		s.consider(&n.entries[i], rest, depth, literal)
	}
	if rest == "" {
		return
	}
	if n.deep != nil {
		for at, d := rest, depth; at != ""; d++ {
			s.walk(n.deep, at, d, literal)
			_, at, _ = strings.Cut(at, "/")
		}
	}
	c, after, _ := strings.Cut(rest, "/")
	if next := n.literal[c]; next != nil {
		s.walk(next, after, depth+1, literal+1)
	}
	for i := range n.globs {
		if wildcard(n.globs[i].pattern, c) {
			s.walk(n.globs[i].next, after, depth+1, literal)
		}
	}
}

func (s *search) consider(e *entry, rest string, depth, literal int) {
	if e.self && rest != "" {
		return
	}
	named := 0
	if len(e.skills) > 0 {
		if s.skill == "" || !slices.Contains(e.skills, s.skill) {
			return
		}
		named = 1
	}
	score := [4]int{depth, literal, named, e.tier.rank()}
	if s.best == nil || slices.Compare(score[:], s.score[:]) >= 0 {
		s.best, s.score = e, score
	}
}

// below gives what of p lies below dir: component by component, so /skills/a
// is not above /skills/ab.
func below(p, dir string) (rest string, ok bool) {
	if !path.IsAbs(dir) {
		return "", false
	}
	rest, ok = strings.CutPrefix(p, path.Clean(dir))
	return strings.TrimPrefix(rest, "/"), ok && (rest == "" || rest[0] == '/')
}

// cutPort splits "name:443".
func cutPort(s string) (name string, port uint16, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i <= 0 {
		return "", 0, false
	}
	ap, err := netip.ParseAddrPort("0.0.0.0" + s[i:])
	return s[:i], ap.Port(), err == nil
}
