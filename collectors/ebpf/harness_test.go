package ebpf

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/doors"
	"github.com/clawwatch/clawwatch/internal/event"
)

// The test binary is its own watched process: started with the name of an
// action in its environment, it says that it is ready, waits for a line, acts,
// and exits. What an action writes to out reaches the test.
const actionVariable = "CLAWWATCH_TEST_ACTION"

// patience is how long something may take on a virtual machine without
// acceleration, where 2,000 processes take a minute.
const patience = 2 * time.Minute

func actions() map[string]func(out io.Writer) error {
	return map[string]func(io.Writer) error{
		"shorts": actShorts, "long-args": actLongArgs, "environment": actEnvironment,
		"thread-exec": actThreadExec, "leader-gone": actLeaderGone,
		"files": actFiles, "threads": actThreads, "opens": actOpens, "bind": actBind,
		"listen": actListen, "long": actLong, "services": actServices, "odd": actOdd, "pass": actPass, "tls": actTLS, "http": actHTTP,
		"fast-open": actFastOpen, "multipath": actMultipath, "datagrams": actDatagrams, "names-by-tcp": actNamesByTCP, "knock": actKnock, "quic": actQUIC, "theirs": actTheirs, "vsock": actVSock,
		"access": actAccess, "identity": actIdentity, "spawns": actSpawns, "images": actImages, "rename-args": actRenameArgs, "overwrite": actOverwrite,
		"ring": actRingPlain, "ring-async": actRingAsync,
		"ring-poll": actRingPoll, "ring-skip": actRingSkip, "ring-net": actRingNet,
		"doors": actDoors, "uses": actUses, "inherited": actInherited, "flood": actFlood,
		"tcp": actTCP, "refused": actRefused, "again": actAgain, "heir": actHeir, "heir-on": actHeirOn, "numbers": actNumbers, "no-heir": actNoHeir, "udp": actUDP, "dns": actDNS, "abandon": actAbandon,
	}
}

func TestMain(m *testing.M) {
	doors.Main()
	name := os.Getenv(actionVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread() // this is the first thread, and stays it
	os.Unsetenv(actionVariable)
	fmt.Println("ready")
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		os.Exit(3)
	}
	act := actions()[name]
	if name == "reach" {
		act = func(io.Writer) error { return actReach(strings.Fields(line)[1:]) }
	}
	if err := act(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(4)
	}
	os.Exit(0)
}

func (o *ours) hasStranger() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stranger
}

// A bench is a sensor that runs, and what it has reported.
type bench struct {
	*sensor
	t      *testing.T
	events chan event.Event
	seen   []event.Event
	ours   *ours
}

// ours are the processes that the tests started and what descends from them:
// the host may run an OpenClaw, which the sensor finds and watches.
type ours struct {
	mu       sync.Mutex
	ids      map[event.ProcID]bool
	stranger bool // there is one
}

func (o *ours) add(id event.ProcID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ids[id] = true
}

// concerns reports whether an event is to be looked at.
func (o *ours) concerns(e event.Event) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f, ok := e.Body.(event.Fork); ok && o.ids[f.Parent] {
		o.ids[e.Proc] = true
	}
	if e.Proc.IsZero() || o.ids[e.Proc] || e.Proc.PID == int32(os.Getpid()) {
		return true
	}
	o.stranger = true
	return false
}

// openBackend opens a back end. Where the host does not allow that, the test is
// skipped; in CI it fails, but not for want of trampolines.
func openBackend(t *testing.T, of backend, ring int) *sensor {
	t.Helper()
	openIt := openTracepoint
	if of == trampoline {
		openIt = openTrampoline
	}
	c, err := openIt(collectors.Config{RingSize: ring})
	if errors.Is(err, collectors.ErrUnsupported) && (os.Getenv("CI") != "true" || of == trampoline) {
		t.Skipf("open sensor: %v", err)
	}
	if err != nil {
		t.Fatalf("open sensor: %v", err)
	}
	s := c.(*sensor)
	for _, gap := range s.Coverage() {
		t.Logf("coverage: %s", gap.Reason)
	}
	return s
}

