// Package rules judges records: it holds the language of rules, the set that is
// built in, and the tests beside both.
//
// A rule is YAML: a condition in expr over the fields of Env, and what to say
// when it is true.
//
//	rules:
//	  - name: telnet
//	    description: Telnet sends what is typed in clear.
//	    severity: medium
//	    condition: kind == "network.connect" and network.peer_port == 23 and acting
//	    message: "{who} connected to {endpoint} by telnet"
//	    tags: [attack.t1021]
//
// kinds may be given; otherwise they are taken from comparisons of kind in the
// condition, and a rule without either sees every record. The message is text
// with expressions in braces, which see the fields of Words and the functions
// bytes, list and text. A field that does not exist, a comparison of unlike types or
// an expression that could run away is a mistake in the file, found at load
// and reported with its place, together with all the others.
//
// What rules have in common has a name: lists of texts or numbers, and macros, which
// are expressions. Those of all files, the built-in ones too, may be used in every
// condition, and a file may add to a list of another.
//
//	lists: {mail_ports: [25, 465, 587], editors: {extend: [zile]}}
//	macros: {mails: network.peer_port in mail_ports}
//
// What a rule should not say is an exception: rows of values, one for each of some
// fields, which a file may add to a rule of another, as it may turn that off or change
// its severity.
//
//	exceptions: [{rule: telnet, name: lab, fields: [network.peer_address], comparisons: [cidr], values: [10.0.0.0/8]}]
//	overrides: [{rule: raw-socket, severity: high}]
//
// Cost: a record of a kind that no rule asks for costs a map lookup, and one of
// a file whose tier no rule asks for the half microsecond that it takes to find
// the tier; otherwise it is about a microsecond to fill the Env, and half a
// microsecond for each rule whose condition may be true: an index over what the
// conditions compare leaves the others out (BenchmarkRules). It knows comparisons of
// one field with what is written out, also in lower case, joined by and, or and not,
// and texts without which a pattern does not match. An
// expression has no loops but over lists of the event, no functions but a few
// (of our own those of Functions), at most 300 nodes and a memory budget. A
// number may have a unit: 10MB is bytes, 5m seconds. An error in a rule counts against that rule (Stats) and stops no
// other; a rule that takes too much, or nothing but fails, is left out (Overruns).
//
// What it does not see: one record at a time, with the totals of its run (Run);
// other sequences and counts over time are not in the language.
package rules

import (
	"cmp"
	"embed"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/expr-lang/expr/vm"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
)

// A Source is the text of a file of rules or of tests. Name is for messages.
type Source struct {
	Name string
	Data []byte

	builtin bool
}

// A Set is the rules in force. Eval must not be called by two goroutines at the
// same time; Stats and Rules may be called at any time.
type Set struct {
	rules       []*rule
	byKind      map[event.Kind][]*rule
	indexes     map[event.Kind]*index // of byKind, made when the first record of the kind comes
	commandLine bool                  // some rule asks for a command line
	digest      string                // of its files

	vocabulary *vocabulary

	machine vm.VM
	words   Words
	unbound *policy.View // for records of no gateway

	now      func() time.Duration // since some moment
	overruns []Overrun
}

// Input is a record and what surrounds it.
type Input struct {
	Record  *event.Record
	View    *policy.View   // of the record's gateway; nil: the default policy, bound to none
	Run     Run            // of the skill execution that the record belongs to
	Tier    string         // of the record's file; empty: to be looked up
	Day     Day            // of the skill that the record is attributed to
	Profile Profile        // likewise
	Tool    *event.Tool    // the tool call it belongs to; nil: not known, or the record's own
	Session *event.Session // likewise
}

// Day is what a skill moved in the day so far, like Run.
type Day struct {
	BytesSent, BytesReceived                 uint64
	PreviousBytesSent, PreviousBytesReceived uint64
}

// Profile is what is new about a record, against what the skill that it is certainly
// or strongly attributed to was seen to do before.
type Profile struct {
	Changed bool          // its files are others than they were when it was first known
	Age     time.Duration // since then
	Calls   int           // tool calls that were made for it until then

	NewHosts, NewPrograms, NewVariables []string
}

