package pipeline

import (
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
		if proc.Shown == nil || p.hashedSince(proc) {
			proc.Shown = p.show(proc, scope.Role())
		}
		shown = proc.Shown
	}
	switch b := ev.Body.(type) {
	case event.Exit:
		last := *shown
		if !b.Unknown {
			last.ExitCode, last.ExitSignal = &b.Code, b.Signal
		}
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
	p.identify(out, proc)
	for i, up := range p.table.Ancestors(proc.ID, maxAncestors) {
		out.Ancestors = append(out.Ancestors, event.Ancestor{PID: up.ID.PID, Executable: up.Path})
		switch {
		case i > 0:
		case up.Shown != nil:
			out.Ancestors[0].Args = up.Shown.CommandArgs
		default:
			out.Ancestors[0].Args = p.Redactor.Args(up.Args)
		}
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
	p.met(it)
	p.hashed(it)
	rec := event.Record{
		ID: it.id, Time: ev.Time, Kind: ev.Body.Kind(), Source: ev.Source, Stranger: ev.Stranger,
		Process: it.process, Attribution: a,
	}
	switch b := ev.Body.(type) {
	case event.FileOpen, event.FileRename, event.FileDelete, event.FileLink, event.FileAttr, event.FileTruncate, event.FileUse:
		rec.File = fileOf(b)
	case event.Connect, event.Accept, event.Close, event.Listen, event.Send, event.Socket, event.TLSName, event.HTTPExchange:
		rec.Network = p.network(b)
	case event.DNSAnswer:
		rec.DNS = &event.DNS{Name: b.Name, Server: b.Server.String(), Trusted: p.trusted(it, b)}
		for _, addr := range b.Addresses {
			rec.DNS.Addresses = append(rec.DNS.Addresses, addr.String())
		}
	case event.Heir:
		rec.File = &event.File{Path: b.Path, Operation: "read"}
		if b.Program {
			rec.File.Operation = "execute"
		}
	case event.Access:
		rec.Access = p.accessed(it, b)
	case event.Credentials:
		rec.Call = b.Call
	case event.Namespace:
		rec.Call = b.Call
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
	rec.Sensitive = p.sensitive(ev.Body)
	if ev.Stranger && rec.File != nil && ev.Gateway != "" {
		rec.File.Owner = p.user(p.engine.Gateway(ev.Gateway).UID)
	}
	if rec.Network != nil {
		_, socket := connection(ev.Body)
		rec.Network.Own = p.served(it, a)
		host(rec.Network, it.names, p.claims.of(socket, ev.Body), a, view)
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
	case event.ToolEffects:
		rec.Tool = &event.Tool{Name: b.Name, CallID: b.ID}
		effects := b.Effects
		effects.Examples = p.clean(effects.Examples)
		rec.Effects = &effects
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
			Port: b.Port, User: p.user(b.UID), Version: b.Version, ContainerID: b.ContainerID,
		}
	case event.Lost:
		rec.Sensor = &event.Sensor{Of: b.Of, Lost: b.Count, Reason: b.Cause}
		if !b.From.IsZero() {
			rec.Sensor.From = &b.From
		}
	case event.Gap:
		rec.Sensor = &event.Sensor{Kinds: b.Kinds, Reason: b.Cause}
	case event.Coverage:
		rec.Sensor = &event.Sensor{Probe: b.Probe, Kinds: b.Kinds, Fidelity: b.Fidelity, Reason: b.Reason}
	}
}

func (p *Pipeline) skillChange(b event.Skill) *event.SkillChange {
	out := &event.SkillChange{ID: b.ID, Previous: b.Previous, Installer: b.Installer, Owner: p.user(b.OwnerUID), Error: b.Err}
	if !b.Installed.IsZero() {
		out.Installed = &b.Installed
	}
	if d := b.Declares; len(d.Bins)+len(d.Envs)+len(d.Hosts) > 0 {
		out.Declares = &event.Declared{Bins: p.clean(d.Bins), Envs: p.clean(d.Envs), Hosts: p.clean(d.Hosts)}
	}
	return out
}

func (p *Pipeline) clean(texts []string) []string {
	var out []string
	for _, s := range texts {
		out = append(out, p.Redactor.String(s))
	}
	return out
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
