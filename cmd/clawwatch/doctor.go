package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

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
			e.blind(s.Blind)
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

// blind names the rules that wait for what nothing here sees.
func (e *examination) blind(rules []agent.BlindRule) {
	for _, r := range rules {
		state, says := isNote, "%s is not asked of %s, which nothing here sees"
		if r.Whole {
			state, says = isBlind, "%s is for %s alone, which nothing here sees"
		}
		e.add("rule", state, "", says, r.Rule, kindNames(r.Unseen))
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
		if name := s.Overrides[g.ID]; name != "" {
			e.add("policy", isWell, "", "gateway %s is under the override %q", g.ID, name)
		}
	}
	if gateways == 0 {
		e.add("gateway", isNote, "", "no OpenClaw gateway runs; one that starts is found at once")
	}
	for _, c := range s.Records {
		topic := "records"
		if strings.HasPrefix(c.Probe, "rule ") {
			topic = "rules"
		}
		if c.Fidelity == "complete" {
			e.add(topic, isWell, "", "%s", c.Probe)
			continue
		}
		e.add(topic, isBlind, remedy(c.Reason), "%s: %s: %s", c.Probe, c.Fidelity, c.Reason)
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
		e.add("files", isWell, "", "the agent goes by %s with digest %s, read %s", count(taken.Rules, "rule"), text(taken.Ruleset), console.Time(taken.Loaded))
	}
	if taken.Rejected != "" {
		e.add("files", isAmiss, "correct the file; the agent takes it in by itself", "the agent rejected policy and rules, and goes by those of %s: %s", console.Time(taken.Loaded), taken.Rejected)
	}
}
