package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Tree gives an Exec with Snapshot set for root and every descendant, parents
// before children. The error is fs.ErrNotExist where root is gone. Mark root in
// the kernel first: what is forked meanwhile is then seen twice, and not never.
func Tree(proc fs.FS, root event.ProcID) ([]event.Event, error) {
	all, err := table(proc)
	if err != nil {
		return nil, err
	}
	if s, ok := all[root.PID]; !ok || s.start != root.Start {
		return nil, fmt.Errorf("read tree of %v: %w", root, fs.ErrNotExist)
	}
	return all.snapshot(proc, []int32{root.PID}), nil
}

// Trees gives, like Tree, processes and their descendants. Those that are gone
// are left out.
func Trees(proc fs.FS, roots []event.ProcID) ([]event.Event, error) {
	all, err := table(proc)
	if err != nil {
		return nil, err
	}
	var pids []int32
	for _, id := range roots {
		if s, ok := all[id.PID]; ok && s.start == id.Start {
			pids = append(pids, id.PID)
		}
	}
	return all.snapshot(proc, pids), nil
}

// Orphans gives, like Tree, processes of the gateway's user that say they were
// started by OpenClaw's exec tool (OPENCLAW_SHELL=exec) and have no OpenClaw
// process among their ancestors any more, each with its descendants: what a
// skill had daemonised earlier. The variable is a claim and no proof, and two
// gateways of one user have the same orphans. The error is fs.ErrNotExist where
// the gateway is gone.
func Orphans(proc fs.FS, gateway event.ProcID) ([]event.Event, error) {
	all, err := table(proc)
	if err != nil {
		return nil, err
	}
	gw, err := Read(proc, gateway.PID)
	if err == nil && gw.ID != gateway {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("read gateway %v: %w", gateway, err)
	}
	marked := map[int32]bool{}
	for pid := range all {
		if !all.under(pid, gateway.PID) && claimsExec(proc, pid, gw.UID) {
			marked[pid] = true
		}
	}
	var roots []int32
	for pid := range marked {
		if !marked[all[pid].parent] { // else it comes with its parent
			roots = append(roots, pid)
		}
	}
	slices.Sort(roots)
	return all.snapshot(proc, roots), nil
}

// Left gives the living processes that nobody waits for, as their parent has ended,
// and that are not OpenClaw's; and when the host was started, as far as that is
// known.
func Left(proc fs.FS) ([]event.ProcID, time.Time, error) {
	all, err := table(proc)
	if err != nil {
		return nil, time.Time{}, err
	}
	var ids []event.ProcID
	for pid, s := range all {
		orphan := s.parent == 1 || all[s.parent].comm == "systemd" // a user's own takes them in, too
		if orphan && pid != kthreadd && s.state != 'Z' && !all.under(pid, 0) {
			ids = append(ids, event.ProcID{PID: pid, Start: s.start})
		}
	}
	slices.SortFunc(ids, event.ProcID.Compare)
	return ids, booted(proc, time.Now()), nil
}

// kthreadd is the parent of the kernel's threads.
const kthreadd = 2

// claimsExec reports whether a process of this user says that the exec tool
// started it. It reads no more than it must: it is asked of the whole host.
func claimsExec(proc fs.FS, pid int32, uid uint32) bool {
	b, _, err := readFile(proc, pid, "status", maxSmall)
	if err != nil || parseUID(string(b)) != uid {
		return false
	}
	b, _, err = readFile(proc, pid, "environ", maxEnviron)
	if err != nil {
		return false
	}
	_, shell := parseEnv(b)
	return shell == "exec"
}

// procs is every process by PID, at one moment.
type procs map[int32]stat

func table(proc fs.FS) (procs, error) {
	pids, err := PIDs(proc)
	if err != nil {
		return nil, err
	}
	all := make(procs, len(pids))
	for _, pid := range pids {
		s, err := readStat(proc, pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue // ended between the listing and the reading
		}
		if err != nil {
			return nil, err
		}
		all[pid] = s
	}
	return all, nil
}

// under reports whether the process or an ancestor of it is gateway, or is any
// other OpenClaw process. The count ends a loop that a torn reading can make.
func (all procs) under(pid, gateway int32) bool {
	for range len(all) {
		s, ok := all[pid]
		if !ok {
			return false
		}
		if pid == gateway || strings.HasPrefix(s.comm, "openclaw") {
			return true
		}
		pid = s.parent
	}
	return false
}

// snapshot reads the roots and all their descendants, breadth first. One that
// ends meanwhile is left out.
func (all procs) snapshot(proc fs.FS, roots []int32) []event.Event {
	children := map[int32][]int32{}
	for pid, s := range all {
		children[s.parent] = append(children[s.parent], pid)
	}
	var events []event.Event
	now := time.Now()
	boot := booted(proc, now)
	seen := map[int32]bool{}
	for queue := slices.Clone(roots); len(queue) > 0; queue = queue[1:] {
		pid := queue[0]
		if seen[pid] {
			continue
		}
		seen[pid] = true
		kids := children[pid]
		slices.Sort(kids)
		queue = append(queue, kids...)
		p, err := Read(proc, pid)
		if err != nil || p.ID.Start != all[pid].start || all[pid].state == 'Z' {
			continue
		}
		var parent event.ProcID
		if s, ok := all[p.ParentPID]; ok {
			parent = event.ProcID{PID: p.ParentPID, Start: s.start}
		}
		x := p.Exec(parent)
		if !boot.IsZero() {
			x.Began = boot.Add(time.Duration(p.ID.Start) * (time.Second / ticks))
		}
		events = append(events, event.Event{Time: now, Proc: p.ID, Source: event.SourceProcfs, Body: x})
	}
	return events
}

// ticks of the clock that start times are told in, a second.
const ticks = 100

// booted is when the host was started, by its clock as it is now; zero: not known.
func booted(proc fs.FS, now time.Time) time.Time {
	b, err := fs.ReadFile(proc, "uptime")
	if err != nil {
		return time.Time{}
	}
	first, _, _ := strings.Cut(string(b), " ")
	up, err := strconv.ParseFloat(first, 64)
	if err != nil || up < 0 || up > 1e9 {
		return time.Time{}
	}
	return now.Add(-time.Duration(up * float64(time.Second)))
}
