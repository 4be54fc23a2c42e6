package agent

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/collectors/digest"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Who merely reads a file that was left behind is followed for a moment, because it may
// make a copy: a regular file that it makes in that moment, and that has the same content
// then, is left behind as well, by whom the first one is. Whoever copies by way of an
// archive, a pipe or a shell's redirection does not make the file that it reads for.

// Bounds on readers and what they make.
const (
	reading     = 2 * time.Second // that a reader is followed
	maxReaders  = 64              // at once
	maxMoments  = 16              // of one process
	maxRead     = 64              // files that were left behind, by one reader
	maxMade     = 256             // files, by one reader
	maxCopy     = 4 << 20         // bytes that are compared
	maxKept     = 256 << 10       // bytes of a file whose digest is kept, for when it is gone
	maxHashed   = 64              // such files in leftWait
	maxStory    = 2048            // bytes: who copies copies is not followed for ever
	maxOwed     = 1024            // copies of files of which it is not known yet who left them
	owedFor     = 30 * time.Second
	readersLook = 500 * time.Millisecond
)

// watchCopies has copies watched that readers make, until ctx is done.
func (a *Agent) watchCopies(ctx context.Context) {
	look := time.NewTimer(readersLook)
	defer look.Stop()
	var owed []event.Left
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.left.begun:
			look.Reset(readersLook)
		case r := <-a.left.ended:
			if owed = append(owed, a.settle(r)...); len(owed) > 0 {
				look.Reset(readersLook)
			}
		case <-look.C:
			more := a.letGo(time.Now())
			if owed = a.settleOwed(owed); more || len(owed) > 0 {
				look.Reset(readersLook)
			}
		}
	}
}

// settle looks for copies among what a reader made, and has them watched. It gives
// those of which it is not known yet who left the first one.
func (a *Agent) settle(r *reader) (owed []event.Left) {
	w := a.fileWatcher()
	if w == nil {
		return nil
	}
	originals := a.originals(r)
	for _, m := range r.made {
		if _, known := a.left.get(m.file); known {
			continue // a tool call's, or changed by this reader
		}
		c, of, ok := a.compare(m, originals)
		if !ok {
			continue
		}
		c.left.Story = fmt.Sprintf("by %s (uid %d) from %s, which was %s", r.comm, r.uid, of.Path, of.How)
		if of.Story != "" {
			c.left.Story += " " + of.Story
		}
		if len(c.left.Story) > maxStory {
			c.file.Close() //nolint:errcheck // it was only read
			continue
		}
		for _, k := range a.left.add(c.left, c.links) {
			_ = w.UnwatchFile(k) // the sensor fails: it is replaced, and told anew
		}
		err := w.WatchFile(c.left.File)
		sum, _, err2 := digest.Sum(c.file) // who changes it from now on is told of
		c.file.Close()                     //nolint:errcheck // it was only read
		if err != nil || err2 != nil || sum != c.left.SHA256 {
			a.left.drop(c.left.File)
			_ = w.UnwatchFile(c.left.File)
			a.left.missed.Add(1)
			continue
		}
		a.emit(event.Event{Time: c.left.At, Source: event.SourceAgent, Body: c.left})
		if owed = append(owed, c.left); c.left.By.Gateway != "" {
			owed = owed[:len(owed)-1]
			a.left.offer(c.left) // for the store
		}
	}
	return owed[:min(len(owed), maxOwed)]
}

// settleOwed has those copies kept of which it is known by now who left the first one.
func (a *Agent) settleOwed(owed []event.Left) []event.Left {
	return slices.DeleteFunc(owed[:min(len(owed), maxOwed)], func(c event.Left) bool {
		of, known := a.left.get(c.Of)
		if !known || time.Since(c.At) > owedFor {
			return true
		}
		if of.By.Gateway == "" {
			return false
		}
		c.By, c.Of = of.By, event.FileKey{}
		a.left.offer(c)
		return true
	})
}

// An original is a file that was left behind and read, with its content.
type original struct {
	event.Left
	sum  string
	size uint64
}

// originals looks at what a reader read. Of one that is gone, as the one that mv leaves
// when it has made another, what was known before has to do.
func (a *Agent) originals(r *reader) []original {
	var all []original
	for _, k := range r.read {
		f, known := a.left.get(k)
		if !known {
			continue
		}
		o := original{Left: f, sum: f.SHA256, size: f.Size}
		if c, ok := a.openLeft(f.Path, f.File, maxCopy); ok {
			var id event.FileID
			o.sum, id, _ = digest.Sum(c.file)
			o.size = id.Size
			c.file.Close() //nolint:errcheck // it was only read
		}
		if o.sum != "" && o.size > 0 {
			all = append(all, o)
		}
	}
	return all
}

// A candidate is a file that may be a copy, open.
type candidate struct {
	file  *os.File
	id    event.FileID
	links uint32
	born  int64
	left  event.Left // if it is one
}

// compare says which original a file is a copy of; then the file is open.
func (a *Agent) compare(m made, originals []original) (candidate, event.Left, bool) {
	if len(originals) == 0 {
		return candidate{}, event.Left{}, false
	}
	c, ok := a.openLeft(m.path, m.file, maxCopy)
	if !ok {
		return candidate{}, event.Left{}, false
	}
	sum := ""
	for _, o := range originals {
		if o.size != c.id.Size {
			continue
		}
		if sum == "" {
			var err error
			if sum, _, err = digest.Sum(c.file); err != nil {
				break
			}
		}
		if o.sum != sum {
			continue
		}
		c.left = event.Left{
			Path: m.path, File: m.file, Born: c.born, How: event.LeftCopied, At: time.Now(), By: o.By, Hops: o.Hops, Changed: o.Changed || o.How == event.LeftPerhaps, SHA256: sum, Size: o.size,
		}
		if o.By.Gateway == "" {
			c.left.Of = o.File
		}
		return c, o.Left, true
	}
	c.file.Close() //nolint:errcheck // it was only read
	return candidate{}, event.Left{}, false
}

// openLeft opens the very file that the sensor spoke of, if that takes no time.
func (a *Agent) openLeft(path string, file event.FileKey, limit int64) (candidate, bool) {
	var c candidate
	same := false
	if !a.left.patience.look(func() {
		f, id, err := digest.Open(path, limit)
		if err != nil {
			return
		}
		key, born, links, err := identify(path)
		same = err == nil && key == (event.FileKey{Dev: id.Dev, Inode: id.Inode}) && is(path, key, file)
		c = candidate{file: f, id: id, born: born, links: links}
	}) {
		return candidate{}, false
	}
	if !same && c.file != nil {
		c.file.Close() //nolint:errcheck // it was only read
	}
	return c, same
}

// contentOf gives the digest of a small file as it is now, and its size.
func (a *Agent) contentOf(f event.Left) (string, uint64) {
	c, ok := a.openLeft(f.Path, f.File, maxKept)
	if !ok {
		return "", 0
	}
	defer c.file.Close()
	sum, id, err := digest.Sum(c.file)
	if err != nil {
		return "", 0
	}
	return sum, id.Size
}
