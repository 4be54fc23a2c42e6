package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/agent"
	"github.com/clawwatch/clawwatch/internal/api"
	"github.com/clawwatch/clawwatch/internal/console"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

// A verdict is one line of the doctor.
type verdict struct {
	About string `json:"about"`
	State health `json:"state"`
	Says  string `json:"says"`
	Do    string `json:"do,omitempty"` // what would help
}

// A health says how bad it is; anything but isWell and isNote makes the exit status
// 3.
type health string

const (
	isWell  health = "well"
	isNote  health = "note"  // worth knowing
	isAmiss health = "amiss" // does not do what it should
	isBlind health = "blind" // something that happens is not seen
)

// An examination collects verdicts.
type examination struct{ verdicts []verdict }

func (e *examination) add(about string, h health, do, format string, args ...any) {
	e.verdicts = append(e.verdicts, verdict{about, h, fmt.Sprintf(format, args...), do})
}

func newDoctorCmd() *cobra.Command {
	var c configuring
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this host can and cannot see, and what to do about it",
		Long: `Say line by line what is well, what is not and what to do: the kernel, gateways,
their records and skills, the store, delivery, losses and the configuration. It
asks the running agent, and where there is none it looks for itself. The exit
status is 3 when something is blind or amiss.`,
		Example: "  clawwatch doctor\n  clawwatch doctor --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var e examination
			cfg, rules, mistakes := c.check()
			for _, m := range mistakes {
				var usage usageError
				if errors.As(m, &usage) {
					return m
				}
			}
			socket := cmp.Or(c.socket, os.Getenv("CLAWWATCH_SOCKET"), cfg.Socket)
			e.host()
			client := api.Dial(socket)
			raw, err := client.Status(cmd.Context(), true)
			var s agent.Status
			if err == nil {
				s, err = statusJSON(raw)
			}
			e.agent(s, socket, err)
			if err != nil {
				s = agent.Survey(cmd.Context(), cfg)
				e.storeFile(filepath.Join(cfg.StateDir, "events.db"))
			}
			e.sight(s.Coverage)
			e.trial(s.Trial)
			e.openclaw(s)
			if err == nil {
				e.storage(s)
				e.delivery(s)
				e.losses(s, client.Events(cmd.Context(), store.Query{Kind: string(event.KindLost), Since: time.Now().Add(-24 * time.Hour), Limit: 1000}, false))
			}
			e.files(c.file, rules, mistakes, s.Intent)
			return e.print(newPrinter(cmd.OutOrStdout()), asJSON)
		},
	}
	c.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func (e *examination) print(out *printer, asJSON bool) error {
	bad := 0
	styles := map[health]console.Style{isNote: console.Blue, isAmiss: console.Red, isBlind: console.Red}
	for _, v := range e.verdicts {
		if v.State == isAmiss || v.State == isBlind {
			bad++
		}
		if asJSON {
			out.json(v)
			continue
		}
		out.linef("%s  %-9s  %s", out.paint(fmt.Sprintf("%-5s", v.State), styles[v.State]), v.About, text(v.Says))
		if v.Do != "" {
			out.linef("                  → %s", text(v.Do))
		}
	}
	if out.err == nil && bad > 0 {
		return notWell{fmt.Errorf("examine host: %s not well", count(bad, "thing"))}
	}
	return out.err
}

// host looks at what the kernel sensor needs.
func (e *examination) host() {
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		e.add("kernel", isWell, "", "%s %s", unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:]))
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		e.add("kernel", isBlind, "use a kernel with CONFIG_DEBUG_INFO_BTF; distributions since 2021 have it", "no types (BTF): %v", err)
	} else {
		e.add("kernel", isWell, "", "types (BTF) are there")
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/kernel/tracing", &st); err != nil || st.Type != unix.TRACEFS_MAGIC {
		e.add("kernel", isNote, "mount -t tracefs tracefs /sys/kernel/tracing, if the agent may not", "tracefs is not mounted; the agent mounts it when it starts")
	} else {
		e.add("kernel", isWell, "", "tracefs is mounted")
	}
}

