package exporters

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

func TestCollectCutsBatchesBySizeByTimeAndAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, batches := make(chan Item), make(chan Batch, 10)
		go func() {
			defer close(batches)
			Collect(t.Context(), in, 3, 200*time.Millisecond, func(b Batch) { batches <- b })
		}()
		send := func(n int) {
			for i := range n {
				in <- Item{Record: &event.Record{ID: strconv.Itoa(i)}}
			}
		}
		send(4) // three at once, one must wait
		if b := <-batches; len(b.Records) != 3 {
			t.Errorf("first batch: %+v", b)
		}
		time.Sleep(199 * time.Millisecond)
		synctest.Wait()
		if len(batches) != 0 {
			t.Errorf("exported before the wait was over")
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if len(batches) != 1 || len((<-batches).Records) != 1 {
			t.Errorf("not exported after the wait")
		}
		in <- Item{Alert: &event.Alert{}}
		send(1)
		close(in)
		if b := <-batches; len(b.Records) != 1 || len(b.Alerts) != 1 {
			t.Errorf("last batch: %+v", b)
		}
		if b, more := <-batches; more {
			t.Errorf("one more: %+v", b)
		}
	})
}

func TestCollectExportsWhatItHasWhenCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		in := make(chan Item)
		got := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			Collect(ctx, in, 100, time.Hour, func(b Batch) { got += b.Len() })
		}()
		in <- Item{Record: &event.Record{}}
		cancel()
		<-done
		if got != 1 {
			t.Errorf("exported %d, want 1", got)
		}
	})
}
