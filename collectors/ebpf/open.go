package ebpf

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	defaultRing = 8 << 20
	tracefs     = "/sys/kernel/tracing"
)

// openTracepoint loads every program and attaches those that are always there.
func openTracepoint(cfg collectors.Config) (collectors.Collector, error) {
	s, err := open(cfg, tracepoint)
	if err != nil {
		return nil, collectors.Unsupported(err)
	}
	return s, nil
}

func open(cfg collectors.Config, of backend) (*sensor, error) {
	if cfg.RingSize == 0 {
		cfg.RingSize = defaultRing
	}
	if cfg.RingSize < os.Getpagesize() || cfg.RingSize&(cfg.RingSize-1) != 0 {
		return nil, fmt.Errorf("size ring buffer: %d is no power of two of at least a page", cfg.RingSize)
	}
	if err := mayLoad(); err != nil {
		return nil, err
	}
	if err := mountTracefs(); err != nil {
		return nil, err
	}
	s := &sensor{
		backend: of, procPath: cfg.ProcPath, progs: map[string]*ebpf.Program{}, armed: map[string][]link.Link{}, lost: map[loss]uint64{}, missed: map[string]uint64{},
		boxes: containers{}, taps: newTaps(),
	}
	if s.procPath == "" {
		s.procPath = "/proc"
	}
	if err := s.start(cfg.RingSize); err != nil {
		return nil, errors.Join(tooOld(err), s.Close())
	}
	return s, nil
}

// tooOld adds to an error what is most often behind it.
func tooOld(err error) error {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return err
	}
	release := unix.ByteSliceToString(name.Release[:])
	if !before515(release) {
		return err
	}
	return fmt.Errorf("linux %s is older than 5.15: %w", release, err)
}

// before515 compares a release as uname gives it.
func before515(release string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major < 5 || major == 5 && minor < 15
}

// mayLoad asks for the privilege first: without it the kernel's refusals look
// like missing features.
func mayLoad() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	has := func(c int) bool { return data[c/32].Effective&(1<<(c%32)) != 0 }
	if has(unix.CAP_SYS_ADMIN) || has(unix.CAP_BPF) && has(unix.CAP_PERFMON) {
		return nil
	}
	return fmt.Errorf("load programs: %w: it takes root, or CAP_BPF and CAP_PERFMON", unix.EPERM)
}

// start takes what Close gives back.
func (s *sensor) start(ringSize int) error {
	if err := s.load(ringSize); err != nil {
		return err
	}
	var err error
	if s.reader, err = ringbuf.NewReader(s.maps[sensorMapRing]); err != nil {
		return fmt.Errorf("map ring buffer: %w", err)
	}
	if s.counter, err = link.AttachIter(link.IterOptions{Program: s.progs[sensorProgWatched]}); err != nil {
		return fmt.Errorf("attach %s: %w", sensorProgWatched, err)
	}
	if s.paths, err = newResolver(s.procPath); err != nil {
		return err
	}
	s.cgroup, s.cgroupErr = mountCgroup()
	for _, p := range programs(s.backend) {
		if p.armed || p.hook == called || p.hook == library || s.progs[p.name] == nil {
			continue
		}
		links, err := s.attach(p)
		if err != nil && p.lack != "" {
			s.blind(p, err)
			continue
		}
		if err != nil {
			return err
		}
		s.links = append(s.links, links...)
		if p.name == sensorProgPacketOut {
			if err := s.packets.Set(true); err != nil {
				return fmt.Errorf("set %s: %w", sensorVarSeesPackets, err)
			}
		}
	}
	s.tryTaps()
	s.coverage = append(s.coverage, limits(s.backend, s.procPath)...)
	s.told = len(s.coverage)
	return s.setClock()
}

