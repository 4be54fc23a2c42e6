package ebpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Watch marks a process. The fork hook was attached when the sensor was opened,
// so there is no moment between this and it in which a child could slip through.
func (s *sensor) Watch(id event.ProcID) error {
	if id.PID == int32(os.Getpid()) {
		return errors.New("watch process: it is this one")
	}
	s.mu.Lock() // up to the mark: an armed sensor that watches nothing is soon disarmed
	defer s.mu.Unlock()
	// Armed first: from its mark on, all that it does is seen.
	if err := s.arm(); err != nil {
		return err
	}
	err := s.withPidfd(id, func(fd uint32) error {
		err := s.maps[sensorMapMarks].Update(fd, sensorMark{}, ebpf.UpdateNoExist)
		if errors.Is(err, ebpf.ErrKeyExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("watch process %v: %w", id, err)
	}
	return nil
}

// Unwatch takes the mark of one process back.
func (s *sensor) Unwatch(id event.ProcID) error {
	err := s.withPidfd(id, func(fd uint32) error {
		for _, err := range []error{s.maps[sensorMapMarks].Delete(fd), s.maps[sensorMapHeadless].Delete(uint32(id.PID))} {
			if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("unwatch process %v: %w", id, err)
	}
	return nil
}

// Marked reports whether the process that has this PID now is watched, by the
// kernel's own word.
func (s *sensor) Marked(pid int32) bool {
	fd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var mark sensorMark
	return s.maps[sensorMapMarks].Lookup(uint32(fd), &mark) == nil
}

// withPidfd calls do with a descriptor of the process, if it is the one that
// started at that time. fs.ErrNotExist: it is gone.
func (s *sensor) withPidfd(id event.ProcID, do func(uint32) error) error {
	fd, err := unix.PidfdOpen(int(id.PID), 0)
	if errors.Is(err, unix.ESRCH) {
		return fs.ErrNotExist
	}
	if err != nil {
		return fmt.Errorf("open pidfd: %w", err)
	}
	defer unix.Close(fd)
	// Read after the descriptor was opened, which keeps the process what it is.
	start, err := readStart(s.procPath, id.PID)
	if err != nil {
		return err
	}
	if start != id.Start {
		return fs.ErrNotExist
	}
	err = do(uint32(fd))
	if errors.Is(err, ebpf.ErrKeyNotExist) || errors.Is(err, unix.ESRCH) {
		return fs.ErrNotExist
	}
	return err
}

// WatchPort has the sensor report who connects to a TCP port of this host from
// outside of every watched tree, while anything is watched.
func (s *sensor) WatchPort(port uint16) error {
	if err := s.maps[sensorMapPorts].Put(port, uint8(1)); err != nil {
		return fmt.Errorf("watch port %d: %w", port, err)
	}
	return nil
}

// UnwatchPort ends that.
func (s *sensor) UnwatchPort(port uint16) error {
	if err := s.maps[sensorMapPorts].Delete(port); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("unwatch port %d: %w", port, err)
	}
	return nil
}
