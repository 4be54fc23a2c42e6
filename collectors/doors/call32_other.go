//go:build !amd64

package doors

import "fmt"

const open32, unlink32 = 0, 0

func call32(uintptr, string, uintptr) error { return fmt.Errorf("%w: int 0x80", errUnavailable) }
func connect32(int, []byte) error           { return fmt.Errorf("%w: int 0x80", errUnavailable) }
