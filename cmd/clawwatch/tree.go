package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/console"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

// shownNotable is how many files the tree shows beside one process.
const shownNotable = 6

func newTreeCmd() *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:   "tree [PID]",
		Short: "Show processes as a tree, with the skill, files and connections beside each",
		Long: `Show processes as a tree, each with the skill it acted for, the files that a
person should see (changed, or read outside of where reads are usual) and its
connections. Without --skill, --session or PID: those of the last hour.

With --follow the tree is shown again as processes come and go, until Ctrl-C: on
a terminal in its place, with what ended in the last seconds; elsewhere it is
printed once, and then what is new, a line each: + a process, - its end, * what
it does.`,
		Example: "  clawwatch tree --skill weather --since 1d\n  clawwatch tree 4321\n  clawwatch tree --follow",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := a.query()
			if err != nil {
				return err
			}
			if q.PID, err = treePID(args); err != nil {
				return err
			}
			q.Tree = q.PID != 0
			anything := q.Since.IsZero() && q.Until.IsZero() && q.PID == 0 && q.Skill == "" && q.Session == ""
			if a.follow {
				return explain("follow tree", followTree(cmd.Context(), a.client(), q, anything, newTreeView(cmd.OutOrStdout(), &a, q.PID)))
			}
			if anything {
				q.Since = time.Now().Add(-recent)
			}
			all, err := a.client().Tree(cmd.Context(), q)
			if err != nil {
				return explain("show tree", err)
			}
			out := newPrinter(cmd.OutOrStdout())
			if a.json {
				out.json(all)
			} else {
				printTree(out, all, q.PID)
			}
			return out.err
		},
	}
	a.register(cmd)
	a.registerFollow(cmd)
	cmd.Flags().BoolVar(&a.follow, "live", false, "the same as --follow")
	return cmd
}

func treePID(args []string) (int32, error) {
	switch len(args) {
	case 0:
		return 0, nil
	case 1:
		n, err := strconv.ParseInt(args[0], 10, 32)
		if err != nil || n < 1 {
			return 0, usageError{fmt.Errorf("read PID: %.40q is no process ID", args[0])}
		}
		return int32(n), nil
	}
	return 0, usageError{errors.New("read PID: more than one given")}
}

// A forest is processes by parent. The key of a process whose parent is not
// among them is the zero ID.
type forest map[event.ProcID][]*store.Activity

func idOf(p *store.Activity) event.ProcID {
	return event.ProcID{PID: p.Process.PID, Start: p.Process.StartTime}
}

// plant sorts processes beneath their parents. With pid: only the newest
// process of that number and its descendants.
func plant(all []store.Activity, pid int32) forest {
	known := make(map[event.ProcID]bool, len(all))
	var root event.ProcID
	for i := range all {
		known[idOf(&all[i])] = true
		if all[i].Process.PID == pid {
			root = idOf(&all[i]) // the last is the newest
		}
	}
	f := forest{}
	for i := range all {
		p := &all[i]
		parent := event.ProcID{PID: p.Process.ParentPID, Start: p.Process.ParentStart}
		switch {
		case idOf(p) == root && !root.IsZero():
			parent = event.ProcID{}
		case !known[parent] || parent == idOf(p):
			parent = event.ProcID{}
			if !root.IsZero() {
				continue // of a process that had this number before
			}
		}
		f[parent] = append(f[parent], p)
	}
	return f
}

func printTree(out *printer, all store.Activities, pid int32) {
	if len(all.Processes) == 0 {
		out.line("no processes; a longer time may have some: --since 7d")
		return
	}
	f := plant(all.Processes, pid)
	for i, root := range f[event.ProcID{}] {
		if i > 0 {
			out.line("")
		}
		if up := lineage(root.Process.Ancestors); up != "" {
			out.line(out.paint("under "+up, console.Dim))
		}
		f.print(out, root, "", "", 0)
	}
	if all.Partial {
		out.line("")
		out.linef("not all: nothing older than %s is shown; ask for less with --skill, --session, --since or a PID", stamp(all.From))
	}
}

// maxDepth bounds how far the tree goes down; hostile programs fork in chains.
const maxDepth = 64

// print prints a process, what it did, and its children. first begins its own
// line, rest those below.
func (f forest) print(out *printer, p *store.Activity, first, rest string, depth int) {
	children := f[idOf(p)]
	bar := "   "
	if len(children) > 0 {
		bar = "│  "
	}
	out.line(out.fit(first + processLine(p)))
	for _, l := range details(p) {
		out.line(out.paint(out.fit(rest+bar+l), console.Dim))
	}
	if depth == maxDepth {
		if len(children) > 0 {
			out.line(rest + "└─ …")
		}
		return
	}
	for i, c := range children {
		if i < len(children)-1 {
			f.print(out, c, rest+"├─ ", rest+"│  ", depth+1)
		} else {
			f.print(out, c, rest+"└─ ", rest+"   ", depth+1)
		}
	}
}

func processLine(p *store.Activity) string {
	line := fmt.Sprintf("%s %d  %s  %s  [%s]", name(p), p.Process.PID, stamp(p.First), state(p), console.Whose(p.Attribution))
	if len(p.Process.CommandArgs) > 0 {
		line += "  " + command(&p.Process)
	}
	return line
}

// details says what a process did, a line each.
func details(p *store.Activity) []string {
	var lines []string
	if len(p.Files) > 0 {
		var counts []string
		for _, operation := range slices.Sorted(maps.Keys(p.Files)) {
			counts = append(counts, fmt.Sprintf("%d %s", p.Files[operation], text(operation)))
		}
		lines = append(lines, "files: "+strings.Join(counts, ", "))
	}
	for i, n := range p.Notable {
		if i == shownNotable {
			lines = append(lines, fmt.Sprintf("  … and %d more like these", len(p.Notable)-i))
			break
		}
		l := fmt.Sprintf("  %-6s %s", text(n.Operation), text(n.Path))
		if n.Count > 1 {
			l += fmt.Sprintf("  ×%d", n.Count)
		}
		lines = append(lines, l)
	}
	for _, c := range p.Connections {
		lines = append(lines, connectionLine(c))
	}
	if len(p.EnvNames) > 0 {
		lines = append(lines, "env:   "+clip(text(strings.Join(p.EnvNames, " ")), 200))
	}
	if p.More > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more files or connections", p.More))
	}
	return lines
}

func connectionLine(c store.Connection) string {
	arrow := "→"
	if c.Direction == "inbound" {
		arrow = "←"
	}
	l := fmt.Sprintf("net:   %s %s %s", text(c.Transport), arrow, peer(c.Host, c.PeerAddress, c.PeerPort))
	if c.Count > 1 {
		l += fmt.Sprintf("  ×%d", c.Count)
	}
	if c.Sent+c.Received > 0 {
		l += fmt.Sprintf("  sent %s, received %s", console.Bytes(c.Sent), console.Bytes(c.Received))
	}
	if c.Failed > 0 {
		l += fmt.Sprintf("  %d failed", c.Failed)
	}
	return l
}

// lineage names ancestors, nearest first.
func lineage(up []event.Ancestor) string {
	names := make([]string, 0, len(up))
	for _, a := range up {
		names = append(names, fmt.Sprintf("%s %d", cmp.Or(base(a.Executable), "?"), a.PID))
	}
	return strings.Join(names, " ‹ ")
}

// base is the last part of a path, made safe.
func base(path string) string { return text(path[strings.LastIndexByte(path, '/')+1:]) }

// fit cuts a line without colours to the terminal.
func (p *printer) fit(s string) string {
	if p.width == 0 {
		return s
	}
	return clip(s, p.width)
}
