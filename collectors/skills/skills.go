// Package skills reports the skills that each gateway can load: those that are
// there, and each that is installed, updated or removed.
//
// A skill is a directory with a SKILL.md, up to six levels below a skill root.
// Its SHA256 is that of its tree: of one line for every file, sorted by path as
// bytes,
//
//	path NUL kind NUL size NUL digest LF
//
// where path is relative and slash-separated; kind is x for a file with any
// execute bit, - for another file, l for a symbolic link, s for anything else;
// size is in decimal; digest is the SHA-256 of the content in hexadecimal, for
// a link the target as it stands, for kind s nothing. Modes and times have no
// part in it. Left out are .git at the top, and the files that installers write
// (.clawhub/origin.json, .clawhub/lock.json, the same under .clawdhub, and
// .openclaw/source-origin.json), so that one content has one hash however it
// came. Everything else counts, also what a skill writes into its own directory.
// Over 5,000 files, 32 levels or 256 MiB the rest is not read, Err says so, and
// the hash begins with "partial:".
//
// Changes are told by inotify on the roots and their directories, a third of a
// second after they come to rest, or after some seconds if they do not; the
// more work a look makes, the longer until the next one, so that a skill that
// writes a hundred thousand files costs a tenth of a core at most. A skill over
// the bounds is watched no more. Once a minute everything is looked at again. A
// look costs one lstat a file; files are read only when one of their tree has
// changed.
//
// The roots of a gateway in a container are read there, and the same path on the host
// is another root. With the last process of a container its roots are let go.
//
// What it does not see: which process changed a file; a change that is undone
// before it comes to rest; changes below .git; a version that is changed in an
// installer's file while the content stays (it is taken over in silence).
package skills

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/clawwatch/clawwatch/collectors/rootfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Config sets the pace. Zero values take the defaults.
type Config struct {
	Rest   time.Duration // that a change must come to rest for; 300 ms
	Rescan time.Duration // between looks at everything; 1 min
	Log    *slog.Logger  // nil: discard
}

const (
	maxRoots   = 1024 // in all
	maxWatches = 8192 // in all; what is beyond is found by the rescan
	patience   = 10   // rests that a change which does not end is waited for
	share      = 10   // times the last look's duration until the next one
)

// Collector watches skill roots. Follow may be called from any goroutine, the
// rest belongs to the one that runs Run.
type Collector struct {
	cfg Config

	mu    sync.Mutex
	found []event.GatewayFound // not yet taken in
	wake  chan struct{}        // of size 1: found has something

	roots   map[key]*root
	todo    []job
	watcher *fsnotify.Watcher // nil: none to be had, the rescan does
	watched map[string]bool
	pause   time.Time // no look before: the last one took long
}

// A job is a skill whose tree has changed and whose files are to be read.
type job struct {
	root  *root
	skill *skill
}

// New gives a Collector that follows nothing yet.
func New(cfg Config) *Collector {
	cfg.Rest, cfg.Rescan = cmp.Or(cfg.Rest, 300*time.Millisecond), cmp.Or(cfg.Rescan, time.Minute)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Collector{cfg: cfg, wake: make(chan struct{}, 1), roots: map[key]*root{}, watched: map[string]bool{}}
}

// Follow adds the skill roots of a gateway. It never blocks. Roots that are
// followed stay followed: a gateway may come back.
func (c *Collector) Follow(g event.GatewayFound) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.found) >= maxRoots {
		return
	}
	c.found = append(c.found, g)
	select {
	case c.wake <- struct{}{}:
	default: // awake already
	}
}

// Close gives back the watches. It may be called without Run, and not while Run
// is running.
func (c *Collector) Close() error {
	if c.watcher == nil {
		return nil
	}
	return c.watcher.Close()
}

// Run reports until ctx is done, and then returns nil. It has no other way to
// fail.
func (c *Collector) Run(ctx context.Context, emit func(event.Event)) error {
	var changes <-chan fsnotify.Event
	var failures <-chan error
	w, err := fsnotify.NewBufferedWatcher(4096)
	if err != nil {
		c.cfg.Log.Warn("watch skills: looking once in a while instead", "error", err)
	} else {
		c.watcher = w
		changes, failures = w.Events, w.Errors
	}
	rescan := time.NewTicker(c.cfg.Rescan)
	defer rescan.Stop()
	rest := time.NewTimer(c.cfg.Rest)
	defer rest.Stop()
	ready := make(chan struct{})
	close(ready)
	for {
		var work <-chan struct{} // ready while there is a skill to be read
		if len(c.todo) > 0 {
			work = ready
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
			c.take(emit)
		case e := <-changes:
			if c.touched(e.Name) {
				rest.Reset(c.cfg.Rest)
			}
		case err := <-failures: // an overflow: anything may have changed
			c.lost(emit, err)
			rest.Reset(c.cfg.Rest)
		case <-rescan.C:
			c.forgetWatches()
			for _, r := range c.roots {
				r.touch()
			}
			rest.Reset(0)
		case <-rest.C:
			if wait := time.Until(c.pause); wait > 0 {
				rest.Reset(wait)
			} else {
				c.look(emit)
			}
		case <-work:
			c.work(emit)
		}
	}
}

