package pipeline

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/attribution"
	"github.com/clawwatch/clawwatch/internal/event"
)

// A write is the last change that somebody made to a name.
type write struct {
	ev    event.Event
	scope *attribution.Scope
	at    time.Time
	whole bool // and to all that is below it: it was made, or put in its place
}

// writers remember who changed the files of skills, by path, for a while: a new
// skill is noticed a moment after it was written.
type writers map[place]write

// A place is a path in one gateway's terms: in a container it is another file.
type place struct {
	mount uint32 // of the gateway
	path  string
}

const (
	keepWriter = time.Minute
	maxWriters = 4096
)

// note remembers changes in a skill root, and of SKILL.md and directories
// anywhere. Who is in no known tree counts only as a stranger.
func (w writers) note(ev event.Event, scope *attribution.Scope, g event.GatewayFound, now time.Time) {
	if scope == nil && !ev.Stranger {
		return
	}
	if len(w) >= maxWriters {
		clear(w) // to know nobody is better than to name one who was not the last
	}
	within := func(p string) bool {
		return slices.ContainsFunc(g.SkillRoots, func(r string) bool { return strings.HasPrefix(p, r+"/") })
	}
	x := write{ev: ev, scope: scope, at: now}
	switch b := ev.Body.(type) {
	case event.FileOpen:
		x.whole = b.Directory || path.Base(b.Path) == "SKILL.md"
		if (b.Write || b.Create || b.Emptied) && (x.whole && !b.Directory || within(b.Path)) {
			w[place{g.Mount, b.Path}] = x
		}
	case event.FileRename:
		x.whole = true
		w[place{g.Mount, b.New}] = x
		if within(b.Old) || b.Exchange {
			w[place{g.Mount, b.Old}] = x
		}
	case event.FileLink:
		x.whole = true
		w[place{g.Mount, b.Path}] = x
	case event.FileTruncate:
		x.whole = path.Base(b.Path) == "SKILL.md"
		if x.whole || within(b.Path) {
			w[place{g.Mount, b.Path}] = x
		}
	case event.FileUse:
		x.whole = path.Base(b.Path) == "SKILL.md"
		if b.Kind() == event.KindFileWrite && (x.whole || within(b.Path)) {
			w[place{g.Mount, b.Path}] = x
		}
	case event.FileDelete:
		if within(b.Path) {
			w[place{g.Mount, b.Path}] = x
		}
	}
}

// find returns who last changed something in a directory, or made or put in its
// place the directory or one above it.
func (w writers) find(mount uint32, dir string) (write, bool) {
	var last write
	found := false
	for where, x := range w {
		at := where.path
		if where.mount != mount {
			continue
		}
		in := at == dir || strings.HasPrefix(at, dir+"/") || x.whole && strings.HasPrefix(dir, at+"/")
		if in && (!found || x.ev.Time.After(last.ev.Time)) {
			last, found = x, true
		}
	}
	return last, found
}

func (w writers) expire(now time.Time) {
	for k, x := range w {
		if now.Sub(x.at) > keepWriter {
			delete(w, k)
		}
	}
}

// gatewayOf gives the gateway that a fact is about.
func (p *Pipeline) gatewayOf(ev event.Event, scope *attribution.Scope) event.GatewayFound {
	if g := scope.Gateway(); g != nil {
		return *g
	}
	if ev.Gateway != "" {
		return p.engine.Gateway(ev.Gateway)
	}
	return event.GatewayFound{}
}

// An unsigned is a new or changed skill that nobody is known to have written. A
// stranger's act is told some seconds late.
type unsigned struct {
	ev    event.Event
	since time.Time
}

const (
	signing     = 4 * time.Second
	maxUnsigned = 1024
)

// installed joins a new or changed skill with the process that wrote it. A
// skill of OpenClaw's own plugins that the gateway links into place when it
// starts is present, and not installed.
func (p *Pipeline) installed(ev event.Event, b event.Skill) {
	w, seen := p.writers.find(p.engine.Gateway(b.Gateway).Mount, b.ID.Dir)
	if b.Change == event.Installed && bundled(p.engine.Gateway(b.Gateway), b.ID.Dir) && (!seen || !w.scope.Role().ByTool()) {
		b.Change = event.Present
		ev.Body = b
		p.hold(p.newItem(ev, nil))
		return
	}
	if !seen && len(p.unsigned) < maxUnsigned {
		p.unsigned = append(p.unsigned, unsigned{ev, p.now})
		return
	}
	p.signed(ev, w)
}

func (p *Pipeline) signed(ev event.Event, w write) {
	ev.Proc, ev.Stranger = w.ev.Proc, w.ev.Stranger
	p.hold(p.newItem(ev, w.scope))
}

// sign lets go the skills whose writer is known by now, or will not be.
func (p *Pipeline) sign(all bool) {
	p.unsigned = slices.DeleteFunc(p.unsigned, func(u unsigned) bool {
		b := u.ev.Body.(event.Skill)
		w, seen := p.writers.find(p.engine.Gateway(b.Gateway).Mount, b.ID.Dir)
		if !seen && !all && p.now.Sub(u.since) < signing {
			return false
		}
		p.signed(u.ev, w)
		return true
	})
}
