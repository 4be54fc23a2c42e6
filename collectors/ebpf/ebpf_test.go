package ebpf

import (
	"errors"
	"maps"
	"reflect"
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
	for _, p := range allPrograms() {
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

func TestWhatCannotBeOpenedSaysWhy(t *testing.T) {
	for _, p := range Probes() {
		c, err := p.Open(collectors.Config{})
		if err == nil {
			t.Logf("%s: opened", p.Name)
			err = c.Close()
		} else {
			t.Logf("%s: %v", p.Name, err)
			if c != nil || !errors.Is(err, collectors.ErrUnsupported) || err.Error() == collectors.ErrUnsupported.Error() {
				t.Errorf("%s: %v, %v: want no collector and a cause", p.Name, c, err)
			}
			err = nil
		}
		if err != nil {
			t.Errorf("close %s: %v", p.Name, err)
		}
	}
}

func TestOldKernelsAreCalledOld(t *testing.T) {
	for release, want := range map[string]bool{
		"4.19.0-27-amd64": true, "5.10.0-32-cloud-amd64": true, "5.14.21": true,
		"5.15.0-25-generic": false, "6.1.0": false, "10.0": false, "next": false,
	} {
		if got := before515(release); got != want {
			t.Errorf("%s: %v", release, got)
		}
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
	s := sensor{backend: tracepoint}
	p := allPrograms()[slices.IndexFunc(allPrograms(), func(p program) bool { return p.name == sensorProgSent })]
	s.blind(p, ebpf.ErrNotSupported)
	want := "not seen: who sends on a socket of another's; of UDP sockets the bytes are those of their packets (sent: not supported)"
	got := s.Coverage()
	if len(got) != 1 || got[0].Reason != want || got[0].Fidelity != "sampled" || !slices.Equal(got[0].Kinds, []event.Kind{event.KindConnect, event.KindClose}) {
		t.Errorf("%+v, want %s", got, want)
	}
	if news, again := s.newlyBlind(), s.newlyBlind(); !reflect.DeepEqual(news, got) || len(again) > 0 {
		t.Errorf("told %+v, then %+v", news, again)
	}
}

func TestObjectDigestIsHex(t *testing.T) {
	if d := ObjectDigest(); len(d) != 64 || d != ObjectDigest() {
		t.Errorf("digest %q", d)
	}
}

func TestAKernelWithout32BitsSaysSo(t *testing.T) {
	for line, want := range map[string]bool{
		"quiet ia32_emulation=0": true, "ia32_emulation=off\n": true, "ia32_emulation=1": false, "": false, "xia32_emulation=0": false,
	} {
		if got := turnsOff32(line); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
	dir := t.TempDir()
	without := limits(tracepoint, dir) // no such door
	with := limits(tracepoint, "/proc")
	for _, l := range append(without, with...) {
		if !l.Known || l.Fidelity != "sampled" || l.Reason == "" || len(l.Kinds) == 0 {
			t.Errorf("%+v", l)
		}
	}
	if has32("/proc") != (len(with) > len(without)) {
		t.Errorf("%d limits with a 32-bit door, %d without", len(with), len(without))
	}
}
