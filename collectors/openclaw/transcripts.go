package openclaw

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	maxTranscripts = 4096               // followed of one agent
	maxNames       = 4 * maxTranscripts // in its directory
	relist         = 10 * time.Second   // between looks at all of them
	active         = time.Hour          // what changed within is looked at each time

	knownTranscript = 3 // version of transcripts: what this code was written against
)

// transcripts follows the sessions of one agent in the format of releases before
// 2026.9: a file of JSON lines for each in agents/*/sessions, and sessions.json.
type transcripts struct {
	*teller
	uid   uint32
	store store
	files map[string]*transcript // by name

	at       stamp     // of the directory, as of the last listing
	listed   time.Time // zero: never
	err      error     // nothing can be read
	overfull bool      // there are more files than are followed
	coverage
}

func newTranscripts(t *teller, uid uint32) *transcripts {
	return &transcripts{teller: t, uid: uid, files: map[string]*transcript{}}
}

func (r *transcripts) path() string { return filepath.Join(r.dir, "agents", r.agent, "sessions") }

// name is what a transcript is called where it is spoken of.
func (r *transcripts) name(t *transcript) string { return r.called("sessions", t.name) }

func stampOf(fi fs.FileInfo) stamp { return stamp{fi.Size(), fi.ModTime(), inode(fi)} }

