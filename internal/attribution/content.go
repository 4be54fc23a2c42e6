package attribution

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A file that is a copy of a skill's, under whatever name, is known by its SHA-256. What
// such a match is worth has its limits, because authors choose what their skills hold: a
// skill can ship a copy of anybody's program to have its name fall where others work.
// So a match names a skill as a path in a command does, and no more; and it does not
// count
//
//   - where the path itself lies in a skill: that says more;
//   - in the system's directories, whose programs are everybody's;
//   - for an interpreter, which acts for the script it is given;
//   - for a file that was what it is before the skill's file was: it is no copy of that.
//     The time is that of the last change of the inode, which nobody can set back;
//   - for a skill that was not read, where the content is that of one that was as well;
//   - for less than some tens of bytes (collectors/skills leaves these out).
//
// Who changed the skill's file is named with it.

// Bounds on what is kept of contents.
const (
	maxSources    = 256       // files of one skill, those that it had before among them
	maxAllSources = 200 * 256 // of one gateway
	maxContents   = 64        // of one execution
	maxImages     = 4096      // programs of which the digest is known, or waited for
	maxPending    = 64        // executions that wait for one
	maxTwins      = 4         // files that one line of evidence names
)

// A source is a file of a skill, as it is or once was.
type source struct {
	dir, file string
	sum       string
	since     int64 // ns since 1970; it may not have had this content before
	former    bool
}

// origins are the files of skills by content and by skill.
type origins struct {
	bySum map[string][]*source
	byDir map[string][]*source
	n     int
}

// learn takes in what files a skill has now. Those that it had before stay known, as
// far as there is room, because their copies stay; and so do those of skills that are
// gone, until others need the room.
func (c *catalogue) learn(s event.Skill) {
	if c.sources.bySum == nil {
		c.sources = origins{bySum: map[string][]*source{}, byDir: map[string][]*source{}}
	}
	old := c.sources.byDir[s.ID.Dir]
	if len(old)+len(s.Scripts) == 0 {
		return
	}
	c.sources.drop(s.ID.Dir)
	var now []*source
	for _, f := range s.Scripts {
		if len(now) == maxSources || slices.ContainsFunc(now, func(x *source) bool { return x.sum == f.SHA256 }) {
			continue
		}
		x := &source{dir: s.ID.Dir, file: f.Path, sum: f.SHA256, since: f.Changed, former: s.Change == event.Removed}
		if i := slices.IndexFunc(old, func(x *source) bool { return x.sum == f.SHA256 }); i >= 0 {
			x.since = min(x.since, old[i].since)
		}
		now = append(now, x)
	}
	for _, x := range old {
		if len(now) < maxSources && !slices.ContainsFunc(now, func(y *source) bool { return y.sum == x.sum }) {
			x.former = true
			now = append(now, x)
		}
	}
	for dir, known := range c.skills {
		if c.sources.n+len(now) > maxAllSources && known.Change == event.Removed {
			c.sources.drop(dir)
		}
	}
	c.sources.put(s.ID.Dir, now[:min(len(now), maxAllSources-c.sources.n)])
}

func (s *origins) put(dir string, all []*source) {
	if len(all) == 0 {
		return
	}
	s.byDir[dir] = all
	s.n += len(all)
	for _, x := range all {
		s.bySum[x.sum] = append(s.bySum[x.sum], x)
	}
}

func (s *origins) drop(dir string) {
	for _, x := range s.byDir[dir] {
		s.bySum[x.sum] = slices.DeleteFunc(s.bySum[x.sum], func(y *source) bool { return y == x })
		if len(s.bySum[x.sum]) == 0 {
			delete(s.bySum, x.sum)
		}
	}
	s.n -= len(s.byDir[dir])
	delete(s.byDir, dir)
}

// A content is what a process of an execution was given to run, by its digest.
type content struct {
	sum     string
	changed int64 // of the file, as in event.FileID
	path    string
	proc    event.ProcID
	at      time.Time
}

// copied gives the files of skills that a content can be a copy of.
func (c *catalogue) copied(x content) []*source {
	all := c.sources.bySum[x.sum]
	if len(all) == 0 || system(x.path) {
		return nil
	}
	if _, own := c.at(x.path); own {
		return nil
	}
	var fits []*source
	for _, s := range all {
		if x.changed >= s.since {
			fits = append(fits, s)
		}
	}
	return fits
}

// systemDirs hold what comes with the host, or is put there by its administrator.
var systemDirs = []string{"/usr/", "/bin/", "/sbin/", "/lib/", "/lib32/", "/lib64/", "/libx32/", "/opt/", "/etc/", "/nix/", "/gnu/", "/snap/", "/var/lib/"}

func system(p string) bool {
	return slices.ContainsFunc(systemDirs, func(d string) bool { return strings.HasPrefix(p, d) })
}

// An image is a program file whose digest is known, or waited for.
type image struct {
	sum   string // empty: not known yet
	waits []waiting
}

// A waiting is an execution that has run a program before its digest was told.
type waiting struct {
	exec *execution
	content
}

