package sockdiag

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/lineage"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

func start(t *testing.T) (<-chan event.Event, event.ProcID) {
	self, err := procfs.Identify(os.DirFS("/proc"), int32(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	var tree lineage.Tree
	tree.Add(self)
	c, err := Probe.Open(collectors.Config{Proc: os.DirFS("/proc"), Lineage: &tree})
	if errors.Is(err, collectors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan event.Event, 1024)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	looked := make(chan bool, 1)
	c.(*collector).cfg.Lineage = notify{&tree, looked}
	go func() { done <- c.Run(ctx, func(ev event.Event) { events <- ev }) }()
	<-looked
	<-looked              // the first look is over
	time.Sleep(every / 2) // and the second one's dump
	t.Cleanup(func() {
		cancel()
		go func() {
			for range looked {
			}
		}()
		if err := errors.Join(<-done, c.Close()); err != nil {
			t.Error(err)
		}
	})
	return events, self
}

// notify says when a look begins, until nobody listens.
type notify struct {
	*lineage.Tree
	looked chan<- bool
}

func (n notify) All() []event.ProcID {
	select {
	case n.looked <- true:
	default:
	}
	return n.Tree.All()
}

func next(t *testing.T, events <-chan event.Event) event.Event {
	t.Helper()
	select {
	case ev := <-events:
		return ev
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is seen")
		return event.Event{}
	}
}

func TestAConnectionIsSeenFromBothEndsWithItsBytes(t *testing.T) {
	for _, network := range []string{"127.0.0.1:0", "[::1]:0"} {
		events, self := start(t)
		l, err := net.Listen("tcp", network)
		if err != nil {
			t.Skip(err)
		}
		defer l.Close()
		out, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write(make([]byte, 1234)); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Read(make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
		server := netip.MustParseAddrPort(l.Addr().String())
		var connect event.Connect
		var accept event.Accept
		for range 2 {
			ev := next(t, events)
			if ev.Proc != self || ev.Source != event.SourceSockDiag {
				t.Errorf("%+v", ev)
			}
			switch b := ev.Body.(type) {
			case event.Connect:
				connect = b
			case event.Accept:
				accept = b
			}
		}
		if connect.Peer != server || connect.Socket == 0 || accept.Local != server || accept.Peer != connect.Local || accept.Socket == connect.Socket {
			t.Errorf("connect %+v, accept %+v", connect, accept)
		}
		time.Sleep(3 * every) // the totals are those of the last look
		out.Close()
		in.Close()
		for range 2 {
			b, ok := next(t, events).Body.(event.Close)
			switch {
			case !ok:
				t.Errorf("%+v", b)
			case b.Socket == connect.Socket && (b.Sent != 1234 || b.Inbound):
				t.Errorf("sender: %+v", b)
			case b.Socket == accept.Socket && (b.Received != 1234 || !b.Inbound):
				t.Errorf("receiver: %+v", b)
			}
		}
	}
}

func TestConnectedUDPIsSeen(t *testing.T) {
	events, _ := start(t)
	c, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b, ok := next(t, events).Body.(event.Connect); !ok || b.Transport != event.UDP || b.Peer.Port() != 9 {
		t.Errorf("%+v", b)
	}
}

func TestWhatWasThereBeforeIsNotNewAndItsEndIsTold(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	events, _ := start(t)
	out.Close()
	if b, ok := next(t, events).Body.(event.Close); !ok || b.Peer.String() != l.Addr().String() {
		t.Errorf("%+v", b)
	}
}

func FuzzParse(f *testing.F) {
	b := make([]byte, 16+messageSize+4+140)
	b[0], b[4] = byte(len(b)), 20
	b[16] = 2
	b[16+messageSize], b[16+messageSize+2] = 144, 2
	f.Add(b)
	f.Add(b[:40])
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parse(b, event.TCP, func(s socket) {
			if !s.local.IsValid() {
				t.Errorf("%+v", s)
			}
		})
	})
}
