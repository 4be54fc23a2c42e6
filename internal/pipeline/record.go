package pipeline

import (
	"net/netip"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// maxAncestors is how far up a record shows the process tree.
const maxAncestors = 16

// process gives the acting process as it is now, redacted.
func (p *Pipeline) process(ev event.Event) *event.Process {
	if ev.Proc.IsZero() {
		return nil
	}
	out := &event.Process{PID: ev.Proc.PID, StartTime: ev.Proc.Start}
	switch b := ev.Body.(type) {
	case event.Exit:
		out.ExitCode, out.ExitSignal = &b.Code, b.Signal
	case event.Exec:
		out.EnvNames = b.EnvNames
	}
	proc := p.table.Get(ev.Proc)
	if proc == nil {
		return out
	}
	out.ParentPID, out.ParentStart = proc.Parent.PID, proc.Parent.Start
	if proc.Path != "" {
		out.Executable = &event.Executable{Path: proc.Path}
	}
	out.CommandArgs = p.Redactor.Args(proc.Args)
	out.ArgsTruncated = proc.ArgsTruncated
	out.Cwd = proc.Cwd
	out.User = p.user(proc.UID)
	for _, up := range p.table.Ancestors(ev.Proc, maxAncestors) {
		out.Ancestors = append(out.Ancestors, event.Ancestor{PID: up.ID.PID, Executable: up.Path})
	}
	return out
}

func (p *Pipeline) user(uid uint32) *event.User {
	return &event.User{ID: uid, Name: p.UserName(uid)}
}

// record gives a fact its lasting shape. Every text that a skill, a model or a
// user wrote passes the redactor here.
func (p *Pipeline) record(it *item, a *event.Attribution) event.Record {
	ev := it.ev
	if it.process != nil {
		it.process.Role = it.scope.Role() // the gateway may have been found meanwhile
	}
	rec := event.Record{
		ID: it.id, Time: ev.Time, Kind: ev.Body.Kind(), Source: ev.Source,
		Process: it.process, Attribution: p.redacted(a),
	}
	switch b := ev.Body.(type) {
	case event.FileOpen:
		rec.File = &event.File{Path: b.Path, Operation: operation(b), Directory: b.Directory, Truncated: b.Truncated}
	case event.FileRename:
		rec.File = &event.File{Path: b.New, OldPath: b.Old, Operation: "rename", Truncated: b.Truncated}
	case event.FileDelete:
		rec.File = &event.File{Path: b.Path, Operation: "delete", Directory: b.Directory, Truncated: b.Truncated}
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

// redacted copies an attribution with its evidence redacted: evidence quotes
// paths and IDs that others wrote.
func (p *Pipeline) redacted(a *event.Attribution) *event.Attribution {
	if a == nil {
		return nil
	}
	for i := range a.Evidence {
		a.Evidence[i].Detail = p.Redactor.String(a.Evidence[i].Detail)
	}
	return a
}

func operation(b event.FileOpen) string {
	switch {
	case b.Create:
		return "create"
	case b.Write:
		return "write"
	}
	return "read"
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
