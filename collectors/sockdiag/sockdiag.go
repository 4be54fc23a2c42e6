// Package sockdiag sees connections of watched processes by asking the kernel for
// its sockets, four times a second, where BPF is refused.
//
// It takes no privilege but the right to look at the descriptors of the processes.
// A look costs about a microsecond for each socket of the host, and three for each
// descriptor of a watched process; while nothing is watched there is none.
//
// What it does not see: connections that begin and end between two looks, and
// those that were refused; UDP sockets that are not connected, DNS answers, and bytes
// of UDP; other network namespaces than the agent's; what a socket carried after the
// last look, so that totals are what it was at least. A socket that several processes
// share is that of one of them. A connection counts as accepted if something listens
// on its port.
package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	name    = "sockdiag"
	every   = 250 * time.Millisecond
	maxOpen = 1024 // descriptors of one process that are looked at
)

// Probe works where somebody knows who is watched.
var Probe = collectors.Probe{
	Name:     name,
	Kinds:    []event.Kind{event.KindConnect, event.KindAccept, event.KindClose},
	Fidelity: collectors.Sampled,
	Open: func(cfg collectors.Config) (collectors.Collector, error) {
		c, err := open(cfg)
		if err != nil {
			return nil, collectors.Unsupported(err)
		}
		return c, nil
	},
}

// A collector is open.
type collector struct {
	cfg   collectors.Config
	fd    int
	buf   []byte
	known map[uint64]flow // by cookie
	first bool            // look: what is there was there before
}

// A flow is a socket of a watched process.
type flow struct {
	socket
	id      event.ProcID
	inbound bool
	before  bool // it was there at the first look
}

func open(cfg collectors.Config) (*collector, error) {
	if cfg.Lineage == nil {
		return nil, errors.New("open sock_diag: nothing tells which processes are watched")
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	c := &collector{cfg: cfg, fd: fd, buf: make([]byte, 64<<10), known: map[uint64]flow{}, first: true}
	if _, err := c.dump(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Close gives back the socket. Run must have ended.
func (c *collector) Close() error { return unix.Close(c.fd) }

// Coverage says why it sees less.
func (c *collector) Coverage() []event.Coverage {
	return []event.Coverage{{
		Probe: name, Kinds: Probe.Kinds, Fidelity: collectors.Sampled.String(),
		Reason: fmt.Sprintf("connections are looked for every %v: those that begin and end between are not seen, nor is UDP that is not connected", every),
	}}
}

// Run looks until ctx is done.
func (c *collector) Run(ctx context.Context, emit func(event.Event)) error {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		c.cfg.Lineage.Sync() // before what they did, who they are is told
		watched := c.cfg.Lineage.All()
		if len(watched) > 0 || len(c.known) > 0 {
			sockets, err := c.dump()
			if err != nil {
				return err
			}
			c.look(sockets, c.owners(watched), time.Now(), emit)
		}
		c.first = false
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
	}
}

// look emits the difference between the sockets now and at the last look.
func (c *collector) look(sockets []socket, owners map[uint32]event.ProcID, now time.Time, emit func(event.Event)) {
	say := func(id event.ProcID, b event.Body) {
		emit(event.Event{Time: now, Proc: id, Source: event.SourceSockDiag, Body: b})
	}
	served := map[uint16]bool{}
	for _, s := range sockets {
		if s.transport == event.TCP && s.state == listening {
			served[s.local.Port()] = true
		}
	}
	live := make(map[uint64]bool, len(c.known))
	for _, s := range sockets {
		if f, ok := c.known[s.cookie]; ok && s.inode != 0 {
			f.sent, f.received = max(f.sent, s.sent), max(f.received, s.received)
			c.known[s.cookie], live[s.cookie] = f, true
			continue
		}
		id, ok := owners[s.inode]
		if !ok || s.inode == 0 || s.peer.Port() == 0 || s.transport == event.TCP && s.state == listening {
			continue
		}
		f := flow{socket: s, id: id, inbound: s.transport == event.TCP && served[s.local.Port()], before: c.first}
		c.known[s.cookie], live[s.cookie] = f, true
		switch {
		case f.before:
		case f.inbound:
			say(id, event.Accept{Transport: s.transport, Local: s.local, Peer: s.peer, Socket: s.cookie})
		default:
			say(id, event.Connect{Transport: s.transport, Local: s.local, Peer: s.peer, Socket: s.cookie})
		}
	}
	for _, cookie := range slices.Sorted(maps.Keys(c.known)) {
		f := c.known[cookie]
		if live[cookie] {
			continue
		}
		delete(c.known, cookie)
		if f.transport == event.TCP { // of UDP nothing is counted, and no bytes are not none
			say(f.id, event.Close{Transport: f.transport, Local: f.local, Peer: f.peer, Socket: cookie, Inbound: f.inbound, Sent: f.sent, Received: f.received})
		}
	}
}

// owners gives the processes that hold sockets, by inode.
func (c *collector) owners(watched []event.ProcID) map[uint32]event.ProcID {
	owners := map[uint32]event.ProcID{}
	for _, id := range watched {
		dir := strconv.Itoa(int(id.PID)) + "/fd"
		fds, _ := fs.ReadDir(c.cfg.Proc, dir) // gone, or not to be looked at
		for _, fd := range fds[:min(len(fds), maxOpen)] {
			target, err := fs.ReadLink(c.cfg.Proc, dir+"/"+fd.Name())
			if err != nil {
				continue
			}
			text, ok := strings.CutPrefix(target, "socket:[")
			if n, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 32); ok && err == nil {
				owners[uint32(n)] = id // the youngest: who made it has handed it down
			}
		}
	}
	return owners
}

// dump lists the sockets of this network namespace.
func (c *collector) dump() ([]socket, error) {
	var all []socket
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		for _, p := range []struct {
			number    uint8
			transport event.Transport
		}{{unix.IPPROTO_TCP, event.TCP}, {unix.IPPROTO_UDP, event.UDP}} {
			err := c.ask(family, p.number, p.transport, func(s socket) { all = append(all, s) })
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
				continue // this kernel has no such sockets, or does not list them
			}
			if err != nil {
				return nil, fmt.Errorf("list sockets: %w", err)
			}
		}
	}
	return all, nil
}

func (c *collector) ask(family, protocol uint8, t event.Transport, each func(socket)) error {
	if err := unix.Sendto(c.fd, request(family, protocol), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	for {
		n, from, err := unix.Recvfrom(c.fd, c.buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		if kernel, ok := from.(*unix.SockaddrNetlink); !ok || kernel.Pid != 0 {
			continue
		}
		if done, err := parse(c.buf[:n], t, each); done || err != nil {
			return err
		}
	}
}
