package ebpf

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// causeCompat says why nothing is seen of a process that uses the 32-bit door.
const causeCompat = "system calls by the 32-bit door are not seen"

// describe adds to an exec what the kernel knows of the image and the process.
func describe(x *event.Exec, r *sensorExecRec) {
	x.Script = r.Image&sensorImageIMAGE_SCRIPT != 0
	x.Deleted = r.Image&sensorImageIMAGE_DELETED != 0
	x.Memory = r.Image&sensorImageIMAGE_MEMORY != 0
	x.Bits32 = r.Image&sensorImageIMAGE_32BIT != 0
	x.Terminal = r.Image&sensorImageIMAGE_TERMINAL != 0
	x.Session = int32(r.Session)
	x.File = fileID(r.File)
	creds := credsOf(r.Creds)
	x.Creds = &creds
	x.Namespaces = namespacesOf(r.Ns)
}

// execed completes an exec, and says of a 32-bit program that it is not seen.
func (s *sensor) execed(f fact, x event.Exec, ev event.Event, emit func(event.Event)) error {
	x.Namespaces = s.foreign(x.Namespaces)
	if *x.Namespaces == (event.Namespaces{}) {
		x.Namespaces = nil
	}
	x.ContainerID = s.boxes.of(f.groups, s.procPath, f.proc)
	ev.Body = x
	emit(ev)
	s.taps.exec(f.proc, x)
	if x.Bits32 {
		ev.Body = event.Lost{Of: event.KindFileOpen, Count: 1, Cause: causeCompat}
		emit(ev)
	}
	return nil
}

// foreign keeps those namespaces that are not the agent's.
func (s *sensor) foreign(n *event.Namespaces) *event.Namespaces {
	differ := func(n, own uint32) uint32 {
		if n == own {
			return 0
		}
		return n
	}
	return &event.Namespaces{
		Mount: differ(n.Mount, s.own.Mount), PID: differ(n.PID, s.own.PID), Net: differ(n.Net, s.own.Net), User: differ(n.User, s.own.User),
	}
}

// ownNamespaces reads the agent's. As a confined service it has mounts of its
// own; those that count are the first process's.
func ownNamespaces(procPath string) (event.Namespaces, error) {
	var n event.Namespaces
	for kind, to := range map[string]*uint32{"mnt": &n.Mount, "pid": &n.PID, "net": &n.Net, "user": &n.User} {
		var err error
		if *to, err = namespace(filepath.Join(procPath, "self"), kind); err != nil {
			return n, fmt.Errorf("read %s namespace: %w", kind, err)
		}
	}
	if host, err := namespace(filepath.Join(procPath, "1"), "mnt"); err == nil {
		n.Mount = host
	}
	return n, nil
}

// device turns the kernel's own number of a device into that of stat(2).
func device(dev uint32) uint64 { return unix.Mkdev(dev>>20, dev&(1<<20-1)) }

func fileID(f sensorFileId) event.FileID {
	return event.FileID{
		Dev: device(f.Dev), Inode: f.Inode, Size: f.Size,
		Modified: f.Modified, Changed: f.Changed, Magic: f.Magic,
	}
}

func credsOf(c sensorCreds) event.Creds {
	return event.Creds{
		UID: c.Uid, EUID: c.Euid, SUID: c.Suid, GID: c.Gid, EGID: c.Egid, SGID: c.Sgid,
		Permitted: c.Permitted, Effective: c.Effective,
	}
}

func namespacesOf(n sensorNamespaces) *event.Namespaces {
	return &event.Namespaces{Mount: n.Mnt, PID: n.Pid, Net: n.Net, User: n.User}
}

func decodeIdentity(raw []byte) (event.Body, error) {
	r, _, err := split[sensorIdentityRec](raw)
	if err != nil {
		return nil, err
	}
	call := identityCalls()[int64(r.Call)]
	switch call {
	case "unshare", "setns", "chroot", "pivot_root":
		return event.Namespace{Now: *namespacesOf(r.Ns), Call: call}, nil
	}
	return event.Credentials{Creds: credsOf(r.Creds), Call: call}, nil
}

func decodeGetenv(raw []byte) (event.Body, error) {
	r, _, err := split[sensorGetenvRec](raw)
	if err != nil {
		return nil, err
	}
	var name []byte
	for _, c := range r.Name {
		if c == 0 {
			break
		}
		name = append(name, byte(c))
	}
	read := event.EnvRead{Method: event.EnvGetenv, Names: []string{string(name)}}
	if r.Shell != 0 {
		read.Method = event.EnvShell
	}
	return read, nil
}

// acts is who got at another process, as far as the kernel says.
type acts struct {
	stranger bool
	uid      uint32
	comm     string
}

func (f *fact) decodeAccess(raw []byte) error {
	r, _, err := split[sensorAccessRec](raw)
	if err != nil {
		return err
	}
	f.acts = &acts{stranger: r.Stranger != 0, uid: r.Uid, comm: comm(&r.Comm)}
	target := event.ProcID{PID: int32(r.TargetPid), Start: r.TargetStart}
	switch r.Method {
	case sensorMethodMETHOD_SIGNAL:
		f.body = event.Access{Target: target, Method: event.AccessSignal, Signal: int(r.Signal)}
	case sensorMethodMETHOD_TRACEME: // it is the parent that can now do as it likes
		f.body = event.Access{Target: f.proc, Method: event.AccessTraced}
		f.proc = target
	default:
		f.body = event.Access{Target: target, Method: method(r.Method)}
	}
	return nil
}

func method(m sensorMethod) event.AccessMethod {
	switch m {
	case sensorMethodMETHOD_PTRACE:
		return event.AccessPtrace
	case sensorMethodMETHOD_VM_READ:
		return event.AccessVMRead
	case sensorMethodMETHOD_VM_WRITE:
		return event.AccessVMWrite
	default:
		return event.AccessGetFD
	}
}
