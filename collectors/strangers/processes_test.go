package strangers

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Whoever opens the memory, map or environment of a guarded process is seen, by
// whichever of its threads, after the kernel has forgotten what it can forget.
func TestWhoReachesForAGuardedProcessIsSeen(t *testing.T) {
	r := start(t)
	self, err := procfs.Identify(os.DirFS("/proc"), int32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	thread := make(chan int)
	over := make(chan struct{})
	defer close(over)
	go func() {
		runtime.LockOSThread()
		thread <- unix.Gettid()
		<-over
	}()
	tid := <-thread
	if err := r.Guard(self); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("cd /proc/%d && read x < stat; read -n 1 x < environ; read x < maps; read x < task/%d/maps; : >> task/%d/mem", self.PID, tid, tid)
	who := r.shell(script)
	want := []string{"proc_environ false", "proc_maps false", "proc_mem true"}
	var got []string
	for late := time.After(30 * time.Second); len(got) < len(want); {
		select {
		case ev := <-r.events:
			if a, ok := ev.Body.(event.Access); ok && ev.Proc.PID == who.PID {
				if a.Target != self || !ev.Stranger {
					t.Errorf("%+v", ev)
				}
				got = append(got, r.said(ev))
			}
		case <-late:
			t.Fatalf("seen: %q, want %q", got, want)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("seen: %q, want %q", got, want)
	}
	if err := r.Unguard(self); err != nil {
		t.Error(err)
	}
}
