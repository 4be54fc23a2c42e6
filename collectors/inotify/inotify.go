// Package inotify sees that OpenClaw's configuration, credentials and the files that
// tell an agent who it is were changed, and not by whom. It is the last resort where
// fanotify is refused: it takes no privilege but the right to read the directories.
//
// An event has no process: whether OpenClaw, its user or a stranger did it is not
// known. A watch costs about a kilobyte of kernel memory, a change a few microseconds.
//
// What it does not see: who; reading; directories below those of the state directory
// and the workspaces; skills, which package skills looks after; one of several changes
// of the same file within a second.
package inotify

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Name is what Coverage calls it.
const Name = "inotify"

const (
	rest     = time.Second // in which the same is told once
	rescan   = time.Minute // between looks for directories that came
	maxDirs  = 1024
	maxTold  = 4096
	maxFound = 1024
)

// A place is a watched directory.
type place struct {
	gateway string
	root    string // that its path begins with here, and not in its container
	all     bool   // every file in it matters
}

// Collector watches OpenClaw's directories. Follow may be called from any goroutine.
type Collector struct {
	watcher *fsnotify.Watcher

	mu    sync.Mutex
	found []event.GatewayFound // not yet taken in
	wake  chan struct{}        // of size 1: found has something

	places  map[string]place
	watched map[string]bool
	told    map[string]time.Time // by path and operation
}

// Open takes an inotify instance. The error wraps collectors.ErrUnsupported.
func Open() (*Collector, error) {
	w, err := fsnotify.NewBufferedWatcher(1024)
	if err != nil {
		return nil, collectors.Unsupported(fmt.Errorf("open inotify: %w", err))
	}
	return &Collector{watcher: w, wake: make(chan struct{}, 1), places: map[string]place{}, watched: map[string]bool{}, told: map[string]time.Time{}}, nil
}

// Coverage says how little this is.
func (c *Collector) Coverage() []event.Coverage {
	return []event.Coverage{{
		Probe: Name, Kinds: []event.Kind{event.KindFileOpen, event.KindFileCreate, event.KindFileDelete}, Fidelity: collectors.Sampled.String(),
		Reason: "that OpenClaw's own files change is seen, who changes them is not",
	}}
}

// Follow adds the directories of a gateway. It never blocks.
func (c *Collector) Follow(g event.GatewayFound) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.found) >= maxFound || g.StateDir == "" {
		return
	}
	c.found = append(c.found, g)
	select {
	case c.wake <- struct{}{}:
	default: // awake already
	}
}

// Close gives back the watches.
func (c *Collector) Close() error { return c.watcher.Close() }

// Run reports until ctx is done.
func (c *Collector) Run(ctx context.Context, emit func(event.Event)) error {
	ticks := time.NewTicker(rescan)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
			c.take()
			c.watch()
		case <-ticks.C:
			c.watch()
		case e, ok := <-c.watcher.Events:
			if !ok {
				return fmt.Errorf("read inotify: %w", fsnotify.ErrClosed)
			}
			c.tell(e, time.Now(), emit)
		case err, ok := <-c.watcher.Errors:
			if !ok {
				return fmt.Errorf("read inotify: %w", fsnotify.ErrClosed)
			}
			emit(event.Event{Time: time.Now(), Source: event.SourceInotify, Body: event.Gap{
				Kinds: c.Coverage()[0].Kinds, Cause: fmt.Sprintf("read inotify: %v", err),
			}})
		}
	}
}

func (c *Collector) take() {
	c.mu.Lock()
	found := c.found
	c.found = nil
	c.mu.Unlock()
	for _, g := range found {
		if g.Root != "" && g.Role != event.RoleGateway {
			continue // in the gateway's container, and gone before it
		}
		c.leave(g)
		add := func(dir string, all bool) {
			c.places[g.Root+dir] = place{gateway: g.ID, root: g.Root, all: all}
		}
		add(g.StateDir, false)
		for _, dir := range []string{"credentials", "identity", "devices", "secrets", "cron"} {
			add(filepath.Join(g.StateDir, dir), true)
		}
		for _, w := range g.Workspaces {
			add(w, false)
			add(filepath.Join(w, "memory"), true)
		}
	}
}

// leave lets go what a gateway had in an earlier run of its container.
func (c *Collector) leave(g event.GatewayFound) {
	for dir, p := range c.places {
		if p.gateway == g.ID && p.root != "" && p.root != g.Root {
			delete(c.places, dir)
			delete(c.watched, dir)
			_ = c.watcher.Remove(dir) // its error says that it is gone already
		}
	}
}

// watch watches what is there and not watched yet.
func (c *Collector) watch() {
	for dir := range c.places {
		if !c.watched[dir] && len(c.watched) < maxDirs && c.watcher.Add(dir) == nil {
			c.watched[dir] = true
		}
	}
}

// names are the files in the state directory and in workspaces that matter.
var names = []string{
	"AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "TOOLS.md", "MEMORY.md", "memory.md", "HEARTBEAT.md", "BOOT.md", "BOOTSTRAP.md", "CLAUDE.md",
	"exec-approvals.json",
}

func (p place) matters(name string) bool {
	return p.all || slices.Contains(names, name) || strings.HasPrefix(name, ".env") || strings.HasPrefix(name, "openclaw.json")
}

// tell turns a change into an event, once a second for each file and operation.
func (c *Collector) tell(e fsnotify.Event, now time.Time, emit func(event.Event)) {
	if c.watched[e.Name] && e.Op&(fsnotify.Remove|fsnotify.Rename) != 0 {
		delete(c.watched, e.Name) // and is watched again when it comes back
	}
	p, ok := c.places[filepath.Dir(e.Name)]
	if !ok || !p.matters(filepath.Base(e.Name)) {
		return
	}
	var body event.Body
	path := strings.TrimPrefix(e.Name, p.root)
	switch {
	case e.Has(fsnotify.Create):
		body = event.FileOpen{Path: path, Write: true, Create: true}
	case e.Has(fsnotify.Write):
		body = event.FileOpen{Path: path, Write: true}
	case e.Has(fsnotify.Remove), e.Has(fsnotify.Rename):
		body = event.FileDelete{Path: path}
	default:
		return
	}
	key := string(body.Kind()) + " " + e.Name
	if now.Sub(c.told[key]) < rest {
		return
	}
	if len(c.told) >= maxTold {
		clear(c.told)
	}
	c.told[key] = now
	emit(event.Event{Time: now, Source: event.SourceInotify, Body: body, Gateway: p.gateway})
}
