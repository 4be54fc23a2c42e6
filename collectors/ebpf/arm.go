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
	if s.closed {
		return fmt.Errorf("arm sensor: %w", os.ErrClosed)
	}
	if s.on {
		return nil
	}
	for _, p := range programs(s.backend) {
		if !p.armed || s.progs[p.name] == nil || s.armed[p.key()] != nil {
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
	s.on = true
	return nil
}

func (s *sensor) isArmed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on || len(s.armed) > 0
}

// comesOff reports whether the hooks of a sensor that is off are being taken out.
func (s *sensor) comesOff() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.on && len(s.armed) > 0
}

// disarmIdle has the costly hooks taken out when nothing is watched any more, no
// file is watched for, and no socket is left whose end is to be told. A process that
// the kernel side marks comes with a Candidate or an Heir, which arms again.
func (s *sensor) disarmIdle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.on {
		return nil
	}
	if files, err := s.watchesFiles(); err != nil || files {
		return err
	}
	n, err := s.watched()
	if err != nil || n > 0 {
		return err
	}
	var key uint64
	if err := s.maps[sensorMapFlows].NextKey(nil, &key); !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	s.on = false
	return nil
}

// takeOut detaches one program of a sensor that is off, the last one first.
// There are many, and whoever wants to watch waits for one of them only.
func (s *sensor) takeOut() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on || len(s.armed) == 0 {
		return nil
	}
	for _, p := range slices.Backward(programs(s.backend)) {
		if links, ok := s.armed[p.key()]; ok {
			delete(s.armed, p.key())
			var err error
			if p.name == sensorProgSockReleased { // packets need not be looked at any more
				err = s.udpEnds.Set(false)
			}
			return errors.Join(err, closeLinks(links))
		}
	}
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
