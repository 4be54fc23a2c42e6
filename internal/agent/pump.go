package agent

import (
	"context"
	"crypto/rand"
	mrand "math/rand/v2"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/pipeline"
)

// tick is how often held facts are looked at.
const (
	tick      = 100 * time.Millisecond
	restTick  = time.Second // where nothing came and nothing is held
	restAfter = 10          // ticks without a fact
)

// pump drives the pipeline: it alone calls it.
func (a *Agent) pump() {
	var seed [32]byte
	rand.Read(seed[:]) //nolint:errcheck // never fails, says its documentation
	entropy := mrand.NewChaCha8(seed)
	p := pipeline.New(pipeline.Config{
		Policy: a.opt.Policy, Host: thisHost(), Rules: a.opt.Rules, Redactor: a.redactor, Sink: sink{a.out}, UserName: userNames(), Self: self(),
		Leave: a.left.offer,
		NewID: func(t time.Time) string {
			return ulid.MustNew(uint64(max(t.UnixMilli(), 0)), entropy).String()
		},
	})
	set, out := a.opt.Rules, leftOut{}
	say := func(all []event.Event) {
		for _, ev := range all {
			a.seen.note(ev)
			p.Push(ev)
		}
	}
	if habits, err := a.store.Habits(context.Background()); err != nil {
		a.log.Error("read what skills did before: what they do is not known to be new", "error", err)
	} else {
		p.Recall(habits)
	}
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	rests, quiet := false, 0
	for {
		select {
		case ev, ok := <-a.facts:
			quiet = 0
			if rests {
				rests = false
				ticks.Reset(tick)
			}
			if !ok {
				p.Tick(time.Now())
				p.Flush()
				return
			}
			p.Push(ev)
		case j := <-a.judged:
			p.SetRules(j.rules, j.policy)
			set = j.rules
			say(out.anew(time.Now()))
		case now := <-ticks.C:
			p.Tick(now)
			say(out.say(set, now))
			s := p.Stats()
			a.stats.Store(&s)
			if quiet++; quiet > restAfter && s.Held == 0 && !rests {
				rests = true
				ticks.Reset(restTick)
			}
		}
	}
}
