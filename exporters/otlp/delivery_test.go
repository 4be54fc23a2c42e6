package otlp

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/clawwatch/clawwatch/exporters"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Every record that Export took reaches a real OpenTelemetry Collector, though
// the collector is away at first and killed once, and we are killed twice.
//
// CLAWWATCH_OTELCOL names the binary built from testdata/otelcol, and
// CLAWWATCH_DELIVERY the number of records (200,000).
func TestKillsOnBothSidesLoseNothing(t *testing.T) {
	binary := os.Getenv("CLAWWATCH_OTELCOL")
	if binary == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("CLAWWATCH_OTELCOL is not set")
		}
		t.Skip("CLAWWATCH_OTELCOL is not set: build testdata/otelcol and name the binary")
	}
	total := 200_000
	if s := os.Getenv("CLAWWATCH_DELIVERY"); s != "" {
		total, _ = strconv.Atoi(s)
	}
	t.Run("http", func(t *testing.T) { deliver(t, binary, "http", total) })
	t.Run("grpc", func(t *testing.T) { deliver(t, binary, "grpc", total/5) })
}

func deliver(t *testing.T, binary, scheme string, total int) {
	began := time.Now()
	col := &collector{binary: binary, file: filepath.Join(t.TempDir(), "logs.json"), addr: map[string]string{}}
	col.addr["http"], col.addr["grpc"] = freeAddr(t), freeAddr(t)
	dir := t.TempDir()
	agent := func(from int) *agent { return startAgent(t, dir, scheme+"://"+col.addr[scheme], from) }

	a := agent(0)
	a.allow(total)
	a.until(total * 3 / 10) // nobody listens yet
	acked := a.kill()       // while it exports
	t.Logf("agent killed: %d acknowledged, none received", acked)

	col.start(t)
	a = agent(acked)
	a.allow(total * 6 / 10)
	a.until(total * 6 / 10)
	for range 3 {
		col.grow(t)
	}
	acked = a.kill() // while it delivers
	t.Logf("agent killed: %d acknowledged, %d received", acked, col.received(t))

	a = agent(acked)
	a.allow(total * 8 / 10)
	for range 5 {
		col.grow(t)
	}
	col.kill(t) // while it receives
	t.Logf("collector killed: %d acknowledged, %d received", a.acked, col.received(t))
	a.until(total * 8 / 10)
	a.allow(total)
	a.until(total * 9 / 10)
	col.start(t)
	a.until(total)
	acked = a.stop() // when its queue is empty
	col.kill(t)

	seen, records := ids(t, col.file)
	lost := 0
	for i := 1; i <= acked; i++ {
		if !seen[strconv.Itoa(i)] || i%everyAlert == 0 && !seen[alertID(i)] {
			lost++
		}
	}
	t.Logf("%s: %d acknowledged by Export, %d unique received (with alerts), %d lost, %d received again with the same id, %.1f s",
		scheme, acked, len(seen), lost, records-len(seen), time.Since(began).Seconds())
	if lost > 0 || acked != total {
		t.Errorf("%d of %d lost", lost, acked)
	}
}

// A collector is the real thing in a process of its own.
type collector struct {
	binary, file string
	addr         map[string]string
	cmd          *exec.Cmd
}

func (c *collector) start(t *testing.T) {
	t.Helper()
	c.cmd = exec.Command(c.binary, "-http", c.addr["http"], "-grpc", c.addr["grpc"], "-file", c.file)
	var said bytes.Buffer
	c.cmd.Stdout, c.cmd.Stderr = &said, &said
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd := c.cmd
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("collector said: %s", said.String())
		}
	})
}

func (c *collector) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.cmd.Wait()
}

// grow waits until the collector has received more.
func (c *collector) grow(t *testing.T) {
	t.Helper()
	size := func() int64 {
		info, err := os.Stat(c.file)
		if err != nil {
			return 0 // it has yet to make it
		}
		return info.Size()
	}
	for from := size(); size() == from; time.Sleep(time.Millisecond) { // no file tells of its growth
		if t.Context().Err() != nil {
			t.Fatal("nothing received")
		}
	}
}

func (c *collector) received(t *testing.T) int {
	t.Helper()
	seen, _ := ids(t, c.file)
	return len(seen)
}

// An agent is a child that exports records and says which it may forget.
type agent struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
	acked int
}

func startAgent(t *testing.T, dir, endpoint string, from int) *agent {
	t.Helper()
	a := &agent{t: t, cmd: exec.Command(os.Args[0], "-test.run=^TestAgentChild$"), acked: from}
	a.cmd.Env = append(os.Environ(), "OTLP_CHILD="+dir, "OTLP_ENDPOINT="+endpoint, fmt.Sprint("OTLP_FROM=", from))
	a.cmd.Stderr = os.Stderr
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if a.stdin, err = a.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	a.lines = bufio.NewScanner(out)
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.cmd.Process.Kill(); a.cmd.Wait() })
	return a
}

// allow lets the child export up to record n.
func (a *agent) allow(n int) {
	a.t.Helper()
	if _, err := fmt.Fprintln(a.stdin, n); err != nil {
		a.t.Fatal(err)
	}
}

