package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A condition is what a workload runs beside.
type condition struct {
	name    string
	agent   bool
	watched bool // the workload is a tool call of the first gateway
	shipped bool
	trees   int // gateways
	peer    *peer
}

func conditions(o order, found []peer) []condition {
	all := []condition{
		{name: "without"},
		{name: "unwatched", agent: true, trees: 1},
		{name: "watched", agent: true, watched: true, trees: 1},
		{name: "shipped", agent: true, watched: true, shipped: true, trees: 1},
		{name: "trees 0", agent: true},
		{name: "trees 50", agent: true, trees: 50},
	}
	for i := range found {
		all = append(all, condition{name: found[i].name, peer: &found[i]})
	}
	return slices.DeleteFunc(all, func(c condition) bool {
		return len(o.under) > 0 && c.name != "without" && !slices.Contains(o.under, c.name)
	})
}

// fits reports whether a condition says anything about a workload.
func (c condition) fits(w workload) bool {
	switch {
	case strings.HasPrefix(c.name, "trees"):
		return w.storm || w.name == "idle"
	case c.shipped:
		return w.storm || w.gateway || w.fixed
	case c.watched:
		return w.name != "idle"
	}
	return true
}

// A sample is one run.
type sample struct {
	others int           // gateways on this host that are not the bench's
	wall   time.Duration // that the workload took
	cpu    time.Duration // of the agent, or the peer
	memory float64       // its peak, MB
	events uint64        // records made
	lost   uint64
	early  uint64  // facts that went out before their skill could be known
	named  float64 // part of the records that name the skill
	wire   float64 // bytes an event
}

// bench runs all rounds.
func bench(o order) (*report, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("root is needed, for the agent")
	}
	dir, err := os.MkdirTemp("", "clawwatch-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b, err := newBed(dir)
	if err != nil {
		return nil, err
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupted)
	r := newReport(o)
	run := func(round int, w workload, c condition) error {
		select {
		case <-interrupted:
			return errors.New("interrupted")
		default:
		}
		if o.verbose {
			fmt.Fprintf(os.Stderr, "round %d: %s %s\n", round+1, w.name, c.name)
		}
		s, err := b.run(o, w, c)
		if err != nil && c.peer != nil {
			r.note("%s beside %s: %v", w.name, c.name, err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("round %d, %s %s: %w", round+1, w.name, c.name, err)
		}
		r.add(w, c, round, s)
		return nil
	}
	chosen, err := choose(o, r)
	if err != nil {
		return nil, err
	}
	all := conditions(o, r.findPeers(o))
	for round := range o.rounds {
		for _, w := range chosen {
			for i := range all {
				// Another order each round.
				if c := all[(i+round)%len(all)]; c.fits(w) {
					if err := run(round, w, c); err != nil {
						return r, err
					}
				}
			}
		}
	}
	if !o.auditd {
		return r, nil
	}
	audit := auditd()
	for round := range o.rounds {
		for _, w := range chosen {
			if err := run(round, w, condition{name: audit.name, peer: &audit}); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// choose gives the workloads that are wanted and can run.
func choose(o order, r *report) ([]workload, error) {
	for _, name := range o.only {
		if _, ok := find(name); !ok {
			return nil, fmt.Errorf("no workload %s", name)
		}
	}
	var chosen []workload
	for _, w := range workloads() {
		if len(o.only) > 0 && !slices.Contains(o.only, w.name) {
			continue
		}
		if w.missing != nil && w.missing() != "" {
			r.note("%s: not run: %s", w.name, w.missing())
			continue
		}
		w.n = max(1, int(float64(w.n)*o.scale))
		chosen = append(chosen, w)
	}
	return chosen, nil
}

// run does a workload once under a condition.
func (b *bed) run(o order, w workload, c condition) (s sample, err error) {
	dir, err := b.workdir()
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir)
	j := job{n: w.n, dir: filepath.Join(dir, "work"), servers: b.servers.addresses, title: "-"}
	if err := os.Mkdir(j.dir, 0o700); err != nil {
		return s, err
	}
	switch {
	case c.agent:
		return b.beside(o, w, c, j, dir)
	case c.peer != nil:
		return b.besidePeer(w, *c.peer, j, dir)
	}
	unix.Sync() // what others left to be written is not the workload's to wait for
	s.wall, err = b.alone(w, j)
	return s, err
}

// alone does a workload in a process that nobody watches.
func (b *bed) alone(w workload, j job) (d time.Duration, err error) {
	if w.gateway {
		h, err := b.newHome()
		if err != nil {
			return 0, err
		}
		p, err := b.working(w, j, h)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, p.end()) }()
		if err := p.say("go"); err != nil {
			return 0, err
		}
		return p.took()
	}
	args := b.worker(w, j)
	p, err := start(exec.Command(args[0], args[1:]...))
	if err != nil {
		return 0, err
	}
	d, err = p.took()
	return d, errors.Join(err, p.end())
}

// beside does a workload beside an agent.
func (b *bed) beside(o order, w workload, c condition, j job, dir string) (s sample, err error) {
	otlp := ""
	if c.shipped {
		otlp = b.servers.otlp
	}
	st, err := b.stage(w, c, j)
	defer func() { err = errors.Join(err, st.end()) }()
	if err != nil {
		return s, err
	}
	a, err := startAgent(o.agent, dir, otlp)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, a.stop()) }()
	if err := a.knows(st.homes); err != nil {
		return s, err
	}
	before, err := a.settled(c.trees)
	if err == nil && c.trees == 0 {
		err = a.unhooked()
	}
	if err != nil {
		return s, err
	}
	for _, g := range before.Gateways {
		if !strings.HasPrefix(g.StateDir, b.dir+"/") {
			s.others++
		}
	}
	pid, wire := a.cmd.Process.Pid, b.servers.received.Load()
	stopProfile, err := profile(o, w, c, pid)
	if err != nil {
		return s, err
	}
	unix.Sync()
	used := cpu(pid)
	if s.wall, err = st.act(b); err != nil {
		return s, err
	}
	after, err := a.settled(c.trees)
	if err != nil {
		return s, err
	}
	s.cpu, s.memory = cpu(pid)-used, memory(pid, residentPeak)
	if !c.watched { // its start is no part of what it takes when there is nothing to do
		s.memory = memory(pid, residentNow)
	}
	if err := stopProfile(); err != nil {
		return s, err
	}
	s.events, s.early = after.Pipeline.Records-before.Pipeline.Records, after.Pipeline.Overflowed-before.Pipeline.Overflowed
	if s.lost, err = a.lost(); err != nil {
		return s, err
	}
	s.lost += after.Unstored
	if c.watched {
		if s.named, err = a.named(st.homes[0]); err != nil {
			return s, err
		}
	}
	if c.shipped && s.events > 0 {
		s.wire = float64(b.servers.received.Load()-wire) / float64(s.events)
	}
	return s, nil
}

