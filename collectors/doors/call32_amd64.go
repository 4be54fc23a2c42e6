package doors

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// int80 makes a system call of a 32-bit program.
func int80(number, a, b, c uintptr) (result int32)

// call32 makes a 32-bit system call with a string, which has to be where 32
// bits reach.
func call32(number uintptr, text string, flags uintptr) error {
	if int80(getpid32, 0, 0, 0) < 0 {
		return fmt.Errorf("%w: 32-bit system calls", errUnavailable)
	}
	low, err := unix.Mmap(-1, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_32BIT)
	if err != nil {
		return err
	}
	copy(low, text)
	if r := int80(number, address(low), flags, 0); r < 0 {
		return fmt.Errorf("32-bit system call %d: %w", number, unix.Errno(-r))
	}
	return nil
}

// connect32 connects a socket.
func connect32(fd int, sa []byte) error {
	low, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_32BIT)
	if err != nil {
		return err
	}
	copy(low, sa)
	if r := int80(connectNumber32, uintptr(fd), address(low), uintptr(len(sa))); r < 0 {
		return fmt.Errorf("32-bit connect: %w", unix.Errno(-r))
	}
	return nil
}

const (
	open32          = 5
	unlink32        = 10
	getpid32        = 20
	connectNumber32 = 362
)