// agent judges the connection to it.
func (e *examination) agent(s agent.Status, socket string, err error) {
	switch {
	case errors.Is(err, api.ErrNotAllowed):
		e.add("agent", isAmiss, "ask as root, or as a member of the group clawwatch", "%v", err)
	case err != nil:
		e.add("agent", isAmiss, "start it: systemctl start clawwatch, or: sudo clawwatch run", "%v", err)
	default:
		e.add("agent", isWell, "", "%s runs since %s: %s of memory, %s of CPU", s.Version, console.Time(s.Started), console.Bytes(uint64(s.MaxRSS)), s.CPU.Round(10*time.Millisecond))
		if st, err := os.Stat(socket); err == nil {
			e.add("agent", isWell, "", "socket %s, mode %04o", socket, st.Mode().Perm())
		}
	}
	if err == nil {
		return
	}
	if lack := lackingCapabilities(); len(lack) > 0 {
		e.add("privilege", isNote, "run the doctor as root", "this looks worse than it may be: the doctor lacks %s", strings.Join(lack, " "))
	} else {
		e.add("privilege", isWell, "", "enough to try what an agent does")
	}
}

// lackingCapabilities names those that the agent needs and this process has
// not.
func lackingCapabilities() (lack []string) {
	var have [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &have[0]); err != nil {
		return nil // it will be seen by what fails
	}
	for _, c := range []struct {
		name string
		bit  int
	}{
		{"CAP_BPF", unix.CAP_BPF},
		{"CAP_PERFMON", unix.CAP_PERFMON},
		{"CAP_SYS_PTRACE", unix.CAP_SYS_PTRACE},
		{"CAP_DAC_READ_SEARCH", unix.CAP_DAC_READ_SEARCH},
		{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN},
		{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN},
	} {
		if have[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			lack = append(lack, c.name)
		}
	}
	return lack
}

// sight judges what is seen, kind by kind.
func (e *examination) sight(coverage []event.Coverage) {
	best := slices.ContainsFunc(coverage, func(c event.Coverage) bool { return strings.HasPrefix(c.Probe, "ebpf") && c.Fidelity == "complete" })
	for _, c := range coverage {
		kinds := kindNames(c.Kinds)
		switch {
		case c.Fidelity == "none" && len(c.Kinds) > 0:
			e.add("sensor", isBlind, remedy(c.Reason), "%s sees nothing of %s: %s", c.Probe, kinds, c.Reason)
		case c.Fidelity == "none" && best:
			e.add("sensor", isWell, "", "%s is not used: %s", c.Probe, c.Reason)
		case c.Known:
			e.add("sensor", isNote, "", "%s, %s: %s", c.Probe, kinds, c.Reason)
		case c.Fidelity == "none":
			e.add("sensor", isNote, remedy(c.Reason), "%s is not used, others see what it would: %s", c.Probe, c.Reason)
		case c.Reason != "":
			e.add("sensor", isBlind, "", "%s, %s: %s", c.Probe, kinds, c.Reason)
		case c.Fidelity == "sampled":
			e.add("sensor", isNote, "", "%s, %s: %s", c.Probe, c.Fidelity, kinds)
		default:
			e.add("sensor", isWell, "", "%s, %s: %s", c.Probe, c.Fidelity, kinds)
		}
	}
	e.kinds(coverage)
}

// kinds says of each kind by what it is seen, how well, and what keeps a better
// one away. Those that nothing sees have their line already.
func (e *examination) kinds(coverage []event.Coverage) {
	var refused []event.Coverage // so far, best first
	told := map[event.Kind]bool{}
	for _, c := range coverage {
		if c.Fidelity == "none" && c.Reason != "" {
			refused = append(refused, c)
		}
		if c.Fidelity == "none" || c.Reason != "" {
			continue
		}
		for _, k := range c.Kinds {
			if told[k] {
				continue
			}
			told[k] = true
			limit := func(known bool) bool {
				return slices.ContainsFunc(coverage, func(o event.Coverage) bool {
					return o.Probe == c.Probe && o.Reason != "" && o.Known == known && o.Fidelity != "none" && slices.Contains(o.Kinds, k)
				})
			}
			switch {
			case c.Fidelity == "complete" && !limit(false) && limit(true):
				e.add("kind", isWell, "", "%s: %s, complete but for the known limit above", k, c.Probe)
			case c.Fidelity == "complete" && !limit(false):
				e.add("kind", isWell, "", "%s: %s, complete", k, c.Probe)
			case len(refused) > 0:
				why := refused[0]
				e.add("kind", isNote, remedy(why.Reason), "%s: %s, not complete; %s would be better, but: %s", k, c.Probe, why.Probe, why.Reason)
			default:
				e.add("kind", isNote, "", "%s: %s, not complete", k, c.Probe)
			}
		}
	}
}

