package ebpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/cilium/ebpf"
)

// arm attaches the hooks that cost others something, if they are not there. It
// takes some 10 ms, and the lock held.
func (s *sensor) arm() error {
	if s.on && !s.closed {
		return nil
	}
	s.on = true
	err := s.attachNeeded()
	if err != nil {
		s.on, s.sheds = false, true
	}
	return err
}

// needs reports whether what is armed is to be there as things are.
func (s *sensor) needs(p program) bool { return s.on || s.files > 0 && !p.often }

func (s *sensor) attachNeeded() error {
	if s.closed {
		return fmt.Errorf("arm sensor: %w", os.ErrClosed)
	}
	for _, p := range programs(s.backend) {
		if !p.armed || !s.needs(p) || s.progs[p.name] == nil || s.armed[p.key()] != nil {
			continue
		}
		links, err := s.attach(p)
		if err != nil && p.lack == "" {
			return fmt.Errorf("arm sensor: %w", err)
		}
		if err != nil {
			s.drop(p, err)
			continue
		}
		s.armed[p.key()] = links
		if p.name == sensorProgSockReleased {
			if err := s.udpEnds.Set(true); err != nil {
				return fmt.Errorf("set %s: %w", sensorVarUdpEnds, err)
			}
		}
	}
	return nil
}

func (s *sensor) isArmed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on || len(s.armed) > 0
}

// comesOff reports whether hooks of a sensor that is off are being taken out.
func (s *sensor) comesOff() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.on && s.sheds
}

// disarmIdle has the costly hooks taken out when nothing is watched any more and
// no socket is left whose end is to be told. A process that the kernel side marks
// comes with a Candidate or an Heir, which arms again.
func (s *sensor) disarmIdle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.on {
		return nil
	}
	n, err := s.watched()
	if err != nil || n > 0 {
		return err
	}
	var key uint64
	if err := s.maps[sensorMapFlows].NextKey(nil, &key); !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	s.on, s.sheds = false, true
	return nil
}

// takeOut detaches one program that a sensor that is off does not need, the last one first.
// There are many, and whoever wants to watch waits for one of them only.
func (s *sensor) takeOut() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on || !s.sheds {
		return nil
	}
	for _, p := range slices.Backward(programs(s.backend)) {
		if links, ok := s.armed[p.key()]; ok && !s.needs(p) {
			delete(s.armed, p.key())
			var err error
			if p.name == sensorProgSockReleased { // packets need not be looked at any more
				err = s.udpEnds.Set(false)
			}
			return errors.Join(err, closeLinks(links))
		}
	}
	s.sheds = false
	return nil
}

// watched counts the marked processes, which takes the kernel 2 µs for each
// process of the host.
func (s *sensor) watched() (int, error) {
	r, err := s.counter.Open()
	if err != nil {
		return 0, fmt.Errorf("count watched processes: %w", err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return 0, fmt.Errorf("count watched processes: %w", err)
	}
	return len(b), nil
}
