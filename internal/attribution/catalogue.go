package attribution

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A catalogue holds the skills that one gateway can load, by directory.
type catalogue struct {
	roots  []string // absolute, resolved
	skills map[string]event.Skill
	links  map[string]string    // directories by symbolic links to them
	names  map[string]int       // skills of each name
	came   map[string]time.Time // when those that were installed since did, by directory

	sources origins // their files, by content
}

func (c *catalogue) put(s event.Skill, at time.Time) {
	if c.skills == nil {
		c.skills, c.links, c.names, c.came = map[string]event.Skill{}, map[string]string{}, map[string]int{}, map[string]time.Time{}
	}
	if s.Change == event.Installed {
		c.came[s.ID.Dir] = at
	}
	if old, known := c.skills[s.ID.Dir]; known && old.Change != event.Removed {
		c.names[old.ID.Name]--
	}
	c.learn(s)
	s.Scripts = nil // kept by content
	c.skills[s.ID.Dir] = s
	if s.Change == event.Removed {
		return // it stays known, as what it started may still run, but has no claim to its name
	}
	c.names[s.ID.Name]++
	for _, link := range s.Links {
		c.links[link] = s.ID.Dir
	}
}

// identity is a skill's own. Anybody can write any name into a SKILL.md: one that
// several skills claim is that of the directory which is called so, and the
// others go by their directories.
func (c *catalogue) identity(s event.Skill) event.SkillID {
	id := s.ID
	if base := path.Base(id.Dir); c.names[id.Name] > 1 && base != id.Name {
		id.Name = base
	}
	return id
}

// known returns the directory of the known skill that holds a path; empty: none.
func (c *catalogue) known(p string) string {
	for d := c.resolve(p); d != "/" && d != "." && d != ""; d = path.Dir(d) {
		if _, ok := c.skills[d]; ok {
			return d
		}
	}
	return ""
}

// resolve gives a path below a link to a skill as one below the skill's own
// directory.
func (c *catalogue) resolve(p string) string {
	if len(c.links) == 0 {
		return p
	}
	for d := p; d != "/" && d != "." && d != ""; d = path.Dir(d) {
		if dir, ok := c.links[d]; ok {
			return dir + p[len(d):]
		}
	}
	return p
}

// at returns the skill whose directory holds the path. Under a root, but in no
// known skill, the first directory below the root stands for one: it was made
// a moment ago, and its name is all that is known.
func (c *catalogue) at(p string) (event.SkillID, bool) {
	if p == "" {
		return event.SkillID{}, false
	}
	if dir := c.known(p); dir != "" {
		return c.identity(c.skills[dir]), true
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

// before reports whether a skill was there at a moment, as far as is known.
func (c *catalogue) before(dir string, at time.Time) bool {
	_, known := c.skills[dir]
	return known && !c.came[dir].After(at)
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

// except gives those that are not in another set.
func (s skillSet) except(t skillSet) skillSet { return slices.DeleteFunc(slices.Clone(s), t.has) }

func (s skillSet) without(id event.SkillID) skillSet {
	return slices.DeleteFunc(slices.Clone(s), func(x event.SkillID) bool { return x.Dir == id.Dir })
}

func (s skillSet) names() string {
	names := make([]string, len(s))
	for i, id := range s {
		names[i] = id.Name
	}
	return strings.Join(names, ", ")
}
