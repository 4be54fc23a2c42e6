// Package exporters says what shipping means: what an Exporter takes and what
// it promises. Each way of shipping is a package of its own below this one.
package exporters

import (
	"context"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A Batch is what is handed on together. The exporter must not change it.
type Batch struct {
	Records []event.Record
	Alerts  []event.Alert
}

// Len is the number of records and alerts.
func (b Batch) Len() int { return len(b.Records) + len(b.Alerts) }

// An Exporter ships records and alerts.
type Exporter interface {
	// Export takes a batch. Nil means that all of it is durable: it will be
	// delivered at least once, whatever becomes of the process. An error means
	// that part of it is dropped, and counted; there is nothing to retry. Export
	// waits for the disk and never for the network.
	Export(context.Context, Batch) error
	// Loops are what delivers. The agent runs each in a goroutine of its own,
	// until the context is done; then they return nil.
	Loops() []func(context.Context) error
	// Close gives back what the exporter holds. It comes after the Loops have
	// returned. What is undelivered stays on disk.
	Close() error
}

// An Item is one record or one alert on its way to a Batch.
type Item struct {
	Record *event.Record
	Alert  *event.Alert
}

// Collect makes batches of the items from in and gives them to export: as soon
// as one has max items, or wait after its first one came. It returns when in is
// closed, and the last batch exported, or when ctx is done; then what it had
// already received is still exported.
func Collect(ctx context.Context, in <-chan Item, max int, wait time.Duration, export func(Batch)) {
	timer := time.NewTimer(wait)
	timer.Stop()
	defer timer.Stop()
	var b Batch
	flush := func() {
		timer.Stop()
		if b.Len() > 0 {
			export(b)
		}
		b = Batch{}
	}
	defer flush()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			flush()
		case item, ok := <-in:
			if !ok {
				return
			}
			if b.Len() == 0 {
				timer.Reset(wait)
			}
			b.add(item)
			if b.Len() >= max {
				flush()
			}
		}
	}
}

func (b *Batch) add(item Item) {
	if item.Record != nil {
		b.Records = append(b.Records, *item.Record)
	}
	if item.Alert != nil {
		b.Alerts = append(b.Alerts, *item.Alert)
	}
}
