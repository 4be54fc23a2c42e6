package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// found holds the gateways that live or lately lived.
type found struct {
	sync.Mutex
	gateways map[event.ProcID]event.GatewayFound
}

func (f *found) add(id event.ProcID, g event.GatewayFound) {
	f.Lock()
	defer f.Unlock()
	if f.gateways == nil {
		f.gateways = map[event.ProcID]event.GatewayFound{}
	}
	f.gateways[id] = g
}

// remove gives the port that no living gateway has any more; 0: none.
func (f *found) remove(id event.ProcID) int {
	f.Lock()
	defer f.Unlock()
	port := hostPort(f.gateways[id])
	delete(f.gateways, id)
	for _, g := range f.gateways {
		if hostPort(g) == port {
			return 0
		}
	}
	return port
}

// hostPort is where a gateway is reached on this host; 0: nowhere, or in a network
// of its own.
func hostPort(g event.GatewayFound) int {
	if g.Network != 0 || g.Port < 0 || g.Port >= 1<<16 {
		return 0
	}
	return g.Port
}

func (f *found) all() map[event.ProcID]event.GatewayFound {
	f.Lock()
	defer f.Unlock()
	return maps.Clone(f.gateways)
}

// living gives the OpenClaw process that has this PID.
func (f *found) living(pid int32) (event.ProcID, event.GatewayFound, bool) {
	f.Lock()
	defer f.Unlock()
	for id, g := range f.gateways {
		if id.PID == pid {
			return id, g, true
		}
	}
	return event.ProcID{}, event.GatewayFound{}, false
}

func (f *found) list() []event.GatewayFound {
	f.Lock()
	defer f.Unlock()
	return slices.Collect(maps.Values(f.gateways))
}

// fromKernel passes on what the kernel saw, keeps who is watched, and tells the
// reader of OpenClaw's records about a process that took its name.
func (a *Agent) fromKernel(ev event.Event) {
	if a.flight.take(ev) {
		return
	}
	if facts, taken := a.fromOutside(ev); taken {
		for _, fact := range facts {
			a.emit(fact)
		}
		return
	}
	if x, ok := ev.Body.(event.Exec); ok && !ev.Stranger && !x.Snapshot {
		x.Tag = a.plugin.Tag(ev.Proc, x) // at once: the process may end
		ev.Body = x
	}
	a.emit(ev)
	if ev.Stranger {
		return
	}
	switch ev.Body.(type) {
	case event.Fork:
		a.lineage.Add(ev.Proc)
	case event.Candidate:
		a.lineage.Add(ev.Proc)
		a.gateways.Nudge(ev.Proc)
	case event.Exec:
		a.digests.Offer(ev)
	case event.Exit:
		a.lineage.End(ev.Proc, ev.Time)
		if port := a.found.remove(ev.Proc); port != 0 {
			a.ports(func(w collectors.PortWatcher) error { return w.UnwatchPort(uint16(port)) })
		}
		a.unguard(ev.Proc)
	}
}

// ports tells the sensor about a gateway's port, if it can watch one.
func (a *Agent) ports(do func(collectors.PortWatcher) error) {
	w, ok := a.sensors.marks().(collectors.PortWatcher)
	if !ok {
		return
	}
	if err := do(w); err != nil {
		a.log.Warn("watch a gateway's port", "error", err)
	}
}

// fromGateways passes on what OpenClaw's records say. A new gateway is marked
// in the kernel, and its skills are followed.
func (a *Agent) fromGateways(ev event.Event) {
	g, ok := ev.Body.(event.GatewayFound)
	if !ok {
		a.emit(ev)
		return
	}
	g.Resolvers = resolvers(fmt.Sprintf("/proc/%d/root/etc/resolv.conf", ev.Proc.PID))
	ev.Body = g
	a.emit(ev)
	a.found.add(ev.Proc, g)
	a.protect(ev.Proc, g)
	a.skills.Follow(g)
	if a.strangers != nil {
		a.strangers.Follow(g)
	}
	a.follow(ev.Proc, g)
}

// protect has it seen what others do to a gateway.
func (a *Agent) protect(id event.ProcID, g event.GatewayFound) {
	if g.Role != event.RoleGateway {
		return
	}
	a.guard(id)
	if port := hostPort(g); port > 0 {
		a.ports(func(w collectors.PortWatcher) error { return w.WatchPort(uint16(port)) })
	}
}

// maxPasses bounds the search for processes that were forked while the search
// went on by ones that were not yet marked.
const maxPasses = 10

// follow marks a process and all that descends from it. The gateway is emitted
// before it is marked, so that what its children do finds it known. It is
// marked before its tree is read, and the tree is read until nothing new is
// found: what a marked process forks is marked by the kernel, so no process can
// slip between the two.
func (a *Agent) follow(root event.ProcID, g event.GatewayFound) {
	proc := os.DirFS("/proc")
	marked := map[event.ProcID]bool{}
	mark := func(evs []event.Event, err error) (more bool) {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			a.log.Warn("read process tree", "gateway", g.ID, "error", err)
		}
		for _, ev := range evs {
			if marked[ev.Proc] {
				continue
			}
			marked[ev.Proc], more = true, true
			if err := a.watch(ev.Proc); err != nil {
				continue // gone, or logged
			}
			a.emit(ev)
		}
		return more
	}
	if err := a.watch(root); err != nil {
		return
	}
	for range maxPasses {
		if !mark(procfs.Tree(proc, root)) {
			break
		}
	}
	if g.Role == event.RoleGateway {
		orphans, err := procfs.Orphans(proc, root)
		orphans = slices.DeleteFunc(orphans, func(ev event.Event) bool { return !a.sameBox(proc, root, g, ev) })
		for i := range orphans {
			if x, ok := orphans[i].Body.(event.Exec); ok {
				x.Claim = g.ID
				orphans[i].Body = x
			}
		}
		mark(orphans, err)
	}
}

// sameBox reports whether an orphan can be this gateway's: it has the gateway's
// mounts, or none that are known to be another's, and then is in the same container.
func (a *Agent) sameBox(proc fs.FS, root event.ProcID, g event.GatewayFound, orphan event.Event) bool {
	same := func(id event.ProcID, kind string) bool {
		its, err := fs.ReadLink(proc, fmt.Sprintf("%d/ns/%s", id.PID, kind))
		theirs, err2 := fs.ReadLink(proc, fmt.Sprintf("%d/ns/%s", orphan.Proc.PID, kind))
		return err == nil && err2 == nil && its == theirs
	}
	if same(root, "mnt") {
		return true
	}
	for id := range a.found.all() {
		if id != root && same(id, "mnt") {
			return false
		}
	}
	return same(root, "pid") && orphan.Body.(event.Exec).ContainerID == g.ContainerID
}

func (a *Agent) watch(id event.ProcID) error {
	a.lineage.Add(id) // first: whoever takes over from a sensor that fails now is told of it
	watcher := a.sensors.marks()
	if watcher == nil {
		return nil
	}
	err := watcher.Watch(id)
	if errors.Is(err, fs.ErrNotExist) {
		a.lineage.Remove(id)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Error("watch process", "pid", id.PID, "error", err)
		a.say(event.Coverage{Probe: "watch", Fidelity: "none", Reason: err.Error()})
	}
	return err
}
