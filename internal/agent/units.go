package agent

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/collectors/orders"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// maxLookAt bounds the processes among which those of a unit are looked for.
const maxLookAt = 4096

// A unit is one that systemd wrote for an asker.
type unit struct {
	left event.Left
	word word
}

// findUnits takes in the units that systemd wrote for those who asked for one, and
// that were not there before.
func (a *Agent) findUnits(now time.Time) []unit {
	a.left.Lock()
	var asks []*ask
	var uids []uint32
	for _, k := range a.left.asks {
		if now.Sub(k.began) <= 2*askFor {
			asks = append(asks, k)
			uids = append(uids, k.uid)
		}
	}
	a.left.Unlock()
	slices.SortFunc(asks, func(x, y *ask) int { return x.id.Compare(y.id) })
	slices.Sort(uids)
	var found []unit
	for _, uid := range slices.Compact(uids) {
		var files []string
		if !a.left.patience.look(func() { files = orders.Services(a.left.run, uid) }) {
			a.left.missed.Add(1)
			continue
		}
		for _, f := range files {
			if u, ok := a.takeUnit(f, asks); ok {
				found = append(found, u)
			}
		}
	}
	return found
}

// takeUnit finds out who asked for a unit, and takes it for left behind by them.
func (a *Agent) takeUnit(file string, asks []*ask) (unit, bool) {
	var key event.FileKey
	var born int64
	var links uint32
	var now words
	if !a.left.patience.look(func() {
		k, b, n, err := identify(file)
		if key, born, links = k, b, n; err == nil && (b == 0 || slices.ContainsFunc(asks, func(k *ask) bool { return k.open(time.Unix(0, b)) })) {
			now = read(file, words{})
		}
	}) || len(now.words) == 0 {
		return unit{}, false
	}
	if f, known := a.left.get(key); known && f.Born == born {
		return unit{}, false
	}
	written := time.Unix(0, born)
	if born == 0 { // an older kernel's tmpfs
		written = now.modified
	}
	w, who, how := askedFor(now.words, asks, written)
	if len(who) == 0 {
		return unit{}, false
	}
	u := unit{event.Left{Path: file, File: key, Born: born, How: how, At: written}, w}
	u.word.file = key
	for _, k := range who {
		k.unit = file
		u.left.Asker = k.String()
		a.emit(event.Event{Time: written, Proc: k.id, Source: event.SourceProcfs, Body: u.left})
	}
	for _, gone := range a.left.add(u.left, links) {
		if w := a.fileWatcher(); w != nil {
			_ = w.UnwatchFile(gone) // the sensor fails: it is replaced, and told anew
		}
	}
	a.eachSummoned(func(id event.ProcID) { a.heed(id, key) })
	return u, true
}

// askedFor gives those who can have asked for a unit, and the order by which that is
// known. Who says it himself goes before who only spoke to systemd at that time.
func askedFor(all []word, asks []*ask, written time.Time) (word, []*ask, event.LeftHow) {
	var who, others []*ask
	said := all[0]
	for _, k := range asks {
		if !k.open(written) {
			continue
		}
		i := slices.IndexFunc(all, func(w word) bool { return w.order.SaidIn(k.args) })
		switch {
		case i >= 0:
			said = all[i]
			who = append(who, k)
		case !k.only:
			others = append(others, k)
		}
	}
	switch {
	case len(who) == 0:
		return said, others, event.LeftPerhaps
	case len(who) == 1 && who[0].unit == "": // one asks for one
		return said, who, event.LeftAsked
	}
	return said, who, event.LeftPerhaps
}

// lateHeirs gives what already runs of units when they are found: systemd was quicker.
func (a *Agent) lateHeirs(units []unit) []event.Event {
	if len(units) == 0 {
		return nil
	}
	pids, err := procfs.PIDs(a.host.Proc)
	if err != nil {
		a.log.Warn("look for what systemd started", "error", err)
		return nil
	}
	var facts []event.Event
	for _, pid := range pids[:min(len(pids), maxLookAt)] {
		name, err := procfs.Unit(a.host.Proc, pid)
		if err != nil || name == "" {
			continue
		}
		for _, u := range units {
			if path.Base(u.left.Path) == name {
				facts = append(facts, a.lateHeir(pid, u)...)
			}
		}
	}
	return facts
}

func (a *Agent) lateHeir(pid int32, u unit) []event.Event {
	p, err := procfs.Read(a.host.Proc, pid)
	if err != nil || a.lineage.Has(p.ID) || a.isForked(p.ID) {
		return nil
	}
	parent, err := procfs.Identify(a.host.Proc, p.ParentPID)
	w := a.sensors.marks()
	if err != nil || w == nil || w.Watch(p.ID) != nil {
		return nil // it is gone
	}
	a.lineage.Add(p.ID)
	x := p.Exec(parent)
	now := time.Now()
	return []event.Event{
		{Time: now, Proc: p.ID, Source: event.SourceProcfs, Body: heirOf(u.word, u.left, x)},
		{Time: now, Proc: p.ID, Source: event.SourceProcfs, Body: x},
	}
}

// ofUnit reports whether a process is of the unit that a file is, where systemd wrote
// that file for an asker: another one can have its name by now.
func (a *Agent) ofUnit(id event.ProcID, w word) bool {
	f, ok := a.left.get(w.file)
	if !ok || !f.How.Asked() {
		return ok
	}
	switch name, err := procfs.Unit(a.host.Proc, id.PID); {
	case err != nil && w.order.Loose: // it is gone, and little of the order says that it was this one's
		return false
	case err == nil && name != path.Base(f.Path):
		return false
	}
	same := false
	return a.left.patience.look(func() {
		key, born, _, err := identify(f.Path)
		same = err == nil && key == f.File && born == f.Born
	}) && same
}

// bygone gives the one who asked for what an exec does where the unit is gone again, or
// was not seen. Nothing but the words say so, so there may have been another.
func (a *Agent) bygone(ev event.Event, x event.Exec) (event.Heir, bool) {
	args := x.Args
	if i := slices.Index(args, x.Name); x.Script && i > 0 {
		args = args[i:]
	}
	a.left.Lock()
	var who []*ask
	for _, k := range a.left.asks {
		if k.only && k.open(ev.Time) && orders.EndsWith(orders.Filled(k.args), args) {
			who = append(who, k)
		}
	}
	a.left.Unlock()
	if len(who) != 1 {
		return event.Heir{}, false
	}
	name, _ := procfs.Unit(a.host.Proc, ev.Proc.PID) // none: it is gone, too
	f := event.Left{Path: "/run/systemd/transient/" + cmp.Or(name, "?"), How: event.LeftPerhaps, At: ev.Time, Asker: who[0].String()}
	who[0].unit = f.Path
	a.emit(event.Event{Time: ev.Time, Proc: who[0].id, Source: event.SourceProcfs, Body: f})
	return heirOf(word{order: orders.Order{Text: strings.Join(args, " ")}}, f, x), true
}

// heirOf says that a process was started on an order of a file.
func heirOf(w word, f event.Left, x event.Exec) event.Heir {
	return event.Heir{
		File: f.File, Path: f.Path, Comm: x.Comm, Parent: x.Parent, UID: x.UID, Changed: f.Changed, Left: &f,
		Said: w.order.Text, Alone: (w.alone || f.How == event.LeftAsked) && !w.order.Loose,
	}
}