// ran notes which program an exec of a watched process runs, also outside of tool calls
// and heirs: the digest is told once, whoever ran the program first.
func (e *Engine) ran(s *Scope, ev event.Event, b event.Exec) {
	if s == nil || b.File == (event.FileID{}) || system(b.Path) || ScriptOf(b).Source != "" {
		return
	}
	im := e.images[b.File]
	if im == nil {
		if len(e.images) >= maxImages {
			clear(e.images)
		}
		im = &image{}
		e.images[b.File] = im
	}
	if !s.role.ByTool() {
		return
	}
	c := content{sum: im.sum, changed: b.File.Changed, path: b.Path, proc: ev.Proc, at: ev.Time}
	if im.sum != "" {
		e.holds(s.exec, c)
	} else if len(im.waits) < maxPending {
		im.waits = append(im.waits, waiting{s.exec, c})
	}
}

// digest takes in the content of a program, or of a script that a process was given.
func (e *Engine) digest(ev event.Event, b event.Digest) {
	if b.Script != "" {
		if s := e.scopes[b.Proc]; s.Role().ByTool() && b.SHA256 != "" && !system(b.Script) {
			e.holds(s.exec, content{sum: b.SHA256, changed: b.File.Changed, path: b.Script, proc: b.Proc, at: ev.Time})
		}
		return
	}
	im := e.images[b.File]
	if im == nil {
		return
	}
	im.sum = b.SHA256
	for _, w := range im.waits {
		if w.sum = im.sum; w.sum != "" {
			e.holds(w.exec, w.content)
		}
	}
	im.waits = nil
}

// holds notes what a process of an execution was given to run. What was given out
// before a skill is named by it is given out again.
func (e *Engine) holds(x *execution, c content) {
	g := x.origin.gateway
	if g == nil || slices.ContainsFunc(x.contents, func(y content) bool { return y.sum == c.sum && y.path == c.path }) {
		return
	}
	if _, own := g.catalogue.at(c.path); own {
		return
	}
	named := len(g.catalogue.copied(c)) > 0
	if len(x.contents) >= maxContents {
		i := slices.IndexFunc(x.contents, func(y content) bool { return len(g.catalogue.copied(y)) == 0 })
		if !named || i < 0 {
			return
		}
		x.contents = slices.Delete(x.contents, i, i+1)
	}
	if x.contents = append(x.contents, c); named {
		e.version++
		e.renamed(x)
	}
}

// renamed has what was given out of an execution given out again.
func (e *Engine) renamed(x *execution) {
	if x.decided && !slices.Contains(e.changed, x) {
		e.changed = append(e.changed, x)
	}
}

// compare looks at what executions have run for the files of a skill that was not known
// then: when the agent starts, it takes a while to read them all.
func (e *Engine) compare(g *gateway, s event.Skill) {
	if len(s.Scripts) == 0 {
		return
	}
	for _, x := range e.open {
		if x.origin.gateway == g && slices.ContainsFunc(x.contents, func(c content) bool {
			return slices.ContainsFunc(g.catalogue.copied(c), func(o *source) bool { return o.dir == s.ID.Dir })
		}) {
			e.renamed(x)
		}
	}
}

// copies gives for each content that an execution holds the skills that it names, with
// the reasons. With authors, who changed a skill's file counts, too.
func (e *Engine) copies(x *execution, authors bool) (named []skillSet, why []event.Evidence) {
	for _, c := range x.contents {
		all := x.origin.gateway.catalogue.copied(c)
		if len(all) == 0 {
			continue
		}
		var set skillSet
		for _, s := range all {
			set.add(x.origin.gateway.catalogue.of(s))
		}
		why = append(why, x.origin.gateway.catalogue.likeness(c, all))
		for _, s := range all {
			if !authors {
				break
			}
			others, reasons := e.foreignTo(x.origin.gateway, s.dir+"/"+s.file, x.origin.gateway.catalogue.of(s))
			why = append(why, reasons...)
			for _, id := range others {
				set.add(id)
			}
		}
		named = append(named, set)
	}
	return named, why[:min(len(why), maxEvidence)]
}

// of is the skill that a file belongs to, or did.
func (c *catalogue) of(s *source) event.SkillID { return c.identity(c.skills[s.dir]) }

// likeness tells in words which files a content is that of.
func (c *catalogue) likeness(x content, all []*source) event.Evidence {
	var files []string
	for _, s := range all[:min(len(all), maxTwins)] {
		once := ""
		if s.former {
			once = ", as it was"
		}
		files = append(files, fmt.Sprintf("%s of skill %s%s", s.file, c.of(s).Name, once))
	}
	if more := len(all) - maxTwins; more > 0 {
		files = append(files, fmt.Sprintf("%d others", more))
	}
	return event.Evidence{Kind: "content", Time: x.at, Detail: fmt.Sprintf(
		"process %d was given %s to run; its content is that of %s, by SHA-256 %s, which counts as a mention", x.proc.PID, x.path, strings.Join(files, " and of "), x.sum)}
}
