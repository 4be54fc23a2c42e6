package ebpf

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A backend is one way of seeing files and sockets. The rest is common.
type backend int

const (
	common backend = iota
	tracepoint
	trampoline
)

func (b backend) String() string {
	return [...]string{"common", "ebpf-tracepoint", "ebpf-trampoline"}[b]
}

// A hook is how a program is attached.
type hook int

const (
	tracing  hook = iota // to the tracepoint or function that the program names
	syscalls             // to the exits of system calls
	cgroup               // to the root of the cgroup tree
	called               // nowhere: the agent runs it
	library              // to functions of libraries, for single processes: see env.go
)

// A program is one function of the object, and where it goes.
type program struct {
	name  string
	older string // takes its place on kernels that refuse it
	of    backend
	hook  hook
	armed bool       // attached only while something is watched, with the privileges that the agent has kept
	calls []string   // system calls; one that the architecture lacks is passed over
	call  sensorCall // what is where in their arguments
	kinds []event.Kind
	// lack says what cannot be seen without it; where it is empty there is no
	// sensor without it.
	lack string
}

// programs are those of a back end, in the order in which they are attached:
// what looks something up comes before what puts it there.
func programs(of backend) []program {
	return slices.DeleteFunc(allPrograms(), func(p program) bool { return p.of != common && p.of != of })
}

