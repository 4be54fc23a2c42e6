package agent

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/doors"
	"github.com/clawwatch/clawwatch/collectors/ebpf"
	"github.com/clawwatch/clawwatch/internal/canary"
	"github.com/clawwatch/clawwatch/internal/event"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "canary" { // the agent runs itself for a trial
		if os.Args[2] == "nothing" {
			time.Sleep(time.Second)
		} else if err := canary.Fly(os.Stdin, os.Stdout, os.Args[2]); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	doors.Main()
	os.Exit(m.Run())
}

// A sight is all that an agent sees, as one collector.
type sight struct {
	*Agent
	facts <-chan event.Event
}

func (s sight) Run(ctx context.Context, emit func(event.Event)) error {
	for {
		select {
		case ev := <-s.facts:
			emit(ev)
		case <-ctx.Done():
			return nil
		}
	}
}

func (s sight) Watch(id event.ProcID) error   { return s.watch(id) }
func (s sight) Unwatch(id event.ProcID) error { s.lineage.Remove(id); return nil }
func (s sight) Coverage() []event.Coverage    { return s.sensors.covers() }
func (s sight) Close() error                  { return nil } // observe closes it

func TestDoorsWithoutBPF(t *testing.T) {
	needRoot(t)
	all := probes()
	for i := range ebpf.Probes() {
		all[i].Open = func(collectors.Config) (collectors.Collector, error) {
			return nil, collectors.Unsupported(errors.New("this test does without BPF"))
		}
	}
	a, facts := observe(t, all...)
	doors.Test(t, doors.WithoutBPF, sight{a, facts})
}