// next takes one acknowledgement.
func (a *agent) next() bool {
	if !a.lines.Scan() {
		return false
	}
	n, err := strconv.Atoi(a.lines.Text())
	if err != nil {
		a.t.Fatalf("child said %q", a.lines.Text())
	}
	a.acked = n
	return true
}

func (a *agent) until(n int) {
	a.t.Helper()
	for a.acked < n {
		if !a.next() {
			a.t.Fatalf("child ended at %d, before %d", a.acked, n)
		}
	}
}

// kill ends the child at once and gives the last record it acknowledged.
func (a *agent) kill() int {
	a.cmd.Process.Kill()
	for a.next() { // what it said before it died
	}
	a.cmd.Wait()
	return a.acked
}

func (a *agent) stop() int {
	a.t.Helper()
	peak := a.peak()
	a.stdin.Close()
	for a.next() {
	}
	if err := a.cmd.Wait(); err != nil {
		a.t.Fatalf("child: %v", err)
	}
	use := a.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	a.t.Logf("last agent used %d ms of CPU and at most %s", (use.Utime.Nano()+use.Stime.Nano())/1e6, peak)
	return a.acked
}

// peak is the most memory the child had: ru_maxrss would tell its parent's.
func (a *agent) peak() string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		a.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	size, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(size)
}

// TestAgentChild is what startAgent runs; by itself it does nothing.
func TestAgentChild(t *testing.T) {
	dir := os.Getenv("OTLP_CHILD")
	if dir == "" {
		return
	}
	from, _ := strconv.Atoi(os.Getenv("OTLP_FROM"))
	x, err := New(Config{
		Endpoint: os.Getenv("OTLP_ENDPOINT"), Dir: dir,
		Resource:   map[string]string{"host.name": "test", "host.id": "0123456789abcdef"},
		RetryAfter: 10 * time.Millisecond, RetryAtMost: 200 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var loops sync.WaitGroup
	for _, loop := range x.Loops() {
		loops.Go(func() { loop(ctx) })
	}
	for limits := bufio.NewScanner(os.Stdin); limits.Scan(); { // until the parent has had enough
		to, _ := strconv.Atoi(limits.Text())
		from = exportUpTo(t, x, from, to)
	}
	for x.Stats().Events.Items+x.Stats().Alerts.Items > 0 {
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	loops.Wait()
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	os.Exit(0) // before the test framework prints
}

// One alert goes with so many records.
const everyAlert = 1000

func alertID(n int) string { return fmt.Sprint("alert-", n) }

func exportUpTo(t *testing.T, x *Exporter, from, to int) int {
	all := sample(100)
	for from < to {
		b := exporters.Batch{Records: all[:min(100, to-from)]}
		for i := range b.Records {
			b.Records[i].ID = strconv.Itoa(from + i + 1)
			if n := from + i + 1; n%everyAlert == 0 {
				b.Alerts = append(b.Alerts, event.Alert{ID: alertID(n), Message: "test"})
			}
		}
		if err := x.Export(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		from += len(b.Records)
		fmt.Println(from)
	}
	return from
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// ids gives the values of event.id in the collector's file, and how many there
// were. It looks for them byte by byte: a kill may have cut a line.
func ids(t *testing.T, file string) (seen map[string]bool, n int) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	seen = map[string]bool{}
	mark := []byte(`"key":"event.id","value":{"stringValue":"`)
	for {
		_, rest, found := bytes.Cut(data, mark)
		if !found {
			return seen, n
		}
		id, rest, found := bytes.Cut(rest, []byte(`"`))
		if !found {
			return seen, n
		}
		seen[string(id)] = true
		n, data = n+1, rest
	}
}

func BenchmarkExport(b *testing.B) {
	cfg := Config{Endpoint: "http://127.0.0.1:1", Dir: b.TempDir(), MaxEventItems: 1 << 40, MaxEventBytes: 1 << 40}
	x, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	batch := exporters.Batch{Records: sample(100)}
	for b.Loop() {
		if err := x.Export(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		if x.Stats().Events.Bytes > 64<<20 { // keep the disk as it was found
			b.StopTimer()
			drop(b, x.events)
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/record")
}

func drop(b *testing.B, q *queue) {
	for {
		entries, err := q.spool.Read(1<<20, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		if len(entries) == 0 {
			return
		}
		if err := q.spool.Ack(len(entries)); err != nil {
			b.Fatal(err)
		}
	}
}

func TestRecordTakesFewBytesOnTheWire(t *testing.T) {
	for _, n := range []int{100, 1000} {
		all := sample(n)
		entries, err := encode(nil, n, func(dst plog.LogRecord, i int) { putRecord(dst, &all[i], time.Unix(1_795_000_001, 0)) })
		if err != nil {
			t.Fatal(err)
		}
		var request []byte
		for _, e := range entries {
			request = append(request, e.data...)
		}
		packed, err := newHTTP(&url.URL{}, nil, Config{}).pack(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("requests of %d: %d bytes a record, %d compressed", n, len(request)/n, len(packed)/n)
		if len(packed)/n > 300 {
			t.Errorf("%d bytes a record compressed, want at most 300", len(packed)/n)
		}
	}
}
