package pipeline

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

// inTool is a bench in which the skill's script runs as process 101, in a tool
// call whose shell is process 100.
func inTool(t *testing.T) *bench {
	b := newBench(t, 0)
	b.Self = proc(7)
	b.push(0, proc(10), event.Exec{Path: "/usr/bin/node", Snapshot: true})
	b.use(1, "bash "+script)
	b.run(1.5, "bash "+script)
	b.Tick(at(10))
	b.Tick(at(16)) // by then what was counted has been given out again
	b.records, b.alerts = nil, nil
	return b
}

func TestAccessNamesTheTargetAndItsRole(t *testing.T) {
	tests := map[string]struct {
		access event.Access
		want   event.Accessed
		fires  []string
	}{
		"the gateway": {
			event.Access{Target: proc(10), Method: event.AccessPtrace},
			event.Accessed{Method: event.AccessPtrace, Target: &event.Target{PID: 10, StartTime: 10, Role: event.RoleGateway, Executable: "/usr/bin/node"}},
			[]string{"gateway-tampering weather 1"},
		},
		"this agent": {
			event.Access{Target: proc(7), Method: event.AccessSignal, Signal: 9},
			event.Accessed{Method: event.AccessSignal, Signal: 9, Target: &event.Target{PID: 7, StartTime: 7, Role: event.RoleAgent}},
			[]string{"gateway-tampering weather 1"},
		},
		"the shell of the same tool call": {
			event.Access{Target: proc(100), Method: event.AccessSignal, Signal: 15},
			event.Accessed{Method: event.AccessSignal, Signal: 15, Target: &event.Target{PID: 100, StartTime: 100, Role: event.RoleTool, Executable: "/usr/bin/bash", Own: true}},
			nil,
		},
		"one of which the number alone is known": {
			event.Access{Target: event.ProcID{PID: 100}, Method: event.AccessVMWrite},
			event.Accessed{Method: event.AccessVMWrite, Target: &event.Target{PID: 100, StartTime: 100, Role: event.RoleTool, Executable: "/usr/bin/bash", Own: true}},
			nil,
		},
		"one that nobody knows": {
			event.Access{Target: event.ProcID{PID: 900, Start: 3}, Method: event.AccessVMWrite},
			event.Accessed{Method: event.AccessVMWrite, Target: &event.Target{PID: 900, StartTime: 3}},
			[]string{"process-injection weather 1"},
		},
		"one in another PID namespace": {
			event.Access{Method: event.AccessVMRead},
			event.Accessed{Method: event.AccessVMRead},
			[]string{"process-injection weather 1"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := inTool(t)
			b.push(11, proc(101), test.access)
			b.Tick(at(20))
			got := b.find(event.KindAccess, 101)
			if len(got) != 1 || !reflect.DeepEqual(*got[0].Access, test.want) {
				t.Errorf("%+v, want %+v", got, test.want)
			}
			b.wantFired(test.fires...)
		})
	}
}

