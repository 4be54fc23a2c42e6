package ebpf

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

func TestDecodeOpens(t *testing.T) {
	file := sensorFileKey{Mnt: 1, Dir: 2, Name: 3, Ino: 4, Generation: 5}
	rec := func(kind sensorKind, flags sensorFlags, mode uint32, name string) []byte {
		return wire(sensorOpenRec{
			H: header(kind, flags), File: file, Request: 6, F_mode: mode, I_mode: 0o100644, PathLen: 11, NameLen: uint16(len(name)),
		}, etc, name)
	}
	uring := event.FileDoubt{IOUring: true}
	tests := map[string]struct {
		raw  []byte
		want event.Body
	}{
		"that empties": {
			rec(sensorKindKIND_OPEN, sensorFlagsOPEN_TRUNCATES, fmodeWrite, "/etc/passwd\x00"),
			event.FileOpen{Path: "/etc/passwd", Write: true, Emptied: true, TID: 42},
		},
		"O_PATH under another name": {
			rec(sensorKindKIND_OPEN, 0, fmodePath, "/proc/self/root/etc/passwd\x00"),
			event.FileOpen{Path: "/etc/passwd", Requested: "/proc/self/root/etc/passwd", PathOnly: true, TID: 42},
		},
		"for execution, by io_uring": {
			rec(sensorKindKIND_OPEN, sensorFlagsURING, fmodeRead|fmodeExec, ""),
			event.FileOpen{Path: "/etc/passwd", Read: true, Execute: true, TID: 42, FileDoubt: uring},
		},
		"a use is no event yet": {rec(sensorKindKIND_USE, 0, fmodeRead, ""), nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var p pieces
			f, err := p.decode(test.raw)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(f.body, test.want) {
				t.Errorf("got  %+v\nwant %+v", f.body, test.want)
			}
			key := sensorUseKey{File: file, Start: 77, Pid: 41}
			if want := (knownFile{key: key, path: "/etc/passwd", opened: test.want != nil}); f.file == nil || *f.file != want {
				t.Errorf("file %+v, want %+v", f.file, want)
			}
			for n := range test.raw {
				if f, err := p.decode(test.raw[:n]); err == nil {
					t.Fatalf("cut to %d bytes: %+v", n, f.body)
				}
			}
		})
	}
}

func TestTheRequestedNameIsKeptWhereItSaysMore(t *testing.T) {
	tests := []struct{ name, got, want string }{
		{"", "/etc/passwd", ""},
		{"/etc/passwd", "/etc/passwd", ""},
		{"/etc//./passwd", "/etc/passwd", ""},
		{"passwd", "/etc/passwd", ""},
		{"./etc/passwd", "/etc/passwd", ""},
		{".", "/etc", ""},
		{"passwd", "/etc/shadow", "passwd"},
		{"wd", "/etc/passwd", "wd"},
		{"/tmp/link", "/etc/passwd", "/tmp/link"},
		{"/tmp/../etc/passwd", "/etc/passwd", "/tmp/../etc/passwd"},
		{"../passwd", "/etc/passwd", "../passwd"},
		{"/proc/self/fd/3", "/etc/passwd", "/proc/self/fd/3"},
	}
	for _, test := range tests {
		if got := requested(test.name, test.got); got != test.want {
			t.Errorf("%q for %s: %q, want %q", test.name, test.got, got, test.want)
		}
	}
}

func TestMagicNamesAreCut(t *testing.T) {
	tests := []struct {
		name, rest string
		ok         bool
	}{
		{"/proc/self/root", "", true},
		{"/proc/self/root/etc/passwd", "etc/passwd", true},
		{"/proc/self/cwd/../x/", "../x", true},
		{"/proc/thread-self/fd/12", "", true},
		{"/proc/thread-self/fd/12/x", "x", true},
		{"/proc/self/fd/", "", false},
		{"/proc/self/fd/1234567", "", false},
		{"/proc/self/fd/+1", "", false},
		{"/proc/self/rootless", "", false},
		{"/proc/self", "", false},
		{"/proc/1/root/x", "", false},
		{"proc/self/root/x", "", false},
	}
	for _, test := range tests {
		if rest, ok := magic(test.name); rest != test.rest || ok != test.ok {
			t.Errorf("%s: %q %v, want %q %v", test.name, rest, ok, test.rest, test.ok)
		}
	}
}

