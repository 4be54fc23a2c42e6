package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
)

// A Result is one case of a test file.
type Result struct {
	Rule, Case string
	Err        error // nil: the rule did as the case says
}

// A testFile tests one rule. The records are written as `clawwatch events
// --json` prints them; each case's event is laid over given. They happen at a
// gateway of made-up user dev:
//
//	home       /home/dev
//	state      /home/dev/.openclaw
//	workspace  /home/dev/.openclaw/workspace
//	skills     /home/dev/.openclaw/workspace/skills, /home/dev/.openclaw/skills
//	providers  llm.example:443
//	resolvers  127.0.0.53
type testFile struct {
	Rule   string       `yaml:"rule"`
	Policy string       `yaml:"policy"` // a policy file, over the default
	Given  yamlfile.Raw `yaml:"given"`
	Cases  []testCase   `yaml:"cases"`
}

type testCase struct {
	Name  string       `yaml:"name"`
	Event yamlfile.Raw `yaml:"event"`
	Run   testRun      `yaml:"run"`
	Day   testRun      `yaml:"day"` // of the skill

	Profile testProfile `yaml:"profile"` // of the skill

	ParentArgs []string `yaml:"parent_args"` // of the first of the process's ancestors
	Fires      string   `yaml:"fires"`       // with this message
	Quiet      bool     `yaml:"quiet"`       // or not at all
}

// testProfile says what is new about the event.
type testProfile struct {
	Changed      int      `yaml:"changed"` // seconds ago; 0: its files never did
	Calls        int      `yaml:"calls"`   // before that
	NewHosts     []string `yaml:"new_hosts"`
	NewPrograms  []string `yaml:"new_programs"`
	NewVariables []string `yaml:"new_variables"`
}

func (p testProfile) profile() Profile {
	return Profile{
		Changed: p.Changed > 0, Age: time.Duration(p.Changed) * time.Second, Calls: p.Calls,
		NewHosts: p.NewHosts, NewPrograms: p.NewPrograms, NewVariables: p.NewVariables,
	}
}

// testRun is the run's, or the day's, totals at the event, and before it.
type testRun struct {
	Sent             policy.Size `yaml:"sent"`
	Received         policy.Size `yaml:"received"`
	PreviousSent     policy.Size `yaml:"previous_sent"`
	PreviousReceived policy.Size `yaml:"previous_received"`

	Hosts    []string   `yaml:"hosts"`
	Fired    []string   `yaml:"fired"`
	Duration int        `yaml:"duration"` // seconds
	Did      testCounts `yaml:"did"`
	Previous testCounts `yaml:"previous"`
}

type testCounts struct {
	Hosts           int `yaml:"hosts"`
	RestrictedFiles int `yaml:"restricted_files"`
	OutsideFiles    int `yaml:"outside_files"`
	InternalFiles   int `yaml:"internal_files"`
	Secrets         int `yaml:"secrets"`
	Programs        int `yaml:"programs"`
}

func (r testRun) run() Run {
	return Run{
		BytesSent: uint64(r.Sent), BytesReceived: uint64(r.Received),
		PreviousBytesSent: uint64(r.PreviousSent), PreviousBytesReceived: uint64(r.PreviousReceived),
		Hosts: r.Hosts, Fired: r.Fired, Duration: time.Duration(r.Duration) * time.Second, Did: Counts(r.Did), Previous: Counts(r.Previous),
	}
}

// Validate is called by yamlfile.
func (f *testFile) Validate() error {
	if f.Rule == "" || len(f.Cases) == 0 {
		return errors.New("a test needs rule and cases")
	}
	return nil
}

// Validate is called by yamlfile.
func (c *testCase) Validate() error {
	if c.Name == "" || (c.Fires == "") != c.Quiet {
		return errors.New("a case needs a name, and either fires: with the message or quiet: true")
	}
	return nil
}

// Test runs the cases of one test file against the set. The error says that
// the file cannot be read; what a case found is in its Result. It evaluates, so
// it must not run at the same time as Eval.
func (s *Set) Test(f Source) ([]Result, error) {
	var test testFile
	if err := yamlfile.Decode(f.Name, f.Data, &test); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(s.rules, func(r *rule) bool { return string(r.Name) == test.Rule }) {
		return nil, fmt.Errorf("%s: there is no rule %s", f.Name, test.Rule)
	}
	p, err := policy.Load(f.Name+"#policy", []byte(test.Policy))
	if err != nil {
		return nil, err
	}
	view := p.For(testGateway())
	results := make([]Result, len(test.Cases))
	for i, c := range test.Cases {
		results[i] = Result{test.Rule, c.Name, s.try(test, c, view)}
	}
	return results, nil
}

func (s *Set) try(test testFile, c testCase, view *policy.View) error {
	record, err := recordOf(overlay(test.Given.Value, c.Event.Value))
	if err != nil {
		return err
	}
	if len(c.ParentArgs) > 0 {
		if record.Process == nil || len(record.Process.Ancestors) == 0 {
			return errors.New("parent_args want an event whose process has ancestors")
		}
		record.Process.Ancestors[0].Args = c.ParentArgs
	}
	got, fired := "", false
	in := Input{Record: record, View: view, Run: c.Run.run(), Day: Day{
		BytesSent: uint64(c.Day.Sent), BytesReceived: uint64(c.Day.Received),
		PreviousBytesSent: uint64(c.Day.PreviousSent), PreviousBytesReceived: uint64(c.Day.PreviousReceived),
	}, Profile: c.Profile.profile()}
	for _, f := range s.Eval(in) {
		if f.Rule.Name == test.Rule {
			got, fired = f.Message, true
		}
	}
	switch {
	case fired && c.Quiet:
		return fmt.Errorf("fires: %s", got)
	case !fired && !c.Quiet:
		return errors.New("does not fire")
	case got != c.Fires:
		return fmt.Errorf("says %q, want %q", got, c.Fires)
	}
	return nil
}

// recordOf is strict: a misspelt field would make a test that tests nothing.
func recordOf(value any) (*event.Record, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	r := new(event.Record)
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	if !slices.Contains(kinds, r.Kind) {
		return nil, fmt.Errorf("read event: unknown kind %q", r.Kind)
	}
	return r, nil
}

// overlay lays mappings over mappings, key by key. null takes a key away.
func overlay(under, over any) any {
	u, ok1 := under.(map[string]any)
	o, ok2 := over.(map[string]any)
	if !ok1 || !ok2 {
		if over == nil {
			return under
		}
		return over
	}
	out := make(map[string]any, len(u)+len(o))
	for k, v := range u {
		out[k] = v
	}
	for k, v := range o {
		if v == nil {
			delete(out, k)
			continue
		}
		out[k] = overlay(out[k], v)
	}
	return out
}

func testGateway() (event.GatewayFound, policy.Host) {
	const state = "/home/dev/.openclaw"
	return event.GatewayFound{
		ID: state, Role: event.RoleGateway, StateDir: state, Home: "/home/dev",
		Workspaces: []string{state + "/workspace"},
		SkillRoots: []string{state + "/workspace/skills", state + "/skills"},
		Providers:  []string{"llm.example:443"},
	}, policy.Host{Resolvers: []netip.Addr{netip.MustParseAddr("127.0.0.53")}}
}
