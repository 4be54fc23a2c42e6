package ebpf

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	usesEvery  = 2 * time.Second
	pathWithin = 10 * time.Second // the record with the path of a use is read after that at the latest
	maxPaths   = 16384            // paths in one half of the memory of uses
	maxUses    = 16384            // as in the kernel side; a table that may be half full is emptied early
)

// A knownFile is the path of a file that a process has opened or used.
type knownFile struct {
	key       sensorUseKey
	path      string
	id        event.FileKey
	truncated bool
	opened    bool // an open was reported
	turn      int  // when it was last met
}

// uses remember the paths of files in the kernel's table of uses, for as long as
// that table may speak of them. They are kept in two halves, the older of which
// is forgotten when the younger is full. The zero value is ready.
type uses struct {
	young, old map[sensorUseKey]knownFile
	turn       int // counts the changes of tables
	fresh      int // files met since the last: about as many entries
	emptied    bool
	waiting    map[sensorUseKey]waitingUse
}

// A waitingUse came out of the table before the record with its path had been
// read.
type waitingUse struct {
	use   sensorUse
	since time.Time
}

// wait keeps a use until its path is known. False: there is no room.
func (u *uses) wait(key sensorUseKey, use sensorUse, now time.Time) bool {
	before, ok := u.waiting[key]
	if !ok && len(u.waiting) >= maxUses {
		return false
	}
	if u.waiting == nil {
		u.waiting = map[sensorUseKey]waitingUse{}
	}
	if ok {
		now, use = before.since, add(before.use, use)
	}
	u.waiting[key] = waitingUse{use: use, since: now}
	return true
}

func add(a, b sensorUse) sensorUse {
	a.Read += b.Read
	a.Written += b.Written
	a.More += b.More
	a.Modes |= b.Modes
	a.How |= b.How
	return a
}

// note keeps a path. That an open was once reported stays true.
func (u *uses) note(f knownFile) {
	before, ok := u.find(f.key)
	f.turn, f.opened = u.turn, f.opened || before.opened
	if !ok || before.turn != u.turn {
		u.fresh++
	}
	if len(u.young) >= maxPaths {
		u.old, u.young = u.young, nil
	}
	if u.young == nil {
		u.young = map[sensorUseKey]knownFile{}
	}
	u.young[f.key] = f
}

func (u *uses) find(key sensorUseKey) (knownFile, bool) {
	if f, ok := u.young[key]; ok {
		return f, true
	}
	f, ok := u.old[key]
	return f, ok
}

// event makes the totals of one entry an event. None: there is nothing to tell
// beyond the open, or it is a program loading what programs consist of.
func (f knownFile) event(use sensorUse) (event.FileUse, bool) {
	b := event.FileUse{
		Path: f.path, File: f.id, BytesRead: use.Read, BytesWritten: use.Written, Opens: int(use.More),
		MappedRead: use.How&sensorHowMAPPED_READ != 0, MappedWrite: use.How&sensorHowMAPPED_WRITE != 0,
		MappedExec: use.How&sensorHowMAPPED_EXEC != 0, Opened: f.opened, Truncated: f.truncated,
		FileDoubt: event.FileDoubt{IOUring: use.How&sensorHowBY_URING != 0},
	}
	none := event.FileUse{Path: f.path, File: f.id, Opened: f.opened, Truncated: f.truncated}
	if b == none || f.opened && b.Kind() != event.KindFileWrite && system(f.path) {
		return event.FileUse{}, false
	}
	return b, true
}

// system reports whether a file is part of what every program loads: to read
// those tells nothing, and each process does it.
func system(path string) bool {
	for _, dir := range []string{"/usr/lib/", "/usr/lib64/", "/usr/libexec/", "/lib/", "/lib64/", "/etc/ld.so."} {
		if strings.HasPrefix(path, dir) {
			return true
		}
	}
	return false
}

// drainUses empties the table that the kernel side has left, and lets it leave
// the one it fills. Between the two is a tick at least, so that nothing is
// counting in a table that is being emptied.
func (s *sensor) drainUses(now time.Time, emit func(event.Event)) error {
	if !s.uses.emptied {
		s.uses.emptied = true
		if err := s.emptyUses(now, pathWithin, emit); err != nil {
			return err
		}
	}
	if now.Before(s.next.uses) && s.uses.fresh < maxUses/2 {
		return nil
	}
	s.next.uses = now.Add(usesEvery)
	s.uses.fresh, s.uses.emptied = 0, false
	s.uses.turn++
	return s.turnUses()
}

// lastUses tells all totals, of both tables.
func (s *sensor) lastUses(emit func(event.Event)) error {
	for range 2 {
		if err := s.turnUses(); err != nil {
			return err
		}
		if err := s.emptyUses(time.Now(), 0, emit); err != nil {
			return err
		}
	}
	return nil
}

func (s *sensor) turnUses() error {
	var turn uint32
	if err := s.usesTurn.Get(&turn); err != nil {
		return fmt.Errorf("read %s: %w", sensorVarUsesTurn, err)
	}
	if err := s.usesTurn.Set(turn + 1); err != nil {
		return fmt.Errorf("set %s: %w", sensorVarUsesTurn, err)
	}
	return nil
}

// emptyUses takes all out of the table that is not being filled, and tells it
// and what waited for its path. What has waited for longer than that is lost.
func (s *sensor) emptyUses(now time.Time, patience time.Duration, emit func(event.Event)) error {
	var turn uint32
	if err := s.usesTurn.Get(&turn); err != nil {
		return fmt.Errorf("read %s: %w", sensorVarUsesTurn, err)
	}
	table := s.maps[sensorMapUsesOdd]
	if turn&1 == 1 {
		table = s.maps[sensorMapUsesEven]
	}
	lost, err := s.emptyTable(table, now, emit)
	if err != nil {
		return err
	}
	for key, w := range s.uses.waiting {
		switch {
		case s.tellUse(key, w.use, emit):
			delete(s.uses.waiting, key)
		case now.Sub(w.since) >= patience:
			delete(s.uses.waiting, key)
			lost++ // its record did not come: the ring was full
		}
	}
	if lost > 0 {
		emit(event.Event{Time: now, Source: event.SourceEBPF, Body: event.Lost{
			Of: event.KindFileRead, Count: lost, Cause: "path of the file was lost", From: now.Add(-patience - 2*usesEvery),
		}})
	}
	return nil
}

// emptyTable tells what is in a table. What has no path yet waits: its record is
// in the ring. It returns for how many there was no room.
func (s *sensor) emptyTable(table *ebpf.Map, now time.Time, emit func(event.Event)) (lost uint64, err error) {
	var cursor ebpf.MapBatchCursor
	keys, values := make([]sensorUseKey, 512), make([]sensorUse, 512)
	for {
		n, err := table.BatchLookupAndDelete(&cursor, keys, values, nil)
		for i := range n {
			if !s.tellUse(keys[i], values[i], emit) && !s.uses.wait(keys[i], values[i], now) {
				lost++
			}
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return lost, nil
		}
		if err != nil {
			return lost, fmt.Errorf("empty table of uses: %w", err)
		}
	}
}

// tellUse emits the totals of an entry. False: its path is not known.
func (s *sensor) tellUse(key sensorUseKey, use sensorUse, emit func(event.Event)) bool {
	f, ok := s.uses.find(key)
	if !ok {
		return false
	}
	if b, ok := f.event(use); ok {
		emit(event.Event{
			Time: s.wall(use.Time), Proc: event.ProcID{PID: int32(key.Pid), Start: key.Start}, Source: event.SourceEBPF, Body: b,
		})
	}
	return true
}
