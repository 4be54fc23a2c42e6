package ebpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/clawwatch/clawwatch/collectors"
)

// openTrampoline tries the smallest fentry program. Some kernels refuse to load
// one, with no reason given, that otherwise have all that it needs.
func openTrampoline(collectors.Config) (collectors.Collector, error) {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "trial",
		Type:         ebpf.Tracing,
		AttachType:   ebpf.AttachTraceFEntry,
		AttachTo:     "security_file_open",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		License:      "Dual BSD/GPL",
	})
	if err != nil {
		return nil, collectors.Unsupported(fmt.Errorf("load a trial fentry program: %w", err))
	}
	defer prog.Close()
	l, err := link.AttachTracing(link.TracingOptions{Program: prog})
	if err != nil {
		return nil, collectors.Unsupported(fmt.Errorf("attach a trial fentry program: %w", err))
	}
	defer l.Close()
	return nil, collectors.Unsupported(errors.New("the kernel allows fentry programs, but this build has no back end of them"))
}
