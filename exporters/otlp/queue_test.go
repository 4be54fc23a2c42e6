package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clawwatch/clawwatch/internal/spool"
)

// fakeSender answers as told, and then with success.
type fakeSender struct {
	answers []answer
	sent    []string    // requests that had success
	at      []time.Time // of every request
	every   func(request string) answer
}

type answer struct {
	rejected int64
	err      error
}

func (f *fakeSender) send(_ context.Context, request []byte) (int64, string, error) {
	f.at = append(f.at, time.Now())
	var a answer
	switch {
	case f.every != nil:
		a = f.every(string(request))
	case len(f.answers) > 0:
		a, f.answers = f.answers[0], f.answers[1:]
	}
	if a.err == nil {
		f.sent = append(f.sent, string(request))
	}
	return a.rejected, "", a.err
}

func (f *fakeSender) close() error { return nil }

func testQueue(t *testing.T, to sender, on spool.Config) *queue {
	t.Helper()
	on.Dir = t.TempDir()
	sp, err := spool.Open(on)
	if err != nil {
		t.Fatal(err)
	}
	q := &queue{spool: sp, to: to, timeout: time.Second, first: time.Second, most: time.Minute, log: slog.New(slog.DiscardHandler)}
	t.Cleanup(func() { q.close() })
	return q
}

func put(t *testing.T, q *queue, data ...string) {
	t.Helper()
	for _, d := range data {
		if err := q.put([]entry{{data: []byte(d), items: 10}}); err != nil {
			t.Fatal(err)
		}
	}
}

// during runs the queue until everything that can happen in d has happened.
func during(t *testing.T, q *queue, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := q.run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestFailureIsRepeatedForEverWithLongerPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{}
		for range 40 {
			f.answers = append(f.answers, answer{err: errors.New("connection refused")})
		}
		q := testQueue(t, f, spool.Config{})
		put(t, q, "a", "b")
		during(t, q, 2*time.Hour)
		if !slices.Equal(f.sent, []string{"ab"}) {
			t.Fatalf("sent %q", f.sent)
		}
		for i := range f.at[:40] {
			got, want := f.at[i+1].Sub(f.at[i]), min(time.Second<<min(i, 20), time.Minute)
			if got < want*3/4 || got > want*5/4 {
				t.Errorf("pause %d is %v, want about %v", i, got, want)
			}
		}
		if s := q.stats(); s.Delivered != 20 || s.Retries != 40 || s.Dropped() != 0 || s.LastError != "" || s.Items != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestServersWishForAPauseIsHonouredWithinReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{answers: []answer{
			{err: &refusal{text: "429", after: 5 * time.Minute}},
			{err: &refusal{text: "429", after: 1000 * time.Hour}},
		}}
		q := testQueue(t, f, spool.Config{})
		put(t, q, "a")
		during(t, q, 3*time.Hour)
		if len(f.at) != 3 || f.at[1].Sub(f.at[0]) != 5*time.Minute || f.at[2].Sub(f.at[1]) != maxRetryAfter {
			t.Errorf("requests at %v", f.at)
		}
	})
}

func TestRefusedEntryIsDroppedAloneAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{every: func(request string) answer {
			if strings.Contains(request, "bad") {
				return answer{err: &refusal{text: "400", permanent: true}}
			}
			return answer{}
		}}
		q := testQueue(t, f, spool.Config{})
		put(t, q, "a", "bad", "c", "d")
		during(t, q, time.Minute)
		put(t, q, "e", "f")
		during(t, q, time.Minute)
		if !slices.Equal(f.sent, []string{"a", "c", "d", "ef"}) {
			t.Errorf("sent %q", f.sent)
		}
		if s := q.stats(); s.Delivered != 50 || s.Rejected != 10 || s.Items != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestPartialSuccessCountsWhatWasRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{answers: []answer{{rejected: 3}, {rejected: -1}, {rejected: 1 << 40}}}
		q := testQueue(t, f, spool.Config{})
		for _, d := range []string{"a", "b", "c"} {
			put(t, q, d)
			during(t, q, time.Second)
		}
		if s := q.stats(); s.Delivered != 7+10 || s.Rejected != 3+10 || s.Retries != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestWaitingEntriesGoTogetherWithinTheBoundOfARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{}
		q := testQueue(t, f, spool.Config{})
		for range 250 {
			put(t, q, "x")
		}
		during(t, q, time.Second)
		var lengths []int
		for _, s := range f.sent {
			lengths = append(lengths, len(s))
		}
		if !slices.Equal(lengths, []int{100, 100, 50}) {
			t.Errorf("entries a request: %v", lengths)
		}
	})
}

func TestLoopWakesForWhatIsPutWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{}
		q := testQueue(t, f, spool.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- q.run(ctx) }()
		for i := range 3 {
			synctest.Wait()
			put(t, q, fmt.Sprint(i))
		}
		synctest.Wait()
		cancel()
		if err := <-done; err != nil || !slices.Equal(f.sent, []string{"0", "1", "2"}) {
			t.Errorf("sent %q, %v", f.sent, err)
		}
	})
}

func TestFullQueueDropsTheNewestAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{}
		q := testQueue(t, f, spool.Config{MaxItems: 20})
		put(t, q, "a", "b")
		if err := q.put([]entry{{data: []byte("c"), items: 10}}); !errors.Is(err, spool.ErrFull) {
			t.Fatalf("third put: %v", err)
		}
		during(t, q, time.Second)
		put(t, q, "d")
		during(t, q, time.Second)
		if s := q.stats(); s.Full != 10 || s.Dropped() != 10 || s.Delivered != 30 || !slices.Equal(f.sent, []string{"ab", "d"}) {
			t.Errorf("%+v, sent %q", s, f.sent)
		}
	})
}

func TestStoppingIsNoFailureOfTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fakeSender{every: func(string) answer {
		cancel()
		return answer{err: context.Canceled}
	}}
	q := testQueue(t, f, spool.Config{})
	put(t, q, "a")
	if err := q.run(ctx); err != nil {
		t.Fatal(err)
	}
	if s := q.stats(); s.Retries != 0 || s.LastError != "" || s.Items != 10 {
		t.Errorf("%+v", s)
	}
}
