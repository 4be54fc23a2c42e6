package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/agent"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/learn"
	"github.com/clawwatch/clawwatch/internal/pipeline"
	"github.com/clawwatch/clawwatch/internal/store"
	"github.com/clawwatch/clawwatch/rules"
)

func newPolicyCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Suggest additions to the policy",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicySuggestCmd())
	return cmd
}

func newPolicySuggestCmd() *cobra.Command {
	var c configuring
	var a asking
	var file string
	cmd := &cobra.Command{
		Use:   "suggest",
		Short: "Write what the policy would have to allow of what skills did",
		Long: `Write additions to the policy that would allow what skills were seen to do, as a
policy file to review, with how often and when each thing was seen. Only what is
certainly or strongly a skill's counts. What no skill should do is left out, and
listed. With --json, the profile of each version of a skill is printed instead.`,
		Example: `  clawwatch policy suggest --skill weather --since 7d > weather.yaml
  clawwatch rules backtest --policy weather.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := a.query()
			if err != nil {
				return err
			}
			l, err := c.newLesson()
			if err != nil {
				return fmt.Errorf("suggest policy: %w", err)
			}
			var amiss notWell
			err = l.take(cmd, &a, file, q)
			if err != nil && !errors.As(err, &amiss) {
				return err
			}
			return errors.Join(l.show(cmd.OutOrStdout(), a.skill, a.json), err)
		},
	}
	c.registerTrial(cmd)
	a.registerPast(cmd, &file)
	cmd.Flags().BoolVar(&a.json, "json", false, "print one profile a line, and suggest nothing")
	return cmd
}

// A lesson is a Learner with what it needs to know of each record.
type lesson struct {
	replay  *pipeline.Replay
	learner *learn.Learner
}

func (c *configuring) newLesson() (*lesson, error) {
	pol, err := c.policyInForce()
	if err != nil {
		return nil, err
	}
	none, err := rules.Load()
	if err != nil {
		return nil, err
	}
	return &lesson{agent.NewReplay(none, pol, func(event.Alert) {}), learn.New()}, nil
}

func (l *lesson) push(rec event.Record) {
	if view, run := l.replay.Look(rec); view != nil {
		l.learner.Add(&rec, view, run.BytesSent, run.BytesReceived)
	}
}

// take learns from the agent's store or from a file. Records of other skills are
// needed, too: for the gateways, and for what is in doubt.
func (l *lesson) take(cmd *cobra.Command, a *asking, file string, q store.Query) error {
	q.Skill, q.Limit = "", 0
	if file == "" {
		return explain("suggest policy", eachStored(cmd.Context(), a, q, l.replay.Know, l.push))
	}
	if !cmd.Flags().Changed("since") {
		q.Since = time.Time{}
	}
	return eachRecorded(cmd, "suggest policy", file, func(rec event.Record) {
		if inTime(rec, q) {
			l.push(rec)
		} else {
			l.replay.Know(rec)
		}
	})
}

func (l *lesson) show(w io.Writer, skill string, asJSON bool) error {
	var profiles []*learn.Profile
	for _, p := range l.learner.Profiles() {
		if skill == "" || p.Skill.Name == skill {
			profiles = append(profiles, p)
		}
	}
	out := newPrinter(w)
	if asJSON {
		for _, p := range profiles {
			out.line(plainJSON(p))
		}
		return out.err
	}
	text, err := learn.Suggest(profiles)
	if err != nil {
		return fmt.Errorf("suggest policy: %w", err)
	}
	if len(profiles) == 0 {
		text += "\n# No events of a skill that is sure were found.\n"
	}
	_, err = io.WriteString(w, text)
	return err
}

// eachStored gives each event that the agent has stored to one function, and the
// gateways that were found before to another.
func eachStored(ctx context.Context, a *asking, q store.Query, know, each func(event.Record)) error {
	known := store.Query{Kind: string(event.KindGateway), Until: q.Since, Limit: maxGateways}
	for rec, err := range a.client().Events(ctx, known, false) {
		if err != nil {
			return err
		}
		know(rec)
	}
	q.Oldest = true
	for rec, err := range a.client().Events(ctx, q, false) {
		if err != nil {
			return err
		}
		each(rec)
	}
	return nil
}

// eachRecorded gives each event of a file to the function.
func eachRecorded(cmd *cobra.Command, verb, file string, each func(event.Record)) error {
	in, err := openRecorded(file)
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	defer in.Close()
	r := recorded{file: file}
	if err := r.read(cmd.Context(), in, each, complain(cmd.ErrOrStderr())); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return r.verdict(verb)
}

func inTime(rec event.Record, q store.Query) bool {
	return !rec.Time.Before(q.Since) && (q.Until.IsZero() || rec.Time.Before(q.Until))
}
