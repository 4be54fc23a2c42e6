package skills

import (
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/clawwatch/clawwatch/internal/event"
)

// touched marks the roots that a changed file belongs to, and reports whether
// to wait for rest. A change that does not end is looked at all the same.
func (c *Collector) touched(name string) bool {
	wait := false
	for _, r := range c.roots {
		name := r.place.Path(name)
		if name == r.path || strings.HasPrefix(name, r.path+"/") || strings.HasPrefix(r.path, name+"/") || r.links(name) {
			r.touch()
			wait = wait || time.Since(r.since) < patience*c.cfg.Rest
		}
	}
	return wait
}

// lost takes note that inotify lost count, and has everything looked at.
func (c *Collector) lost(emit func(event.Event), err error) {
	c.cfg.Log.Warn("watch skills", "error", err)
	if errors.Is(err, fsnotify.ErrEventOverflow) {
		c.say(emit, event.Lost{Of: event.KindSkillUpdated, Count: 1, Cause: "watch skills: too many changes at once; everything is looked at again"})
	}
	for _, r := range c.roots {
		r.touch()
	}
}

// watch adds a watch, up to the bound. One on a directory that is watched
// already is cheap, and heals one that was replaced. In a container a link can lead
// it astray, and no further than that we look once too often.
func (c *Collector) watch(r *root, dir string) {
	dir = r.place.Root + dir
	if c.watcher == nil || len(c.watched) >= maxWatches && !c.watched[dir] {
		return
	}
	if err := c.watcher.Add(dir); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.cfg.Log.Debug("watch skills", "directory", dir, "error", err)
		}
		return
	}
	c.watched[dir] = true
}

func (c *Collector) unwatch(r *root, dir string) {
	dir = r.place.Root + dir
	if c.watched[dir] {
		delete(c.watched, dir)
		_ = c.watcher.Remove(dir) // its error says that it is gone already
	}
}

// forgetWatches makes room for new watches: those on deleted directories are gone.
func (c *Collector) forgetWatches() {
	clear(c.watched)
	if c.watcher == nil {
		return
	}
	for _, dir := range c.watcher.WatchList() {
		c.watched[dir] = true
	}
}
