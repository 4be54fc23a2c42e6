package agent

import (
	"context"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/clawwatch/clawwatch/internal/pipeline"
)

// notify tells the service manager that the agent is ready, that it lives, and
// at the end of ctx that it stops. It does nothing where nobody asked for it.
//
// What counts as living is that the pipeline goes round: a beat is sent only
// where it ticked since the last one, so that an agent that answers and
// observes nothing is restarted.
func (a *Agent) notify(ctx context.Context) {
	m, ok := dialManager(os.Getenv("NOTIFY_SOCKET"))
	if !ok {
		return
	}
	defer m.Close() //nolint:errcheck // nothing was buffered
	m.send("READY=1\nSTATUS=watching for OpenClaw gateways")
	defer m.send("STOPPING=1")
	beats := time.NewTicker(beatEvery(os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")))
	defer beats.Stop()
	var last *pipeline.Stats
	for {
		select {
		case <-ctx.Done():
			return
		case <-beats.C:
			if now := a.stats.Load(); now != last { // a new one each tick
				last = now
				m.send("WATCHDOG=1")
			}
		}
	}
}

// beatEvery is a third of the time that the service manager allows between two
// beats, so that a late one does no harm. Where it wants none they do not
// matter, and are rare.
func beatEvery(usec, pid string) time.Duration {
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || n > int64(24*time.Hour/time.Microsecond) || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return time.Hour
	}
	return max(time.Duration(n)*time.Microsecond/3, 10*time.Millisecond)
}

// A manager is the datagram socket of the service manager.
type manager struct{ *net.UnixConn }

// dialManager connects to a path, or to an abstract name behind an @.
func dialManager(name string) (manager, bool) {
	if name == "" {
		return manager{}, false
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	return manager{c}, err == nil
}

// send does not fail: without the message the manager does what it must.
func (m manager) send(state string) {
	_ = m.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = m.Write([]byte(state))
}
