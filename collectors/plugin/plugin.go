// Package plugin listens to clawwatch's plugin in OpenClaw's gateways
// (packaging/openclaw-plugin): when tool calls begin and end, and which tag a
// session's next command gets in its environment. It also reads that tag from a
// process.
//
// Anybody may connect to the socket. Who is believed is decided by the kernel's
// word for the peer: a living process that is known as OpenClaw's, with the user
// that it is known with. What such a process says is still hostile text: lines
// of at most 8 KiB, so many a second, short strings, and a tag of one shape. All
// else is dropped, counted, and told as sensor.lost.
//
// It costs nothing where no plugin is installed, and two reads of /proc for each
// program that a tool call runs where one is.
//
// What it does not see: calls while nobody listened, of which the plugin keeps
// the last few hundred messages; and the tag of a process that had ended before
// it could be looked at. A gateway that was taken over says what it wants.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// variable is the environment variable that a command's tag is in.
const variable = "CLAWWATCH_CALL"

// Bounds on what peers can make the agent do.
const (
	maxPeers    = 32 // connections at a time
	maxUnknown  = 8  // of them, those of processes that are not known yet
	maxLine     = 8 << 10
	maxMistakes = 16 // lines that are none, until the peer is sent away
	perSecond   = 500
	burst       = 2000
	glance      = 100 * time.Millisecond // between two looks whether it is
	reportEvery = time.Minute            // of what was dropped
	firstReport = time.Second
	tagsASecond = 2000 // processes that are looked at for their tag
	maxAge      = time.Minute
)

// Config is what a Collector needs of the world.
type Config struct {
	Listener *net.UnixListener // closed by Close
	Proc     fs.FS             // /proc
	// Known gives the OpenClaw process that has this PID now.
	Known func(pid int32) (event.ProcID, event.GatewayFound, bool)
	// Patience is for a gateway that is not known yet; 0: 5 s.
	Patience time.Duration
}

// A Collector listens. Tag may be called from any goroutine.
type Collector struct {
	cfg     Config
	emit    func(event.Event)
	say     sync.Mutex  // one emits at a time
	spoken  atomic.Bool // a plugin has said something
	reads   budget      // of Tag
	readsMu sync.Mutex

	mu      sync.Mutex
	peers   map[*net.UnixConn]bool // known
	dropped map[string]uint64      // by cause
}

// New gives a Collector that does not listen yet.
func New(cfg Config) *Collector {
	if cfg.Patience == 0 {
		cfg.Patience = 5 * time.Second
	}
	return &Collector{
		cfg: cfg, peers: map[*net.UnixConn]bool{}, dropped: map[string]uint64{},
		reads: budget{rate: tagsASecond, most: tagsASecond},
	}
}

// Close takes the socket away. It may be called without Run, and twice.
func (c *Collector) Close() error {
	if c.cfg.Listener == nil {
		return nil
	}
	if err := c.cfg.Listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Run listens until ctx is done. Without a listener it only waits for that.
func (c *Collector) Run(ctx context.Context, emit func(event.Event)) error {
	c.emit = emit
	var serving sync.WaitGroup
	defer serving.Wait()
	stop := context.AfterFunc(ctx, c.hangUp)
	defer stop()
	serving.Go(func() { c.report(ctx) })
	if c.cfg.Listener == nil {
		<-ctx.Done()
		return nil
	}
	for {
		conn, err := c.cfg.Listener.AcceptUnix()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close() // nobody is left to listen
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept on the plugin's socket: %w", err)
		}
		if err != nil { // out of descriptors, or the peer is gone
			c.drop("connections that could not be accepted", 1)
			select {
			case <-ctx.Done():
			case <-time.After(glance):
			}
			continue
		}
		if !c.admit(conn) {
			c.drop("connections beyond the limit", 1)
			_ = conn.Close() // the peer sees its end
			continue
		}
		serving.Go(func() {
			defer c.release(conn)
			c.serve(ctx, conn)
		})
	}
}

func (c *Collector) hangUp() {
	_ = c.Close() // the agent ends
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.peers {
		_ = conn.Close() // as above
	}
}

// admit takes a connection in whose peer is not known yet.
func (c *Collector) admit(conn *net.UnixConn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	unknown := 0
	for _, known := range c.peers {
		if !known {
			unknown++
		}
	}
	if len(c.peers) >= maxPeers || unknown >= maxUnknown {
		return false
	}
	c.peers[conn] = false
	return true
}

func (c *Collector) release(conn *net.UnixConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.peers, conn)
	_ = conn.Close() // it may be closed already
}

// peer gives the OpenClaw process at the other end. One that is not known yet
// may become so within moments: a gateway that has just been started, or an
// agent.
func (c *Collector) peer(ctx context.Context, conn *net.UnixConn) (event.ProcID, event.GatewayFound, error) {
	cred, err := credentials(conn)
	if err != nil {
		return event.ProcID{}, event.GatewayFound{}, err
	}
	first, err := identify(c.cfg.Proc, cred.Pid)
	if err != nil {
		return event.ProcID{}, event.GatewayFound{}, err
	}
	for deadline := time.Now().Add(c.cfg.Patience); ; {
		id, g, ok := c.cfg.Known(cred.Pid)
		if ok && id != first {
			return event.ProcID{}, event.GatewayFound{}, errors.New("the process that connected is gone")
		}
		if ok && g.StateDir == "" {
			return event.ProcID{}, event.GatewayFound{}, errors.New("nothing of that process is believed")
		}
		if ok && g.UID != cred.Uid {
			return event.ProcID{}, event.GatewayFound{}, errors.New("the process connected as another user")
		}
		if ok {
			c.mu.Lock()
			c.peers[conn] = true
			c.mu.Unlock()
			return id, g, nil
		}
		if time.Now().After(deadline) {
			return event.ProcID{}, event.GatewayFound{}, errors.New("it is no OpenClaw process")
		}
		select {
		case <-ctx.Done():
			return event.ProcID{}, event.GatewayFound{}, ctx.Err()
		case <-time.After(glance):
		}
	}
}

func credentials(conn *net.UnixConn) (*unix.Ucred, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, credErr
}

// drop counts what is not taken.
func (c *Collector) drop(cause string, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped[cause] += n
}

// report tells what was dropped, soon the first time and then once a minute.
func (c *Collector) report(ctx context.Context) {
	wait := firstReport
	for {
		select {
		case <-ctx.Done():
			c.tellDropped()
			return
		case <-time.After(wait):
		}
		if c.tellDropped() {
			wait = reportEvery
		}
	}
}

func (c *Collector) tellDropped() (any bool) {
	c.mu.Lock()
	dropped := c.dropped
	c.dropped = map[string]uint64{}
	c.mu.Unlock()
	for cause, n := range dropped {
		c.tell(event.Event{Time: time.Now(), Source: event.SourcePlugin, Body: event.Lost{Of: event.KindToolPhase, Count: n, Cause: "plugin's socket: " + cause}})
	}
	return len(dropped) > 0
}

func (c *Collector) tell(ev event.Event) {
	c.say.Lock()
	defer c.say.Unlock()
	c.emit(ev)
}
