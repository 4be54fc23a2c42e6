package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/agent"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/rules"
)

// maxShownBad is how many lines that are no events are told of one by one.
const maxShownBad = 20

func newReplayCmd() *cobra.Command {
	var c configuring
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Judge recorded events by the rules again, and print the alerts",
		Long: `Judge recorded events by the rules and the policy again, and print the alerts
as JSON lines: each once, with its final counts. FILE holds one event a line, as
"clawwatch events --json" prints them and "clawwatch run --record" writes them;
"-" is standard input. Who did what for which skill is taken from the events.

A line that is no event is reported with its number, and the others are judged
all the same; the exit status is 3 then.`,
		Example: `  clawwatch events --since 7d --limit 0 --json > week.jsonl
  clawwatch replay week.jsonl --rules ./rules.d --policy ./policy.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("replay: one file of recorded events is wanted")}
			}
			set, pol, err := c.judgement()
			if err != nil {
				return fmt.Errorf("replay: %w", err)
			}
			in, err := openRecorded(args[0])
			if err != nil {
				return hinted{fmt.Errorf("replay: %w", err), "clawwatch events --json --limit 0 prints what can be replayed"}
			}
			defer in.Close()
			out := newPrinter(cmd.OutOrStdout())
			alerts := &finals{print: func(a event.Alert) { out.line(plainJSON(a)) }}
			replay := agent.NewReplay(set, pol, alerts.note)
			r := recorded{file: args[0]}
			err = r.read(cmd.Context(), in, func(rec event.Record) { replay.Push(rec) }, complain(cmd.ErrOrStderr()))
			replay.Flush()
			alerts.flush()
			return errors.Join(err, out.err, r.verdict("replay"))
		},
	}
	c.registerJudgement(cmd)
	return cmd
}

// registerJudgement adds the flags that say what to judge by.
func (c *configuring) registerJudgement(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.file, "config", agent.DefaultConfig, "configuration `file`, which names rules and policy")
	f.StringVar(&c.policy, "policy", "", "policy `file`, read over the built-in policy")
	f.StringVar(&c.rules, "rules", "", "`directory` of further rules")
}

// judgement reads the rules and the policy.
func (c *configuring) judgement() (*rules.Set, *policy.Policy, error) {
	set, err := c.rulesInForce()
	if err != nil {
		return nil, nil, err
	}
	pol, err := c.policyInForce()
	return set, pol, err
}

func (c *configuring) policyInForce() (*policy.Policy, error) {
	cfg, _, err := c.load()
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	pol, err := agent.LoadPolicy(cfg.Policy)
	if err != nil {
		return nil, fmt.Errorf("load policy: %w", err)
	}
	return pol, nil
}

// complain prints lines that are no events, as far as a person may read them.
func complain(w io.Writer) func(badLine) {
	n := 0
	return func(b badLine) {
		if n++; n <= maxShownBad {
			fmt.Fprintf(w, "clawwatch: %v\n", b) //nolint:errcheck // a closed terminal is no reason to stop
		}
	}
}

// verdict says how many lines were no events; nil: none.
func (r *recorded) verdict(verb string) error {
	if r.bad == 0 {
		return nil
	}
	return notWell{fmt.Errorf("%s: %s of %s could not be read; the others were (%s)", verb, count(r.bad, "line"), text(r.file), count(r.events, "event"))}
}

// maxFinals is how many alerts wait for their last counts.
const maxFinals = 100_000

// finals keeps alerts until nothing is counted in them any more, and prints them
// in the order in which they came.
type finals struct {
	print func(event.Alert)
	last  map[string]event.Alert
	order []string
}

func (f *finals) note(a event.Alert) {
	if f.last == nil {
		f.last = map[string]event.Alert{}
	}
	if known, again := f.last[a.ID]; again {
		a.Amended = known.Amended // it is printed for the first time
	} else if f.order = append(f.order, a.ID); len(f.order) > maxFinals {
		f.print(f.last[f.order[0]])
		delete(f.last, f.order[0])
		f.order = f.order[1:]
	}
	f.last[a.ID] = a
}

func (f *finals) flush() {
	for _, id := range f.order {
		f.print(f.last[id])
	}
	f.last, f.order = nil, nil
}

// plainJSON is JSON in which whatever does not show on a terminal, or turns the
// direction of text there, is an escape.
func plainJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return "{}" // not for what is made of texts, numbers and times
	}
	var b strings.Builder
	for _, r := range string(raw) {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
