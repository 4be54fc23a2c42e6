package ebpf

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A loss is one way in which events of one wire kind are lost.
type loss struct {
	cause sensorCause
	kind  sensorKind
}

func (c sensorCause) String() string {
	switch c {
	case sensorCauseCAUSE_RING:
		return "ring buffer full"
	case sensorCauseCAUSE_SCRATCH:
		return "record buffer of the CPU in use"
	case sensorCauseCAUSE_TABLE:
		return "kernel table full"
	case sensorCauseCAUSE_BATCH:
		return "more datagrams in one system call than are looked at"
	case sensorCauseCAUSE_HEADS:
		return "more requests on one connection than are looked at"
	case sensorCauseCAUSE_RESERVE:
		return "ring buffer as full as events of files may make it"
	case sensorCauseCAUSE_USES:
		return "table of files in use full"
	default:
		return "done through io_uring"
	}
}

// reportLost emits what the kernel side could not report since the last time.
func (s *sensor) reportLost(emit func(event.Event)) error {
	s.reportMissed(emit)
	now, from := time.Now(), s.checked
	s.checked = now
	for cause := range sensorCauseCAUSES {
		var cpus []sensorDropCounts
		if err := s.maps[sensorMapDrops].Lookup(cause, &cpus); err != nil {
			return fmt.Errorf("read drop counters: %w", err)
		}
		for kind := range sensorKindKINDS {
			var sum uint64
			for _, c := range cpus {
				sum += c.Of[kind]
			}
			key := loss{cause, kind}
			if n := sum - s.lost[key]; n > 0 {
				s.lost[key] = sum
				emit(event.Event{Time: now, Source: event.SourceEBPF, Body: event.Lost{
					Of: eventKind(kind), Count: n, Cause: cause.String(), From: from,
				}})
			}
		}
	}
	if lost, some := s.heads.takeLost(); some {
		emit(event.Event{Time: time.Now(), Source: event.SourceEBPF, Body: lost})
	}
	return nil
}

// reportLeftOut emits how often the kernel did not run a program because the CPU
// was in the midst of it, interrupted. Nobody knows for which process.
func (s *sensor) reportLeftOut(emit func(event.Event)) error {
	lost, err := s.takeLeftOut()
	for _, body := range lost {
		emit(event.Event{Time: time.Now(), Source: event.SourceEBPF, Body: body})
	}
	return err
}

func (s *sensor) takeLeftOut() ([]event.Lost, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lost []event.Lost
	for _, p := range programs(s.backend) {
		prog := s.progs[p.name]
		if prog == nil {
			continue
		}
		stats, err := prog.Stats()
		if err != nil {
			return lost, fmt.Errorf("read counters of %s: %w", p.name, err)
		}
		if n := stats.RecursionMisses - s.missed[p.name]; n > 0 {
			s.missed[p.name] = stats.RecursionMisses
			lost = append(lost, event.Lost{
				Of: p.kinds[0], Count: n, Cause: "program interrupted by itself, perhaps for a process that is not watched",
			})
		}
	}
	return lost, nil
}

// readStart reads field 22 of /proc/PID/stat. fs.ErrNotExist: no such process.
func readStart(procPath string, pid int32) (uint64, error) {
	file := filepath.Join(procPath, strconv.Itoa(int(pid)), "stat")
	b, err := os.ReadFile(file)
	if errors.Is(err, unix.ESRCH) {
		return 0, fs.ErrNotExist
	}
	if err != nil {
		return 0, fmt.Errorf("read process: %w", err)
	}
	return parseStart(b)
}

// parseStart finds the start time behind the name, which may hold anything.
func parseStart(stat []byte) (uint64, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const start = 22 - 3 // the first behind the name is the third
	if len(fields) <= start {
		return 0, fmt.Errorf("parse stat: %d fields, want more than %d", len(fields), start)
	}
	n, err := strconv.ParseUint(string(fields[start]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parse stat: start time: %w", err)
	}
	return n, nil
}