func TestARequestIsToldByItsEnd(t *testing.T) {
	at := time.Unix(100, 0)
	asked := func(name string) event.Event { return event.Event{Time: at, Body: event.FileDelete{Path: name}} }
	tried := func(name string) event.Event {
		return event.Event{Time: at, Body: event.FileDelete{Path: name, FileDoubt: event.FileDoubt{Attempted: true}}}
	}
	var r requests
	if e, ok := r.begin(1, asked("/a"), at); ok {
		t.Errorf("%+v before any end", e)
	}
	if e, ok := r.end(1, 0); !ok || e != asked("/a") {
		t.Errorf("success: %+v %v", e, ok)
	}
	if e, ok := r.end(1, 0); ok {
		t.Errorf("%+v for the second end", e)
	}
	r.begin(2, asked("/b"), at)
	if e, ok := r.end(2, -2); ok {
		t.Errorf("failure: %+v", e)
	}
	r.begin(3, asked("/c"), at)
	if e, ok := r.begin(3, asked("/d"), at); !ok || e != tried("/c") {
		t.Errorf("the place is taken again: %+v %v", e, ok)
	}
	if all := r.expire(at.Add(endWithin)); len(all) != 0 {
		t.Errorf("%+v before its time", all)
	}
	if all := r.expire(at.Add(endWithin + 1)); len(all) != 1 || all[0] != tried("/d") {
		t.Errorf("%+v, want /d attempted", all)
	}
	r.begin(4, asked("/e"), at)
	r.drop(4)
	if len(r) != 0 {
		t.Errorf("%d requests kept", len(r))
	}
}

func TestRequestsAreBounded(t *testing.T) {
	var r requests
	told := 0
	for id := range uint64(2 * maxRequests) {
		if _, ok := r.begin(id+1, event.Event{Body: event.FileDelete{}}, time.Time{}); ok {
			told++
		}
	}
	if len(r) != maxRequests || told != maxRequests {
		t.Errorf("%d kept and %d told, want %d of both", len(r), told, maxRequests)
	}
}

func TestPathsOfUsesAreBoundedAndTheLatestAreKept(t *testing.T) {
	var u uses
	key := func(i int) sensorUseKey { return sensorUseKey{File: sensorFileKey{Ino: uint64(i)}} }
	for i := range 5 * maxPaths {
		u.note(knownFile{key: key(i), path: fmt.Sprint("/", i)})
	}
	if len(u.young) > maxPaths || len(u.old) > maxPaths {
		t.Errorf("%d and %d kept", len(u.young), len(u.old))
	}
	for i := 4 * maxPaths; i < 5*maxPaths; i++ {
		if f, ok := u.find(key(i)); !ok || f.path != fmt.Sprint("/", i) {
			t.Fatalf("%d: %+v %v", i, f, ok)
		}
	}
}

func TestUsesWaitForTheirPathAndAreBounded(t *testing.T) {
	var u uses
	now := time.Unix(100, 0)
	key := func(i int) sensorUseKey { return sensorUseKey{File: sensorFileKey{Ino: uint64(i)}} }
	u.wait(key(0), sensorUse{Read: 1, How: sensorHowMAPPED_READ}, now)
	u.wait(key(0), sensorUse{Read: 2, Written: 3, More: 4}, now.Add(time.Second))
	want := waitingUse{use: sensorUse{Read: 3, Written: 3, More: 4, How: sensorHowMAPPED_READ}, since: now}
	if got := u.waiting[key(0)]; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	lost := 0
	for i := range 2 * maxUses {
		if !u.wait(key(i), sensorUse{}, now) {
			lost++
		}
	}
	if len(u.waiting) != maxUses || lost != maxUses {
		t.Errorf("%d wait and %d are lost, want %d of both", len(u.waiting), lost, maxUses)
	}
}

func TestWhatIsToldOfAUse(t *testing.T) {
	secret := knownFile{path: "/home/dev/x", opened: true}
	library := knownFile{path: "/usr/lib/x.so", opened: true}
	handed := knownFile{path: "/usr/lib/x.so"}
	tests := map[string]struct {
		file knownFile
		use  sensorUse
		told bool
	}{
		"bytes read":                         {secret, sensorUse{Read: 1}, true},
		"nothing but the open":               {secret, sensorUse{Sent: 1, Modes: 1}, false},
		"opened again":                       {secret, sensorUse{More: 1}, true},
		"a library is loaded":                {library, sensorUse{Read: 832, How: sensorHowMAPPED_READ | sensorHowMAPPED_EXEC}, false},
		"a library is written":               {library, sensorUse{Written: 1}, true},
		"a library through a handed-over fd": {handed, sensorUse{Read: 1}, true},
		"io_uring was asked and told no end": {secret, sensorUse{How: sensorHowBY_URING}, true},
	}
	for name, test := range tests {
		if b, ok := test.file.event(test.use); ok != test.told {
			t.Errorf("%s: %+v, told %v", name, b, ok)
		}
	}
}

// A name in a record can hold anything; only where it is cut is decided here.
func FuzzRequested(f *testing.F) {
	for _, name := range []string{"", "/etc/passwd", "../x", "/proc/self/fd/3/x", "/proc/thread-self/root", "\xff\n"} {
		f.Add(name, "/etc/passwd")
	}
	f.Fuzz(func(t *testing.T, name, got string) {
		if kept := requested(name, got); kept != "" && kept != name {
			t.Errorf("%q became %q", name, kept)
		}
		if rest, ok := magic(name); ok && (!strings.HasPrefix(name, "/proc/") || !strings.Contains(name, rest)) {
			t.Errorf("%q is cut to %q", name, rest)
		}
	})
}