// A Finding is one rule that a record fulfils.
type Finding struct {
	Rule    event.RuleRef
	Message string // one printable line

	Throttle time.Duration // one alert in this time, whichever execution; 0: one an execution
	Repeat   Repeat        // it is an alert only with others
}

// Stats counts what one rule did.
type Stats struct {
	Rule      string
	Matches   uint64
	Excepted  uint64 // events that an exception took out
	Errors    uint64 // evaluations that failed; the rule did not match then
	Skipped   uint64 // records that the rule was left out for because it takes too much or fails
	Disabled  bool   // it is left out until the rules are loaded anew
	LastError string
}

// A Rule describes one rule to people.
type Rule struct {
	event.RuleRef
	Description string
	Kinds       []event.Kind // nil: all
	Condition   string
	References  []string
	Enabled     bool
	Words       []Word // lists and macros of the condition
	Exceptions  []Exception
	Overridden  string // the file that changed severity or whether it is enabled
	Throttle    time.Duration
	Repeat      Repeat
}

//go:embed builtin/*.yaml
var builtinFS embed.FS

// BuiltinFiles gives the rules that are built in, to be loaded together with
// those of the operator.
func BuiltinFiles() []Source {
	names, err := fs.Glob(builtinFS, "builtin/*.yaml")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var files []Source
	for _, name := range names {
		data, err := builtinFS.ReadFile(name)
		if err != nil {
			panic(err) // it is part of the program
		}
		files = append(files, Source{Name: path.Join("builtin", path.Base(name)), Data: data, builtin: true})
	}
	return files
}

// Builtin gives a fresh set of the rules that are built in.
func Builtin() *Set {
	s, err := Load(BuiltinFiles()...)
	if err != nil {
		panic(err) // the files are part of the program, and tested
	}
	return s
}

// Load compiles the rules of all files. The error joins one *yamlfile.Error a
// mistake, of all files; the set is nil then.
func Load(files ...Source) (*Set, error) { return load(files, func(*rule) bool { return true }) }

// Try compiles files together with the built-in rules, and has in the set only what
// the files are about: their rules, and those that they change by an exception, an
// override or more of a list.
func Try(files ...Source) (*Set, error) {
	return load(append(BuiltinFiles(), files...), func(r *rule) bool { return r.changed })
}

func load(files []Source, wanted func(*rule) bool) (*Set, error) {
	s := &Set{now: stopwatch(), digest: digestOfSet(files), indexes: map[event.Kind]*index{}, byKind: map[event.Kind][]*rule{}, unbound: policy.Default().For(event.GatewayFound{}, policy.Host{})}
	s.machine.MemoryBudget = memoryBudget
	l := newLoader(files)
	loaded, err := l.load()
	if err != nil {
		return nil, err
	}
	for _, r := range loaded {
		if wanted(r) {
			s.add(r)
		}
	}
	s.vocabulary = l.words
	slices.SortFunc(s.rules, func(a, b *rule) int { return cmp.Compare(a.Name, b.Name) })
	return s, nil
}

func (s *Set) add(r *rule) {
	s.rules = append(s.rules, r)
	r.ruleset = s.digest
	if r.Enabled.off {
		return
	}
	s.commandLine = s.commandLine || r.Condition.commandLine || r.Message.commandLine || r.exceptionsAskForCommandLine()
	on := r.kinds()
	if on == nil {
		on = kinds
	}
	for _, k := range slices.Compact(slices.Sorted(slices.Values(on))) {
		s.byKind[k] = append(s.byKind[k], r)
	}
}

// Eval judges one record by every rule of its kind. The Record and what it
// points to are not changed and not kept.
func (s *Set) Eval(in Input) []Finding {
	rules := s.byKind[in.Record.Kind]
	if len(rules) == 0 {
		return nil
	}
	if in = s.whole(in); s.impossible(rules, in) {
		return nil
	}
	s.words.fill(in, s.commandLine)
	return s.evaluate(s.index(in.Record.Kind), in.Record)
}

