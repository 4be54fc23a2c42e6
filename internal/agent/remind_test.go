package agent

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

// Two processes live that the records name: one as it is, one whose number was
// another's then.
func TestWhatWasLeftBehindIsRememberedByNumberAndStart(t *testing.T) {
	s, err := store.Open(filepath.Join(t.TempDir(), "events.db"), store.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a := &Agent{store: s, log: slog.New(slog.DiscardHandler), facts: make(chan event.Event, 100)}
	var records []event.Record
	begin := func(name string, later uint64) event.ProcID {
		out, err := exec.Command("sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!").Output() // an orphan
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		id, err := procfs.Identify(os.DirFS("/proc"), int32(pid))
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, event.Record{
			ID: name, Time: time.Now(), Kind: event.KindExec,
			Process:     &event.Process{PID: id.PID, StartTime: id.Start - later, Role: event.RoleTool},
			Attribution: &event.Attribution{Gateway: "/g", Skill: &event.SkillID{Name: name}, Confidence: event.Certain},
		})
		return id
	}
	same, other := begin("same", 0), begin("other", 1)
	if err := s.Append(records, nil); err != nil {
		t.Fatal(err)
	}
	a.remind(t.Context())
	close(a.facts)
	found := false
	for ev := range a.facts {
		x := ev.Body.(event.Exec)
		if ev.Proc == other {
			t.Errorf("recalled by its number alone: %+v", x)
		}
		if ev.Proc == same {
			found = x.Snapshot && x.Known != nil && x.Known.Skill.Name == "same" && x.Known.Gateway == "/g"
		}
	}
	if !found || !a.lineage.Has(same) {
		t.Error("the one that lives is not recalled")
	}
}
