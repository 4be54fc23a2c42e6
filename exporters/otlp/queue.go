package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/clawwatch/clawwatch/internal/spool"
)

// Bounds of one request: several entries go together when many wait.
const (
	maxRequestItems = 1000
	maxRequestBytes = 2 << 20 // not compressed; gRPC servers take 4 MiB
	maxRetryAfter   = time.Hour
)

// A sender sends one request of encoded logs.
type sender interface {
	// send gives the number of records that the server did not want, and its
	// words on that. The error is a *refusal where the server answered.
	send(ctx context.Context, request []byte) (rejected int64, message string, err error)
	close() error
}

// A refusal is an answer of the server that is not success.
type refusal struct {
	text      string
	permanent bool          // the same request will never be taken
	after     time.Duration // the server asks for this pause; 0: it does not
}

func (r *refusal) Error() string { return r.text }

// QueueStats is the state of one queue. Counts are of records or alerts, since
// New.
type QueueStats struct {
	Items, Bytes int64     // waiting on disk
	Delivered    int64     // acknowledged by the server
	Full         int64     // dropped: the queue was at its bound
	Failed       int64     // dropped: the disk did not take them
	Rejected     int64     // dropped: the server will never take them
	Damaged      int64     // dropped: the queue's files were damaged
	DamagedBytes int64     // of the queue's files passed over as damaged
	Retries      int64     // requests that failed and were, or will be, repeated
	LastError    string    // of the latest request; empty: it succeeded
	LastSuccess  time.Time // zero: none yet
}

// Dropped is how many records are gone, for whatever reason.
func (s QueueStats) Dropped() int64 { return s.Full + s.Failed + s.Rejected + s.Damaged }

// A queue is a spool and what delivers from it.
type queue struct {
	spool       *spool.Spool
	to          sender
	timeout     time.Duration
	first, most time.Duration // pauses after failures
	log         *slog.Logger

	mu       sync.Mutex
	count    QueueStats
	refusing bool // the last put did not succeed
}

// put stores the entries. It goes on after an error: the next may be smaller.
func (q *queue) put(entries []entry) error {
	var errs []error
	for _, e := range entries {
		err := q.spool.Put(e.data, e.items)
		q.counted(e.items, err)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// counted counts what one put did, and logs where dropping begins and ends.
func (q *queue) counted(items int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case err == nil && q.refusing:
		q.log.Info("log records are queued again", "dropped_full", q.count.Full, "dropped_disk", q.count.Failed)
	case err != nil && !q.refusing:
		q.log.Error("log records are dropped", "err", err)
	}
	q.refusing = err != nil
	switch {
	case errors.Is(err, spool.ErrFull):
		q.count.Full += int64(items)
	case err != nil:
		q.count.Failed += int64(items)
	}
}

// run delivers until ctx is done.
func (q *queue) run(ctx context.Context) error {
	alone := 0 // so many entries go by themselves: one among them was refused
	failures := 0
	for ctx.Err() == nil {
		items := maxRequestItems
		if alone > 0 {
			items = 0 // one entry
		}
		entries, err := q.spool.Read(items, maxRequestBytes)
		if err != nil {
			return fmt.Errorf("read queue: %w", err)
		}
		q.sayDamage()
		if len(entries) == 0 {
			select {
			case <-ctx.Done():
			case <-q.spool.Ready():
			}
			continue
		}
		err = q.deliver(ctx, entries)
		var no *refusal
		switch {
		case err == nil:
			failures, alone = 0, max(0, alone-len(entries))
			continue
		case errors.As(err, &no) && no.permanent: // more than one entry: deliver drops a single one
			alone = len(entries)
			continue
		}
		pause(ctx, q.delay(failures, no))
		failures++
	}
	return nil
}

// deliver sends the entries as one request and acknowledges them. A single
// entry that the server will never take is dropped, and that is no error.
func (q *queue) deliver(ctx context.Context, entries []spool.Entry) error {
	request, items := join(entries)
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	rejected, message, err := q.to.send(ctx, request)
	var no *refusal
	switch {
	case err == nil:
		rejected = max(0, min(rejected, items))
	case errors.As(err, &no) && no.permanent && len(entries) > 1:
		return err
	case no != nil && no.permanent:
		rejected, message = items, no.text
	case errors.Is(context.Cause(ctx), context.Canceled):
		return err // we are asked to stop: it says nothing of the server
	default:
		q.failed(err)
		return err
	}
	if rejected > 0 {
		q.log.Error("server rejected log records", "count", rejected, "of", items, "answer", message)
	}
	q.succeeded(items, rejected)
	if err := q.spool.Ack(len(entries)); err != nil {
		q.log.Error("log records may be delivered twice", "err", err)
	}
	return nil
}

// join makes one request of the entries: see encode.
func join(entries []spool.Entry) (request []byte, items int64) {
	if len(entries) == 1 {
		return entries[0].Data, int64(entries[0].Items)
	}
	for _, e := range entries {
		request = append(request, e.Data...)
		items += int64(e.Items)
	}
	return request, items
}

func (q *queue) failed(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	level := slog.LevelDebug // the same again and again is told once
	if err.Error() != q.count.LastError {
		level = slog.LevelWarn
	}
	q.log.Log(context.Background(), level, "delivery failed and will be repeated", "err", err)
	q.count.Retries++
	q.count.LastError = err.Error()
}

func (q *queue) succeeded(items, rejected int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count.LastError != "" {
		q.log.Info("delivery works again", "retries", q.count.Retries)
	}
	q.count.LastError, q.count.LastSuccess = "", time.Now()
	q.count.Delivered += items - rejected
	q.count.Rejected += rejected
}

// sayDamage logs what reading the queue passed over.
func (q *queue) sayDamage() {
	now := q.spool.Stats()
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.DamagedBytes > q.count.DamagedBytes {
		q.log.Error("queue files are damaged; the damaged part is passed over",
			"bytes", now.DamagedBytes, "records_known", now.DamagedItems)
	}
	q.count.Damaged, q.count.DamagedBytes = now.DamagedItems, now.DamagedBytes
}

// delay is the pause after so many failures in a row before this one: twice as
// long each time, give or take a quarter so that a fleet does not march in step,
// and never less than the server asks, within reason.
func (q *queue) delay(failures int, no *refusal) time.Duration {
	d := q.most
	if failures < 30 {
		d = min(d, q.first<<failures)
	}
	d = d*3/4 + rand.N(d/2+1)
	if no != nil {
		d = max(d, min(no.after, maxRetryAfter))
	}
	return d
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (q *queue) stats() QueueStats {
	on := q.spool.Stats()
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.count
	s.Items, s.Bytes = on.Items, on.Bytes
	s.Damaged, s.DamagedBytes = on.DamagedItems, on.DamagedBytes
	return s
}

func (q *queue) close() error { return errors.Join(q.spool.Close(), q.to.close()) }
