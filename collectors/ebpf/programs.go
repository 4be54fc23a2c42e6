package ebpf

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A hook is how a program is attached.
type hook int

const (
	tracing  hook = iota // to the tracepoint that the program names
	syscalls             // to the exits of system calls
	cgroup               // to the root of the cgroup tree
)

// A program is one function of the object, and where it goes.
type program struct {
	name  string
	hook  hook
	armed bool       // attached only while something is watched
	calls []string   // system calls; one that the architecture lacks is passed over
	call  sensorCall // what is where in their arguments
	kinds []event.Kind
	older string // the program for kernels where this one does not fit
	// lack says what cannot be seen without it; where it is empty there is no
	// sensor without it.
	lack string
}

// programs are all there are, in the order in which they are attached: what
// looks a socket up comes before what puts it there.
func programs() []program {
	net := func(name string, kind event.Kind, calls ...string) program {
		return program{name: name, hook: syscalls, armed: true, calls: calls, kinds: []event.Kind{kind}}
	}
	udp := []event.Kind{event.KindConnect, event.KindClose}
	return slices.Concat([]program{
		{name: sensorProgForked, kinds: []event.Kind{event.KindFork}},
		{name: sensorProgExeced, kinds: []event.Kind{event.KindExec}},
		{name: sensorProgExited, kinds: []event.Kind{event.KindExit}},
		{name: sensorProgRenamed, kinds: []event.Kind{event.KindCandidate}},

		{name: sensorProgTcpState, armed: true, kinds: []event.Kind{event.KindClose}},
		{name: sensorProgSockReleased, hook: cgroup, armed: true, kinds: udp[1:], lack: "the end of UDP sockets, and their totals"},
		{name: sensorProgSockCreated, hook: cgroup, armed: true, kinds: udp, lack: "the number of a UDP socket at connect"},
		{name: sensorProgDnsAnswered, hook: cgroup, kinds: []event.Kind{event.KindDNS}, lack: "the names behind addresses"},
		{name: sensorProgUdpSent, armed: true, kinds: udp[1:], lack: "bytes sent on UDP sockets"},
		{name: sensorProgUdpReceived, armed: true, kinds: udp[1:], lack: "bytes received on UDP sockets"},
		net(sensorProgConnected, event.KindConnect, "connect"),
		net(sensorProgAccepted, event.KindAccept, "accept", "accept4"),
		net(sensorProgSendtoDone, event.KindConnect, "sendto"),
		net(sensorProgSendmsgDone, event.KindConnect, "sendmsg"),
		net(sensorProgSendmmsgDone, event.KindConnect, "sendmmsg"),
	}, filePrograms(), uringPrograms())
}

// key tells the attachments of one program apart.
func (p program) key() string { return p.name + " " + strings.Join(p.calls, " ") }

// attach hooks a loaded program in. Closing all links takes it out again; that
// waits for the kernel, some 60 ms for each system call.
func (s *sensor) attach(p program) ([]link.Link, error) {
	prog := s.progs[p.name]
	switch p.hook {
	case tracing:
		l, err := link.AttachTracing(link.TracingOptions{Program: prog})
		if err != nil {
			return nil, fmt.Errorf("attach %s: %w", p.name, err)
		}
		return []link.Link{l}, nil
	case cgroup:
		l, err := s.attachCgroup(p.name, prog)
		if err != nil {
			return nil, fmt.Errorf("attach %s: %w", p.name, err)
		}
		return []link.Link{l}, nil
	default:
		return p.attachCalls(prog)
	}
}

func (p program) attachCalls(prog *ebpf.Program) ([]link.Link, error) {
	var links []link.Link
	for _, call := range p.calls {
		l, err := link.Tracepoint("syscalls", "sys_exit_"+call, prog, &link.TracepointOptions{Cookie: p.cookie()})
		if errors.Is(err, os.ErrNotExist) {
			continue // an older call that newer architectures do without
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("attach %s to %s: %w", p.name, call, err), closeLinks(links))
		}
		links = append(links, l)
	}
	return links, nil
}

// mountCgroup opens the root of the cgroup v2 tree by a mount that no path
// shows: the host may have it mounted anywhere, or not. It is kept for later,
// when the agent may not mount any more.
func mountCgroup() (*os.File, error) {
	fs, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open cgroup2: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("create cgroup2: %w", err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("mount cgroup2: %w", err)
	}
	return os.NewFile(uintptr(mnt), "cgroup2"), nil
}

func (s *sensor) attachCgroup(name string, prog *ebpf.Program) (link.Link, error) {
	if s.cgroup == nil {
		return nil, s.cgroupErr
	}
	at := ebpf.AttachCGroupInetSockCreate
	switch name {
	case sensorProgSockReleased:
		at = ebpf.AttachCgroupInetSockRelease
	case sensorProgDnsAnswered:
		at = ebpf.AttachCGroupInetIngress
	}
	return link.AttachCgroup(link.CgroupOptions{
		Path: "/proc/self/fd/" + strconv.Itoa(int(s.cgroup.Fd())), Attach: at, Program: prog,
	})
}

func closeLinks(links []link.Link) error {
	var errs []error
	for _, l := range links {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
