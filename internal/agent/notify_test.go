package agent

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/pipeline"
)

// A beat is a word that the pipeline goes round; where it does not, the service
// manager hears nothing and acts.
func TestABeatIsSentOnlyWhileThePipelineGoesRound(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "90000")
	t.Setenv("WATCHDOG_PID", "")
	var a Agent
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { a.notify(ctx); close(done) }()
	hear := func(wait time.Duration) string {
		t.Helper()
		b := make([]byte, 4096)
		if err := l.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		n, _ := l.Read(b)
		return string(b[:n])
	}
	if got := hear(time.Minute); !strings.HasPrefix(got, "READY=1\n") {
		t.Errorf("first: %q", got)
	}
	for range 3 {
		a.stats.Store(&pipeline.Stats{})
		if got := hear(time.Minute); got != "WATCHDOG=1" {
			t.Errorf("after a tick: %q", got)
		}
	}
	if got := hear(300 * time.Millisecond); got != "" {
		t.Errorf("with no tick in three times the allowed time: %q", got)
	}
	cancel()
	if got := hear(time.Minute); got != "STOPPING=1" {
		t.Errorf("last: %q", got)
	}
	<-done
}

func TestBeatsComeThreeTimesAsOftenAsAsked(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"60000000", "", 20 * time.Second},
		{"1", "", 10 * time.Millisecond},
		{"", "", time.Hour},
		{"-1", "", time.Hour},
		{"9223372036854775807", "", time.Hour},
		{"60000000", "1", time.Hour}, // meant for another process
	} {
		if got := beatEvery(c.usec, c.pid); got != c.want {
			t.Errorf("beatEvery(%q, %q) = %v, want %v", c.usec, c.pid, got, c.want)
		}
	}
}