// remedy is what helps against a reason that a probe gave.
func remedy(reason string) string {
	for _, r := range []struct{ sign, do string }{
		{"operation not permitted", "run the agent as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; in a container: see docs/containers.md"},
		{"permission denied", "run the agent as root"},
		{"BTF", "use a kernel with CONFIG_DEBUG_INFO_BTF"},
		{"tracefs", "mount -t tracefs tracefs /sys/kernel/tracing"},
		{"lockdown", "kernel lockdown (confidentiality) forbids BPF; integrity allows it"},
	} {
		if strings.Contains(reason, r.sign) {
			return r.do
		}
	}
	return ""
}

// openclaw judges gateways, their records and skills.
func (e *examination) openclaw(s agent.Status) {
	gateways := 0
	for _, g := range s.Gateways {
		if g.Role != event.RoleGateway {
			continue
		}
		gateways++
		if strings.HasPrefix(g.ID, "unverified:") {
			e.add("gateway", isBlind, "see docs/containers.md", "%s: its state directory is not its user's, or cannot be reached; its records and skills are not read", g.ID)
			continue
		}
		e.add("gateway", isWell, "", "%s, OpenClaw %s, user %d, port %d, %s, %s", g.ID, cmp.Or(g.Version, "of unknown version"), g.UID, g.Port,
			count(s.Skills[g.ID], "skill"), count(len(g.Providers), "model provider"))
	}
	if gateways == 0 {
		e.add("gateway", isNote, "", "no OpenClaw gateway runs; one that starts is found at once")
	}
	for _, c := range s.Records {
		if c.Fidelity == "complete" {
			e.add("records", isWell, "", "%s", c.Probe)
			continue
		}
		e.add("records", isBlind, remedy(c.Reason), "%s: %s: %s", c.Probe, c.Fidelity, c.Reason)
	}
}

// storeFile looks at the store that an agent would open.
func (e *examination) storeFile(path string) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.add("store", isNote, "", "none yet; it will be %s", path)
	case err != nil:
		e.add("store", isNote, "run the doctor as root", "%v", err)
	default:
		e.add("store", isWell, "", "%s, %s", path, console.Bytes(uint64(st.Size())))
	}
}

func (e *examination) storage(s agent.Status) {
	what := fmt.Sprintf("%s and %s in %s of at most %s", count(int(s.Store.Records), "record"), count(int(s.Store.Alerts), "alert"),
		console.Bytes(uint64(s.Store.Bytes)), console.Bytes(uint64(s.Store.MaxBytes)))
	if !s.Store.Oldest.IsZero() {
		what += ", since " + console.Time(s.Store.Oldest)
	}
	if s.Unstored > 0 {
		e.add("store", isAmiss, "look at the space of the state directory, and at the agent's log", "%s; %d could not be stored since the agent began", what, s.Unstored)
		return
	}
	e.add("store", isWell, "", "%s", what)
}

// queue is what an exporter says of one of its queues.
type queue struct {
	Items, Bytes, Full, Failed, Rejected, Damaged int64
	LastError                                     string
	LastSuccess                                   time.Time
}

func (q queue) dropped() int64 { return q.Full + q.Failed + q.Rejected + q.Damaged }

func (e *examination) delivery(s agent.Status) {
	names := make([]string, 0, len(s.Delivery))
	for name := range s.Delivery {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		var d struct {
			Alerts, Events *queue
			Dropped        int64 `json:"dropped"`
		}
		if err := again(s.Delivery[name], &d); err != nil {
			e.add("delivery", isAmiss, "", "%s: %v", name, err)
			continue
		}
		if d.Alerts == nil || d.Events == nil { // a file
			e.target(name, queue{Failed: d.Dropped}, false)
			continue
		}
		e.target(name+" alerts", *d.Alerts, true)
		e.target(name+" events", *d.Events, true)
	}
	if len(names) == 0 {
		e.add("delivery", isNote, "name a receiver under otlp in the configuration; see docs/siem.md", "nothing leaves this host")
	}
}

