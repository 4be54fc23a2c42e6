package agent

import (
	"context"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// lastWords is how long OpenClaw's records are read on, at most, when everything
// else has been stopped: a tool call of the last moment has its row by then.
const lastWords = 2 * time.Second

// outlasting returns a context that ends once nothing waits for a record any more,
// which is some time after ctx has ended, and how to wait for that.
func (a *Agent) outlasting(ctx context.Context) (reading context.Context, wait func() error) {
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	return reading, func() error {
		defer stop()
		<-ctx.Done()
		for began := time.Now(); time.Since(began) < lastWords; {
			time.Sleep(2 * tick) // what the sensors gave out last is with the pipeline by then
			if s := a.stats.Load(); s != nil && s.Held == 0 && len(a.facts) == 0 {
				return nil
			}
		}
		return nil
	}
}

// during has a collector run for as long as another context lasts.
func during(ctx context.Context, run func(context.Context, func(event.Event)) error) func(context.Context, func(event.Event)) error {
	return func(_ context.Context, emit func(event.Event)) error { return run(ctx, emit) }
}
