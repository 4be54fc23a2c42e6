package ebpf

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// wire is the bytes of a record structure and the text behind it.
func wire[T any](rec T, text ...string) []byte {
	b := slices.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&rec)), unsafe.Sizeof(rec)))
	return append(b, strings.Join(text, "")...)
}

func header(kind sensorKind, flags ...sensorFlags) sensorHeader {
	h := sensorHeader{Time: 5, Start: 77, Pid: 41, Tid: 42, Kind: kind}
	for _, f := range flags {
		h.Flags |= f
	}
	return h
}

func commOf(text string) (c [16]int8) {
	for i := range text {
		c[i] = int8(text[i])
	}
	return c
}

const (
	etc = "passwd\x00etc\x00"
	tmp = "tmp\x00"
)

// records are one of each kind, and what it says.
func records() map[string]struct {
	raw  []byte
	want event.Body
} {
	v4 := [16]byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 1}
	v6 := [16]byte{0: 0x20, 1: 0x01, 15: 1}
	sock := func(kind sensorKind, protocol, inbound uint16) []byte {
		return wire(sensorSockRec{
			H: header(kind), Cookie: 9, Sent: 3, Received: 4, Error: 111,
			A: sensorAddrs{Local: v6, Peer: v4, LocalPort: 1024, PeerPort: 443, Protocol: protocol, Inbound: inbound},
		})
	}
	local, peer := netip.MustParseAddrPort("[2001::1]:1024"), netip.MustParseAddrPort("192.0.2.1:443")
	parent := event.ProcID{PID: 40, Start: 76}
	return map[string]struct {
		raw  []byte
		want event.Body
	}{
		"fork": {
			wire(sensorForkRec{H: header(sensorKindKIND_FORK), ParentPid: 40, ParentStart: 76, Uid: 7, Comm: commOf("sh")}),
			event.Fork{Parent: parent, UID: 7, Comm: "sh"},
		},
		"exec": {
			wire(sensorExecRec{
				H: header(sensorKindKIND_EXEC, sensorFlagsENV_TRUNCATED), ParentPid: 40, ParentStart: 76, Uid: 7,
				ArgsTotal: 7, PathLen: 11, CwdLen: 4, EnvLen: 4, ArgsLen: 7, Comm: commOf("fifteen-bytes-x"),
				NameLen: 3, Image: sensorImageIMAGE_SCRIPT | sensorImageIMAGE_32BIT, Session: 3, Creds: sensorCreds{Uid: 7, Suid: 8},
				Ns: sensorNamespaces{Net: 9}, File: sensorFileId{Inode: 5, Size: 6, Modified: 7, Changed: 8, Dev: 8<<20 | 3, Magic: 0xef53},
			}, etc, tmp, "A\x00B\x00", "a\x00\x00bcd\x00", "./x"),
			event.Exec{
				Path: "/etc/passwd", Cwd: "/tmp", Args: []string{"a", "", "bcd"}, EnvNames: []string{"A", "B"},
				EnvTruncated: true, Parent: parent, UID: 7, Comm: "fifteen-bytes-x",
				Name: "./x", Script: true, Bits32: true, Session: 3, Creds: &event.Creds{UID: 7, SUID: 8}, Namespaces: &event.Namespaces{Net: 9},
				File: event.FileID{Dev: 0x803, Inode: 5, Size: 6, Modified: 7, Changed: 8, Magic: 0xef53},
			},
		},
		"exec in the root directory, whose arguments could not be read": {
			wire(sensorExecRec{H: header(sensorKindKIND_EXEC), ArgsTotal: 7, PathLen: 11}, etc),
			event.Exec{
				Path: "/etc/passwd", Cwd: "/", ArgsTruncated: true, Creds: &event.Creds{}, Namespaces: &event.Namespaces{},
			},
		},
		"exit with a status":         {wire(sensorExitRec{H: header(sensorKindKIND_EXIT), Status: 3 << 8}), event.Exit{Code: 3}},
		"exit by signal with a core": {wire(sensorExitRec{H: header(sensorKindKIND_EXIT), Status: 11 | 0x80}), event.Exit{Signal: 11}},
		"candidate": {
			wire(sensorCandidateRec{H: header(sensorKindKIND_CANDIDATE), Comm: commOf("openclaw")}),
			event.Candidate{Comm: "openclaw"},
		},
		"heir that reads": {
			wire(sensorHeirRec{
				H: header(sensorKindKIND_HEIR), ParentStart: 9, Inode: 5, Dev: 8<<20 | 3, ParentPid: 1, Uid: 7, F_mode: fmodeRead | fmodeWrite,
				PathLen: 11, Comm: commOf("cat"),
			}, etc),
			event.Heir{
				File: event.FileKey{Dev: 0x803, Inode: 5}, Path: "/etc/passwd", Comm: "cat", Parent: event.ProcID{PID: 1, Start: 9}, UID: 7,
			},
		},
		"heir that writes, to what it cannot be told": {
			wire(sensorHeirRec{H: header(sensorKindKIND_HEIR, sensorFlagsPATH_TRUNCATED), Inode: 5, Dev: 1 << 20, F_mode: fmodeWrite, PathLen: 4}, tmp),
			event.Heir{File: event.FileKey{Dev: 0x100, Inode: 5}, Write: true},
		},
		"heir that runs it": {
			wire(sensorHeirRec{H: header(sensorKindKIND_HEIR), Inode: 5, Dev: 256, F_mode: fmodeRead, Program: 1, PathLen: 4}, tmp),
			event.Heir{File: event.FileKey{Dev: 0x100000, Inode: 5}, Path: "/tmp", Program: true},
		},
		"open": {
			wire(sensorOpenRec{
				H: header(sensorKindKIND_OPEN), File: sensorFileKey{Ino: 5}, Dev: 8<<20 | 3, F_mode: fmodeRead, I_mode: 0o100644, PathLen: 11,
			}, etc),
			event.FileOpen{Path: "/etc/passwd", File: event.FileKey{Dev: 0x803, Inode: 5}, Read: true, TID: 42},
		},
		"open that creates": {
			wire(sensorOpenRec{
				H: header(sensorKindKIND_OPEN, sensorFlagsPATH_TRUNCATED), F_mode: fmodeWrite | fmodeCreated, PathLen: 4,
			}, tmp),
			event.FileOpen{Path: "/tmp", Write: true, Create: true, TID: 42, Truncated: true},
		},
		"open of a directory": {
			wire(sensorOpenRec{H: header(sensorKindKIND_OPEN), F_mode: fmodeRead, I_mode: 0o040755, PathLen: 4}, tmp),
			event.FileOpen{Path: "/tmp", Read: true, Directory: true, TID: 42},
		},
		"connect over UDP": {
			sock(sensorKindKIND_CONNECT, 17, 0),
			event.Connect{Transport: event.UDP, Local: local, Peer: peer, Socket: 9, Errno: 111},
		},
		"accept": {
			sock(sensorKindKIND_ACCEPT, 6, 1),
			event.Accept{Transport: event.TCP, Local: local, Peer: peer, Socket: 9},
		},
		"inherited": {
			wire(sensorSockRec{H: header(sensorKindKIND_CONNECT, sensorFlagsPASSED), A: sensorAddrs{Peer: v4, PeerPort: 443, Protocol: 6}}),
			event.Connect{Transport: event.TCP, Local: netip.MustParseAddrPort("[::]:0"), Peer: peer, Passed: true},
		},
		"listen": {sock(sensorKindKIND_LISTEN, 17, 1), event.Listen{Transport: event.UDP, Local: local, Socket: 9}},
		"totals so far": {
			sock(sensorKindKIND_SEND, 6, 0),
			event.Send{Transport: event.TCP, Local: local, Peer: peer, Socket: 9, Sent: 3, Received: 4},
		},
		"a service by its path": {
			wire(sensorUnixRec{H: header(sensorKindKIND_UNIX), Cookie: 9, PathLen: 11, NameLen: 5}, etc, "../x\x00"),
			event.Connect{Transport: event.Unix, Name: "/etc/passwd", Socket: 9},
		},
		"a service that is not there": {
			wire(sensorUnixRec{H: header(sensorKindKIND_UNIX), Error: 2, NameLen: 4}, "../x"),
			event.Connect{Transport: event.Unix, Name: "../x", Errno: 2},
		},
		"an abstract service": {
			wire(sensorUnixRec{H: header(sensorKindKIND_UNIX), NameLen: 4}, "\x00a\x00b"),
			event.Connect{Transport: event.Unix, Name: "@a@b"},
		},
		"a service of its own": {
			wire(sensorUnixRec{H: header(sensorKindKIND_UNIX), PathLen: 11, Listens: 1}, etc),
			event.Listen{Transport: event.Unix, Name: "/etc/passwd"},
		},
		"vsock": {
			wire(sensorSockRec{H: header(sensorKindKIND_VSOCK), Cookie: 9, A: sensorAddrs{Peer: [16]uint8{0: 2, 4: 0xd2, 5: 4}}}),
			event.Connect{Transport: event.VSock, Name: "2:1234", Socket: 9},
		},
		"a raw socket": {
			wire(sensorSocketRec{H: header(sensorKindKIND_SOCKET), Family: 17, Type: 3, Protocol: 768, Error: 1}),
			event.Socket{Family: "packet", Type: "raw", Protocol: 768, Errno: 1},
		},
		"a socket of a kind without a name": {
			wire(sensorSocketRec{H: header(sensorKindKIND_SOCKET), Family: 99, Type: 9}),
			event.Socket{Family: "99", Type: "9"},
		},
		"signal": {
			wire(sensorAccessRec{H: header(sensorKindKIND_ACCESS), TargetPid: 40, TargetStart: 76, Signal: 9, Stranger: 1, Comm: commOf("kill")}),
			event.Access{Target: parent, Method: event.AccessSignal, Signal: 9},
		},
		"write to the memory of a thread": {
			wire(sensorAccessRec{H: header(sensorKindKIND_ACCESS), TargetPid: 40, Method: sensorMethodMETHOD_VM_WRITE}),
			event.Access{Target: event.ProcID{PID: 40}, Method: event.AccessVMWrite},
		},
		"variable asked for": {
			wire(sensorGetenvRec{H: header(sensorKindKIND_GETENV), Shell: 1, Name: [64]int8{'T', 'Z'}}),
			event.EnvRead{Method: event.EnvShell, Names: []string{"TZ"}},
		},
		"other user": {
			wire(sensorIdentityRec{H: header(sensorKindKIND_IDENTITY), Creds: sensorCreds{Uid: 1, Permitted: 2}, Call: unix.SYS_SETRESUID}),
			event.Credentials{Creds: event.Creds{UID: 1, Permitted: 2}, Call: "setresuid"},
		},
		"other namespace": {
			wire(sensorIdentityRec{H: header(sensorKindKIND_IDENTITY), Ns: sensorNamespaces{Mnt: 5}, Call: unix.SYS_SETNS}),
			event.Namespace{Now: event.Namespaces{Mount: 5}, Call: "setns"},
		},
		"32-bit door": {wire(sensorCompatRec{H: header(sensorKindKIND_COMPAT)}), event.Lost{Of: event.KindFileOpen, Count: 1, Cause: causeCompat}},
		"close": {
			sock(sensorKindKIND_CLOSE, 6, 1),
			event.Close{Transport: event.TCP, Local: local, Peer: peer, Socket: 9, Inbound: true, Sent: 3, Received: 4},
		},
	}
}

