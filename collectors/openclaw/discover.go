package openclaw

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// A process is an OpenClaw process that lives.
type process struct {
	found event.GatewayFound
	pkg   install
	said  string // why it is not believed, as last logged
}

// scan looks at every process whose name may be OpenClaw's, and lets go of those
// that ended.
func (c *Collector) scan(emit func(event.Event)) error {
	pids, err := procfs.PIDs(c.cfg.Proc)
	if err != nil {
		return err
	}
	for id := range c.known {
		c.look(id, emit)
	}
	now := time.Now()
	others := make(map[int32]time.Time, len(pids))
	c.scans++
	full := c.scans%fullScan == 0
	for _, pid := range pids {
		first, ok := c.others[pid]
		if ok && now.Sub(first) > young && !full {
			others[pid] = first // too old to take the name, unless the PID was reused
			continue
		}
		comm, err := procfs.Comm(c.cfg.Proc, pid)
		if err != nil {
			continue // gone
		}
		if !strings.HasPrefix(comm, "openclaw") {
			if !ok {
				first = now
			}
			others[pid] = first
			continue
		}
		if id, err := procfs.Identify(c.cfg.Proc, pid); err == nil && c.known[id] == nil {
			c.look(id, emit)
		}
	}
	c.others = others
	return nil
}

// lookAtNudged looks again at processes that may be on their way to becoming a
// gateway.
func (c *Collector) lookAtNudged(emit func(event.Event)) {
	now := time.Now()
	for id, until := range c.nudged {
		if now.After(until) {
			delete(c.nudged, id)
			continue
		}
		c.look(id, emit)
	}
}

// look reads one process and reports it, when it is OpenClaw's and there is
// something new about it.
func (c *Collector) look(id event.ProcID, emit func(event.Event)) {
	if now, err := procfs.Identify(c.cfg.Proc, id.PID); err != nil || now != id {
		c.forget(id)
		return
	}
	p, err := procfs.Read(c.cfg.Proc, id.PID)
	if err != nil || p.ID != id {
		return
	}
	if !isOpenClaw(p) {
		delete(c.known, id) // it has become another program
		return
	}
	if c.known[id] == nil && c.justForked(p) {
		return
	}
	known := c.known[id]
	if known == nil {
		known = &process{}
		c.known[id] = known
	}
	found, err := describe(c.cfg.Proc, c.cfg.ProcPath, p, &known.pkg)
	if known.found.Role == event.RoleGateway {
		found.Role = event.RoleGateway // it may have lost the arguments that said so
	}
	found.ID = c.nameFor(id, found)
	if err != nil && known.said != err.Error() {
		known.said = err.Error()
		c.cfg.Log.Warn("look at OpenClaw process", "pid", id.PID, "uid", p.UID, "id", found.ID, "error", err)
	}
	if rival := c.rival(id, found); !rival.IsZero() {
		err := fmt.Errorf("process %d is the gateway of %s already", rival.PID, found.StateDir)
		if known.said != err.Error() {
			known.said = err.Error()
			c.cfg.Log.Warn("look at OpenClaw process: not believed", "pid", id.PID, "uid", p.UID, "error", err)
		}
		found = event.GatewayFound{ID: fmt.Sprintf("unverified:%d", id.PID), Role: found.Role, UID: found.UID}
	}
	if !reflect.DeepEqual(known.found, found) {
		known.found = found
		emit(event.Event{Time: time.Now(), Proc: id, Source: event.SourceOpenClaw, Body: found})
	}
	if found.StateDir != "" {
		c.follow(found, emit)
	}
}

// rival gives the other living process that is the gateway of a state directory,
// of which there can be only one. The one that has its database open is believed
// before one that has not, else the one that was there first.
func (c *Collector) rival(id event.ProcID, found event.GatewayFound) event.ProcID {
	if found.Role != event.RoleGateway || found.StateDir == "" {
		return event.ProcID{}
	}
	for other, p := range c.known {
		if other == id || p.found.Role != event.RoleGateway || p.found.StateDir != found.StateDir || p.found.Mount != found.Mount {
			continue
		}
		if now, err := procfs.Identify(c.cfg.Proc, other.PID); err != nil || now != other {
			continue // it has ended
		}
		if heldState(c.cfg.Proc, other.PID) == "" && heldState(c.cfg.Proc, id.PID) == found.StateDir {
			p.found = event.GatewayFound{} // it is looked at again
			continue
		}
		return other
	}
	return event.ProcID{}
}

// justForked reports whether a process still has the image of its parent: it
// will exec something else in a moment, or is looked at again.
func (c *Collector) justForked(p procfs.Process) bool {
	comm, err := procfs.Comm(c.cfg.Proc, p.ParentPID)
	if err != nil || comm != p.Comm {
		return false
	}
	parent, err := procfs.Read(c.cfg.Proc, p.ParentPID)
	return err == nil && slices.Equal(parent.Args, p.Args)
}

func (c *Collector) forget(id event.ProcID) {
	delete(c.nudged, id)
	delete(c.known, id)
}