// whole looks up what is left out of an Input.
func (s *Set) whole(in Input) Input {
	if in.View == nil {
		in.View = s.unbound
	}
	if in.Record.File != nil && in.Tier == "" {
		in.Tier = fileTier(in.Record, in.View)
	}
	return in
}

// evaluate judges what is in the Env by the rules that it may fulfil.
func (s *Set) evaluate(x *index, record *event.Record) []Finding {
	var found []Finding
	at := s.now()
	for i := range x.candidates {
		r := x.rules[i]
		if r.rests(at) {
			continue
		}
		if x.heavy[i] {
			at = s.now() // a check that takes time is the rule's own
		}
		may, failed := x.checks[i](), false
		if may {
			var f Finding
			var yes bool
			if f, yes, failed = s.judge(r, record, found == nil); yes {
				found = append(found, f)
			}
		}
		if may || x.heavy[i] {
			now := s.now()
			s.charge(r, now-at, now, failed)
			at = now
		}
	}
	return found
}

// judge evaluates one rule for what is in the Env. first: nothing was found for
// the record yet.
func (s *Set) judge(r *rule, record *event.Record, first bool) (f Finding, yes, failed bool) {
	value, err := s.machine.Run(r.Condition.program, &s.words.Env)
	if err != nil {
		r.failed(err)
		return Finding{}, false, true
	}
	if yes, ok := value.(bool); !ok || !yes {
		return Finding{}, false, false
	}
	if r.excepted(&s.words.Env) {
		r.excused.Add(1)
		return Finding{}, false, false
	}
	r.matches.Add(1)
	if first {
		s.words.phrase(record)
	}
	text, err := r.Message.render(&s.machine, &s.words)
	if err != nil {
		r.failed(err)
	}
	return Finding{r.ref(), text, r.Throttle.Duration, r.Count.repeat()}, true, err != nil
}

func (s *Set) index(k event.Kind) *index {
	if s.indexes[k] == nil {
		s.indexes[k] = newIndex(s.byKind[k], k, &s.words.Env)
	}
	return s.indexes[k]
}

// impossible reports whether the tier of the file says that no rule is
// fulfilled: nearly all files are such, and the rest of the Env is spared.
func (s *Set) impossible(rules []*rule, in Input) bool {
	if in.Record.File == nil || slices.ContainsFunc(rules, func(r *rule) bool { return r.Condition.tiers == nil }) {
		return false
	}
	return !slices.ContainsFunc(rules, func(r *rule) bool { return r.Condition.allows(in.Tier) })
}

// Digest is that of all the files that the set was loaded from: the first 16 digits
// of a SHA-256.
func (s *Set) Digest() string { return s.digest }

// Stats gives the counts of every rule since the set was loaded, by name.
func (s *Set) Stats() []Stats {
	out := make([]Stats, len(s.rules))
	for i, r := range s.rules {
		out[i] = Stats{Rule: string(r.Name), Matches: r.matches.Load(), Excepted: r.excused.Load(), Errors: r.errors.Load(), Skipped: r.skipped.Load(), Disabled: r.disabled.Load()}
		if last := r.lastError.Load(); last != nil {
			out[i].LastError = *last
		}
	}
	return out
}

// Rules describes every rule of the set, by name.
func (s *Set) Rules() []Rule {
	out := make([]Rule, len(s.rules))
	for i, r := range s.rules {
		out[i] = Rule{
			r.ref(), strings.TrimSpace(r.Description), r.kinds(), r.Condition.source, r.References, !r.Enabled.off,
			s.vocabulary.used(r.Condition.words), r.described(), r.overridden, r.Throttle.Duration, r.Count.repeat(),
		}
	}
	return out
}

// counters of a rule; they may be read while it is evaluated.
type counters struct {
	matches, errors, excused, skipped atomic.Uint64
	disabled                          atomic.Bool
	lastError                         atomic.Pointer[string]
}