func newBench(t *testing.T, of backend, ring int) *bench {
	t.Helper()
	b := &bench{sensor: openBackend(t, of, ring), t: t, events: make(chan event.Event, 1<<16), ours: &ours{ids: map[event.ProcID]bool{}}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	var loops sync.WaitGroup
	for _, loop := range b.Loops() {
		loops.Go(func() {
			if err := loop(ctx); err != nil {
				t.Errorf("work beside the sensor: %v", err)
			}
		})
	}
	go func() {
		done <- b.Run(ctx, func(e event.Event) {
			if b.ours.concerns(e) {
				b.events <- e
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run sensor: %v", err)
		}
		loops.Wait()
		if err := b.Close(); err != nil {
			t.Errorf("close sensor: %v", err)
		}
	})
	return b
}

// on gives the same bench to a subtest, with nothing seen yet.
func (b *bench) on(t *testing.T) *bench {
	return &bench{sensor: b.sensor, t: t, events: b.events, ours: b.ours}
}

// lacks reports whether the sensor has said that it does not see this here.
func (b *bench) lacks(what string) bool {
	return slices.ContainsFunc(b.Coverage(), func(c event.Coverage) bool { return strings.HasPrefix(c.Reason, "not seen: "+what) })
}

// until reads events up to the first that match accepts, and returns that.
func (b *bench) until(what string, match func(event.Event) bool) event.Event {
	b.t.Helper()
	late := time.After(patience)
	for {
		select {
		case e := <-b.events:
			b.seen = append(b.seen, e)
			if match(e) {
				return e
			}
		case <-late:
			b.t.Fatalf("no %s among %d events:\n%s", what, len(b.seen), b.log())
		}
	}
}

func (b *bench) log() string {
	var s strings.Builder
	for i, e := range b.seen {
		if i == 60 {
			s.WriteString("…\n")
			break
		}
		fmt.Fprintf(&s, "%v %s %+v\n", e.Proc, e.Body.Kind(), e.Body)
	}
	return s.String()
}

// untilExit reads up to the exit of a process.
func (b *bench) untilExit(id event.ProcID) event.Exit {
	b.t.Helper()
	e := b.until(fmt.Sprintf("exit of %v", id), func(e event.Event) bool {
		_, ok := e.Body.(event.Exit)
		return ok && e.Proc == id
	})
	return e.Body.(event.Exit)
}

// bodies are what was seen of one type, of a process or, for the zero ProcID,
// of all.
func bodies[T event.Body](b *bench, id event.ProcID) []T {
	var found []T
	for _, e := range b.seen {
		if body, ok := e.Body.(T); ok && (id.IsZero() || e.Proc == id) {
			found = append(found, body)
		}
	}
	return found
}

// A child is a process of ours that waits to act.
type child struct {
	*exec.Cmd
	id  event.ProcID
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a child, up to where it waits for go.
func (b *bench) start(name string, args ...string) *child {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	return b.startCommand(exec.Command(self, args...), actionVariable+"="+name)
}

// startWith starts a child that inherits files, from descriptor 3 on.
func (b *bench) startWith(name string, files []*os.File, args ...string) *child {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.ExtraFiles = files
	return b.startCommand(cmd, actionVariable+"="+name)
}

// startCommand starts a command that writes a line when it is ready.
func (b *bench) startCommand(cmd *exec.Cmd, env ...string) *child {
	b.t.Helper()
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	cmd.Dir = b.t.TempDir()
	in, err := cmd.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	c := &child{Cmd: cmd, in: in, out: bufio.NewReader(out)}
	b.t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line := c.line(b.t); line != "ready" {
		b.t.Fatalf("child said %q, want ready", line)
	}
	start, err := readStart("/proc", int32(cmd.Process.Pid))
	if err != nil {
		b.t.Fatal(err)
	}
	c.id = event.ProcID{PID: int32(cmd.Process.Pid), Start: start}
	b.ours.add(c.id)
	return c
}

func (c *child) line(t *testing.T) string {
	t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("read from child: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (c *child) act(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(c.in, "go\n"); err != nil {
		t.Fatal(err)
	}
}

// run watches a child, lets it act, and reads up to its exit, which must be
// that of success.
func (b *bench) run(name string, args ...string) *child {
	b.t.Helper()
	c := b.start(name, args...)
	if err := b.Watch(c.id); err != nil {
		b.t.Fatal(err)
	}
	c.act(b.t)
	if exit := b.untilExit(c.id); exit != (event.Exit{}) {
		b.t.Fatalf("child ended with %+v", exit)
	}
	return c
}

func TestTracepoints(t *testing.T) { testSensor(t, tracepoint) }
func TestTrampolines(t *testing.T) { testSensor(t, trampoline) }

// testSensor opens the sensor once, which takes a second with its closing, for
// all that needs no sensor of its own.
func testSensor(t *testing.T, of backend) {
	b := newBench(t, of, 0)
	tests := map[string]func(*bench){
		"Every short process is seen with its arguments": testShorts,
		"Long arguments come whole":                      testLongArgs,
		"Only names of variables are reported":           testEnvironment,
		"Detached descendants are still watched":         testDetached,
		"A thread that execs keeps the mark":             testThreadExec,
		"So it does when the leader is gone":             testLeaderGone,
		"Exit tells status and signal":                   testExitStatus,
		"What is not watched is not reported":            testUnwatched,
		"Unwatch ends the reports":                       testUnwatch,
		"A stranger's start time is not watched":         testWrongStart,
		"A process named openclaw is a candidate":        testCandidate,
		"Files are reported by their real path":          testFiles,
		"Every door to a file is seen":                   testDoors,
		"Bytes are added up whatever moves them":         testUses,
		"A descriptor that was handed over is seen":      testInherited,
		"What io_uring does to files is seen":            testRings,
		"Connections through io_uring are seen":          testRingNet,
		"Threads that ran before Watch are seen":         testThreads,
		"Paths cross a bind mount":                       testBind,
		"TCP totals are exact":                           testTCP,
		"A refused connection tells why":                 testRefused,
		"Calling connect again is no second connection":  testAgain,
		"UDP is reported by peer and total":              testUDP,
		"Answers of name servers give names":             testDNS,
		"Sockets outlive their process":                  testAbandon,
		"Who can be connected to is seen":                testListen,
		"Totals are told while a connection lasts":       testLong,
		"Services are named by their real path":          testServices,
		"Sockets that no connection tells of are seen":   testOdd,
		"What is passed or inherited is seen":            testPass,
		"Names in TLS are seen":                          testTLS,
		"The name in QUIC is seen":                       testQUIC,
		"Requests and answers of HTTP are seen":          testHTTP,
		"TCP Fast Open is seen":                          testFastOpen,
		"Multipath TCP has totals":                       testMultipath,
		"Datagrams tell, and not a connect without any":  testDatagrams,
		"Datagrams on another's socket are seen":         testTheirs,
		"The machine around this one is a peer":          testVSock,
		"Answers over TCP give names":                    testNamesByTCP,
		"A stranger at a gateway's port is seen":         testStranger,
		"Access to other processes is reported":          testAccess,
		"A stranger at a guarded process is reported":    testGuard,
		"Changes of user and namespace are reported":     testIdentity,
		"Every way to make a process keeps the mark":     testSpawns,
		"An image tells where it came from":              testImages,
		"Arguments overwritten later change nothing":     testRenameArgs,
		"The costly hooks come off when idle":            testDisarm,
		"Who comes to a file that was left is an heir":   testHeirs,
		"So is who loads it":                             testHeirOfLibrary,
		"A new file under its number is another one":     testNumbers,
		"A file is known by the numbers of stat":         testHeirsOn,
		"To touch a file or its copy makes no heir":      testNoHeir,
		"There is room for many files":                   testManyFiles,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(b.on(t)) })
	}
}
