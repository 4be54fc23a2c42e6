package ebpf

import (
	"errors"
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/internal/event"
)

// BenchmarkStrangers is what processes that nobody watches pay for files that are
// watched for, in CPU time. In each round all states follow one another, so that a
// machine that is faster now and then is so for all of them; the medians of the rounds
// are told. An armed sensor watches something else, and no files:
//
//	go test -run '^$' -bench Strangers -benchtime 15x ./collectors/ebpf
func BenchmarkStrangers(b *testing.B) {
	for name, work := range map[string]func(path string) error{"open": openAndClose, "exec": forkAndExec} {
		b.Run(name, func(b *testing.B) { benchStrangers(b, work) })
	}
}

func benchStrangers(b *testing.B, work func(path string) error) {
	path := filepath.Join(b.TempDir(), "file")
	fd, err := unix.Open(path, unix.O_CREAT, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	unix.Close(fd)
	var names []string
	times := map[string][]float64{}
	measure := func(state string) {
		if !slices.Contains(names, state) {
			names = append(names, state)
		}
		best := time.Duration(math.MaxInt64) // the least disturbed part
		for range 30 {
			began := cpuTime(b)
			if err := work(path); err != nil {
				b.Fatal(err)
			}
			best = min(best, cpuTime(b)-began)
		}
		times[state] = append(times[state], float64(best))
	}
	for range b.N {
		measure("without")
		c, err := openTracepoint(collectors.Config{})
		if err != nil {
			b.Skip(err)
		}
		s := c.(*sensor)
		measure("idle")
		s.mu.Lock()
		err = s.arm()
		s.mu.Unlock()
		if err != nil {
			b.Fatal(err)
		}
		measure("armed")
		for i := range uint64(1000) {
			if err := s.WatchFile(event.FileKey{Dev: unix.Mkdev(4000, 1), Inode: i + 1}); err != nil {
				b.Fatal(err)
			}
		}
		measure("1000-files")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	for _, state := range names[1:] {
		var ratios []float64
		for i, t := range times[state] {
			ratios = append(ratios, t/times["without"][i])
		}
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], state+"/without")
	}
	b.ReportMetric(0, "ns/op")
}

// cpuTime is what this process and its children have used.
func cpuTime(b *testing.B) time.Duration {
	var self unix.Timespec
	var children unix.Rusage
	err := errors.Join(unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &self), unix.Getrusage(unix.RUSAGE_CHILDREN, &children))
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(self.Nano() + children.Utime.Nano() + children.Stime.Nano())
}

const benchOpens, benchExecs = 5000, 20

func openAndClose(path string) error {
	for range benchOpens {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
		unix.Close(fd)
	}
	return nil
}

func forkAndExec(string) error {
	for range benchExecs {
		if err := exec.Command("/bin/true").Run(); err != nil {
			return err
		}
	}
	return nil
}
