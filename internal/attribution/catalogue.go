package attribution

import (
	"path"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A catalogue holds the skills that one gateway can load, by directory.
type catalogue struct {
	roots  []string // absolute, resolved
	skills map[string]event.Skill
}

func (c *catalogue) put(s event.Skill) {
	if c.skills == nil {
		c.skills = map[string]event.Skill{}
	}
	// A removed skill stays known: what it started may still run.
	c.skills[s.ID.Dir] = s
}

// at returns the skill whose directory holds the path. Under a root, but in no
// known skill, the first directory below the root stands for one: it was made
// a moment ago, and its name is all that is known.
func (c *catalogue) at(p string) (event.SkillID, bool) {
	if p == "" {
		return event.SkillID{}, false
	}
	for d := p; d != "/" && d != "."; d = path.Dir(d) {
		if s, ok := c.skills[d]; ok {
			return s.ID, true
		}
	}
	for _, root := range c.roots {
		rest, ok := strings.CutPrefix(p, root+"/")
		if !ok {
			continue
		}
		name, inside, _ := strings.Cut(rest, "/")
		if name != "" && inside != "" && !strings.HasPrefix(name, ".") {
			return event.SkillID{Name: name, Root: root, Dir: root + "/" + name}, true
		}
	}
	return event.SkillID{}, false
}

// byDir returns what the catalogue knows of a skill, for its secrets' names.
func (c *catalogue) byDir(dir string) event.Skill { return c.skills[dir] }

// A skillSet is a small set of skills, in the order in which they were added.
type skillSet []event.SkillID

func (s *skillSet) add(id event.SkillID) {
	if !s.has(id) {
		*s = append(*s, id)
	}
}

func (s skillSet) has(id event.SkillID) bool {
	return slices.ContainsFunc(s, func(x event.SkillID) bool { return x.Dir == id.Dir })
}

func (s skillSet) names() string {
	names := make([]string, len(s))
	for i, id := range s {
		names[i] = id.Name
	}
	return strings.Join(names, ", ")
}
