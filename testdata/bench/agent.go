package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/api"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

// patience is how long the agent may take for anything.
const patience = 2 * time.Minute

// An agent runs for one run of a workload, with a store of its own.
type agent struct {
	cmd    *exec.Cmd
	client *api.Client
}

// startAgent starts the agent with built-in defaults and waits until it looks
// for gateways.
func startAgent(path, dir, otlp string) (*agent, error) {
	none := filepath.Join(dir, "none.yaml")
	if err := os.WriteFile(none, nil, 0o600); err != nil {
		return nil, err
	}
	sock := filepath.Join(dir, "sock")
	args := []string{"run", "--config", none, "--state-dir", filepath.Join(dir, "state"), "--socket", sock}
	if otlp != "" {
		args = append(args, "--otlp", otlp)
	}
	cmd := exec.Command(path, args...)
	errs, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start agent: %w", err)
	}
	a := &agent{cmd, api.Dial(sock)}
	ready := make(chan error, 1)
	go func() {
		said := ""
		for lines := bufio.NewScanner(errs); lines.Scan(); {
			if said += lines.Text() + "\n"; strings.Contains(lines.Text(), "looking for OpenClaw gateways") {
				ready <- nil
				said = ""
			}
		}
		ready <- errors.New("agent ended: " + said)
	}()
	select {
	case err = <-ready:
	case <-time.After(patience):
		err = fmt.Errorf("agent was not ready within %s", patience)
	}
	if err != nil {
		return nil, errors.Join(err, a.stop())
	}
	return a, nil
}

func (a *agent) stop() error {
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := a.cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() < 0 {
		return nil // ended by the signal
	}
	return err
}

// A status is what is wanted of what the agent says of itself.
type status struct {
	Gateways []event.GatewayFound `json:"gateways"`
	Skills   map[string]int       `json:"skills"`
	Pipeline struct {
		Pushed, Records, Overflowed uint64
		Held                        int
	} `json:"pipeline"`
	Store    store.Stats `json:"store"`
	Unstored uint64      `json:"unstored"`
	Delivery map[string]struct {
		Alerts, Events struct{ Items, Delivered int64 }
	} `json:"delivery"`
}

func (a *agent) status() (s status, err error) {
	raw, err := a.client.Status(context.Background(), false)
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		return s, fmt.Errorf("ask agent: %w", err)
	}
	return s, nil
}

// knows waits until the agent has found the gateways and the skill of each.
func (a *agent) knows(homes []home) error {
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		s, err := a.status()
		if err != nil {
			return err
		}
		missing := 0
		for _, h := range homes {
			if s.Skills[h.state()] == 0 {
				missing++
			}
		}
		if missing == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("agent does not know %d of %d gateways after %s", missing, len(homes), patience)
		}
	}
}

// settled waits until the agent has nothing left to do. It looks from outside,
// as asking costs the agent something: while it works, its CPU time grows by
// more than the looking after gateways takes.
func (a *agent) settled(gateways int) (status, error) {
	idle := 20*time.Millisecond + time.Duration(gateways)*2*time.Millisecond
	waits := ""
	for end := time.Now().Add(patience); ; {
		before := cpu(a.cmd.Process.Pid)
		time.Sleep(700 * time.Millisecond)
		used := cpu(a.cmd.Process.Pid) - before
		if time.Now().After(end) {
			return status{}, fmt.Errorf("agent is not done after %s: %s; does another gateway run on this host?", patience, waits)
		}
		if used > idle {
			waits = fmt.Sprintf("it used %s of CPU in the last 0.7 s", used)
			continue
		}
		s, err := a.status()
		if err != nil {
			return s, err
		}
		waiting := int64(s.Pipeline.Held)
		for _, d := range s.Delivery {
			waiting += d.Alerts.Items + d.Events.Items
		}
		if waiting == 0 {
			return s, nil
		}
		waits = fmt.Sprintf("%d facts wait", waiting)
	}
}

// unhooked waits until the agent, which watches nothing, has taken out the hooks
// that others pay for. Those at system calls are perf events.
func (a *agent) unhooked() error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", a.cmd.Process.Pid))
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(fds, func(fd string) bool {
			to, err := os.Readlink(fd)
			return err == nil && strings.Contains(to, "[perf_event]")
		}) {
			return nil
		}
	}
	return fmt.Errorf("agent without a gateway has hooks at system calls after %s", patience)
}

// lost is how many events the agent says that it lost.
func (a *agent) lost() (uint64, error) {
	sum := uint64(0)
	for r, err := range a.client.Events(context.Background(), store.Query{Kind: string(event.KindLost), Limit: 10_000}, false) {
		if err != nil {
			return sum, fmt.Errorf("ask for losses: %w", err)
		}
		if r.Sensor != nil {
			sum += r.Sensor.Lost
		}
	}
	return sum, nil
}

// named is the part of the newest records of tool calls that name the skill for
// certain, or as the gateway's own doing the call.
func (a *agent) named(h home) (float64, error) {
	all, named := 0, 0
	for r, err := range a.client.Events(context.Background(), store.Query{Gateway: h.state(), Limit: 2000}, false) {
		if err != nil {
			return 0, fmt.Errorf("ask for events: %w", err)
		}
		if r.Process == nil || r.Process.Role != event.RoleTool {
			continue
		}
		if all++; r.Attribution.Skill != nil && r.Attribution.Skill.Name == skillName {
			named++
		}
	}
	if all == 0 {
		return 0, errors.New("no event of a tool call was recorded")
	}
	return float64(named) / float64(all), nil
}

// cpu is the CPU time that a process has used, with its threads. 0: it is gone.
func cpu(pid int) time.Duration {
	const sched = 2 // CPUCLOCK_SCHED: to the nanosecond, unlike /proc/PID/stat
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// What /proc/PID/status calls the resident set.
const (
	residentNow  = "VmRSS:"
	residentPeak = "VmHWM:"
)

// memory is the resident set of a process, now or at its largest, in MB. 0: it is
// gone.
func memory(pid int, which string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, which); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1000
		}
	}
	return 0
}
