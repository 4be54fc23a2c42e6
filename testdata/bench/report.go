package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// A report is what a bench found out.
type report struct {
	Kernel string   `json:"kernel"`
	CPUs   int      `json:"cpus"`
	Load   string   `json:"load"` // average of the last minutes when it began
	Rounds int      `json:"rounds"`
	Scale  float64  `json:"scale"`
	Notes  []string `json:"notes,omitempty"`
	Rows   []*entry `json:"results"`

	base map[pair]float64 // seconds without an agent
}

// A pair is what ratios are taken within.
type pair struct {
	workload string
	round    int
}

// An entry is a workload under a condition.
type entry struct {
	Workload  string   `json:"workload"`
	Condition string   `json:"condition"`
	N         int      `json:"n"`
	Of        string   `json:"of"`
	Wall      spread   `json:"wall_s"`
	Ratio     spread   `json:"ratio"`
	CPU       spread   `json:"cpu_s"` // of the agent or the peer
	PerOp     float64  `json:"cpu_us_per_op"`
	Memory    float64  `json:"mb"` // at its peak; where nothing is watched, at the end
	Events    float64  `json:"events"`
	Lost      uint64   `json:"lost"`            // in all rounds
	Early     uint64   `json:"early,omitempty"` // went out before their skill could be known
	Named     *float64 `json:"named,omitempty"` // least part of the events that name the skill
	Wire      float64  `json:"bytes_per_event,omitempty"`
	Targets   []target `json:"targets,omitempty"`

	agent, watched, shipped bool
	rounds                  []int
	walls, ratios, cpus     []float64
	events, wires           []float64
}

// A target is what a figure should not exceed.
type target struct {
	Of    string  `json:"of"`
	Limit float64 `json:"limit"`
	Value float64 `json:"value"`
	Met   bool    `json:"met"`
}

// A spread is the least, the middle and the greatest of the rounds.
type spread struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

func spreadOf(all []float64) spread {
	if len(all) == 0 {
		return spread{}
	}
	s := slices.Sorted(slices.Values(all))
	middle := s[len(s)/2]
	if len(s)%2 == 0 {
		middle = (s[len(s)/2-1] + middle) / 2
	}
	return spread{s[0], middle, s[len(s)-1]}
}

// goals are the targets at full size: ratio of the time it takes, and seconds
// of the agent's CPU. 0: there is none.
var goals = []struct {
	workload, condition string
	ratio, cpu          float64
}{
	{"W1", "unwatched", 1.03, 0.02},
	{"W1", "watched", 1.15, 0.30},
	{"W2", "unwatched", 1.10, 0.02},
	{"W2", "watched", 1.40, 2.0},
	{"W3", "unwatched", 1.05, 0.02},
	{"W3", "watched", 1.15, 0.50},
	{"W4", "unwatched", 1.02, 0},
	{"W4", "watched", 1.05, 0},
	{"W5", "unwatched", 1.02, 0},
	{"W5", "watched", 1.05, 0},
	{"W6", "unwatched", 0, 0.02},
	{"W6", "watched", 0, 0.60},
	{"getenv", "unwatched", 1.02, 0},
}

// Goals that are the same for all workloads.
const (
	idleMemory    = 60  // MB
	watchedMemory = 120 // MB
	wireBytes     = 300 // an event
)

func newReport(o order) *report {
	r := &report{CPUs: runtime.NumCPU(), Rounds: o.rounds, Scale: o.scale, base: map[pair]float64{}}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		r.Kernel = unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.Load = strings.Join(strings.Fields(string(load))[:3], " ")
	}
	return r
}

func (r *report) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(r.Notes, n) {
		r.Notes = append(r.Notes, n)
	}
}

// findPeers notes which other monitors this host has, and gives those that are
// to be measured.
func (r *report) findPeers(o order) (found []peer) {
	for _, p := range peers() {
		if path, err := exec.LookPath(p.name); err == nil {
			r.note("found %s", path)
			found = append(found, p)
		}
	}
	if path, err := exec.LookPath("auditd"); err == nil {
		r.note("found %s", path)
	}
	switch {
	case len(found) == 0:
		r.note("no other monitor is on the PATH")
	case !o.peers:
		r.note("they were not measured: -peers does")
		return nil
	}
	return found
}

// add takes in one run. The runs of a round come in any order.
func (r *report) add(w workload, c condition, round int, s sample) {
	i := slices.IndexFunc(r.Rows, func(e *entry) bool { return e.Workload == w.name && e.Condition == c.name })
	if i < 0 {
		i = len(r.Rows)
		r.Rows = append(r.Rows, &entry{
			Workload: w.name, Condition: c.name, N: w.n, Of: w.of, agent: c.agent, watched: c.watched, shipped: c.shipped,
		})
	}
	if s.others > 0 {
		r.note("other gateways ran on this host: what the agent did for them is in its figures")
	}
	e := r.Rows[i]
	wall := s.wall.Seconds()
	if c.name == "without" {
		r.base[pair{w.name, round}] = wall
	}
	e.rounds = append(e.rounds, round)
	e.walls, e.cpus = append(e.walls, wall), append(e.cpus, s.cpu.Seconds())
	e.events, e.wires = append(e.events, float64(s.events)), append(e.wires, s.wire)
	e.Memory, e.Lost, e.Early = max(e.Memory, s.memory), e.Lost+s.lost, e.Early+s.early
	if c.watched && (e.Named == nil || s.named < *e.Named) {
		e.Named = &s.named
	}
}