// A stage is the gateways of a run, and the workload that waits for its cue.
type stage struct {
	w        workload
	job      job
	homes    []home
	players  []*process
	commands []string // that the model will ask the first gateway for; none: the workload runs alone
}

// stage starts the gateways. They run before the agent does: it looks at one
// that starts while it watches many times in the first minute, which is no cost
// of the workload.
func (b *bed) stage(w workload, c condition, j job) (*stage, error) {
	st := &stage{w: w, job: j}
	for i := range c.trees {
		h, err := b.newHome()
		if err != nil {
			return st, err
		}
		var p *process
		switch acts := c.watched && i == 0; {
		case acts && w.gateway:
			for n := range j.n {
				st.commands = append(st.commands, turnCommand(n))
			}
			j.title = "openclaw-gateway"
			p, err = b.working(w, j, h)
		case acts:
			st.commands = []string{"bash " + h.script() + " " + strings.Join(b.worker(w, j), " ")}
			p, err = b.gateway(h)
		default:
			p, err = b.gateway(h)
		}
		if err != nil {
			return st, err
		}
		st.homes, st.players = append(st.homes, h), append(st.players, p)
	}
	return st, nil
}

// act gives the cue and waits for the end of the workload.
func (st *stage) act(b *bed) (time.Duration, error) {
	if len(st.commands) == 0 {
		return b.alone(st.w, st.job)
	}
	if err := st.homes[0].record(st.commands); err != nil {
		return 0, err
	}
	line := st.commands[0]
	if st.w.gateway {
		line = "go"
	}
	if err := st.players[0].say(line); err != nil {
		return 0, err
	}
	return st.players[0].took()
}

func (st *stage) end() error {
	var errs []error
	for _, p := range st.players {
		errs = append(errs, p.end())
	}
	return errors.Join(errs...)
}

// profile records the agent's stacks while it is watched over, where that is
// asked for.
func profile(o order, w workload, c condition, pid int) (stop func() error, err error) {
	if o.perf == "" || !c.watched {
		return func() error { return nil }, nil
	}
	file := filepath.Join(o.perf, fmt.Sprintf("perf.data.%s.%s", w.name, c.name))
	cmd := exec.Command("perf", "record", "-q", "-F", "499", "-g", "-o", file, "-p", fmt.Sprint(pid))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start perf: %w", err)
	}
	time.Sleep(time.Second) // it says nothing when it is ready
	return func() error {
		err := cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // by the signal
		return err
	}, nil
}
