package agent

import (
	"context"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/pipeline"
)

func TestRecordsAreReadOnUntilNothingWaitsForThem(t *testing.T) {
	a := &Agent{}
	a.stats.Store(&pipeline.Stats{Held: 1})
	ctx, stop := context.WithCancel(t.Context())
	reading, wait := a.outlasting(ctx)
	stop()
	ended := make(chan error, 1)
	go func() { ended <- wait() }()
	select {
	case <-reading.Done():
		t.Fatal("the records are no longer read while something waits for them")
	case <-time.After(3 * tick):
	}
	a.stats.Store(&pipeline.Stats{})
	if err := <-ended; err != nil || reading.Err() == nil {
		t.Errorf("ended with %v, and reading goes on: %v", err, reading.Err() == nil)
	}
}

func TestWhatNobodyEverAnswersDoesNotKeepTheAgent(t *testing.T) {
	a := &Agent{}
	a.stats.Store(&pipeline.Stats{Held: 1})
	ctx, stop := context.WithCancel(t.Context())
	reading, wait := a.outlasting(ctx)
	stop()
	if err := wait(); err != nil || reading.Err() == nil {
		t.Errorf("ended with %v, and reading goes on: %v", err, reading.Err() == nil)
	}
}
