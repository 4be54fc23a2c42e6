package attribution

import (
	"regexp"
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

// gaps are what OpenClaw writes in the place of a secret, and what it can have taken
// out: a short value or that of a parameter, the middle of a longer one, and what lies
// between the lines of a private key.
var gaps = []struct{ mark, hidden string }{
	{"…redacted…", `[A-Za-z0-9+/=\s:,.-]+?`}, {"…", `[^\s]{8,}?`}, {"***", `[^\s]+?`},
}

// Bounds on a command that is compared with its masked record.
const (
	maxMasked = 16 << 10 // bytes
	maxMasks  = 8
	minPlain  = 10 // characters that are left of it
)

// unmasked gives what matches the texts that OpenClaw can have masked in a command,
// or nil if it has masked nothing in it.
func unmasked(command string) *regexp.Regexp {
	command = strings.TrimSpace(command)
	if len(command) > maxMasked || !strings.Contains(command, "…") && !strings.Contains(command, "***") {
		return nil
	}
	var b strings.Builder
	plain, n := len(command), 0
	for rest := command; rest != ""; {
		at, gap := len(rest), -1
		for i, g := range gaps {
			if j := strings.Index(rest, g.mark); j >= 0 && j < at {
				at, gap = j, i
			}
		}
		b.WriteString(regexp.QuoteMeta(rest[:at]))
		if gap < 0 {
			break
		}
		b.WriteString(gaps[gap].hidden)
		rest = rest[at+len(gaps[gap].mark):]
		plain -= len(gaps[gap].mark)
		n++
	}
	if n > maxMasks || plain < minPlain {
		return nil
	}
	re, err := regexp.Compile(`^(?s:` + b.String() + `)$`)
	if err != nil {
		return nil
	}
	return re
}

// unmasks reports whether a recorded command is that of an execution but for what
// OpenClaw has masked in it.
func (c *call) unmasks(x *execution) bool {
	return c.masked != nil && !x.truncated && len(x.command) <= maxMasked && c.masked.MatchString(strings.TrimSpace(x.command))
}
