package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/clawwatch/clawwatch/exporters"
	"github.com/clawwatch/clawwatch/internal/console"
	"github.com/clawwatch/clawwatch/internal/event"
)

// A batch goes out when it has this many items, or this long after its first.
// In a storm that is four of the store's blocks, none of them written twice.
const (
	batchItems = 1024
	batchWait  = 200 * time.Millisecond
)

// sink hands what the pipeline makes to the writer.
type sink struct{ out chan<- exporters.Item }

func (s sink) Record(r event.Record) { s.out <- exporters.Item{Record: &r} }
func (s sink) Alert(a event.Alert)   { s.out <- exporters.Item{Alert: &a} }

// write takes what the pipeline gives out until it is closed.
func (a *Agent) write() {
	exporters.Collect(context.Background(), a.out, batchItems, batchWait, a.deliver)
}

// deliver puts a batch into the store and every exporter's queue. What one of
// them cannot take is counted and does not keep it from the others.
func (a *Agent) deliver(b exporters.Batch) {
	for _, alert := range b.Alerts {
		if a.opt.Console != nil && !alert.Amended {
			fmt.Fprintln(a.opt.Console, console.FormatAlert(alert, a.opt.Colour)) //nolint:errcheck // a closed terminal is no reason to stop
		}
	}
	if err := a.store.Append(b.Records, b.Alerts); err != nil {
		if a.writeErrs.Add(uint64(b.Len())) == uint64(b.Len()) {
			a.log.Error("append to store", "error", err)
		}
	}
	for _, d := range a.exporters {
		if err := d.Export(context.Background(), b); err != nil {
			d.warn(a.log, err)
		}
	}
}

// reportDrops turns what could not be stored or queued into sensor.lost events.
func (a *Agent) reportDrops(ctx context.Context) {
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	var stored uint64
	queued := make([]uint64, len(a.exporters))
	report := func(seen *uint64, now uint64, cause string) {
		if now > *seen {
			a.emit(event.Event{Time: time.Now(), Source: event.SourceAgent, Body: event.Lost{Count: now - *seen, Cause: cause}})
			*seen = now
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			if n := a.left.missed.Swap(0); n > 0 {
				a.say(event.Lost{Of: event.KindHeir, Count: n, Cause: "files left behind that could not be watched, or came faster than they can be looked at"})
			}
			report(&stored, a.writeErrs.Load(), "the store could not take them")
			for i, d := range a.exporters {
				report(&queued[i], d.dropped(), "the queue for "+d.name+" dropped them")
			}
		}
	}
}