// changed marks the transcripts that differ from the last reading, and reports
// whether there is something to read, or to say.
func (r *transcripts) changed() bool {
	fi, err := lstatBelow(r.dir, r.uid, "agents", r.agent, "sessions")
	if err == nil && !fi.IsDir() {
		err = fmt.Errorf("%s: want a directory", r.called("sessions"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		clear(r.files)
		err = nil
	} else if now := time.Now(); err == nil {
		all := stampOf(fi) != r.at || now.Sub(r.listed) >= relist
		if all {
			r.at = stampOf(fi)
			r.list(now)
		}
		for _, t := range r.files {
			if all || now.Sub(t.changed) < active {
				r.look(t)
			}
		}
	}
	r.err = err
	due := (err != nil) != (r.said.Fidelity == "none")
	for _, t := range r.files {
		due = due || t.dirty
	}
	return due
}

// list takes in new transcripts and lets go of those that are no more. One that
// was renamed, as that of a session is which was reset, is read to its end.
func (r *transcripts) list(now time.Time) {
	dir, err := openIn(r.dir, filepath.Join("agents", r.agent, "sessions"), unix.O_DIRECTORY)
	if err != nil {
		return // gone meanwhile, which the next look shows
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxNames) // what could be read of them
	first := r.listed.IsZero()
	r.listed, r.overfull = now, len(names) == maxNames
	there := make(map[string]bool, len(names))
	for _, name := range names {
		there[name] = true
		if transcriptName(name) {
			r.add(name)
		}
	}
	for name, t := range r.files {
		if there[name] {
			continue
		}
		delete(r.files, name)
		i := slices.IndexFunc(names, func(other string) bool { return strings.HasPrefix(other, name+".") && r.became(t, other) })
		if i >= 0 && !t.gone {
			t.name, t.gone, t.dirty = names[i], true, true
			r.files[t.name] = t
		}
	}
	if first {
		r.leaveOld()
	}
}

// became reports whether a name is now that of the file that t was, and there is
// more in it than was read.
func (r *transcripts) became(t *transcript, name string) bool {
	fi, err := os.Lstat(filepath.Join(r.path(), name))
	return err == nil && t.begun && inode(fi) == t.at.inode && fi.Size() > t.offset
}

// leaveOld leaves transcripts alone that nobody has added to for long, until
// somebody does: there may be thousands.
func (r *transcripts) leaveOld() {
	recent := r.due()
	for i, t := range recent {
		if t.changed.Before(r.since) && (i >= backfillSessions || t.changed.Before(r.since.Add(-backfillAge))) {
			t.at, t.dirty = t.now, false
		}
	}
}

// add begins to follow a transcript.
func (r *transcripts) add(name string) *transcript {
	t := r.files[name]
	switch {
	case t != nil:
	case len(r.files) >= maxTranscripts:
		r.overfull = true
		return nil
	default:
		t = &transcript{name: name}
		r.files[name] = t
		r.look(t)
	}
	return t
}

// look marks a transcript that has changed.
func (r *transcripts) look(t *transcript) {
	fi, err := os.Lstat(filepath.Join(r.path(), t.name))
	if errors.Is(err, fs.ErrNotExist) {
		return // which the next listing shows
	}
	if err == nil {
		err = plain(filepath.Join(r.path(), t.name), fi, r.uid)
	}
	if err != nil {
		t.dirty = t.dirty || t.err == nil
		t.err = err
		return
	}
	t.now, t.changed = stampOf(fi), fi.ModTime()
	t.dirty = t.dirty || t.now != t.at
}

// touched marks what a change in the directory is about, and reports whether
// there is something to read.
func (r *transcripts) touched(name string) bool {
	if !transcriptName(name) {
		return false
	}
	t := r.add(name)
	if t != nil {
		t.dirty = true
	}
	return t != nil
}

// due lists the transcripts that are to be read, the newest first.
func (r *transcripts) due() []*transcript {
	var due []*transcript
	for _, t := range r.files {
		if t.dirty {
			due = append(due, t)
		}
	}
	slices.SortFunc(due, func(a, b *transcript) int {
		return cmp.Or(b.changed.Compare(a.changed), strings.Compare(a.name, b.name))
	})
	return due
}

// read emits what is new in the transcripts that are marked. What is more than
// can be read at once stays marked.
func (r *transcripts) read(ctx context.Context, emit func(event.Event)) {
	left, stale := int64(maxReading), true
	for _, t := range r.due() {
		if left <= 0 || ctx.Err() != nil {
			break
		}
		t.dirty = false
		n, err := r.readOne(t, left, &stale, emit)
		left -= n
		if errors.Is(err, fs.ErrNotExist) {
			err = nil // which the next listing shows
		}
		if t.err = err; t.gone && !t.dirty {
			delete(r.files, t.name)
		}
	}
	r.report(emit)
}

// readOne reads on in one transcript. stale: sessions.json was not looked at in
// this reading.
func (r *transcripts) readOne(t *transcript, limit int64, stale *bool, emit func(event.Event)) (int64, error) {
	began := time.Now()
	f, fi, err := openBelow(r.dir, r.uid, filepath.Join("agents", r.agent, "sessions", t.name))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if ok, err := t.resume(f, fi.Size(), r.since); !ok || err != nil {
		t.at = stampOf(fi)
		return 0, err
	}
	var bad uint64
	var cause string
	lost := func(at int64, why string) {
		if bad++; bad == 1 {
			cause = fmt.Sprintf("line at byte %d of %s: %s", at, r.name(t), why)
		}
	}
	from := t.offset
	n, err := t.read(f, fi.Size(), limit, func(line []byte, at int64) {
		parsed, err := parseRow(line)
		if err != nil {
			lost(at, err.Error())
			return
		}
		parsed.id = cmp.Or(parsed.id, fmt.Sprintf("#%x", maphash.Bytes(seed, line)))
		s := r.session(t, stale, emit)
		r.unread = t.ended
		r.tell(parsed, t.session, t.date(parsed, fi.ModTime()), s, emit)
	}, func(at int64) { lost(at, fmt.Sprintf("more than the %d bytes read", maxRow)) })
	if t.at, t.dirty = stampOf(fi), from+limit < fi.Size(); !t.dirty && err == nil {
		t.ended = began
	}
	if bad > 0 {
		emit(event.Event{Time: time.Now(), Source: event.SourceOpenClaw, Body: event.Lost{Of: event.KindToolCall, Count: bad, Cause: cause}})
	}
	return n, err
}

// session gives what is remembered of a transcript's session. One that is new
// here is announced.
func (r *transcripts) session(t *transcript, stale *bool, emit func(event.Event)) *session {
	s, ok := r.sessions.Get(t.session)
	if ok && s.key != "" {
		return s
	}
	if *stale {
		r.store.refresh(r.dir, r.agent, r.uid)
		*stale = false
	}
	start, known := r.store.sessions[t.session]
	if ok {
		s.key = start.SessionKey // it is known now, or will be
		return s
	}
	if !known {
		start.Session = t.session
	}
	if start.StartedAt.IsZero() {
		start.StartedAt = t.began
	}
	s = r.begin(start, emit)
	if !t.began.After(time.Now()) { // else it lies, to hide what follows
		s.copied = t.began
	}
	return s
}

// report says what is seen, when that changes.
func (r *transcripts) report(emit func(event.Event)) {
	reason, worst := "", (*transcript)(nil)
	for _, t := range r.files {
		odd := t.err != nil || t.begun && t.version != knownTranscript
		if odd && (worst == nil || t.name < worst.name) {
			worst = t
		}
	}
	switch {
	case r.err != nil:
		r.cover(emit, r.called("sessions"), "none", fmt.Sprintf("read %s: %v", r.called("sessions"), r.err))
		return
	case worst != nil && worst.err != nil:
		reason = fmt.Sprintf("read %v", worst.err)
	case worst != nil:
		reason = fmt.Sprintf("read %s: transcript of version %v, written against %d", r.name(worst), worst.version, knownTranscript)
	case r.store.err != nil && !errors.Is(r.store.err, fs.ErrNotExist):
		reason = fmt.Sprintf("keys of sessions: %v", r.store.err)
	case r.overfull:
		reason = fmt.Sprintf("%s: more than %d transcripts", r.called("sessions"), maxTranscripts)
	case len(r.files) == 0 && r.said.Fidelity == "":
		return
	}
	fidelity := "sampled"
	if reason == "" {
		fidelity = "complete"
	}
	r.cover(emit, r.called("sessions"), fidelity, reason)
}
