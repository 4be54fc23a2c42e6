package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds on the files that tool calls left behind.
const (
	maxLeft    = 16384
	leftQueue  = 4096
	leftWait   = 500 * time.Millisecond // until they are written to the store
	passedFor  = 10 * time.Second       // that what a mere reader still does is left out
	maxPassing = 4096
)

// leftovers are the files that tool calls left behind, and that are watched for
// whoever acts on them.
type leftovers struct {
	sync.Mutex
	files  map[event.FileKey]*leftover
	names  map[string]event.FileKey
	owners map[string]int // how many are a skill's, or a session's
	queue  chan event.Left
	missed atomic.Uint64
	passed map[event.ProcID]time.Time // readers of such files that are no heirs: since when

	readers map[event.ProcID]*reader // those of them that are still followed
	moments map[event.ProcID]int     // how often they were
	begun   chan struct{}            // of size 1: there is one more
	ended   chan *reader
	hashed  int // files, since keepLeft last wrote

	patience patience
	starters map[event.ProcID]*starter
	words    map[event.FileKey]words
	asks     map[event.ProcID]*ask // handover.go
	summoned time.Time             // until when starters were last
	run      string                // where systemd keeps the units that it writes
}

// A leftover is one of them, with who pays for it.
type leftover struct {
	event.Left
	owner string
	links uint32 // names that it has
}

func newLeftovers() leftovers {
	return leftovers{
		files: map[event.FileKey]*leftover{}, names: map[string]event.FileKey{}, owners: map[string]int{},
		queue: make(chan event.Left, leftQueue), passed: map[event.ProcID]time.Time{},
		readers: map[event.ProcID]*reader{}, moments: map[event.ProcID]int{}, begun: make(chan struct{}, 1), ended: make(chan *reader, maxReaders),
		starters: map[event.ProcID]*starter{}, words: map[event.FileKey]words{}, asks: map[event.ProcID]*ask{}, run: "/run",
	}
}

// offer takes in what the pipeline says was left behind. It does not wait.
func (l *leftovers) offer(f event.Left) {
	select {
	case l.queue <- f:
	default:
		l.missed.Add(1)
	}
}

// ownerOf is who pays where there are too many: the skill, or the session.
func ownerOf(f *event.Left) string {
	if f.By.Skill != nil {
		return f.By.Gateway + "\x00" + f.By.Skill.Dir
	}
	return f.By.Gateway + "\x01" + f.By.Session
}

// add keeps a file, and gives those that had to go for it: the oldest of whoever
// has the most.
func (l *leftovers) add(f event.Left, links uint32) (gone []event.FileKey) {
	l.Lock()
	defer l.Unlock()
	if old := l.files[f.File]; old != nil {
		l.forget(old)
		f.Changed = f.Changed || old.Changed && (f.How == event.LeftWritten || f.How == event.LeftCopied)
		if f.By.Gateway == "" && f.How == event.LeftWritten {
			f.By = old.By // until it is known who changed it
		}
	}
	kept := &leftover{f, ownerOf(&f), links}
	l.files[f.File], l.names[f.Path] = kept, f.File
	l.pay(kept.owner, 1)
	if len(l.files) <= maxLeft {
		return nil
	}
	most := ""
	for o, n := range l.owners {
		if n > l.owners[most] {
			most = o
		}
	}
	var theirs []*leftover
	for _, x := range l.files {
		if x.owner == most {
			theirs = append(theirs, x)
		}
	}
	slices.SortFunc(theirs, func(a, b *leftover) int { return a.At.Compare(b.At) })
	for _, x := range theirs[:max(1, len(theirs)/16)] {
		gone = append(gone, x.File)
		l.forget(x)
	}
	return gone
}

func (l *leftovers) forget(x *leftover) {
	delete(l.files, x.File)
	if l.names[x.Path] == x.File {
		delete(l.names, x.Path)
	}
	l.pay(x.owner, -1)
}

// removed forgets the file of a name that is no more, if it had no other.
func (l *leftovers) removed(path string) (event.FileKey, bool) {
	l.Lock()
	defer l.Unlock()
	x := l.files[l.names[path]]
	if x == nil || x.Path != path || x.links > 1 {
		return event.FileKey{}, false
	}
	l.forget(x)
	return x.File, true
}

func (l *leftovers) pay(owner string, n int) {
	if l.owners[owner] += n; l.owners[owner] == 0 {
		delete(l.owners, owner)
	}
}

func (l *leftovers) get(k event.FileKey) (event.Left, bool) {
	l.Lock()
	defer l.Unlock()
	f := l.files[k]
	if f == nil {
		return event.Left{}, false
	}
	return f.Left, true
}

func (l *leftovers) drop(k event.FileKey) {
	l.Lock()
	defer l.Unlock()
	if f := l.files[k]; f != nil {
		l.forget(f)
	}
}

func (l *leftovers) keys() []event.FileKey {
	l.Lock()
	defer l.Unlock()
	keys := make([]event.FileKey, 0, len(l.files))
	for k := range l.files {
		keys = append(keys, k)
	}
	return keys
}

// overlay is the magic number of overlayfs. What stat says there is of the layer
// below, and not what the sensor sees: such a file is known by its name.
const overlay = 0x794c7630

