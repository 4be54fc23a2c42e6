package rules_test

import (
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

func TestConditionsSeeTheRun(t *testing.T) {
	run := rules.Run{
		Hosts: []string{"a.example", "192.0.2.1"}, Duration: 90 * time.Second,
		Did:      rules.Counts{Hosts: 2, RestrictedFiles: 3, OutsideFiles: 4, InternalFiles: 5, Secrets: 6, Programs: 7},
		Previous: rules.Counts{Hosts: 1, RestrictedFiles: 2, OutsideFiles: 3, InternalFiles: 4, Secrets: 5, Programs: 6},
	}
	for _, condition := range []string{
		`"a.example" in run.hosts and run.host_count == 2 and run.previous_host_count == 1`,
		`any(run.hosts, domain(#, "example"))`, `run.duration > 1m and run.duration < 2m`,
		`run.restricted_files == 3 and run.outside_files == 4 and run.internal_files == 5 and run.secrets == 6 and run.programs == 7`,
		`run.previous_restricted_files == 2 and run.previous_outside_files == 3 and run.previous_internal_files == 4`,
		`run.previous_secrets == 5 and run.previous_programs == 6`,
	} {
		set, err := rules.Load(rule(quote(condition)))
		if err != nil {
			t.Errorf("%s: %v", condition, err)
			continue
		}
		if len(set.Eval(rules.Input{Record: connect(), Run: run})) != 1 {
			t.Errorf("%s is not true", condition)
		}
	}
}

func TestADeedIsWhatARecordAddsToItsRun(t *testing.T) {
	view := devView()
	of := func(change func(*event.Record)) rules.Deed {
		r := connect()
		r.Network = nil
		change(r)
		d := rules.DeedOf(r, view)
		if tiers := map[string]int{"restricted": d.RestrictedFiles, "outside": d.OutsideFiles, "internal": d.InternalFiles}; d.Tier != "" && d.Tier != "public" && tiers[d.Tier] != 1 {
			t.Errorf("of tier %q: %+v", d.Tier, d)
		}
		d.Tier = ""
		return d
	}
	env := func(method event.EnvMethod, path string, names ...string) func(*event.Record) {
		return func(r *event.Record) {
			r.Kind, r.Env = event.KindEnvRead, &event.Env{Method: method, Names: names}
			if path != "" {
				r.File = &event.File{Path: path, Operation: "read"}
			}
		}
	}
	file := func(kind event.Kind, f event.File) func(*event.Record) {
		return func(r *event.Record) { r.Kind, r.File = kind, &f }
	}
	to := func(n event.Network) func(*event.Record) { return func(r *event.Record) { r.Network = &n } }
	secret, restricted := rules.Deed{Counts: rules.Counts{Secrets: 1}}, rules.Deed{Counts: rules.Counts{Secrets: 1, RestrictedFiles: 1}}
	const key = "/home/dev/.ssh/id_rsa"
	for name, tt := range map[string]struct {
		change func(*event.Record)
		want   rules.Deed
	}{
		"a key":                        {file(event.KindFileOpen, event.File{Path: key, Operation: "read"}), restricted},
		"a key, also to write":         {file(event.KindFileOpen, event.File{Path: key, Operation: "write"}), restricted},
		"a key through a descriptor":   {file(event.KindFileRead, event.File{Path: key, Operation: "read"}), restricted},
		"its bytes":                    {file(event.KindFileRead, event.File{Path: key, Operation: "read", Opened: true}), rules.Deed{}},
		"a key gets another name":      {file(event.KindFileLink, event.File{Path: "/tmp/x", OldPath: key, Operation: "link"}), restricted},
		"a key is made":                {file(event.KindFileCreate, event.File{Path: key, Operation: "create"}), rules.Deed{}},
		"a key is deleted":             {file(event.KindFileDelete, event.File{Path: key, Operation: "delete"}), rules.Deed{}},
		"a file outside":               {file(event.KindFileOpen, event.File{Path: "/srv/x", Operation: "read"}), rules.Deed{Counts: rules.Counts{OutsideFiles: 1}}},
		"a file of the work":           {file(event.KindFileOpen, event.File{Path: "/home/dev/.openclaw/workspace/x", Operation: "read"}), rules.Deed{Counts: rules.Counts{InternalFiles: 1}}},
		"a library":                    {file(event.KindFileOpen, event.File{Path: "/usr/lib/x.so", Operation: "read"}), rules.Deed{}},
		"a secret by name":             {env(event.EnvGetenv, "", "GITHUB_TOKEN"), secret},
		"another variable":             {env(event.EnvGetenv, "", "LANG"), rules.Deed{}},
		"all variables":                {env(event.EnvDump, ""), secret},
		"handed over":                  {env(event.EnvExec, "", "GITHUB_TOKEN"), rules.Deed{}},
		"a file of variables":          {env(event.EnvDotenv, "/srv/.env"), rules.Deed{}},
		"its own environment":          {env(event.EnvProcEnviron, "/proc/7/environ"), secret},
		"another's, counted as a file": {env(event.EnvProcEnviron, "/proc/99/environ"), rules.Deed{}},
		"an address":                   {to(event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: "192.0.2.1"}), rules.Deed{Host: "192.0.2.1"}},
		"a name":                       {to(event.Network{Transport: event.UDP, Direction: "outbound", PeerAddress: "192.0.2.1", Host: "a.example"}), rules.Deed{Host: "a.example"}},
		"this host":                    {to(event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: "::ffff:127.0.0.1"}), rules.Deed{}},
		"a socket":                     {to(event.Network{Transport: event.Unix, Direction: "outbound", PeerAddress: "/x"}), rules.Deed{}},
		"a program":                    {func(r *event.Record) { r.Kind = event.KindExec }, rules.Deed{Counts: rules.Counts{Programs: 1}}},
		"the gateway for itself": {func(r *event.Record) {
			file(event.KindFileOpen, event.File{Path: key, Operation: "read"})(r)
			r.Process.Role, r.Attribution = event.RoleGateway, nil
		}, rules.Deed{}},
	} {
		if got := of(tt.change); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}
