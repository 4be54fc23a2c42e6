package ebpf

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/internal/event"
)

// limits are the gaps that a back end has by its nature, as far as this host has
// the doors to them.
func limits(of backend, procPath string) []event.Coverage {
	gap := func(reason string, kinds ...event.Kind) event.Coverage {
		return event.Coverage{Probe: of.String(), Kinds: kinds, Fidelity: collectors.Sampled.String(), Reason: reason, Known: true}
	}
	all := []event.Coverage{
		gap("variables that are asked for by name are seen in programs that link glibc or musl, and in bash; not in the first moments of a process, "+
			"in children that do not exec, in more than 64 processes at once and 20 more a second, in Python, Perl and other programs with a copy of their own, and in Go and static programs", event.KindEnvRead),
	}
	switch {
	case !has32(procPath):
	case of == trampoline:
		all = append(all, gap("32-bit system calls that link, truncate, read or write files or change their attributes, that make, bind or listen on sockets, receive descriptors, reach into other processes or change who a process is are not seen",
			event.KindSocket, event.KindListen, event.KindFileOpen, event.KindAccess, event.KindCredentials, event.KindNamespace))
	default:
		all = append(all, gap("32-bit system calls are not seen: a 32-bit program is reported as lost, a 64-bit one that uses int 0x80 is only when it signals, forks or exits that way",
			event.KindFileOpen, event.KindFileCreate, event.KindFileRename, event.KindFileDelete, event.KindConnect, event.KindAccept))
	}
	return all
}

// has32 reports whether the kernel runs 32-bit programs. It does unless it says
// that it does not.
func has32(procPath string) bool {
	if _, err := os.Stat(filepath.Join(procPath, "sys/abi")); err != nil {
		return false // no such door was built
	}
	line, err := os.ReadFile(filepath.Join(procPath, "cmdline"))
	return err != nil || !turnsOff32(string(line))
}

// turnsOff32 reports whether a kernel's command line forbids 32-bit programs.
func turnsOff32(line string) bool {
	words := strings.Fields(line)
	return slices.ContainsFunc([]string{"0", "off", "n", "false"}, func(off string) bool {
		return slices.Contains(words, "ia32_emulation="+off)
	})
}