func (e *examination) target(name string, q queue, remote bool) {
	what := name
	if remote {
		what += fmt.Sprintf(": %d waiting (%s)", q.Items, console.Bytes(uint64(max(q.Bytes, 0))))
		if q.LastSuccess.IsZero() {
			what += ", none delivered yet"
		} else {
			what += ", last delivered " + console.Time(q.LastSuccess)
		}
	}
	if q.dropped() > 0 {
		what += fmt.Sprintf(", %d dropped", q.dropped())
	}
	switch {
	case q.LastError != "":
		e.add("delivery", isAmiss, "is the receiver reachable from here, and does it take the headers? What waits is kept on disk", "%s; last error: %s", what, q.LastError)
	case q.dropped() > 0:
		e.add("delivery", isAmiss, "make queue_size larger, or the receiver faster", "%s", what)
	default:
		e.add("delivery", isWell, "", "%s", what)
	}
}

// losses judges what the agent said that it lost in the last day.
func (e *examination) losses(s agent.Status, lost func(func(event.Record, error) bool)) {
	sum, unread, gaps, causes := uint64(0), uint64(0), 0, map[string]bool{}
	for r, err := range lost {
		if err != nil {
			e.add("losses", isAmiss, "", "cannot be asked for: %v", err)
			return
		}
		if r.Sensor != nil && r.Sensor.Of == event.KindEnvRead {
			unread += r.Sensor.Lost // there is a ration, and the coverage says so
			continue
		}
		if r.Sensor != nil {
			if sum += r.Sensor.Lost; r.Sensor.Lost == 0 {
				gaps++
			}
			causes[words(string(r.Sensor.Of), r.Sensor.Reason)] = true
		}
	}
	if s.Pipeline.Overflowed > 0 {
		e.add("losses", isNote, "", "%d facts went out before their skill could be known, because too many waited", s.Pipeline.Overflowed)
	}
	if unread > 0 {
		e.add("losses", isNote, "", "%d processes in the last day were not looked into for variables that they ask for by name", unread)
	}
	if sum == 0 && gaps == 0 {
		e.add("losses", isWell, "", "none in the last day")
		return
	}
	list := make([]string, 0, len(causes))
	for c := range causes {
		list = append(list, c)
	}
	slices.Sort(list)
	what := fmt.Sprintf("%d events", sum)
	if gaps > 0 {
		what += " and " + count(gaps, "gap") + " of unknown size"
	}
	e.add("losses", isBlind, "make ring_size larger if the ring was full; clawwatch events --kind sensor.lost has each", "%s in the last day: %s", what, strings.Join(list[:min(len(list), 5)], "; "))
}

// files judges the configuration, as it is on disk and as the agent took it.
func (e *examination) files(file string, rules int, mistakes []error, taken agent.Intent) {
	for _, m := range mistakes {
		first, _, _ := strings.Cut(m.Error(), "\n")
		if errors.Is(m, fs.ErrPermission) {
			e.add("files", isNote, "run the doctor as root", "cannot be checked: %s", first)
			continue
		}
		e.add("files", isAmiss, "clawwatch config check shows the line", "%s", first)
	}
	if len(mistakes) == 0 {
		if _, err := os.Stat(file); err != nil {
			file = "built-in configuration"
		}
		e.add("files", isWell, "", "%s, policy and %s are well", file, count(rules, "rule"))
	}
	if taken.Rejected == "" && taken.Rules > 0 {
		e.add("files", isWell, "", "the agent goes by %s, read %s", count(taken.Rules, "rule"), console.Time(taken.Loaded))
	}
	if taken.Rejected != "" {
		e.add("files", isAmiss, "correct the file; the agent takes it in by itself", "the agent rejected policy and rules, and goes by those of %s: %s", console.Time(taken.Loaded), taken.Rejected)
	}
}
