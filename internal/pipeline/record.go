package pipeline

import (
	"net/netip"
	"strings"

	"github.com/clawwatch/clawwatch/internal/attribution"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/internal/proctab"
)

// maxAncestors is how far up a record shows the process tree.
const maxAncestors = 16

// process gives the acting process as it is now, redacted.
func (p *Pipeline) process(ev event.Event, scope *attribution.Scope) *event.Process {
	if ev.Proc.IsZero() {
		return nil
	}
	shown := &event.Process{PID: ev.Proc.PID, StartTime: ev.Proc.Start, Role: scope.Role()}
	if proc := p.table.Get(ev.Proc); proc != nil {
		if proc.Shown == nil {
			proc.Shown = p.show(proc, scope.Role())
		}
		shown = proc.Shown
	}
	switch b := ev.Body.(type) {
	case event.Exit:
		last := *shown
		last.ExitCode, last.ExitSignal = &b.Code, b.Signal
		return &last
	case event.Exec:
		first := *shown
		first.EnvNames = b.EnvNames
		return &first
	}
	return shown
}

// show makes what all records of one image of a process have in common.
func (p *Pipeline) show(proc *proctab.Proc, role event.Role) *event.Process {
	out := &event.Process{
		Role: role, PID: proc.ID.PID, StartTime: proc.ID.Start, ParentPID: proc.Parent.PID, ParentStart: proc.Parent.Start,
		CommandArgs: p.Redactor.Args(proc.Args), ArgsTruncated: proc.ArgsTruncated, Cwd: proc.Cwd, User: p.user(proc.UID),
	}
	if proc.Path != "" {
		out.Executable = &event.Executable{Path: proc.Path}
	}
	for _, up := range p.table.Ancestors(proc.ID, maxAncestors) {
		out.Ancestors = append(out.Ancestors, event.Ancestor{PID: up.ID.PID, Executable: up.Path})
	}
	return out
}

func (p *Pipeline) user(uid uint32) *event.User {
	return &event.User{ID: uid, Name: p.UserName(uid)}
}

// record gives a fact its lasting shape. Every text that a skill, a model or a
// user wrote passes the redactor here.
func (p *Pipeline) record(it *item, a *event.Attribution, view *policy.View) event.Record {
	ev := it.ev
	if role := it.scope.Role(); it.process != nil && it.process.Role != role {
		shown := *it.process // others may be reading it
		shown.Role = role    // the gateway may have been found meanwhile
		it.process = &shown
	}
	rec := event.Record{
		ID: it.id, Time: ev.Time, Kind: ev.Body.Kind(), Source: ev.Source,
		Process: it.process, Attribution: a,
	}
	switch b := ev.Body.(type) {
	case event.FileOpen, event.FileRename, event.FileDelete, event.FileLink, event.FileAttr, event.FileTruncate, event.FileUse:
		rec.File = fileOf(b)
	case event.Connect:
		rec.Network = network(b.Transport, "outbound", b.Local, b.Peer)
		rec.Network.Errno = b.Errno
	case event.Accept:
		rec.Network = network(b.Transport, "inbound", b.Local, b.Peer)
	case event.Close:
		rec.Network = network(b.Transport, "outbound", b.Local, b.Peer)
		if b.Inbound {
			rec.Network.Direction = "inbound"
		}
		rec.Network.BytesSent, rec.Network.BytesReceived = &b.Sent, &b.Received
	case event.DNSAnswer:
		rec.DNS = &event.DNS{Name: b.Name, Server: b.Server.String(), Trusted: p.trusted(it, b)}
		for _, addr := range b.Addresses {
			rec.DNS.Addresses = append(rec.DNS.Addresses, addr.String())
		}
	case event.EnvRead:
		rec.Env = &event.Env{Names: b.Names, Method: b.Method, TargetPID: b.Target.PID, Referenced: intersect(b.Names, p.engine.SecretsOf(a))}
		if b.Path != "" {
			rec.File = &event.File{Path: b.Path, Operation: "read"}
		}
	case event.Skill:
		rec.Skill = p.skillChange(b)
	default:
		p.fromRecords(&rec, ev.Body)
	}
	if rec.Network != nil {
		host(rec.Network, it.names, a, view)
	}
	return rec
}

// fromRecords fills in what OpenClaw's records and the sensors themselves say.
func (p *Pipeline) fromRecords(rec *event.Record, body event.Body) {
	switch b := body.(type) {
	case event.ToolCall:
		rec.Tool = &event.Tool{Name: b.Name, CallID: b.ID, Command: p.Redactor.String(b.Command), Paths: b.Paths, URL: p.Redactor.String(b.URL)}
	case event.ToolResult:
		rec.Tool = &event.Tool{CallID: b.ID, PID: b.PID, IsError: b.IsError, ExitCode: b.ExitCode}
	case event.LLMCall:
		rec.LLM = &event.LLM{
			Provider: b.Provider, API: b.API, Model: b.Model, ResponseID: b.ResponseID,
			InputTokens: b.InputTokens, OutputTokens: b.OutputTokens,
			CacheReadTokens: b.CacheReadTokens, CacheWriteTokens: b.CacheWriteTokens,
			StopReason: b.StopReason, StatusCode: b.Status, ErrorType: b.ErrorType,
			Error: p.Redactor.String(b.Error),
		}
		rec.LLM.Prompt, rec.LLM.Response = p.content(b.Prompt), p.content(b.Response)
	case event.SessionStart:
		rec.Session = &event.Session{
			Key: b.SessionKey, Channel: b.Channel, Account: b.Account, ChatType: b.ChatType,
			Actor: b.Actor, CreatedVia: b.CreatedVia, ParentKey: b.ParentKey,
		}
	case event.GatewayFound:
		rec.Gateway = &event.Gateway{
			Role: b.Role, StateDir: b.StateDir, Workspaces: b.Workspaces, SkillRoots: b.SkillRoots,
			Port: b.Port, User: p.user(b.UID), Version: b.Version,
		}
	case event.Lost:
		rec.Sensor = &event.Sensor{Of: b.Of, Lost: b.Count, Reason: b.Cause}
		if !b.From.IsZero() {
			rec.Sensor.From = &b.From
		}
	case event.Coverage:
		rec.Sensor = &event.Sensor{Probe: b.Probe, Kinds: b.Kinds, Fidelity: b.Fidelity, Reason: b.Reason}
	}
}

func (p *Pipeline) skillChange(b event.Skill) *event.SkillChange {
	out := &event.SkillChange{ID: b.ID, Previous: b.Previous, Installer: b.Installer, Owner: p.user(b.OwnerUID), Error: b.Err}
	if !b.Installed.IsZero() {
		out.Installed = &b.Installed
	}
	return out
}

func network(t event.Transport, direction string, local, peer netip.AddrPort) *event.Network {
	n := &event.Network{Transport: t, Direction: direction, PeerAddress: peer.Addr().Unmap().String(), PeerPort: peer.Port()}
	if local.IsValid() && !local.Addr().IsUnspecified() {
		n.LocalAddress, n.LocalPort = local.Addr().Unmap().String(), local.Port()
	}
	return n
}

func intersect(a, b []string) []string {
	var both []string
	for _, x := range a {
		for _, y := range b {
			if x == y {
				both = append(both, x)
				break
			}
		}
	}
	return both
}

func inPackage(path string) bool { return strings.Contains(path, "/node_modules/") }
