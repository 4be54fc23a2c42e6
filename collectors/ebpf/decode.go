package ebpf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	fmodeRead    = 0x1
	fmodeWrite   = 0x2
	fmodeExec    = 0x20
	fmodePath    = 0x4000
	fmodeCreated = 0x100000
	modeType     = 0o170000
	modeDir      = 0o040000
	maxPieces    = 256 // processes with arguments under way; each CPU has one at most, the rest lost their end
)

var errShort = errors.New("record is cut short")

// A fact is a record of the kernel side, decoded.
type fact struct {
	wire   sensorKind
	boot   uint64 // ns since boot
	proc   event.ProcID
	body   event.Body // nil: see change, or the record is a piece of a larger one
	change *change
	head   *head // what a process said on a connection
	// stranger: the process is in no watched tree
	stranger bool
	acts     *acts // of an access: who acts
	groups   groups
	file     *knownFile // the body's file, as the table of uses names it
	// Of io_uring: which request it was, and how that ended.
	request uint64
	result  int32
}

// kind is what users call the record's kind.
func (f fact) kind() event.Kind { return eventKind(f.wire) }

func eventKind(k sensorKind) event.Kind {
	switch k {
	case sensorKindKIND_FORK:
		return event.KindFork
	case sensorKindKIND_EXEC, sensorKindKIND_ARGS:
		return event.KindExec
	case sensorKindKIND_EXIT:
		return event.KindExit
	case sensorKindKIND_CANDIDATE:
		return event.KindCandidate
	case sensorKindKIND_HEIR:
		return event.KindHeir
	case sensorKindKIND_OPEN, sensorKindKIND_ASKED:
		return event.KindFileOpen
	case sensorKindKIND_USE, sensorKindKIND_URING:
		return event.KindFileRead
	case sensorKindKIND_TRUNCATE:
		return event.KindFileWrite
	case sensorKindKIND_LINK, sensorKindKIND_SYMLINK:
		return event.KindFileLink
	case sensorKindKIND_ATTR:
		return event.KindFileAttr
	case sensorKindKIND_RENAME:
		return event.KindFileRename
	case sensorKindKIND_UNLINK, sensorKindKIND_RMDIR:
		return event.KindFileDelete
	case sensorKindKIND_MKDIR, sensorKindKIND_MKNOD:
		return event.KindFileCreate
	case sensorKindKIND_CONNECT, sensorKindKIND_UNIX, sensorKindKIND_VSOCK:
		return event.KindConnect
	case sensorKindKIND_ACCEPT:
		return event.KindAccept
	case sensorKindKIND_DNS:
		return event.KindDNS
	case sensorKindKIND_LISTEN:
		return event.KindListen
	case sensorKindKIND_SEND:
		return event.KindSend
	case sensorKindKIND_SOCKET:
		return event.KindSocket
	case sensorKindKIND_HEAD:
		return event.KindTLSName
	case sensorKindKIND_ACCESS:
		return event.KindAccess
	case sensorKindKIND_IDENTITY:
		return event.KindCredentials
	case sensorKindKIND_GETENV:
		return event.KindEnvRead
	case sensorKindKIND_COMPAT:
		return event.KindFileOpen
	default:
		return event.KindClose
	}
}

// pieces holds arguments that come in several records, until the exec that they
// belong to. The zero value is ready.
type pieces map[event.ProcID][]byte

// add keeps a piece. One that does not follow the last is dropped, with which
// the arguments come out truncated.
func (p *pieces) add(id event.ProcID, offset uint32, b []byte) {
	if *p == nil || (len(*p) >= maxPieces && (*p)[id] == nil) {
		*p = pieces{}
	}
	if offset == 0 {
		(*p)[id] = nil
	}
	if had := (*p)[id]; int(offset) == len(had) {
		(*p)[id] = append(had, b...)
	}
}

// take gives what was kept for a process, once.
func (p *pieces) take(id event.ProcID) []byte {
	b := (*p)[id]
	delete(*p, id)
	return b
}

// decode reads one record. It does no I/O and may be given anything.
func (p *pieces) decode(raw []byte) (fact, error) {
	h, _, err := split[sensorHeader](raw)
	if err != nil {
		return fact{}, err
	}
	f := fact{wire: h.Kind, boot: h.Time, proc: event.ProcID{PID: int32(h.Pid), Start: h.Start}, stranger: h.Flags&sensorFlagsSTRANGER != 0}
	switch h.Kind {
	case sensorKindKIND_FORK:
		f.body, err = decodeFork(raw)
	case sensorKindKIND_EXEC:
		f.body, f.groups, err = p.decodeExec(f.proc, raw)
	case sensorKindKIND_ARGS:
		err = p.decodeArgs(f.proc, raw)
	case sensorKindKIND_EXIT:
		f.body, err = decodeExit(raw)
	case sensorKindKIND_CANDIDATE:
		f.body, err = decodeCandidate(raw)
	case sensorKindKIND_HEIR:
		f.body, err = decodeHeir(raw)
	case sensorKindKIND_OPEN, sensorKindKIND_USE:
		err = f.decodeOpen(raw)
	case sensorKindKIND_URING:
		err = f.decodeEnd(raw)
	case sensorKindKIND_RENAME, sensorKindKIND_UNLINK, sensorKindKIND_RMDIR, sensorKindKIND_MKDIR, sensorKindKIND_MKNOD,
		sensorKindKIND_LINK, sensorKindKIND_SYMLINK, sensorKindKIND_TRUNCATE, sensorKindKIND_ATTR, sensorKindKIND_ASKED:
		f.change, f.request, err = decodeChange(raw)
	case sensorKindKIND_CONNECT, sensorKindKIND_ACCEPT, sensorKindKIND_CLOSE, sensorKindKIND_LISTEN, sensorKindKIND_SEND:
		f.body, err = decodeSock(raw)
	case sensorKindKIND_DNS:
		f.body, err = decodeDNS(raw)
	case sensorKindKIND_UNIX:
		f.body, err = decodeUnix(raw)
	case sensorKindKIND_VSOCK:
		f.body, err = decodeVSock(raw)
	case sensorKindKIND_SOCKET:
		f.body, err = decodeSocket(raw)
	case sensorKindKIND_HEAD:
		f.head, err = decodeHead(raw)
	case sensorKindKIND_ACCESS:
		err = f.decodeAccess(raw)
	case sensorKindKIND_IDENTITY:
		f.body, err = decodeIdentity(raw)
	case sensorKindKIND_GETENV:
		f.body, err = decodeGetenv(raw)
	case sensorKindKIND_COMPAT:
		f.body = event.Lost{Of: event.KindFileOpen, Count: 1, Cause: causeCompat}
	default:
		err = fmt.Errorf("record of unknown kind %d", h.Kind)
	}
	return f, err
}