func TestDecode(t *testing.T) {
	for name, r := range records() {
		t.Run(name, func(t *testing.T) {
			var p pieces
			f, err := p.decode(r.raw)
			if err != nil {
				t.Fatal(err)
			}
			if f.proc != (event.ProcID{PID: 41, Start: 77}) || f.boot != 5 {
				t.Errorf("%v at %d", f.proc, f.boot)
			}
			if !reflect.DeepEqual(f.body, r.want) {
				t.Errorf("got  %+v\nwant %+v", f.body, r.want)
			}
			for n := range r.raw {
				if f, err := p.decode(r.raw[:n]); err == nil {
					t.Fatalf("cut to %d bytes: %+v", n, f.body)
				}
			}
		})
	}
}

func TestPiecesOfArguments(t *testing.T) {
	piece := func(offset uint32, text string) []byte {
		return wire(sensorArgsRec{H: header(sensorKindKIND_ARGS), Offset: offset, Len: uint32(len(text))}, text)
	}
	last := wire(sensorExecRec{H: header(sensorKindKIND_EXEC), ArgsTotal: 8})
	tests := map[string]struct {
		raw       [][]byte
		args      []string
		truncated bool
	}{
		"all":                {[][]byte{piece(0, "ab\x00c"), piece(4, "def\x00"), last}, []string{"ab", "cdef"}, false},
		"the second is lost": {[][]byte{piece(0, "ab\x00c"), last}, []string{"ab", "c"}, true},
		"the first is lost":  {[][]byte{piece(4, "def\x00"), last}, nil, true},
		"one between is lost": {
			[][]byte{piece(0, "ab"), piece(4, "ef"), last}, []string{"ab"}, true,
		},
		"an earlier exec was lost": {
			[][]byte{piece(0, "old"), piece(0, "ab\x00c"), piece(4, "def\x00"), last}, []string{"ab", "cdef"}, false,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var p pieces
			var got fact
			for _, raw := range test.raw {
				var err error
				if got, err = p.decode(raw); err != nil {
					t.Fatal(err)
				}
			}
			x := got.body.(event.Exec)
			if !slices.Equal(x.Args, test.args) || x.ArgsTruncated != test.truncated {
				t.Errorf("%q, truncated %v", x.Args, x.ArgsTruncated)
			}
			if len(p) != 0 {
				t.Errorf("%d processes kept", len(p))
			}
		})
	}
}