func allPrograms() []program {
	call := func(name string, kind event.Kind, calls ...string) program {
		return program{name: name, of: tracepoint, hook: syscalls, armed: true, calls: calls, kinds: []event.Kind{kind}}
	}
	every := func(name string, kind event.Kind, calls ...string) program {
		return program{name: name, hook: syscalls, armed: true, calls: calls, kinds: []event.Kind{kind}}
	}
	function := func(name string, kind event.Kind) program {
		return program{name: name, of: trampoline, armed: true, kinds: []event.Kind{kind}}
	}
	udp := []event.Kind{event.KindConnect, event.KindClose}
	access := []event.Kind{event.KindAccess}
	return slices.Concat([]program{
		{name: sensorProgForked, kinds: []event.Kind{event.KindFork}},
		{name: sensorProgExeced, kinds: []event.Kind{event.KindExec}},
		{name: sensorProgExited, kinds: []event.Kind{event.KindExit}},
		{name: sensorProgRenamed, kinds: []event.Kind{event.KindCandidate}},

		{name: sensorProgTcpState, armed: true, kinds: []event.Kind{event.KindClose}},
		{name: sensorProgSockReleased, hook: cgroup, armed: true, kinds: udp[1:], lack: "the end of UDP sockets, and their totals"},
		{name: sensorProgSockCreated, hook: cgroup, armed: true, kinds: udp, lack: "the number of a UDP socket at connect"},
		{name: sensorProgPacketIn, hook: cgroup, kinds: []event.Kind{event.KindDNS, event.KindHTTP}, lack: "the names behind addresses, and answers of HTTP"},
		{
			name: sensorProgPacketOut, hook: cgroup, kinds: []event.Kind{event.KindTLSName, event.KindHTTP},
			lack: "names in TLS, QUIC and HTTP; where a datagram really went",
		},
		{name: sensorProgTotals, hook: called, kinds: []event.Kind{event.KindSend}, lack: "totals of connections before they end"},
		{name: sensorProgSent, armed: true, kinds: udp, lack: "who sends on a socket of another's; of UDP sockets the bytes are those of their packets"},
		{name: sensorProgReceived, armed: true, kinds: udp, lack: "who reads from a socket of another's; of UDP sockets the bytes are those of their packets"},
		call(sensorProgConnected, event.KindConnect, "connect"),
		call(sensorProgAccepted, event.KindAccept, "accept", "accept4"),
		call(sensorProgSendtoDone, event.KindConnect, "sendto"),
		call(sensorProgSendmsgDone, event.KindConnect, "sendmsg"),
		call(sensorProgSendmmsgDone, event.KindConnect, "sendmmsg"),

		function(sensorProgUnlinkHappened, event.KindFileDelete),
		function(sensorProgUnlinkIntended, event.KindFileDelete),
		function(sensorProgRmdirHappened, event.KindFileDelete),
		function(sensorProgRmdirIntended, event.KindFileDelete),
		function(sensorProgMkdirHappened, event.KindFileCreate),
		function(sensorProgMkdirIntended, event.KindFileCreate),
		function(sensorProgRenameHappened, event.KindFileRename),
		function(sensorProgRenameIntended, event.KindFileRename),
		function(sensorProgPathOpened, event.KindFileOpen),
		{name: sensorProgHandleOpened, of: trampoline, armed: true, kinds: []event.Kind{event.KindFileOpen}, lack: "files opened by handle"},
		function(sensorProgStreamConnected, event.KindConnect),
		function(sensorProgDgramConnected, event.KindConnect),
		function(sensorProgStreamAccepted, event.KindAccept),
		function(sensorProgUnixConnected, event.KindConnect),
		function(sensorProgUnixDgramConnected, event.KindConnect),
		function(sensorProgUnixSent, event.KindConnect),
		function(sensorProgVsockAsked, event.KindConnect),
		{name: sensorProgMptcpAccepted, of: trampoline, armed: true, kinds: []event.Kind{event.KindAccept}, lack: "connections accepted over Multipath TCP"},
		function(sensorProgUdpSentV4, event.KindConnect),
		function(sensorProgUdpSentV6, event.KindConnect),

		every(sensorProgSocketMade, event.KindSocket, "socket"),
		every(sensorProgListening, event.KindListen, "listen"),
		every(sensorProgBound, event.KindListen, "bind"),
		every(sensorProgRecvmsgDone, event.KindFileOpen, "recvmsg"),
		every(sensorProgRecvmmsgDone, event.KindFileOpen, "recvmmsg"),
		every(sensorProgGetfdDone, event.KindFileOpen, "pidfd_getfd"),

		{name: sensorProgSignalled, armed: true, kinds: access, lack: "signals between processes"},
		{name: sensorProgPtraced, hook: syscalls, armed: true, calls: []string{"ptrace"}, kinds: access, lack: "tracing of processes"},
		{name: sensorProgVmRead, hook: syscalls, armed: true, calls: []string{"process_vm_readv"}, kinds: access, lack: "reads of the memory of others"},
		{name: sensorProgVmWritten, hook: syscalls, armed: true, calls: []string{"process_vm_writev"}, kinds: access, lack: "writes to the memory of others"},
		{name: sensorProgFdTaken, hook: syscalls, armed: true, calls: []string{"pidfd_getfd"}, kinds: access, lack: "descriptors taken from others"},
		{
			name: sensorProgIdentified, hook: syscalls, armed: true, calls: slices.Sorted(maps.Values(identityCalls())),
			kinds: []event.Kind{event.KindCredentials, event.KindNamespace}, lack: "changes of user, capabilities and namespaces between two execs",
		},
		{name: sensorProgGotEnv, hook: library, kinds: []event.Kind{event.KindEnvRead}, lack: "names of variables that programs ask their C library for"},
		{name: sensorProgShellFound, hook: library, kinds: []event.Kind{event.KindEnvRead}, lack: "names of variables that bash looks up"},
	}, filePrograms(), uringPrograms())
}

// identityCalls are the system calls that change who a process is, by number.
func identityCalls() map[int64]string {
	return map[int64]string{
		unix.SYS_SETUID: "setuid", unix.SYS_SETGID: "setgid", unix.SYS_SETREUID: "setreuid", unix.SYS_SETREGID: "setregid",
		unix.SYS_SETRESUID: "setresuid", unix.SYS_SETRESGID: "setresgid", unix.SYS_CAPSET: "capset",
		unix.SYS_UNSHARE: "unshare", unix.SYS_SETNS: "setns", unix.SYS_CHROOT: "chroot", unix.SYS_PIVOT_ROOT: "pivot_root",
	}
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
	case sensorProgPacketIn:
		at = ebpf.AttachCGroupInetIngress
	case sensorProgPacketOut:
		at = ebpf.AttachCGroupInetEgress
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
