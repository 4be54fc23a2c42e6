package ebpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/clawwatch/clawwatch/collectors"
)

// openTrampoline takes the back end of trampolines where all of its programs
// load and attach, once for a trial: what it lacks the other one has.
func openTrampoline(cfg collectors.Config) (collectors.Collector, error) {
	if err := tryTrampoline(); err != nil {
		return nil, collectors.Unsupported(err)
	}
	s, err := open(cfg, trampoline)
	if err != nil {
		return nil, collectors.Unsupported(err)
	}
	if err := s.tryAttach(); err != nil {
		return nil, collectors.Unsupported(errors.Join(err, s.Close()))
	}
	return s, nil
}

// tryAttach attaches each trampoline and takes it out again. One that the
// kernel refuses and that can be done without is dropped.
func (s *sensor) tryAttach() error {
	for _, p := range programs(trampoline) {
		if p.of == common || s.progs[p.name] == nil {
			continue
		}
		links, err := s.attach(p)
		if err == nil {
			err = closeLinks(links)
		}
		if err != nil && p.lack == "" {
			return err
		}
		if err != nil {
			s.drop(p, err)
		}
	}
	return nil
}

// tryTrampoline tries the smallest fentry program, which tells at once and
// plainly. Some kernels refuse one, with no reason given, that otherwise have
// all that it needs.
func tryTrampoline() error {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "trial",
		Type:         ebpf.Tracing,
		AttachType:   ebpf.AttachTraceFEntry,
		AttachTo:     "security_file_open",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		License:      "Dual BSD/GPL",
	})
	if err != nil {
		return fmt.Errorf("load a trial fentry program: %w", err)
	}
	defer prog.Close()
	l, err := link.AttachTracing(link.TracingOptions{Program: prog})
	if err != nil {
		return fmt.Errorf("attach a trial fentry program: %w", err)
	}
	return l.Close()
}
