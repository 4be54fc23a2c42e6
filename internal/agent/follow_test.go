package agent

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/clawwatch/clawwatch/internal/event"
)

func TestAPortIsWatchedWhileAGatewayOfThisHostHasIt(t *testing.T) {
	var f found
	one, two, box := event.ProcID{PID: 1}, event.ProcID{PID: 2}, event.ProcID{PID: 3}
	f.add(one, event.GatewayFound{Port: 18789})
	f.add(two, event.GatewayFound{Port: 18789})
	f.add(box, event.GatewayFound{Port: 18789, Network: 7})
	for _, step := range []struct {
		ends event.ProcID
		want int
	}{{one, 0}, {two, 18789}, {box, 0}} {
		if got := f.remove(step.ends); got != step.want {
			t.Errorf("when %d ends, port %d is let go, want %d", step.ends.PID, got, step.want)
		}
	}
}

func TestAnOrphanIsAGatewaysOfItsOwnContainer(t *testing.T) {
	proc := fstest.MapFS{}
	put := func(pid, mnt, pidns string) {
		for kind, ns := range map[string]string{"mnt": mnt, "pid": pidns} {
			proc[pid+"/ns/"+kind] = &fstest.MapFile{Data: []byte(kind + ":[" + ns + "]"), Mode: fs.ModeSymlink}
		}
	}
	put("10", "1", "1") // the host's gateway
	put("20", "2", "2") // that of a container
	host, box := event.ProcID{PID: 10}, event.ProcID{PID: 20}
	a := &Agent{}
	a.found.add(host, event.GatewayFound{ID: "host"})
	a.found.add(box, event.GatewayFound{ID: "box", Mount: 2, ContainerID: "c"})
	for _, test := range []struct {
		what, mnt, pid, container string
		host, box                 bool
	}{
		{"on the host", "1", "1", "", true, false},
		{"in the container", "2", "2", "c", false, true},
		{"with mounts of its own on the host", "3", "1", "", true, false},
		{"with mounts of its own in the container", "3", "2", "c", false, true},
		{"in another container", "3", "3", "d", false, false},
	} {
		put("30", test.mnt, test.pid)
		orphan := event.Event{Proc: event.ProcID{PID: 30}, Body: event.Exec{ContainerID: test.container}}
		for id, want := range map[event.ProcID]bool{host: test.host, box: test.box} {
			if got := a.sameBox(proc, id, a.found.all()[id], orphan); got != want {
				t.Errorf("%s: of gateway %d: %v", test.what, id.PID, got)
			}
		}
	}
}
