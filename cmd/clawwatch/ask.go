package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/api"
	"github.com/clawwatch/clawwatch/internal/store"
)

// asking is what the verbs that ask the agent have in common: flags, the
// connection, and what its errors mean to a person.
type asking struct {
	json, follow            bool
	since, until            string
	skill, session, gateway string
	kind, rule              string
	limit                   int
	socket                  string
}

// register adds the flags that every such verb has.
func (a *asking) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&a.json, "json", false, "print one JSON object a line")
	f.StringVar(&a.since, "since", "", "`time` to begin at: 10m, 7d, 2026-11-22 or 2026-11-22T07:00:00Z")
	f.StringVar(&a.until, "until", "", "`time` to end before")
	f.StringVar(&a.skill, "skill", "", "only this skill `name`")
	f.StringVar(&a.session, "session", "", "only this session `id` or key")
	f.StringVar(&a.gateway, "gateway", "", "only the gateway with this state `directory`")
	f.IntVar(&a.limit, "limit", 100, "at most the newest `n`; 0: all")
	a.registerSocket(cmd)
}

func (a *asking) registerSocket(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.socket, "socket", cmp.Or(os.Getenv("CLAWWATCH_SOCKET"), api.DefaultSocket), "`path` of the agent's socket; or set CLAWWATCH_SOCKET")
}

func (a *asking) registerFollow(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&a.follow, "follow", "f", false, "go on as more happens")
}

func (a *asking) registerKind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.kind, "kind", "", "only this `kind`: file.open, or all of file.*")
}

func (a *asking) registerRule(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.rule, "rule", "", "only alerts of this rule `name`, or what they are about")
}

// kindShape is that of a kind or a family of kinds, as the agent takes it.
var kindShape = regexp.MustCompile(`^[a-z]+(\.[a-z]+|\.\*)?$`)

// query turns the flags into a question.
func (a *asking) query() (store.Query, error) {
	q := store.Query{Skill: a.skill, Session: a.session, Gateway: a.gateway, Kind: a.kind, Rule: a.rule, Limit: a.limit}
	now := time.Now()
	for _, t := range []struct {
		flag, value string
		to          *time.Time
	}{{"--since", a.since, &q.Since}, {"--until", a.until, &q.Until}} {
		if t.value == "" {
			continue
		}
		at, err := api.ParseTime(t.value, now)
		if err != nil {
			return q, usageError{fmt.Errorf("read %s: %w", t.flag, err)}
		}
		*t.to = at
	}
	switch {
	case a.limit < 0:
		return q, usageError{fmt.Errorf("read --limit: %d is less than 0", a.limit)}
	case a.follow && a.until != "":
		return q, usageError{errors.New("read flags: --follow has no end, and goes with no --until")}
	case !q.Since.IsZero() && !q.Until.IsZero() && !q.Since.Before(q.Until):
		return q, usageError{errors.New("read flags: --since is not before --until")}
	case a.kind != "" && !kindShape.MatchString(a.kind):
		return q, usageError{fmt.Errorf("read --kind: %.40q is no kind; want one like file.open or file.*", a.kind)}
	}
	return q, nil
}

func (a *asking) client() *api.Client { return api.Dial(a.socket) }

// A hinted error tells the person what may help.
type hinted struct {
	error
	hint string
}

func (h hinted) Hint() string  { return h.hint }
func (h hinted) Unwrap() error { return h.error }

// explain says what was asked, and adds the hint where there is one.
func explain(verb string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("%s: %w", verb, err)
	switch {
	case errors.Is(err, api.ErrNotRunning):
		return hinted{wrapped, "start it with: systemctl start clawwatch, or: clawwatch run; --socket names another socket"}
	case errors.Is(err, api.ErrNotAllowed):
		return hinted{wrapped, "ask as root, or as a member of the group clawwatch"}
	case errors.Is(err, api.ErrBadRequest):
		return usageError{wrapped}
	case errors.Is(err, store.ErrAmbiguous):
		return hinted{wrapped, "give more characters of the ID"}
	case errors.Is(err, store.ErrNotFound):
		return hinted{wrapped, "clawwatch events and clawwatch alerts print IDs; what is too old has been deleted"}
	}
	return wrapped
}

var errAgentEnded = errors.New("the agent ended")

// show prints values as they come: as JSON lines, or each with print beneath
// the names of the columns, when there are any. With newest set they come
// newest first, and are printed oldest first.
func show[T any](ctx context.Context, out *printer, a *asking, columns []column, newest bool, values iter.Seq2[T, error], print func(T)) error {
	begun := columns == nil || a.json
	begin := func() { // not before it is known that there is an answer
		if !begun {
			out.header(columns)
		}
		begun = true
	}
	each := func(v T) {
		begin()
		if a.json {
			out.json(v)
		} else {
			print(v)
		}
	}
	var held []T
	for v, err := range values {
		if err != nil {
			return err
		}
		if newest {
			held = append(held, v)
			continue
		}
		each(v)
		if out.err != nil {
			return out.err
		}
	}
	for i := len(held) - 1; i >= 0; i-- {
		each(held[i])
	}
	begin()
	if a.follow && ctx.Err() == nil && out.err == nil {
		return errAgentEnded
	}
	return out.err
}

// list prints the newest of what the question finds, oldest first, and goes on
// as more happens where that is asked for.
func list[T any](cmd *cobra.Command, a *asking, verb string, columns []column, q store.Query,
	ask func(context.Context, store.Query, bool) iter.Seq2[T, error], row func(*printer, *T),
) error {
	out, ctx := newPrinter(cmd.OutOrStdout()), cmd.Context()
	newest := !a.follow && a.limit > 0
	q.Oldest = !newest
	return explain(verb, show(ctx, out, a, columns, newest, ask(ctx, q, a.follow), func(v T) { row(out, &v) }))
}

func (p *printer) json(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		p.err = cmp.Or(p.err, err)
		return
	}
	p.line(string(b))
}
