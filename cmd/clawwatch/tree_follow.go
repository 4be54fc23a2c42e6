package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/api"
	"github.com/clawwatch/clawwatch/internal/console"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

// Of a tree that follows what happens.
const (
	treeEvery  = time.Second      // at most so often it is asked for
	treeLatest = 10 * time.Minute // what it begins with, where nothing is asked for
	treeShare  = 10               // times the last answer took, until it is asked for again
	treeLinger = 10 * time.Second // an ended process is shown for so long
	maxShown   = 100_000          // things remembered as printed, without a terminal
)

// A treeView shows a tree again and again.
type treeView interface {
	show(all store.Activities, now time.Time) error
}

// followTree shows the tree, and again whenever something happened in it, until
// ctx is done. slides: it is always that of the latest time.
func followTree(ctx context.Context, c *api.Client, q store.Query, slides bool, view treeView) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed, ended := make(chan struct{}, 1), make(chan error, 1)
	follow := q
	follow.Limit, follow.Since = 0, time.Time{} // what comes from now on
	go func() {
		for _, err := range c.Events(ctx, follow, true) {
			if err != nil {
				ended <- err
				return
			}
			select {
			case changed <- struct{}{}:
			default: // said already
			}
		}
		ended <- errAgentEnded
	}()
	for {
		now := time.Now()
		if slides {
			q.Since = now.Add(-treeLatest)
		}
		all, err := c.Tree(ctx, q)
		took := time.Since(now)
		if err == nil {
			err = view.show(all, now)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		select { // an ended process goes without anything happening
		case <-ctx.Done():
			return nil
		case err := <-ended:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case <-changed:
		case <-time.After(treeLinger):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(treeEvery, treeShare*took)):
		}
	}
}

// newTreeView chooses by where the output goes.
func newTreeView(w io.Writer, a *asking, pid int32) treeView {
	out := newPrinter(w)
	switch {
	case a.json:
		return &jsonTree{out: out}
	case out.width > 0:
		return &screenTree{w: w, pid: pid}
	}
	return &changesTree{out: out, pid: pid, known: map[event.ProcID]*branch{}}
}

// A jsonTree prints each tree as an object, when it is another.
type jsonTree struct {
	out  *printer
	last []byte
}

func (t *jsonTree) show(all store.Activities, _ time.Time) error {
	var b bytes.Buffer
	(&printer{w: &b}).json(all)
	if !bytes.Equal(b.Bytes(), t.last) {
		t.last = b.Bytes()
		_, t.out.err = t.out.w.Write(t.last)
	}
	return t.out.err
}

// A screenTree draws the tree anew in its place, as much of it as the terminal
// has lines for: of a long one the end, which is the newest.
type screenTree struct {
	w     io.Writer
	pid   int32
	begun bool
}

func (t *screenTree) show(all store.Activities, now time.Time) error {
	var b bytes.Buffer
	out := newPrinter(t.w) // the terminal may have another size now
	height := 0
	if f, ok := t.w.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			height = int(size.Row)
		}
	}
	all.Processes = living(all.Processes, now)
	tree := &printer{w: &b, width: out.width, colour: out.colour}
	if len(all.Processes) == 0 {
		tree.line("nothing runs; waiting")
	} else {
		printTree(tree, all, t.pid)
	}
	frame := drawn(b.Bytes(), max(height, 10)-2, fmt.Sprintf("%s  %d processes; end with Ctrl-C", now.Format("15:04:05"), len(all.Processes)))
	if !t.begun {
		frame = "\x1b[2J" + frame
	}
	t.begun = true
	_, err := io.WriteString(t.w, frame)
	return err
}

// drawn makes a frame of the last lines of a text, under a headline: from the
// top left, and what was there before erased.
func drawn(text []byte, lines int, headline string) string {
	all := bytes.SplitAfter(text, []byte("\n"))
	if len(all) > lines {
		headline += fmt.Sprintf("; %d lines above are not shown", len(all)-lines)
		all = all[len(all)-lines:]
	}
	frame := "\x1b[H" + headline + "\x1b[K\n"
	for _, l := range all {
		frame += string(bytes.TrimSuffix(l, []byte("\n"))) + "\x1b[K"
		if bytes.HasSuffix(l, []byte("\n")) {
			frame += "\n"
		}
	}
	return frame + "\x1b[J"
}

// living leaves out what has ended some time ago, but for what others descend
// from.
func living(all []store.Activity, now time.Time) []store.Activity {
	at := make(map[event.ProcID]*store.Activity, len(all))
	for i := range all {
		at[idOf(&all[i])] = &all[i]
	}
	keep := map[event.ProcID]bool{}
	for i := range all {
		if all[i].Exited && now.Sub(all[i].Last) > treeLinger {
			continue
		}
		for p := &all[i]; p != nil && !keep[idOf(p)]; {
			keep[idOf(p)] = true
			p = at[event.ProcID{PID: p.Process.ParentPID, Start: p.Process.ParentStart}]
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(a store.Activity) bool { return !keep[idOf(&a)] })
}

// A changesTree prints what is new in a tree, a line each: + a process, - its
// end, and * what it does. It begins with the tree as it is.
type changesTree struct {
	out   *printer
	pid   int32
	begun bool
	known map[event.ProcID]*branch
	size  int
}

// A branch is what was printed of a process.
type branch struct {
	line  string
	ended bool
	did   map[string]bool
}

func (t *changesTree) show(all store.Activities, _ time.Time) error {
	if !t.begun && len(all.Processes) > 0 {
		printTree(t.out, all, t.pid)
	}
	if t.size > maxShown { // better twice than without end
		t.known, t.size = map[event.ProcID]*branch{}, 0
	}
	for i := range all.Processes {
		t.process(&all.Processes[i], t.begun)
	}
	t.begun = true
	return t.out.err
}

// process prints what is new about one process; aloud false: it is printed.
func (t *changesTree) process(p *store.Activity, aloud bool) {
	say := func(format string, args ...any) {
		if aloud {
			t.out.linef(format, args...)
		}
		t.size++
	}
	b := t.known[idOf(p)]
	if b == nil {
		b = &branch{did: map[string]bool{}}
		t.known[idOf(p)] = b
	}
	who := fmt.Sprintf("%s  %s", command(&p.Process), console.Whose(p.Attribution))
	if b.line != who { // also when it becomes another program, or another's
		b.line = who
		say("+ %s %d  %s  [%s]  under %d  %s", name(p), p.Process.PID, stamp(p.First), console.Whose(p.Attribution), p.Process.ParentPID, command(&p.Process))
	}
	for _, n := range p.Notable {
		if key := n.Operation + " " + n.Path; !b.did[key] {
			b.did[key] = true
			say("* %s %d  %s %s", name(p), p.Process.PID, text(n.Operation), text(n.Path))
		}
	}
	for _, c := range p.Connections {
		c.Count, c.Failed, c.Sent, c.Received = 0, 0, 0, 0
		if key := connectionLine(c); !b.did[key] {
			b.did[key] = true
			say("* %s %d  %s", name(p), p.Process.PID, key)
		}
	}
	if p.Exited && !b.ended {
		b.ended = true
		say("- %s %d  %s  %s", name(p), p.Process.PID, stamp(p.Last), state(p))
	}
}

func name(p *store.Activity) string {
	if p.Process.Executable == nil {
		return "?"
	}
	return cmp.Or(base(p.Process.Executable.Path), "?")
}