func TestFilesOfProcessesAreAccessToThem(t *testing.T) {
	tests := map[string]struct {
		open event.FileOpen
		want *event.Access
	}{
		"memory of anybody":             {event.FileOpen{Path: "/proc/900/mem", Read: true, Write: true}, &event.Access{Target: event.ProcID{PID: 900}, Method: event.AccessProcMem, Write: true}},
		"memory by a thread":            {event.FileOpen{Path: "/proc/10/task/12/mem", Read: true}, &event.Access{Target: proc(10), Method: event.AccessProcMem}},
		"environment of the gateway":    {event.FileOpen{Path: "/proc/10/environ", Read: true}, &event.Access{Target: proc(10), Method: event.AccessProcEnviron}},
		"map of this agent":             {event.FileOpen{Path: "/proc/7/maps", Read: true}, &event.Access{Target: proc(7), Method: event.AccessProcMaps}},
		"environment of another, as ps": {event.FileOpen{Path: "/proc/900/environ", Read: true}, nil},
		"its own memory":                {event.FileOpen{Path: "/proc/101/mem", Write: true}, nil},
		"another file":                  {event.FileOpen{Path: "/proc/10/stat", Read: true}, nil},
		"no process":                    {event.FileOpen{Path: "/proc/sys/mem", Read: true}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := inTool(t)
			it := b.newItem(event.Event{Time: at(11), Proc: proc(101), Body: test.open}, b.engine.Scope(proc(101)))
			got := b.reached(it)
			if (got == nil) != (test.want == nil) || got != nil && got.Body != *test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

func TestNumbersOfAnotherNamespaceAreNotOurs(t *testing.T) {
	b := inTool(t)
	b.push(11, proc(101), event.Namespace{Now: event.Namespaces{PID: 4026532000}, Call: "setns"})
	b.push(11, proc(101), event.FileOpen{Path: "/proc/10/mem", Read: true})
	b.Tick(at(20))
	if got := b.find(event.KindAccess, 0); len(got) != 0 {
		t.Errorf("%+v", got[0].Access)
	}
	got := b.find(event.KindNamespace, 101)
	if len(got) != 1 || got[0].Call != "setns" || got[0].Process.Namespaces == nil || got[0].Process.Namespaces.PID != 4026532000 {
		t.Errorf("%+v", got)
	}
}

func TestAStrangerIsShownAndTheGatewayNamed(t *testing.T) {
	b := newBench(t, 0)
	stranger := proc(500)
	b.Tick(at(1))
	for _, body := range []event.Body{
		event.Exec{Path: "/home/eve/kill", UID: 1001, Snapshot: true},
		event.Access{Target: proc(10), Method: event.AccessSignal, Signal: 9},
	} {
		b.Push(event.Event{Time: at(1), Proc: stranger, Body: body, Stranger: true})
	}
	b.Tick(at(20))
	if got := b.find(event.KindExec, 500); len(got) != 0 {
		t.Errorf("who a stranger is became a record: %+v", got)
	}
	got := b.find(event.KindAccess, 500)
	if len(got) != 1 || !got[0].Stranger || got[0].Process.Executable.Path != "/home/eve/kill" ||
		got[0].Attribution == nil || got[0].Attribution.Gateway != state || got[0].Attribution.Confidence != event.None {
		t.Fatalf("%+v", got)
	}
	b.wantFired("gateway-tampering  1")
	b.Tick(at(1000)) // its end is not told
	if b.table.Get(stranger) != nil {
		t.Error("a stranger is kept for ever")
	}
}

func TestCredentialsAreTheLatest(t *testing.T) {
	b := inTool(t)
	dev := event.Creds{UID: 1000, EUID: 1000, SUID: 1000}
	root := event.Creds{UID: 1000, EUID: 0, Effective: 1<<41 - 1}
	less := event.Creds{UID: 1000, EUID: 1000, Effective: 1<<5 | 1<<63}
	for i, c := range []event.Creds{dev, dev, root, less} {
		b.push(11+float64(i), proc(101), event.Credentials{Creds: c, Call: "setresuid"})
	}
	b.push(16, proc(101), event.FileOpen{Path: workspace + "/x", Read: true})
	b.Tick(at(30))
	got := b.find(event.KindCredentials, 101)
	if len(got) != 3 {
		t.Fatalf("%d records, want 3: what changes nothing is none", len(got))
	}
	if p := got[1].Process; p.EffectiveUser == nil || p.EffectiveUser.ID != 0 || p.Capabilities != nil || p.User.ID != 1000 || got[1].Call != "setresuid" {
		t.Errorf("after it became root: %+v", p)
	}
	opened := b.find(event.KindFileOpen, 101)
	if p := opened[len(opened)-1].Process; p.EffectiveUser != nil || !slices.Equal(p.Capabilities, []string{"CAP_KILL"}) {
		t.Errorf("later: %+v", p)
	}
}

func TestADigestReachesWhatWaits(t *testing.T) {
	b := newBench(t, 0)
	file, other := event.FileID{Inode: 1, Size: 2}, event.FileID{Inode: 1, Size: 3}
	b.use(1, "bash "+script)
	b.shell(1.5, "bash "+script)
	b.push(1.5, proc(101), event.Fork{Parent: proc(100)})
	b.push(1.5, proc(101), event.Exec{Path: "/usr/bin/curl", File: file, Parent: proc(100)})
	b.push(1.6, event.ProcID{}, event.Digest{File: file, SHA256: "abc"})
	b.push(1.6, event.ProcID{}, event.Digest{File: other, SHA256: "other"})
	b.push(1.7, proc(101), event.FileOpen{Path: workspace + "/x", Read: true})
	b.push(1.8, proc(102), event.Exec{Path: "/usr/bin/curl", File: event.FileID{Inode: 1, Size: 4}, Parent: proc(101)})
	b.push(1.9, proc(103), event.Exec{Path: "/usr/bin/bash", Args: []string{"bash", "/tmp/run.sh"}, Parent: proc(101)})
	b.push(1.9, event.ProcID{}, event.Digest{Proc: proc(103), Script: "/tmp/another.sh", SHA256: "wrong"})
	b.push(1.9, event.ProcID{}, event.Digest{Proc: proc(103), Script: "/tmp/run.sh", SHA256: "def"})
	b.push(2, proc(104), event.Exec{Path: "/usr/bin/bash", Args: []string{"bash", "/tmp/run.sh"}, Parent: proc(101)})
	b.Tick(at(30))
	if got := b.find(event.KindExec, 103); len(got) != 1 || got[0].Process.Script == nil || got[0].Process.Script.SHA256 != "def" {
		t.Errorf("the script: %+v", got)
	}
	if got := b.find(event.KindExec, 104); len(got) != 1 || got[0].Process.Script == nil || got[0].Process.Script.SHA256 != "" {
		t.Errorf("a script that was not hashed has a digest: %+v", got)
	}
	for _, kind := range []event.Kind{event.KindExec, event.KindFileOpen} {
		if got := b.find(kind, 101); len(got) != 1 || got[0].Process.Executable.SHA256 != "abc" {
			t.Errorf("%s: %+v", kind, got)
		}
	}
	if got := b.find(event.KindExec, 102); len(got) != 1 || got[0].Process.Executable.SHA256 != "" {
		t.Errorf("a file that was not hashed has a digest: %+v", got)
	}
	if len(b.find(event.KindDigest, 0)) != 0 {
		t.Error("a digest became a record")
	}
}

func TestOnlySecretsThatAreAskedForAreRecorded(t *testing.T) {
	b := inTool(t)
	for _, name := range []string{"HOME", "LANG", "NOTES_TOKEN"} {
		b.push(11, proc(101), event.EnvRead{Method: event.EnvGetenv, Names: []string{name}})
	}
	b.Tick(at(20))
	got := b.find(event.KindEnvRead, 101)
	if len(got) != 1 || !slices.Equal(got[0].Env.Names, []string{"NOTES_TOKEN"}) || got[0].Env.Method != event.EnvGetenv {
		t.Errorf("%+v", got)
	}
	b.wantFired("environment-access weather 1")
}

func TestWhoIsLookedAtOnlyAfterwardsIsShown(t *testing.T) {
	for snapshot, want := range map[bool]string{true: "/usr/bin/node", false: ""} {
		b := newBench(t, 0)
		b.push(1, proc(60), event.Listen{Transport: event.TCP, Local: netip.MustParseAddrPort("127.0.0.1:18789")})
		b.push(1.1, proc(60), event.Exec{Path: "/usr/bin/node", Parent: proc(10), Snapshot: snapshot})
		b.Tick(at(30))
		got, path := b.find(event.KindListen, 60), ""
		if len(got) == 1 && got[0].Process.Executable != nil {
			path = got[0].Process.Executable.Path
		}
		if len(got) != 1 || path != want {
			t.Errorf("snapshot %v: %d records, program %q, want %q", snapshot, len(got), path, want)
		}
	}
}