// take follows the gateways that were found. What another gateway made known is
// reported for the new one, too.
func (c *Collector) take(emit func(event.Event)) {
	c.mu.Lock()
	found := c.found
	c.found = nil
	c.mu.Unlock()
	for _, g := range found {
		for _, path := range g.SkillRoots {
			at := key{g.Mount, path}
			r := c.roots[at]
			if r == nil {
				if !filepath.IsAbs(path) || path == "/" || len(c.roots) >= maxRoots {
					c.cfg.Log.Warn("follow skill root: refused", "gateway", g.ID, "root", path)
					continue
				}
				r = &root{path: path, skills: map[string]*skill{}, dirty: true}
				c.roots[at] = r
			}
			if r.place.Root != g.Root {
				r.place = rootfs.Place{Root: g.Root, Mount: g.Mount}
				r.touch()
			}
			if slices.Contains(r.gateways, g.ID) {
				continue
			}
			r.gateways = append(r.gateways, g.ID)
			for _, s := range r.sorted() {
				if s.known {
					c.send(emit, []string{g.ID}, s.body, event.Present, "")
				}
			}
		}
	}
	c.look(emit)
}

// look goes through the roots that changed, reports what went, and puts what
// came or changed on the list: the small first, OpenClaw's own last.
func (c *Collector) look(emit func(event.Event)) {
	start := time.Now()
	for _, r := range c.roots {
		if r.dirty {
			r.dirty = false
			c.lookAt(r, emit)
		}
	}
	slices.SortStableFunc(c.todo, func(a, b job) int {
		if a.root.bundled() != b.root.bundled() {
			return map[bool]int{true: 1, false: -1}[a.root.bundled()]
		}
		return cmp.Compare(a.skill.tree.bytes, b.skill.tree.bytes)
	})
	c.pause = time.Now().Add(share * time.Since(start))
}

// lookAt looks at one root. One in a container that has ended is let go, and its
// skills are not removed by that.
func (c *Collector) lookAt(r *root, emit func(event.Event)) {
	in, err := r.place.Open()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			delete(c.roots, key{r.place.Mount, r.path})
		}
		return
	}
	defer in.Close() //nolint:errcheck // it was only read
	f := look(in, r.path)
	if f.err != r.err {
		r.err = f.err
		if f.err != "" {
			c.say(emit, event.Lost{Of: event.KindSkillPresent, Count: 1, Cause: fmt.Sprintf("look through %s: %s", r.path, f.err)})
		}
	}
	c.watch(r, r.watchable(in))
	for _, d := range f.dirs {
		c.watch(r, d)
	}
	here := map[string][]string{}
	for _, s := range f.skills {
		here[s.dir] = append(here[s.dir], s.links...)
		c.compare(in, r, s)
	}
	for dir, s := range r.skills {
		if links, still := here[dir]; still {
			if slices.Sort(links); !slices.Equal(links, s.links) {
				s.links, s.body.Links = links, links
				if s.known {
					c.send(emit, r.gateways, s.body, event.Present, "")
				}
			}
			continue
		}
		delete(r.skills, dir)
		if s.known {
			c.send(emit, r.gateways, s.body, event.Removed, "")
		}
	}
	r.looked = true
}

// compare puts a skill on the list if it is new, or its files have changed.
func (c *Collector) compare(in *rootfs.Root, r *root, s *skill) {
	known := r.skills[s.dir]
	if known == nil {
		known = s
		known.installed = r.looked
		r.skills[s.dir] = s
	}
	t, err := readTree(in, s.dir)
	if err != nil {
		return // gone: its change tells
	}
	for _, d := range t.dirs {
		if t.more == "" {
			c.watch(r, d)
		} else {
			c.unwatch(r, d) // a writer pays for each change that is told, and so do we
		}
	}
	if t.stamp == known.tree.stamp && t.more == known.tree.more {
		return
	}
	known.tree = t
	if !slices.ContainsFunc(c.todo, func(j job) bool { return j.skill == known }) {
		c.todo = append(c.todo, job{r, known})
	}
}

// work reads the first skill on the list and reports it, if its content is news.
func (c *Collector) work(emit func(event.Event)) {
	j := c.todo[0]
	c.todo = c.todo[1:]
	s := j.skill
	if j.root.skills[s.dir] != s {
		return // removed meanwhile
	}
	in, err := j.root.place.Open()
	if err != nil {
		return // its container has ended
	}
	defer in.Close() //nolint:errcheck // it was only read
	start := time.Now()
	body, before, known := s.read(in, j.root), s.body, s.known
	c.pause = time.Now().Add(share * time.Since(start))
	s.body, s.known = body, true
	switch {
	case !known && s.installed:
		c.send(emit, j.root.gateways, body, event.Installed, "")
	case !known:
		c.send(emit, j.root.gateways, body, event.Present, "")
	case body.ID.SHA256 != before.ID.SHA256:
		c.send(emit, j.root.gateways, body, event.Updated, before.ID.SHA256)
	}
}

func (c *Collector) send(emit func(event.Event), gateways []string, body event.Skill, change event.Change, previous string) {
	for _, g := range gateways {
		body.Change, body.Gateway, body.Previous = change, g, previous
		c.say(emit, body)
	}
}

func (c *Collector) say(emit func(event.Event), body event.Body) {
	emit(event.Event{Time: time.Now(), Source: event.SourceSkills, Body: body})
}
