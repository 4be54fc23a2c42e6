package agent

import (
	mrand "math/rand/v2"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/pipeline"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/rules"
)

// NewReplay judges recorded events as this host's agent would; what the rules
// find is an alert to the function. The same records give the same alerts, with
// the same IDs.
func NewReplay(set *rules.Set, pol *policy.Policy, alert func(event.Alert)) *pipeline.Replay {
	entropy := mrand.NewChaCha8([32]byte{})
	return pipeline.NewReplay(pipeline.Config{
		Policy: pol, Rules: set, Host: thisHost(), Sink: alerted(alert),
		NewID: func(t time.Time) string {
			return ulid.MustNew(uint64(max(t.UnixMilli(), 0)), entropy).String()
		},
	})
}

type alerted func(event.Alert)

func (f alerted) Alert(a event.Alert) { f(a) }
func (alerted) Record(event.Record)   {}
