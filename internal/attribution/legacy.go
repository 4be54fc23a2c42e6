package attribution

import (
	"container/list"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds on the files that are remembered.
const (
	maxLegacies  = 32768
	maxLeftByOne = 2048 // by one execution, or one process of OpenClaw
	maxHops      = 16   // from file to file; beyond, nobody is named
	maxAuthors   = 4    // of one file
)

// A legacy is a file that a tool call left behind, for whoever runs it.
type legacy struct {
	event.Left
	scope   *Scope // who left it; nil: it was told of, and By holds
	ev      event.Event
	before  []*legacy // by others: what the file had in it when this one changed it
	names   []string
	ordered *list.Element
}

// legacies are the files that were left behind, by name and by identity. The
// one that was left first is forgotten first.
type legacies struct {
	byPath     map[string]*legacy
	byFile     map[event.FileKey]*legacy
	order      *list.List // of *legacy
	overlooked uint64
}

func newLegacies() legacies {
	return legacies{byPath: map[string]*legacy{}, byFile: map[event.FileKey]*legacy{}, order: list.New()}
}

// put remembers a file in the place of what had its name or was it before.
func (ls *legacies) put(l *legacy) {
	ls.drop(ls.byPath[l.Path])
	ls.drop(ls.byFile[l.File])
	if ls.order.Len() >= maxLegacies {
		ls.drop(ls.order.Front().Value.(*legacy))
	}
	l.ordered = ls.order.PushBack(l)
	ls.name(l, l.Path)
	if l.File != (event.FileKey{}) {
		ls.byFile[l.File] = l
	}
}

func (ls *legacies) name(l *legacy, path string) {
	ls.byPath[path] = l
	l.names = append(l.names, path)
}

func (ls *legacies) drop(l *legacy) {
	if l == nil {
		return
	}
	ls.order.Remove(l.ordered)
	for _, n := range l.names {
		if ls.byPath[n] == l {
			delete(ls.byPath, n)
		}
	}
	if ls.byFile[l.File] == l {
		delete(ls.byFile, l.File)
	}
}

// find gives the file by its identity, or else by its name.
func (ls *legacies) find(file event.FileKey, path string) *legacy {
	if l := ls.byFile[file]; l != nil {
		return l
	}
	if l := ls.byPath[path]; l != nil && (l.File == (event.FileKey{}) || file == (event.FileKey{}) || l.File == file) {
		return l
	}
	return nil
}

// unname forgets a name, and with the last one the file.
func (ls *legacies) unname(path string) {
	l := ls.byPath[path]
	if l == nil {
		return
	}
	delete(ls.byPath, path)
	if l.names = slices.DeleteFunc(l.names, func(n string) bool { return n == path }); len(l.names) == 0 {
		ls.drop(l)
	}
}

// Leaves says what a fact leaves behind. By is empty. OpenClaw's own processes leave
// much that no tool call asked for: whether one did is for the caller to say.
func (e *Engine) Leaves(s *Scope, ev event.Event) (event.Left, bool) {
	l := event.Left{At: ev.Time}
	switch b := ev.Body.(type) {
	case event.FileOpen:
		if !b.Write && !b.Create && !b.Emptied || b.Directory || b.Attempted || b.Unresolved {
			return l, false
		}
		l.Path, l.File, l.How = b.Path, b.File, event.LeftWritten
		if b.Create || b.Emptied {
			l.How = event.LeftMade
		}
	case event.FileRename:
		if b.Attempted || b.Unresolved {
			return l, false
		}
		l.Path, l.How = b.New, event.LeftRenamed
		if known := e.left.byPath[b.New]; known != nil {
			l.File = known.File
		}
	case event.FileLink:
		if b.Symbolic || b.Attempted || b.Unresolved || e.left.byPath[b.Path] == nil {
			return l, false
		}
		l.Path, l.How, l.File = b.Path, event.LeftLinked, e.left.byPath[b.Path].File
	case event.FileDelete:
		l.Path, l.How = b.Path, event.LeftNoMore
		return l, s != nil && !b.Directory && !b.Attempted && !b.Unresolved && !s.boxed()
	default:
		return l, false
	}
	if s == nil || l.Path == "" || pseudo(l.Path) || s.boxed() {
		return l, false
	}
	l.Hops = s.hops()
	return l, l.Hops <= maxHops
}

// hops counts the files that led from a tool call to what the process leaves.
func (s *Scope) hops() int {
	switch {
	case s.role == event.RoleHeir:
		return s.exec.heir.of.Hops + 1
	case s.script != nil && s.script.left != nil:
		return s.script.left.Hops + 1
	}
	return 0
}

// boxed reports whether the gateway has mounts of its own: its paths are other files
// than the host's of that name, and what it leaves there is not followed.
func (s *Scope) boxed() bool {
	g := s.Gateway()
	return g != nil && g.Mount != 0
}

// leftAt finds a file that was left behind as a process names it: in a container only
// by what it is.
func (e *Engine) leftAt(s *Scope, file event.FileKey, path string) *legacy {
	if s.boxed() {
		return e.left.byFile[file]
	}
	return e.left.find(file, path)
}

// pseudo reports whether a path names no file that keeps what is written to it.
func pseudo(p string) bool {
	return strings.HasPrefix(p, "/proc/") || strings.HasPrefix(p, "/sys/") ||
		strings.HasPrefix(p, "/dev/") && !strings.HasPrefix(p, "/dev/shm/")
}

// leave remembers what a tool call's processes do to files. What anybody else makes
// anew is no tool call's any more.
func (e *Engine) leave(s *Scope, ev event.Event) {
	if s.boxed() {
		return
	}
	if !s.Role().ByTool() {
		if b, ok := ev.Body.(event.FileOpen); ok && (b.Write || b.Create || b.Emptied) {
			e.touched(b)
		}
		return
	}
	switch b := ev.Body.(type) {
	case event.FileRename:
		e.moved(s, ev, b)
	case event.FileLink:
		if l := e.left.byPath[b.Old]; l != nil && !b.Symbolic && len(l.names) < maxAuthors {
			e.left.unname(b.Path)
			e.left.name(l, b.Path)
		}
	case event.FileDelete:
		e.left.unname(b.Path)
	default:
		if l, ok := e.Leaves(s, ev); ok {
			e.Leave(l, s, ev)
		}
	}
}

// touched notes that no tool call is known to have written to a file.
func (e *Engine) touched(b event.FileOpen) {
	l := e.left.find(b.File, b.Path)
	switch {
	case l == nil:
	case b.Create || b.Emptied:
		e.left.drop(l)
	case !l.Changed:
		l.Changed = true
		e.version++
	}
}

// moved gives a file that was left behind its new name. One that was not is now
// where somebody may look for it, and that is this process's doing.
func (e *Engine) moved(s *Scope, ev event.Event, b event.FileRename) {
	l, other := e.left.byPath[b.Old], e.left.byPath[b.New]
	if l == nil {
		if left, ok := e.Leaves(s, ev); ok && !b.Exchange {
			e.Leave(left, s, ev)
		}
		return
	}
	e.left.unname(b.New)
	delete(e.left.byPath, b.Old)
	l.names = slices.DeleteFunc(l.names, func(n string) bool { return n == b.Old })
	l.Path = b.New
	e.left.name(l, b.New)
	if b.Exchange && other != nil && other != l {
		other.Path = b.Old
		e.left.put(other)
	}
}

// Leave remembers a file that a process left behind.
func (e *Engine) Leave(left event.Left, s *Scope, ev event.Event) {
	if s.leftMost() {
		e.left.overlooked++
		return
	}
	l := &legacy{Left: left, scope: s, ev: ev}
	if old := e.left.find(left.File, left.Path); old != nil && left.How == event.LeftWritten {
		l.before = authors(old, s)
		l.Changed = old.Changed
	}
	e.left.put(l)
}

// leftMost counts what one execution leaves, and reports whether it is too much.
func (s *Scope) leftMost() bool {
	if s.exec == nil {
		return false
	}
	s.exec.left++
	return s.exec.left > maxLeftByOne
}

// authors are those who had their part in a file before, other than this one.
func authors(old *legacy, s *Scope) []*legacy {
	all := append(slices.Clone(old.before), old)
	all = slices.DeleteFunc(all, func(l *legacy) bool { return l.scope != nil && s.exec != nil && l.scope.exec == s.exec })
	return all[max(0, len(all)-maxAuthors):]
}

// Overlooked gives how many files were not remembered since it was last asked,
// because one execution had left too many.
func (e *Engine) Overlooked() uint64 {
	n := e.left.overlooked
	e.left.overlooked = 0
	return n
}

// handed takes in a unit that systemd wrote because a process of a tool call asked
// for it, or may have. Who else may have is told of in the same way.
func (e *Engine) handed(ev event.Event, left event.Left) {
	s := e.scopes[ev.Proc]
	if !s.Role().ByTool() || s.boxed() {
		return
	}
	if left.Hops = s.hops(); left.Hops > maxHops {
		return
	}
	l := &legacy{Left: left, scope: s, ev: ev}
	if old := e.left.find(left.File, left.Path); old != nil {
		if !old.How.Asked() {
			return // a tool call wrote it itself
		}
		l.before = authors(old, s)
	}
	e.left.put(l)
}

// told takes in a file that was left behind before the agent started, or that somebody
// else has copied: it is left by whoever left the one that it is a copy of.
func (e *Engine) told(l event.Left) {
	told := &legacy{Left: l}
	if of := e.left.byFile[l.Of]; of != nil {
		told.scope, told.ev, told.before, told.Changed = of.scope, of.ev, of.before, l.Changed || of.Changed
	}
	e.left.put(told)
}
