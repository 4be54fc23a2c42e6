package openclaw_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // to fill the gateway's records

	"github.com/clawwatch/clawwatch/testdata/openclaw/model"
)

const (
	aloneLimit = 15 * time.Minute // that other agents and gateways of the host are waited for
	maxLog     = 16               // MB
)

// TestTurns measures how long a turn of the real gateway takes without clawwatch
// and beside it, from the message to the whole answer. Blocks without and with it
// alternate on one gateway, in the other order each round, so that the noise of
// the machine falls on both alike. A ratio is that of the medians of the two
// blocks of one round. What is printed is the median of the rounds, with the least
// and the greatest.
//
// Of speed it judges nothing. It fails if a tool call was not seen, if clawwatch
// could write to a file of OpenClaw's, or if the gateway's write-ahead log grows
// to maxLog: OpenClaw empties it at 4 MB, which only readers can prevent.
func TestTurns(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("CLAWWATCH_TURNS"))
	if err != nil {
		t.Skip("it measures for half an hour: CLAWWATCH_TURNS says in how many rounds (make bench-turns)")
	}
	needs(t)
	h := newHouse(t, newest)
	b := &turnBench{stage: h.newStage(t, "plain", false), house: h}
	put(t, filepath.Join(b.workspace, "notes.txt"), "Buy milk.\n", 0o644)
	b.start(t)
	load := tail("/proc/loadavg")
	defer func() { // also of rounds that end early
		t.Logf("load %.14s when it began; %d turns beside another agent or gateway were repeated\n%s", load, b.repeated, b.table())
	}()
	b.warm(t)
	b.lookOn(t)
	b.rounds(t, "rested", rounds, kindsOfTurn(b.stage))
	b.fill(t)
	b.rounds(t, starting, rounds, kindsOfTurn(b.stage)[1:2])
}

// A turnBench is the gateway and what was found out.
type turnBench struct {
	*stage
	house    *house
	watch    *agent // nil: none now
	agents   int
	repeated int
	found    []measured
}

// measured is a block of turns of one kind.
type measured struct {
	kind  string
	state string // of the agent, when there is one
	round int
	with  bool
	turn  float64 // ms, the median
	cpu   float64 // ms of the agent, of one turn
	wal   float64 // MB of the gateway's write-ahead log, after it
}

type kindOfTurn struct {
	name  string
	turns []model.Turn
	execs int
	timed int // turns of a block, one after the other
}

func kindsOfTurn(s *stage) []kindOfTurn {
	exec := run("wc -l notes.txt") // in the workspace: it raises no alert
	return []kindOfTurn{
		{"plain answer", []model.Turn{say("Done.")}, 0, 10},
		{"one read, one exec", []model.Turn{calls(s.use("weather-lite")), calls(exec), say("Done.")}, 1, 10},
		{"20 exec", []model.Turn{calls(slices.Repeat([]model.Call{exec}, 20)...), say("Done.")}, 20, 5},
	}
}

// starting says of an agent that it still learns what was there before it.
const starting = "starting"

// warm holds a gateway's first turns, which are slow. The very first can fail.
func (b *turnBench) warm(t *testing.T) {
	t.Helper()
	_, _ = b.turn(t.Context(), key("first"), "", "[first] please")
	for n, k := range kindsOfTurn(b.stage) {
		for range 5 {
			b.turnOf(t, fmt.Sprint("warm-", n), k)
		}
	}
}

// rounds are blocks without an agent and with one, that rests at first or is just
// starting.
func (b *turnBench) rounds(t *testing.T, state string, rounds int, kinds []kindOfTurn) {
	t.Helper()
	for round := range rounds {
		for i := range 2 {
			if (round+i)%2 == 1 {
				b.startAgent(t, state)
			}
			b.block(t, state, round, kinds)
			b.stopAgent(t)
		}
	}
}