// load brings in what the sensor cannot be without, and then one by one what
// it can.
func (s *sensor) load(ringSize int) error {
	spec, err := loadSensor()
	if err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	spec.Maps[sensorMapRing].MaxEntries = uint32(ringSize)
	if err := spec.Variables[sensorVarWakeBytes].Set(uint64(ringSize / 16)); err != nil {
		return fmt.Errorf("set %s: %w", sensorVarWakeBytes, err)
	}
	if err := spec.Variables[sensorVarFileBytes].Set(uint64(ringSize / 4 * 3)); err != nil {
		return fmt.Errorf("set %s: %w", sensorVarFileBytes, err)
	}
	if err := spec.Variables[sensorVarWakeAfter].Set([2]uint64{uint64(flushEvery), uint64(wakeAfter)}); err != nil {
		return fmt.Errorf("set %s: %w", sensorVarWakeAfter, err)
	}
	if s.own, err = ownNamespaces(s.procPath); err != nil {
		return err
	}
	if err := spec.Variables[sensorVarPidNs].Set(s.own.PID); err != nil {
		return fmt.Errorf("set %s: %w", sensorVarPidNs, err)
	}
	if err := spec.Variables[sensorVarAgent].Set(uint32(os.Getpid())); err != nil {
		return fmt.Errorf("set %s: %w", sensorVarAgent, err)
	}
	if err := spec.Variables[sensorVarTrampolines].Set(s.backend == trampoline); err != nil {
		return fmt.Errorf("set %s: %w", sensorVarTrampolines, err)
	}
	if err := spec.Variables[sensorVarCountsPackets].Set(!knowsLengths()); err != nil {
		return fmt.Errorf("set %s: %w", sensorVarCountsPackets, err)
	}
	all := spec.Programs
	spec.Programs = map[string]*ebpf.ProgramSpec{sensorProgWatched: all[sensorProgWatched]}
	for _, p := range programs(s.backend) {
		if p.lack == "" {
			spec.Programs[p.name] = all[p.name]
		}
	}
	cache := btf.NewCache()
	must, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Cache: cache})
	if err != nil {
		return fmt.Errorf("load programs: %w", err)
	}
	s.maps = must.Maps
	s.udpEnds, s.packets = must.Variables[sensorVarUdpEnds], must.Variables[sensorVarSeesPackets]
	s.usesTurn, s.anyLeft = must.Variables[sensorVarUsesTurn], must.Variables[sensorVarAnyLeft]
	maps.Copy(s.progs, must.Programs)
	for _, p := range programs(s.backend) {
		if p.lack == "" {
			continue
		}
		if s.progs[p.name], err = s.loadOne(spec, cache, all[p.name]); err != nil && p.older != "" {
			s.progs[p.name], err = s.loadOne(spec, cache, all[p.older])
		}
		if err != nil {
			s.blind(p, err)
		}
	}
	return nil
}

// knowsLengths reports whether the kernel tells how much was sent and received
// on a socket: where it does not, which is before 6.3, packets have to do.
func knowsLengths() bool {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return true
	}
	var t *btf.Typedef
	return kernel.TypeByName("btf_trace_sock_send_length", &t) == nil
}

// loadOne gives nil with an error.
func (s *sensor) loadOne(spec *ebpf.CollectionSpec, cache *btf.Cache, prog *ebpf.ProgramSpec) (*ebpf.Program, error) {
	spec.Programs = map[string]*ebpf.ProgramSpec{prog.Name: prog}
	one, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Cache: cache, MapReplacements: s.maps})
	if err != nil {
		return nil, err
	}
	defer one.Close()
	return one.DetachProgram(prog.Name), nil
}

// drop goes on without a program.
func (s *sensor) drop(p program, cause error) {
	s.blind(p, cause)
	_ = s.progs[p.name].Close()
	s.progs[p.name] = nil
}

// blind notes what cannot be seen without p.
func (s *sensor) blind(p program, cause error) {
	s.coverage = append(s.coverage, event.Coverage{
		Probe: s.backend.String(), Kinds: slices.Clone(p.kinds), Fidelity: collectors.Sampled.String(),
		Reason: fmt.Sprintf("not seen: %s (%s: %v)", p.lack, p.name, cause),
	})
}

// mountTracefs makes the tracepoints of system calls reachable, as systemd does
// at boot. The mount stays.
func mountTracefs() error {
	var fs unix.Statfs_t
	if err := unix.Statfs(tracefs, &fs); err == nil && fs.Type == unix.TRACEFS_MAGIC {
		return nil
	}
	err := unix.Mount("tracefs", tracefs, "tracefs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount tracefs at %s: %w", tracefs, err)
	}
	return nil
}