func TestPiecesAreBounded(t *testing.T) {
	var p pieces
	for pid := range int32(10 * maxPieces) {
		p.add(event.ProcID{PID: pid}, 0, []byte("never ended"))
	}
	if len(p) > maxPieces {
		t.Errorf("%d processes kept, want at most %d", len(p), maxPieces)
	}
}

func FuzzDecode(f *testing.F) {
	for _, r := range records() {
		f.Add(r.raw)
	}
	f.Add(wire(sensorArgsRec{H: header(sensorKindKIND_ARGS), Len: 3}, "abc"))
	f.Add(wire(sensorChangeRec{H: header(sensorKindKIND_RENAME), NameLen: [2]uint16{2, 3}}, "a\x00bb\x00"))
	f.Add(wire(sensorHeadRec{H: header(sensorKindKIND_HEAD), Len: 5}, "GET /"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p pieces
		got, err := p.decode(raw)
		if err != nil {
			return
		}
		for _, path := range pathsOf(got.body) {
			if !strings.HasPrefix(path, "/") {
				t.Errorf("path %q is not absolute", path)
			}
		}
		if got.change != nil {
			for _, name := range got.change.names {
				if _, base, _ := name.parent(); strings.Contains(base, "/") {
					t.Errorf("last component %q has a slash", base)
				}
			}
		}
	})
}

func pathsOf(body event.Body) []string {
	switch b := body.(type) {
	case event.Exec:
		return []string{b.Path, b.Cwd}
	case event.FileOpen:
		return []string{b.Path}
	default:
		return nil
	}
}

func TestParseStart(t *testing.T) {
	tests := map[string]uint64{
		"7 (a) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 900 1":             900,
		"7 (a) b) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 900":            900,
		"7 ((sd-pam) 1 2 3\n) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 12": 12,
	}
	for stat, want := range tests {
		if got, err := parseStart([]byte(stat)); got != want || err != nil {
			t.Errorf("%q: %d, %v, want %d", stat, got, err, want)
		}
	}
	for _, stat := range []string{"", ")", "7 (a) S 1", "7 (a) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 x"} {
		if got, err := parseStart([]byte(stat)); err == nil {
			t.Errorf("%q: %d, want an error", stat, got)
		}
	}
}

func FuzzParseStart(f *testing.F) {
	f.Add([]byte("7 (a) b) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 900"))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseStart(b) }) // must not panic
}
