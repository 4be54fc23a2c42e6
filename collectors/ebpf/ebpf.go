// Package ebpf is the kernel sensor: it reports what marked process trees do,
// by programs that the kernel runs at its tracepoints.
//
// A mark on a process is inherited at fork before the child runs, so nothing
// that a descendant does is missed; a process that takes OpenClaw's name is
// marked by the kernel side itself and reported as a Candidate. What anybody does
// to a guarded process, by signals, tracing or its memory, is reported as well,
// with Event.Stranger set where the process is in no watched tree. All others cost
// next to nothing: five rare hooks are always there, and those on system calls
// (20 to 80 ns a call for every process of the host) only while something is
// marked.
//
// Who in no watched tree opens or runs a file that is watched for becomes watched in
// that moment, and is reported as an Heir; of a script it is the interpreter, which
// opens it. The file is known by device and inode, so that its name does not matter.
// A file that was handed over, opened before, or opened with O_PATH makes
// no heir, and neither does one on btrfs, where the kernel's number of the device is
// not that of stat. On overlayfs the numbers are the same where all layers are on one
// file system, or with xino. While there are such files, all hooks are there; an open
// costs others one look-up more, whose price left_bench_test.go measures.
//
// Of the network it sees who connects, accepts and listens, by TCP, UDP, Unix
// sockets and vsock; sockets of unusual kinds as they are made; descriptors that
// were passed; totals at the end and every two seconds; answers of name servers;
// and the names that processes give their peers at the beginning of TLS, QUIC and
// HTTP. These last are read from packets of watched sockets: for others each
// packet costs one look-up, less than 0.1 µs.
//
// What it costs: 8 MiB of locked memory for the ring, 32 KiB a CPU, up to 5 MiB
// for the files in use, and for watched processes about 2 µs a file event, 0.5 µs
// a read or write, and 10 µs an exec. A signal from one
// process to another costs 70 ns more while something is marked, and a call of
// getenv in a watched process that is looked into 2 µs; in all others it costs
// what it did.
//
// Files: an open is an event of its own, from the fifth open of the same file by
// the same process within two seconds on only counted. What is read and written
// is added up by process and file and told every two seconds, which is at most
// four after it happened; then comes also what was done through a descriptor
// that the process did not open itself. Reads of what all programs load, such as
// libraries, are told as opens alone. The last quarter of the ring is kept for
// processes and connections.
//
// A request to io_uring is reported when it has ended with success, or, where no
// end is told within half a second, as attempted. It comes later than what the
// process did meanwhile.
//
// What is promised of the order: events of one process come in the order in
// which they happened, a fork before anything the child does. An Exit comes
// before the Close of sockets that the process left open. Events of different
// CPUs are in the order in which their records were reserved, which Time can
// contradict by microseconds. Exec and Candidate come at once, the others after
// at most 50 ms.
//
// What it does not see:
//   - of io_uring, where the kernel refuses trampolines: connections, datagrams
//     and accepted sockets for whose end the process asks not to be told, and
//     accepts that give several sockets or one in the ring's own table; everywhere:
//     sockets made, bound and listened on, messages that bring descriptors, and
//     reads and writes of files in the ring's own table whose end is not told.
//     These are counted and reported as Lost. What a ring of an unwatched process
//     is made to do is not seen at all, nor, without trampolines, that it opens a
//     file that is watched for;
//   - system calls of 32-bit programs, reported as Lost at their exec, and int
//     0x80 of others, reported where another hook happens to notice;
//   - variables that a program asks for by name, except as env.go says;
//   - what strangers read of a gateway in /proc: see package strangers;
//   - how much is read and written through a mapping (that there is one is told),
//     by FICLONE and the like, on block devices, and in memfds;
//   - changes of attributes by ioctl (chattr);
//   - what is sent on raw, packet, ping, SCTP and vsock sockets; what is said on
//     Unix sockets, and that they accept; paths of Multipath TCP after the first;
//   - names in the middle of a segment, behind 4 KiB of TLS or 2 KiB of HTTP, or
//     encrypted; what a server of a watched process is asked;
//   - the path outside of a chroot or container: paths are those of the
//     process's mount namespace;
//   - beyond 2,048 environment variables or 8 KiB of their names, 256 KiB of
//     arguments, 1,024 components or 4 KiB of a path: each says so with Truncated.
//
// What is done to a file by its name (rename, unlink, mkdir, link, symlink, chmod,
// truncate and their like) is reported from the strings that the caller passed;
// another thread that changes them at that very moment deceives it, as does one
// that moves the directory before the agent has looked at it. Links that could
// not be followed by then are told with Unresolved. io_uring's strings are the
// kernel's own. An open, and what is done by a descriptor, is reported from the
// file itself.
package ebpf

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Probes are the back ends, best first. Which of them a kernel allows is only
// known by trying; version, configuration and BTF all mislead.
func Probes() []collectors.Probe {
	kinds := []event.Kind{
		event.KindFork, event.KindExec, event.KindExit, event.KindCandidate, event.KindHeir,
		event.KindFileOpen, event.KindFileCreate, event.KindFileRename, event.KindFileDelete,
		event.KindFileLink, event.KindFileAttr, event.KindFileRead, event.KindFileWrite,
		event.KindConnect, event.KindAccept, event.KindClose, event.KindDNS,
		event.KindListen, event.KindSend, event.KindSocket, event.KindTLSName, event.KindHTTP,
		event.KindAccess, event.KindCredentials, event.KindNamespace,
	}
	return []collectors.Probe{
		{Name: trampoline.String(), Kinds: kinds, Fidelity: collectors.Complete, Open: openTrampoline},
		{Name: tracepoint.String(), Kinds: kinds, Fidelity: collectors.Complete, Open: openTracepoint},
	}
}

// ObjectDigest is the SHA-256, in hex, of the BPF object built into this
// program.
func ObjectDigest() string {
	sum := sha256.Sum256(_SensorBytes)
	return hex.EncodeToString(sum[:])
}