// is reports whether a file under a path, with the identity that stat gives it, is
// the one that the sensor means.
func is(path string, stat, seen event.FileKey) bool {
	if stat == seen || seen == (event.FileKey{}) {
		return true
	}
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == overlay
}

// identify gives a file's identity, when it was born, and how many names it has, if it
// is a regular one.
func identify(path string) (event.FileKey, int64, uint32, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_INO|unix.STATX_NLINK|unix.STATX_BTIME, &st)
	switch {
	case err != nil:
		return event.FileKey{}, 0, 0, fmt.Errorf("look at %s: %w", path, err)
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return event.FileKey{}, 0, 0, fmt.Errorf("look at %s: no regular file", path)
	}
	var born int64
	if st.Mask&unix.STATX_BTIME != 0 {
		born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return event.FileKey{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino}, born, st.Nlink, nil
}

// files gives the sensor that watches files; nil: none does.
func (a *Agent) fileWatcher() collectors.FileWatcher {
	w, _ := a.sensors.marks().(collectors.FileWatcher)
	return w
}

// keepLeft watches what tool calls leave behind, and writes it down, until there is
// no more to come.
func (a *Agent) keepLeft() {
	ticks := time.NewTicker(leftWait)
	defer ticks.Stop()
	due := map[event.FileKey]event.Left{}
	var gone []event.FileKey
	for more := true; more; {
		var f event.Left
		select {
		case f, more = <-a.left.queue:
			if more {
				kept, evicted, ok := a.keep(f)
				gone = append(gone, evicted...)
				maps.DeleteFunc(due, func(k event.FileKey, _ event.Left) bool { return slices.Contains(evicted, k) })
				if ok && kept.By.Gateway != "" {
					due[kept.File] = kept
				}
				continue
			}
		case <-ticks.C:
			a.left.hashed = 0
		}
		if len(due)+len(gone) == 0 {
			continue
		}
		if err := a.store.KeepLeft(slices.Collect(maps.Values(due)), gone); err != nil {
			a.log.Error("keep what tool calls left behind", "error", err)
		}
		clear(due)
		gone = gone[:0]
	}
}

// keep has one file watched. A name that leads to another file by now says
// nothing of the one that was left.
func (a *Agent) keep(f event.Left) (kept event.Left, gone []event.FileKey, ok bool) {
	if f.How == event.LeftNoMore {
		if key, was := a.left.removed(f.Path); was {
			gone = append(gone, key)
			if w := a.fileWatcher(); w != nil {
				_ = w.UnwatchFile(key) // the sensor fails: it is replaced, and told anew
			}
		}
		return f, gone, false
	}
	var key event.FileKey
	var born int64
	var links uint32
	same := false
	if !a.left.patience.look(func() {
		k, b, n, err := identify(f.Path)
		if key, born, links = k, b, n; err == nil {
			same = is(f.Path, k, f.File)
		}
	}) {
		a.left.missed.Add(1)
		return f, nil, false
	}
	if !same {
		return f, nil, false
	}
	if f.Born = born; f.File == (event.FileKey{}) {
		f.File = key
	}
	w := a.fileWatcher()
	if w == nil {
		return f, nil, false
	}
	if f.By.Gateway != "" && a.left.hashed < maxHashed { // the second time, seconds after it was written
		a.left.hashed++
		f.SHA256, f.Size = a.contentOf(f)
	}
	gone = a.left.add(f, links)
	for _, k := range gone {
		_ = w.UnwatchFile(k) // the sensor fails: it is replaced, and told anew
	}
	if err := w.WatchFile(f.File); err != nil {
		a.left.missed.Add(1)
		a.log.Debug("watch file", "path", f.Path, "error", err)
	}
	return f, gone, true
}

// recall has what was left behind before the agent started watched again.
func (a *Agent) recall(ctx context.Context) {
	all, err := a.store.Left(ctx)
	if err != nil {
		a.log.Error("read what tool calls left behind", "error", err)
		a.say(event.Lost{Of: event.KindHeir, Count: 1, Cause: "what tool calls left behind before could not be read: " + err.Error()})
		return
	}
	var gone []event.FileKey
	for _, f := range all {
		var links uint32
		over := false
		if !a.left.patience.look(func() {
			key, born, n, err := identify(f.Path)
			links = n
			over = errors.Is(err, fs.ErrNotExist) || err == nil && (!is(f.Path, key, f.File) || born != f.Born)
		}) {
			a.left.missed.Add(1)
			continue
		}
		if over {
			gone = append(gone, f.File)
			continue
		}
		gone = append(gone, a.left.add(f, links)...)
		a.emit(event.Event{Time: f.At, Source: event.SourceAgent, Body: f})
	}
	if err := a.store.KeepLeft(nil, gone); err != nil {
		a.log.Error("forget what tool calls left behind", "error", err)
	}
	a.rewatch()
	a.findStarters()
}

// rewatch tells the sensor of all the files that are watched.
func (a *Agent) rewatch() {
	w := a.fileWatcher()
	if w == nil {
		return
	}
	for _, k := range a.left.keys() {
		if err := w.WatchFile(k); err != nil {
			a.say(event.Lost{Of: event.KindHeir, Count: 1, Cause: "watch what tool calls left behind: " + err.Error()})
			return
		}
	}
}
