// Package doors is the conformance suite of collectors.Watcher: every door by
// which a program comes to a file, a socket or another program, and for each
// back end what is expected there. A door that is neither seen nor told to be a
// gap fails; so does a gap that has become seen, so that the table stays true.
//
// The test binary of a collector calls Main first of all, and then Test. It is
// its own program behind each door: no compiler is needed where it runs.
package doors

import (
	"errors"
	"fmt"
	"io"
)

// A Result is what becomes of what is done behind a door.
type Result string

// The results there are. Nothing seen and nothing said is none of them.
const (
	Seen       Result = "seen"
	Reported   Result = "gap reported"     // a Lost event, or one with a mark that it is cut
	Either     Result = "seen or reported" // as load has it
	Documented Result = "known gap"        // a line of docs/known-limitations.md
)

// The back ends that the table has a column for.
const (
	Trampoline = "ebpf-trampoline"
	Tracepoint = "ebpf-tracepoint"
	WithoutBPF = "without BPF" // the process connector, fanotify and sock_diag together
)

// Backends are the columns, best first.
var Backends = []string{Trampoline, Tracepoint, WithoutBPF}

// A Door is one way, and a program that goes it.
type Door struct {
	Family string
	Name   string
	// act goes through in the current directory and says what there is to see, a
	// line each: see text.
	act func(say say) error
	// with are the files that there are before; names with a slash at the end
	// are directories.
	with []string
	// Except has the back ends that do not see it.
	Except map[string]Result
	// Limit is the beginning of the line in docs/known-limitations.md, where
	// there is a known gap.
	Limit string
}

// Want is what is expected of a back end.
func (d Door) Want(backend string) Result {
	r := d.Except[backend]
	if backend == WithoutBPF {
		r = withoutBPF(d)
	}
	if r == "" {
		return Seen
	}
	return r
}

// withoutBPF is the result of a door that is not simply seen where the kernel
// refuses BPF. Connections and programs are looked at a moment later, and may be
// gone by then; coverage says so.
func withoutBPF(d Door) Result {
	switch d.Name {
	case "the path of open changes under it", "the address of connect changes under it", "a mount that hangs nowhere",
		"a hard link", "read by /proc/self/root, cwd and fd":
		return Either
	case "a bind mount in a mount namespace of its own", "hard and symbolic links", "emptied by open, truncate and fallocate",
		"mode, owner, times and extended attributes", "mapped and written to", "copied by sendfile, splice and copy_file_range",
		"datagrams with sendto", "datagrams with sendmsg", "datagrams with sendmmsg", "a connected datagram socket",
		"datagrams over IPv6, to an IPv4 address too", "an abstract Unix socket":
		return Reported
	}
	switch d.Family {
	case familySockets, familyPrograms, familyFlood:
		return Either
	}
	return ""
}

// errUnavailable says that the host has no such door.
var errUnavailable = errors.New("this host does not have it")

// say tells the test one thing to see.
type say func(verb string, words ...any)

func sayTo(w io.Writer) say {
	return func(verb string, words ...any) {
		line := verb
		for _, word := range words {
			line += fmt.Sprintf(" %q", fmt.Sprint(word))
		}
		_, _ = fmt.Fprintln(w, line)
	}
}

const (
	familySockets  = "Other calls for sockets"
	familyPrograms = "Ways to run a program"
	familyFlood    = "Hiding in a flood"
)

// All are the doors, by family.
func All() []Door {
	var all []Door
	for _, family := range []struct {
		name  string
		doors []Door
	}{
		{"Races for what a call is given", raceDoors()},
		{"Ways to write a path", pathDoors()},
		{"Other calls for files", fileDoors()},
		{familySockets, socketDoors()},
		{familyPrograms, execDoors()},
		{familyFlood, floodDoors()},
	} {
		for _, d := range family.doors {
			d.Family = family.name
			all = append(all, d)
		}
	}
	return all
}