// startAgent returns when an agent with a store of its own has found the gateway.
func (b *turnBench) startAgent(t *testing.T, state string) {
	t.Helper()
	b.awaitAlone(t)
	b.agents++
	b.watch = startAgent(t, filepath.Join(b.house.dir, fmt.Sprint("agent", b.agents)), b.endpoint, "")
	if err := await(t.Context(), time.Minute, func() bool { return fileHas(b.watch.out, "id="+b.state) }); err != nil {
		t.Fatalf("clawwatch does not find the gateway: %v", err)
	}
	if state != starting {
		b.watch.awaitGateway(t, b.gateway)
		b.awaitRest(t)
	}
}

func (b *turnBench) stopAgent(t *testing.T) {
	t.Helper()
	if b.watch != nil {
		b.watch.stop(t)
		b.watch = nil
	}
}

// block times turns of some kinds, each in a new session.
func (b *turnBench) block(t *testing.T, state string, round int, kinds []kindOfTurn) {
	t.Helper()
	for n, k := range kinds {
		session := fmt.Sprintf("%s-%d-%d-%t", state, round, n, b.watch != nil)
		b.turnOf(t, session, k) // which makes the session
		var took []float64
		used, played := b.used(t), 0
		for ; len(took) < k.timed; played++ {
			b.awaitAlone(t)
			ms := b.turnOf(t, session, k)
			if len(b.company(t)) > 0 {
				b.repeated++
				continue
			}
			took = append(took, ms)
		}
		m := measured{kind: k.name, state: state, round: round, with: b.watch != nil, turn: median(took), wal: b.wal(t)}
		if m.with {
			b.awaitRest(t)
			m.cpu = float64(b.used(t)-used) / 1e6 / float64(played)
			b.wasSeen(t, session, k.execs*(played+1))
		}
		if m.wal > maxLog {
			t.Errorf("after %s the gateway's write-ahead log has %.1f MB", session, m.wal)
		}
		t.Logf("%s: %.0f ms, agent %.0f ms a turn, log %.1f MB", session, took, m.cpu, m.wal)
		b.found = append(b.found, m)
	}
}

// turnOf holds one turn and says how many ms it took.
func (b *turnBench) turnOf(t *testing.T, session string, k kindOfTurn) float64 {
	t.Helper()
	marker := b.marker(talk{session: k.name})
	b.llm.Say(model.Script{marker: k.turns})
	began := time.Now()
	answer, err := b.turn(t.Context(), key(session), "", marker+" please")
	took := time.Since(began)
	if err != nil || !strings.Contains(answer, "Done.") {
		t.Fatalf("a turn of %s: %v: %s", session, err, answer)
	}
	return float64(took) / 1e6
}

