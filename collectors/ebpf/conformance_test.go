package ebpf

import (
	"testing"

	"github.com/clawwatch/clawwatch/collectors/doors"
)

func TestDoorsWithTracepoints(t *testing.T) {
	doors.Test(t, doors.Tracepoint, openBackend(t, tracepoint, 0))
}

func TestDoorsWithTrampolines(t *testing.T) {
	doors.Test(t, doors.Trampoline, openBackend(t, trampoline, 0))
}
