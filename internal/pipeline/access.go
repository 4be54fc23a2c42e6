package pipeline

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/clawwatch/clawwatch/internal/attribution"
	"github.com/clawwatch/clawwatch/internal/event"
)

// reached derives from the opening of a file below /proc the access to another
// process that lies in it, or nil. Looking at maps and environment is what ps
// and lsof do to every process: it counts where the process is OpenClaw's own,
// or this agent.
func (p *Pipeline) reached(it *item) *event.Event {
	open, ok := it.ev.Body.(event.FileOpen)
	if !ok || open.Directory {
		return nil
	}
	pid, name, ok := procFile(open.Path)
	if !ok || pid == it.ev.Proc.PID {
		return nil
	}
	b := event.Access{Write: open.Write}
	switch name {
	case "mem":
		b.Method = event.AccessProcMem
	case "maps", "smaps":
		b.Method = event.AccessProcMaps
	case "environ":
		b.Method = event.AccessProcEnviron
	default:
		return nil
	}
	if proc := p.table.Get(it.ev.Proc); proc != nil && proc.Namespaces != nil && proc.Namespaces.PID != 0 {
		return nil // its numbers are not ours
	}
	b.Target = p.targetOf(event.ProcID{PID: pid})
	switch p.role(b.Target) {
	case event.RoleGateway, event.RoleHelper, event.RoleAgent:
	default:
		if b.Method != event.AccessProcMem {
			return nil
		}
	}
	return &event.Event{Time: it.ev.Time, Proc: it.ev.Proc, Source: it.ev.Source, Body: b}
}

// procFile takes /proc/PID/NAME apart, or /proc/PID/task/TID/NAME.
func procFile(file string) (pid int32, name string, ok bool) {
	rest, ok := strings.CutPrefix(file, "/proc/")
	if !ok {
		return 0, "", false
	}
	dir, name, _ := strings.Cut(rest, "/")
	if strings.HasPrefix(name, "task/") {
		name = path.Base(name)
	}
	n, err := strconv.ParseInt(dir, 10, 32)
	return int32(n), name, err == nil
}

// targetOf completes an identity of which only the number is known.
func (p *Pipeline) targetOf(id event.ProcID) event.ProcID {
	if id.PID == p.Self.PID {
		return p.Self
	}
	if id.Start == 0 {
		if proc := p.table.ByPID(id.PID); proc != nil {
			return proc.ID
		}
	}
	return id
}

// role is that of a process that something was done to.
func (p *Pipeline) role(id event.ProcID) event.Role {
	if id == p.Self && !id.IsZero() {
		return event.RoleAgent
	}
	return p.engine.Scope(id).Role()
}

// accessed is the record of an access.
func (p *Pipeline) accessed(it *item, b event.Access) *event.Accessed {
	out := &event.Accessed{Method: b.Method, Signal: b.Signal, Write: b.Write}
	if b.Target.PID == 0 {
		return out
	}
	id := p.targetOf(b.Target)
	out.Target = &event.Target{PID: id.PID, StartTime: id.Start, Role: p.role(id), Own: p.owns(it, id)}
	if proc := p.table.Get(id); proc != nil {
		out.Target.Executable = proc.Path
	}
	return out
}

// owns reports whether the target belongs to the tool call of the one that
// acts, or descends from it.
func (p *Pipeline) owns(it *item, target event.ProcID) bool {
	if x := it.scope.Execution(); !x.IsZero() && x == p.engine.Scope(target).Execution() {
		return true
	}
	for _, up := range p.table.Ancestors(target, maxAncestors) {
		if up.ID == it.ev.Proc {
			return true
		}
	}
	return false
}

// asked keeps of the variables that a process asked for by name those that look
// like secrets, as only these are looked at where they are handed over. nil:
// none.
func (p *Pipeline) asked(scope *attribution.Scope, b event.EnvRead) *event.EnvRead {
	view := p.view(scope, nil)
	b.Names = slices.DeleteFunc(slices.Clone(b.Names), func(name string) bool { return !view.SecretName(name) })
	if len(b.Names) == 0 {
		return nil
	}
	return &b
}
