package ebpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// WatchFile has the kernel side mark who opens or runs a file. All hooks are there as
// long as there is one: what such a process does next does not wait for them. To leave
// some out would save others little, as most of what they pay is for there being any.
func (s *sensor) WatchFile(f event.FileKey) error {
	if f == (event.FileKey{}) {
		return errors.New("watch file: its numbers are not known")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.maps[sensorMapLeft]
	err := errors.Join(s.arm(), s.anyLeft.Set(true))
	if err == nil {
		err = left.Put(leftKey(f), uint8(1))
	}
	if errors.Is(err, unix.E2BIG) {
		err = fmt.Errorf("there is room for %d: %w", left.MaxEntries(), err)
	}
	if err != nil {
		return fmt.Errorf("watch file %v: %w", f, err)
	}
	return nil
}

// UnwatchFile ends that.
func (s *sensor) UnwatchFile(f event.FileKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.maps[sensorMapLeft].Delete(leftKey(f))
	if err == nil || errors.Is(err, ebpf.ErrKeyNotExist) {
		_, err = s.watchesFiles()
	}
	if err != nil {
		return fmt.Errorf("unwatch file %v: %w", f, err)
	}
	return nil
}

// watchesFiles reports whether any file is watched for. The kernel side takes out those
// of which it sees that they are gone.
func (s *sensor) watchesFiles() (bool, error) {
	var key sensorLeftKey
	err := s.maps[sensorMapLeft].NextKey(nil, &key)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, s.anyLeft.Set(false)
	}
	return err == nil, err
}

func leftKey(f event.FileKey) sensorLeftKey {
	return sensorLeftKey{Inode: f.Inode, Dev: unix.Major(f.Dev)<<20 | unix.Minor(f.Dev)}
}

// fileKey is the reverse, of numbers that the kernel gave. Zero: they say nothing.
func fileKey(dev uint32, inode uint64) event.FileKey {
	if dev == 0 {
		return event.FileKey{}
	}
	return event.FileKey{Dev: device(dev), Inode: inode}
}

func decodeHeir(raw []byte) (event.Body, error) {
	r, rest, err := split[sensorHeirRec](raw)
	if err != nil {
		return nil, err
	}
	path, rest, err := cut(rest, r.PathLen)
	if err != nil {
		return nil, err
	}
	h := event.Heir{
		File:    fileKey(r.Dev, r.Inode),
		Program: r.Program != 0,
		Write:   r.F_mode&(fmodeRead|fmodeWrite) == fmodeWrite,
		Comm:    comm(&r.Comm),
		Parent:  event.ProcID{PID: int32(r.ParentPid), Start: r.ParentStart},
		UID:     r.Uid,
	}
	if r.H.Flags&sensorFlagsPATH_TRUNCATED == 0 {
		h.Path = kernelPath(path)
	}
	if r.ExeLen == 0 {
		return h, nil
	}
	x := event.Exec{Parent: h.Parent, UID: h.UID, Comm: h.Comm, Snapshot: true}
	for _, part := range []struct {
		to  *string
		len uint16
	}{{&x.Path, r.ExeLen}, {&x.Cwd, r.CwdLen}} {
		if path, rest, err = cut(rest, part.len); err != nil {
			return nil, err
		}
		*part.to = kernelPath(path)
	}
	args, _, err := cut(rest, r.ArgsLen)
	if err != nil {
		return nil, err
	}
	x.Args, x.ArgsTruncated = words(args), uint32(r.ArgsLen) < r.ArgsTotal
	h.Image = &x
	return h, nil
}
