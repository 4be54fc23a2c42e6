package attribution

import (
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// OpenClaw takes 40 characters of the alphabet of base64 that stand alone for a secret
// of AWS, also where they are a piece of a path, and keeps six at the beginning of them
// and four at the end. So does it in openclaw/workspace/skills/EIGHTCHR/SKILL: an
// author who knows can choose a name with which no read of his skill is in the records.
const (
	mask   = "…"
	masked = 30 // characters that it stands for
)

// masks reports whether a path is what OpenClaw makes of another.
func masks(p, of string) bool {
	head, tail, ok := strings.Cut(p, mask)
	if !ok || len(of) != len(head)+masked+len(tail) || !strings.HasPrefix(of, head) || !strings.HasSuffix(of, tail) {
		return false
	}
	return !strings.ContainsFunc(of[len(head):len(of)-len(tail)], func(r rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/+=", r)
	})
}

// manuals are the skills whose SKILL.md a path of OpenClaw's records can be: several
// only where it is masked.
func (c *catalogue) manuals(p string) skillSet {
	if id, ok := c.at(p); ok && strings.HasSuffix(p, "/SKILL.md") {
		return skillSet{id}
	}
	if !strings.Contains(p, mask) {
		return nil
	}
	var fits skillSet
	for dir, s := range c.skills {
		if s.Change != event.Removed && masks(p, dir+"/SKILL.md") {
			fits.add(c.identity(s))
		}
	}
	for link, dir := range c.links {
		if masks(p, link+"/SKILL.md") {
			fits.add(c.identity(c.skills[dir]))
		}
	}
	slices.SortFunc(fits, func(a, b event.SkillID) int { return strings.Compare(a.Dir, b.Dir) })
	return fits
}
