package ebpf

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/internal/event"
)

// The other architecture's object cannot be loaded here, but it is read.
func TestBothObjectsHaveTheSamePrograms(t *testing.T) {
	var names [2][]string
	for i, file := range []string{"sensor_x86_bpfel.o", "sensor_arm64_bpfel.o"} {
		spec, err := ebpf.LoadCollectionSpec(file)
		if err != nil {
			t.Fatalf("read %s: %v", file, err)
		}
		names[i] = slices.Sorted(maps.Keys(spec.Programs))
	}
	if !slices.Equal(names[0], names[1]) || len(names[0]) == 0 {
		t.Errorf("programs of amd64 %v, of arm64 %v", names[0], names[1])
	}
}

func TestEveryProgramIsListed(t *testing.T) {
	spec, err := loadSensor()
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{sensorProgWatched: true} // run by an iterator
	for _, p := range programs() {
		if spec.Programs[p.name] == nil {
			t.Errorf("%s is not in the object", p.name)
		}
		if len(p.kinds) == 0 || (p.hook == syscalls) != (len(p.calls) > 0) {
			t.Errorf("%s: %+v", p.name, p)
		}
		listed[p.name], listed[p.older] = true, true
	}
	for name := range spec.Programs {
		if !listed[name] {
			t.Errorf("%s is not listed", name)
		}
	}
}

func TestTheTrampolineProbeSaysWhyNot(t *testing.T) {
	c, err := openTrampoline(collectors.Config{})
	if c != nil || !errors.Is(err, collectors.ErrUnsupported) || err.Error() == collectors.ErrUnsupported.Error() {
		t.Errorf("%v, %v: want no collector and a cause", c, err)
	}
}

func TestARingOfOddSizeIsRefused(t *testing.T) {
	for _, size := range []int{1, 5000, -4096} {
		if c, err := openTracepoint(collectors.Config{RingSize: size}); c != nil || !errors.Is(err, collectors.ErrUnsupported) {
			t.Errorf("%d: %v, %v", size, c, err)
		}
	}
}

// A program that a kernel refuses is reported with what cannot be seen, and the
// rest works.
func TestWhatIsMissingIsCoverage(t *testing.T) {
	var s sensor
	p := programs()[slices.IndexFunc(programs(), func(p program) bool { return p.name == sensorProgUdpSent })]
	s.blind(p, ebpf.ErrNotSupported)
	want := "not seen: bytes sent on UDP sockets (udp_sent: not supported)"
	got := s.Coverage()
	if len(got) != 1 || got[0].Reason != want || got[0].Fidelity != "sampled" || !slices.Equal(got[0].Kinds, []event.Kind{event.KindClose}) {
		t.Errorf("%+v, want %s", got, want)
	}
}

func TestObjectDigestIsHex(t *testing.T) {
	if d := ObjectDigest(); len(d) != 64 || d != ObjectDigest() {
		t.Errorf("digest %q", d)
	}
}