// wasSeen checks that the agent has told of every exec call of a session.
func (b *turnBench) wasSeen(t *testing.T, session string, execs int) {
	t.Helper()
	seen := 0
	err := await(t.Context(), 30*time.Second, func() bool {
		events, _, err := b.watch.told(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen = 0
		for _, e := range events {
			if e.Kind == "process.exec" && len(e.Process.Args) > 0 && e.Process.Args[0] == "wc" && e.Attribution != nil && e.Attribution.Session == key(session) {
				seen++
			}
		}
		return seen >= execs
	})
	if err != nil {
		t.Errorf("of %d exec calls of %s clawwatch tells %d", execs, session, seen)
	}
}

// fill gives the sessions so far a long past: 45 MB, which an agent that starts
// learns from.
func (b *turnBench) fill(t *testing.T) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+b.records()+"?_pragma=busy_timeout(30000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for range 56 { // of four sessions at a time, so that the log is emptied on the way
		_, err := db.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 13)
			INSERT INTO transcript_events (session_id, seq, event_json, created_at)
			SELECT session_id, top + i, json_object('type', 'message', 'id', lower(hex(randomblob(16))), 'message', json_object(
				'role', 'assistant', 'content', json_array(json_object('type', 'text', 'text', hex(randomblob(8000)))))), at
			FROM n, (SELECT session_id, max(seq) top, max(created_at) at FROM transcript_events GROUP BY session_id ORDER BY min(rowid) LIMIT 4)`)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// records is the database of the gateway's one agent.
func (b *turnBench) records() string {
	return filepath.Join(b.state, "agents", "main", "agent", "openclaw-agent.sqlite")
}

func (b *turnBench) wal(t *testing.T) float64 {
	t.Helper()
	fi, err := os.Stat(b.records() + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return float64(fi.Size()) / 1e6
}

// company are the other agents and gateways of this host: an agent watches all
// gateways, so ours is not without one.
func (b *turnBench) company(t *testing.T) (found []string) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, _ := os.ReadFile(name) // none: it has ended
		comm := strings.TrimSpace(string(text))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		ours := pid == int(b.proc.PID) || b.watch != nil && pid == b.watch.cmd.Process.Pid
		if there, _ := os.Readlink(filepath.Dir(name) + "/ns/pid"); ours || there != here {
			continue // from a container it sees nothing of ours
		}
		if strings.HasPrefix(comm, "clawwatch") || comm == "openclaw-gatewa" {
			found = append(found, fmt.Sprint(comm, " ", pid))
		}
	}
	return found
}

func (b *turnBench) awaitAlone(t *testing.T) {
	t.Helper()
	if err := await(t.Context(), aloneLimit, func() bool { return len(b.company(t)) == 0 }); err != nil {
		t.Fatalf("beside %s nothing can be measured", b.company(t))
	}
}

// lookOn holds some turns while it looks at what an agent has open.
func (b *turnBench) lookOn(t *testing.T) {
	t.Helper()
	b.startAgent(t, "rested")
	end := b.watch.onlyReads(t, b.gateway)
	for n, k := range kindsOfTurn(b.stage) {
		b.turnOf(t, fmt.Sprint("looked-at-", n), k)
	}
	end()
	b.stopAgent(t)
}

// used is the processor time of the agent, if there is one.
func (b *turnBench) used(t *testing.T) time.Duration {
	t.Helper()
	if b.watch == nil {
		return 0
	}
	const sched = 2 // CPUCLOCK_SCHED: to the nanosecond, unlike /proc/PID/stat
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^b.watch.cmd.Process.Pid<<3|sched), &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// awaitRest returns when the agent has done what it had to do.
func (b *turnBench) awaitRest(t *testing.T) {
	t.Helper()
	err := await(t.Context(), aloneLimit, func() bool {
		before := b.used(t)
		time.Sleep(700 * time.Millisecond) // what it uses in that time is the answer
		return b.used(t)-before < 20*time.Millisecond
	})
	if err != nil {
		t.Fatalf("clawwatch does not come to rest: %v", err)
	}
}

// table is the median of the rounds, with the least and the greatest.
func (b *turnBench) table() string {
	type row struct{ without, ratio, cpu, wal, walWith []float64 }
	rows := map[string]*row{}
	var order []string
	for _, m := range b.found {
		name := m.kind + ", " + m.state
		if rows[name] == nil {
			rows[name], order = &row{}, append(order, name)
		}
		r := rows[name]
		if m.with {
			r.cpu, r.walWith = append(r.cpu, m.cpu), append(r.walWith, m.wal)
			continue
		}
		r.without, r.wal = append(r.without, m.turn), append(r.wal, m.wal)
		for _, w := range b.found {
			if w.with && w.kind == m.kind && w.state == m.state && w.round == m.round {
				r.ratio = append(r.ratio, w.turn/m.turn)
			}
		}
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "turn\tms without\tratio\tagent ms a turn\t-wal MB without\twith\t")
	for _, name := range order {
		r := rows[name]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t\n", name, spread("%.0f", r.without), spread("%.2f", r.ratio), spread("%.0f", r.cpu), spread("%.1f", r.wal), spread("%.1f", r.walWith))
	}
	w.Flush()
	return out.String()
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

func spread(format string, of []float64) string {
	if len(of) == 0 {
		return ""
	}
	return fmt.Sprintf(format+" ("+format+"–"+format+")", median(of), slices.Min(of), slices.Max(of))
}