// split views the front of b as a T, which has no pointers, and gives the rest.
// What it returns lives as long as b is left alone.
func split[T any](b []byte) (*T, []byte, error) {
	var t T
	if len(b) < int(unsafe.Sizeof(t)) {
		return nil, nil, errShort
	}
	return (*T)(unsafe.Pointer(unsafe.SliceData(b))), b[unsafe.Sizeof(t):], nil
}

// cut takes the first n bytes of b as text.
func cut(b []byte, n uint16) (text string, rest []byte, err error) {
	if len(b) < int(n) {
		return "", nil, errShort
	}
	return string(b[:n]), b[n:], nil
}

func decodeFork(raw []byte) (event.Body, error) {
	r, _, err := split[sensorForkRec](raw)
	if err != nil {
		return nil, err
	}
	return event.Fork{
		Parent: event.ProcID{PID: int32(r.ParentPid), Start: r.ParentStart},
		UID:    r.Uid,
		Comm:   comm(&r.Comm),
	}, nil
}

func (p *pieces) decodeArgs(id event.ProcID, raw []byte) error {
	r, rest, err := split[sensorArgsRec](raw)
	if err != nil {
		return err
	}
	if uint64(len(rest)) < uint64(r.Len) {
		return errShort
	}
	p.add(id, r.Offset, rest[:r.Len])
	return nil
}

func (p *pieces) decodeExec(id event.ProcID, raw []byte) (event.Body, groups, error) {
	r, rest, err := split[sensorExecRec](raw)
	if err != nil {
		return nil, groups{}, err
	}
	args := p.take(id)
	var texts [5]string
	for i, n := range []uint16{r.PathLen, r.CwdLen, r.EnvLen, r.ArgsLen, r.NameLen} {
		if texts[i], rest, err = cut(rest, n); err != nil {
			return nil, groups{}, err
		}
	}
	path, cwd, env, inline, name := texts[0], texts[1], texts[2], texts[3], texts[4]
	all := string(args) + inline
	x := event.Exec{
		Path:          kernelPath(path),
		Args:          words(all),
		ArgsTruncated: uint64(len(all)) < uint64(r.ArgsTotal),
		Cwd:           kernelPath(cwd),
		EnvNames:      words(env),
		EnvTruncated:  r.H.Flags&sensorFlagsENV_TRUNCATED != 0,
		Parent:        event.ProcID{PID: int32(r.ParentPid), Start: r.ParentStart},
		UID:           r.Uid,
		Comm:          comm(&r.Comm),
		Name:          name,
	}
	describe(&x, r)
	return x, groups{v2: r.Cgroup, all: r.Cgroups, mnt: r.Ns.Mnt}, nil
}

func decodeExit(raw []byte) (event.Body, error) {
	r, _, err := split[sensorExitRec](raw)
	if err != nil {
		return nil, err
	}
	return event.Exit{Code: int(r.Status >> 8 & 0xff), Signal: int(r.Status & 0x7f)}, nil
}

func decodeCandidate(raw []byte) (event.Body, error) {
	r, _, err := split[sensorCandidateRec](raw)
	if err != nil {
		return nil, err
	}
	return event.Candidate{Comm: comm(&r.Comm)}, nil
}

func comm(c *[16]int8) string {
	var b [16]byte
	for i, x := range c {
		b[i] = byte(x)
	}
	text, _, _ := bytes.Cut(b[:], []byte{0})
	return string(text)
}

// words splits text in which a zero byte ends each word.
func words(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\x00"), "\x00")
}

// kernelPath turns components from the last to the first, each ended by a zero
// byte, into a path. No components are the root.
func kernelPath(text string) string {
	if text == "" {
		return "/"
	}
	var b strings.Builder
	b.Grow(len(text) + 1)
	for text = strings.TrimSuffix(text, "\x00"); ; {
		i := strings.LastIndexByte(text, 0)
		b.WriteByte('/')
		b.WriteString(text[i+1:])
		if i < 0 {
			return b.String()
		}
		text = text[:i]
	}
}
