package agent

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/collectors/orders"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Work that is handed over to systemd leaves no file of the tool call's: systemd
// writes the unit (systemd-run, or whoever calls StartTransientUnit). Who asks is
// known: it is in a watched tree. From then on, and not for long, systemd is marked,
// and the units that it writes are held against what was asked for. One that fits
// counts as left behind by whoever asked.

// Bounds on who asks.
const (
	askFor   = 10 * time.Second       // a unit is written so soon after its asker began
	askSlack = 100 * time.Millisecond // between the clock of events and that of files
	maxAsks  = 256
	maxAsker = 300 // bytes of what is said of an asker
)

// An ask is a process of a watched tree that had systemd start something, or can have.
type ask struct {
	id    event.ProcID
	uid   uint32
	args  []string
	only  bool // it asks for what its arguments end with, and for nothing else
	began time.Time
	ended time.Time // zero: it runs
	unit  string    // that it was first found to have asked for
}

// open reports whether a unit that was written at a time can be of this one's asking.
func (k *ask) open(born time.Time) bool {
	return !born.Before(k.began.Add(-askSlack)) && !born.After(k.began.Add(askFor)) &&
		(k.ended.IsZero() || !born.After(k.ended.Add(askSlack)))
}

// String names it for people.
func (k *ask) String() string {
	said := strings.Join(k.args, " ")
	if len(said) > maxAsker {
		said = strings.ToValidUTF8(said[:maxAsker], "") + "…"
	}
	return fmt.Sprintf("process %d (%s)", k.id.PID, cmp.Or(said, "gone before it could be looked at"))
}

// lookers talk to systemd and its bus, and have no unit written.
var lookers = []string{"systemctl", "loginctl", "journalctl", "hostnamectl", "timedatectl", "sudo", "su", "notify-send", "login", "sshd"}

// noteAsk takes in a fact of a watched process: that it begins to ask, or that it ends.
func (a *Agent) noteAsk(ev event.Event) {
	if ev.Stranger {
		return
	}
	switch b := ev.Body.(type) {
	case event.Exec:
		if orders.Asks(b.Path) {
			a.beginAsk(&ask{id: ev.Proc, uid: b.UID, args: b.Args, began: ev.Time})
		}
	case event.Connect:
		if b.Errno != 0 || !orders.Hears(b.Name) || a.asksOf(ev.Proc) != nil {
			return
		}
		k := &ask{id: ev.Proc, began: ev.Time}
		if p, err := procfs.Read(a.host.Proc, ev.Proc.PID); err == nil && p.ID == ev.Proc {
			if k.uid, k.args = p.UID, p.Args; strings.HasPrefix(p.Path, "/usr/") && slices.Contains(lookers, path.Base(p.Path)) {
				return
			}
		}
		a.beginAsk(k)
	case event.Exit:
		if k := a.asksOf(ev.Proc); k != nil {
			k.ended = ev.Time
			for _, fact := range a.lateHeirs(a.findUnits(ev.Time)) {
				a.emit(fact)
			}
		}
	}
}

func (a *Agent) asksOf(id event.ProcID) *ask {
	a.left.Lock()
	defer a.left.Unlock()
	return a.left.asks[id]
}

// beginAsk has systemd looked at, at once: what it is asked for can be over in a
// moment.
func (a *Agent) beginAsk(k *ask) {
	if a.fileWatcher() == nil {
		return // nothing is followed then
	}
	if id, _, ok := a.found.living(k.id.PID); ok && id == k.id {
		return // OpenClaw itself, for no tool call
	}
	if shell := slices.ContainsFunc(k.args, func(s string) bool { return s == "-S" || s == "--shell" }); len(k.args) > 0 && orders.Asks(k.args[0]) {
		k.only = !shell
	}
	a.left.Lock()
	for id, old := range a.left.asks {
		if k.began.Sub(old.began) > 2*askFor {
			delete(a.left.asks, id)
		}
	}
	full := len(a.left.asks) >= maxAsks
	if !full {
		a.left.asks[k.id] = k
	}
	a.left.Unlock()
	if full {
		a.left.missed.Add(1)
		return
	}
	a.summon(k.began.Add(askFor))
}

// summon has the service managers that run looked at until a time.
func (a *Agent) summon(until time.Time) {
	w := a.sensors.marks()
	if w == nil || !a.left.call(until) {
		return
	}
	a.eachStarter(func(id event.ProcID, comm string) {
		if comm != "systemd" {
			return
		}
		a.left.Lock()
		delete(a.left.passed, id)
		s := a.left.starters[id]
		if s == nil {
			s = &starter{files: map[event.FileKey]bool{}}
			a.left.starters[id] = s
		}
		s.until = until
		a.left.Unlock()
		if err := w.Watch(id); err != nil {
			a.log.Debug("watch who starts others", "pid", id.PID, "error", err)
		}
	})
}

// call reports whether starters have to be looked for: not where they were a moment ago.
func (l *leftovers) call(until time.Time) bool {
	l.Lock()
	defer l.Unlock()
	if !l.summoned.IsZero() && until.Sub(l.summoned) < askFor/2 {
		return false
	}
	l.summoned = until
	return true
}

// dismissed lets a starter go that is followed for no file any more, once the time for
// which it was summoned is over.
func (a *Agent) dismissed(id event.ProcID, now time.Time) bool {
	a.left.Lock()
	defer a.left.Unlock()
	s := a.left.starters[id]
	if s == nil || s.until.IsZero() || now.Before(s.until) {
		return false
	}
	for k := range s.files {
		if a.left.files[k] == nil {
			delete(s.files, k)
		}
	}
	if len(s.files) > 0 {
		s.until = now.Add(askFor)
		return false
	}
	delete(a.left.starters, id)
	return true
}

// eachSummoned calls do for every starter that was summoned and is one itself.
func (a *Agent) eachSummoned(do func(event.ProcID)) {
	a.left.Lock()
	var ids []event.ProcID
	for id, s := range a.left.starters {
		if !s.until.IsZero() {
			ids = append(ids, id)
		}
	}
	a.left.Unlock()
	for _, id := range ids {
		do(id)
	}
}

// isForked reports whether a process is a starter, or was forked by one and runs nothing
// else yet: what it becomes is told by its exec.
func (a *Agent) isForked(id event.ProcID) bool {
	a.left.Lock()
	defer a.left.Unlock()
	return a.left.starters[id] != nil
}
