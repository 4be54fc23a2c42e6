// Command bench measures what the agent costs, and what the workload pays for
// it. Run as root; make bench does.
//
// Each workload is a process that does one kind of work and says how long that
// took. It runs under several conditions, one after the other in each round and
// in another order in the next, so that the noise of the machine falls on all
// alike:
//
//	without    no agent
//	unwatched  an agent with one idle gateway, so that all hooks are attached; nobody watches the workload
//	watched    an agent; the workload is an exec tool call of that gateway, for a skill: every event
//	           is attributed, judged and stored
//	shipped    the same, and sent by OTLP to a receiver that counts bytes
//	trees      as unwatched, with 0 and with 50 idle gateways: the cost grows with watched events only
//
// A ratio is that of one round, to the same round's run without an agent; what
// is printed of it, as of all else, is the median with the least and the
// greatest. The agent's CPU time is taken from the start of the workload until
// the agent has done all that the workload left it to do.
//
// The gateway is a stand-in: a program called node under the name, environment
// and records of a gateway. In W5 the workload is itself the gateway, on
// Node.js where that is on the PATH.
//
// Other monitors on the PATH are measured beside the agent with -peers. auditd
// is measured only with -auditd, after all others: an audit switched on once
// makes every system call of the host dearer until it boots again.
//
// What it does not show: other kernels and machines than this one, and a cold
// page cache. The agent watches all gateways of the host: one that is not the
// bench's spoils the figures, which is noted.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// An order is what the command line asks for.
type order struct {
	agent   string
	rounds  int
	scale   float64  // of the full sizes
	only    []string // workloads; none: all
	under   []string // conditions; none: all. The one without an agent always is
	peers   bool
	auditd  bool
	perf    string // directory for profiles of the agent; empty: none
	asJSON  bool
	verbose bool
}

func main() {
	var o order
	flag.StringVar(&o.agent, "agent", "bin/clawwatch", "agent to measure")
	flag.IntVar(&o.rounds, "rounds", 7, "rounds of all conditions")
	flag.Float64Var(&o.scale, "scale", 1, "size of the workloads, as a part of the full ones")
	only := flag.String("only", "", "workloads to run, such as W1,W3")
	under := flag.String("conditions", "", "conditions, such as watched,shipped")
	short := flag.Bool("short", false, "one round, a tenth of the size: a minute or two, and no proof")
	flag.BoolVar(&o.peers, "peers", false, "measure other monitors on the PATH as well")
	flag.BoolVar(&o.auditd, "auditd", false, "measure auditd as well; it makes system calls dearer until the next boot")
	flag.StringVar(&o.perf, "perf", "", "directory for perf.data of the watched agent; needs perf")
	flag.BoolVar(&o.asJSON, "json", false, "print one JSON object")
	flag.BoolVar(&o.verbose, "v", false, "say what runs")
	work := flag.String("work", "", "internal: do this workload")
	var j job
	flag.IntVar(&j.n, "n", 0, "internal: so many times")
	flag.StringVar(&j.dir, "dir", "", "internal: in this directory")
	flag.StringVar(&j.servers, "servers", "", "internal: with these servers")
	flag.StringVar(&j.title, "title", "", "internal: under this name")
	flag.Parse()
	if *short {
		o.rounds, o.scale = 1, 0.1
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	if *under != "" {
		o.under = strings.Split(*under, ",")
	}
	if err := dispatch(*work, j, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func dispatch(work string, j job, o order) error {
	switch work {
	case "":
		report, err := bench(o)
		if report == nil {
			return err
		}
		if err != nil { // what was found out until then is not lost
			report.note("stopped: %v", err)
		}
		if o.asJSON {
			report.finish()
			enc := json.NewEncoder(os.Stdout)
			enc.SetIndent("", " ")
			return errors.Join(err, enc.Encode(report))
		}
		return errors.Join(err, report.print(os.Stdout))
	case "gateway":
		return standIn(j)
	}
	w, ok := find(work)
	if !ok {
		return fmt.Errorf("no workload %s", work)
	}
	if w.gateway {
		return asGateway(j, w.run)
	}
	return timed(j, w.run)
}

// timed does a workload and prints what it took.
func timed(j job, run func(job) error) error {
	start := time.Now()
	if err := run(j); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(took{time.Since(start).Nanoseconds()})
}

// took is what a workload says.
type took struct {
	NS int64 `json:"ns"`
}
