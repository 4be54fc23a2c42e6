package agent

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/internal/event"
)

func TestWhatIsKeptOfThePrivilegesOpensTheSensorByBPFAgain(t *testing.T) {
	needRoot(t)
	if os.Getenv("CLAWWATCH_LOWERED") == "" {
		// In another process, because what is given up does not come back.
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "CLAWWATCH_LOWERED=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	a := &Agent{cfg: Config{StateDir: t.TempDir(), RingSize: 1 << 20}}
	if err := a.lower(); errors.Is(err, syscall.ENOTSUP) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	host := hostOf(a.cfg)
	host.Lineage = kin{a}
	open, coverage := collectors.Select(probes(), host)
	for _, s := range open {
		defer s.Close()
	}
	for _, c := range coverage {
		t.Logf("%+v", c)
	}
	if len(open) == 0 || len(open[0].Gives) < 10 || !slices.Contains(open[0].Gives, event.KindExec) {
		t.Errorf("open: %+v", open)
	}
}