// finish makes figures of what was taken in.
func (r *report) finish() {
	at := func(name string, order []string) int { return slices.Index(order, name) }
	var works, states []string
	for _, w := range workloads() {
		works = append(works, w.name)
	}
	for _, c := range conditions(order{}, peers()) {
		states = append(states, c.name)
	}
	slices.SortStableFunc(r.Rows, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(at(a.Workload, works), at(b.Workload, works)), cmp.Compare(uint(at(a.Condition, states)), uint(at(b.Condition, states))))
	})
	for _, e := range r.Rows {
		e.ratios = e.ratios[:0]
		for i, wall := range e.walls {
			if base := r.base[pair{e.Workload, e.rounds[i]}]; base > 0 {
				e.ratios = append(e.ratios, wall/base)
			}
		}
		e.Wall, e.Ratio, e.CPU = spreadOf(e.walls), spreadOf(e.ratios), spreadOf(e.cpus)
		e.PerOp = e.CPU.Median * 1e6 / float64(max(e.N, 1))
		e.Events, e.Wire = spreadOf(e.events).Median, spreadOf(e.wires).Median
		e.Targets = r.judge(e)
	}
}

// judge compares an entry with its targets. Those for the CPU time of watched
// work shrink with it; what the start of any work costs does not, so that small
// sizes miss them sooner.
func (r *report) judge(e *entry) (all []target) {
	add := func(of string, limit, value float64) {
		if limit > 0 {
			all = append(all, target{of, limit, value, value <= limit})
		}
	}
	for _, g := range goals {
		if g.workload == e.Workload && g.condition == e.Condition {
			add("ratio", g.ratio, e.Ratio.Median)
			if e.watched {
				g.cpu *= r.Scale
			}
			add("CPU", g.cpu, e.CPU.Median)
		}
	}
	if !e.agent {
		return all
	}
	if e.watched {
		add("MB", watchedMemory, e.Memory)
	} else if e.Condition == "unwatched" {
		add("MB", idleMemory, e.Memory)
	}
	if e.shipped {
		add("B/event", wireBytes, e.Wire)
	}
	return append(all, target{"lost", 0, float64(e.Lost), e.Lost == 0})
}

// print makes a table for people.
func (r *report) print(out io.Writer) error {
	r.finish()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "Linux %s, %d CPUs, load %s; %d rounds, scale %g. Median (least, greatest).\n", r.Kernel, r.CPUs, r.Load, r.Rounds, r.Scale)
	for _, n := range r.Notes {
		fmt.Fprintln(w, n)
	}
	workload := ""
	for _, e := range r.Rows {
		if e.Workload != workload {
			workload = e.Workload
			known, _ := find(workload)
			fmt.Fprintf(w, "\n%s: %d × %s: %s\n", workload, e.N, e.Of, known.about)
			fmt.Fprintln(w, "condition\tseconds\tratio\tagent CPU s\tµs/op\tMB\tevents\tlost\tnamed\tB/event\ttargets")
		}
		fmt.Fprintf(w, "%s\t%s\t%s", e.Condition, e.Wall, e.Ratio)
		if e.Condition == "without" {
			fmt.Fprintln(w)
			continue
		}
		fmt.Fprintf(w, "\t%s\t%s\t%.0f", e.CPU, short3(e.PerOp), e.Memory)
		if e.agent {
			fmt.Fprintf(w, "\t%.0f\t%d\t%s\t%s\t%s", e.Events, e.Lost, e.named(), orDash(e.Wire), verdicts(e.Targets))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func (s spread) String() string {
	return fmt.Sprintf("%s (%s, %s)", short3(s.Median), short3(s.Min), short3(s.Max))
}

// short3 gives three digits or so.
func short3(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func orDash(v float64) string {
	if v == 0 {
		return "-"
	}
	return short3(v)
}

// named is the part of the events that name the skill, and how many of all did
// not wait for it.
func (e *entry) named() string {
	if e.Named == nil {
		return "-"
	}
	s := fmt.Sprintf("%.0f %%", 100**e.Named)
	if e.Early > 0 {
		s += fmt.Sprintf(", %d early", e.Early)
	}
	return s
}

func verdicts(all []target) string {
	var missed, met []string
	for _, t := range all {
		s := fmt.Sprintf("%s ≤ %g", t.Of, t.Limit)
		if t.Met {
			met = append(met, s)
		} else {
			missed = append(missed, s)
		}
	}
	var parts []string
	if len(missed) > 0 {
		parts = append(parts, "MISSED "+strings.Join(missed, ", "))
	}
	if len(met) > 0 {
		parts = append(parts, "met "+strings.Join(met, ", "))
	}
	return strings.Join(parts, "; ")
}
