package agent

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestOnlyWhatIsKeptAndWasThereRemains(t *testing.T) {
	all := [2]unix.CapUserData{{Effective: ^uint32(0), Permitted: ^uint32(0), Inheritable: 7}, {Effective: ^uint32(0), Permitted: ^uint32(0), Inheritable: 7}}
	want := [2]unix.CapUserData{{Effective: 0x80004, Permitted: 0x80004}, {Effective: 0xc0, Permitted: 0xc0}}
	if got := narrow(all, kept); got != want {
		t.Errorf("of all: %x, want %x", got, want)
	}
	few := [2]unix.CapUserData{{Permitted: 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_KILL}}
	want = [2]unix.CapUserData{{Effective: 1 << unix.CAP_SYS_PTRACE, Permitted: 1 << unix.CAP_SYS_PTRACE}}
	if got := narrow(few, kept); got != want {
		t.Errorf("of few: %x, want %x", got, want)
	}
}
