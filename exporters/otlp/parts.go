package otlp

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

func putProcess(a attributes, p *event.Process) {
	if p == nil {
		return
	}
	a.PutInt("process.pid", int64(p.PID))
	a.PutInt("clawwatch.process.start_time", int64(p.StartTime))
	a.num("process.parent_pid", int64(p.ParentPID))
	a.num("clawwatch.process.parent_start_time", int64(p.ParentStart))
	a.str("clawwatch.process.role", string(p.Role))
	if x := p.Executable; x != nil {
		a.str("process.executable.path", x.Path)
		a.str("process.executable.name", base(x.Path))
		a.str("clawwatch.process.executable.sha256", x.SHA256)
		a.yes("clawwatch.process.executable.memory", x.Memory)
		a.yes("clawwatch.process.executable.deleted", x.Deleted)
		a.yes("clawwatch.process.executable.tmpfs", x.Tmpfs)
	}
	if s := p.Script; s != nil {
		a.str("clawwatch.process.script.path", s.Path)
		a.str("clawwatch.process.script.source", string(s.Source))
		a.str("clawwatch.process.script.sha256", s.SHA256)
	}
	a.strs("process.command_args", p.CommandArgs)
	a.yes("clawwatch.process.args_truncated", p.ArgsTruncated)
	a.str("process.working_directory", p.Cwd)
	a.strs("clawwatch.process.environment_variable_names", p.EnvNames)
	if p.User != nil {
		a.PutInt("process.user.id", int64(p.User.ID))
		a.str("process.user.name", p.User.Name)
	}
	if u := p.EffectiveUser; u != nil {
		a.PutInt("clawwatch.process.effective_user.id", int64(u.ID))
		a.str("clawwatch.process.effective_user.name", u.Name)
	}
	a.strs("clawwatch.process.capabilities", p.Capabilities)
	if n := p.Namespaces; n != nil {
		a.num("clawwatch.process.namespace.mount", int64(n.Mount))
		a.num("clawwatch.process.namespace.pid", int64(n.PID))
		a.num("clawwatch.process.namespace.net", int64(n.Net))
		a.num("clawwatch.process.namespace.user", int64(n.User))
	}
	a.num("process.session_leader.pid", int64(p.SessionLeader))
	a.yes("process.interactive", p.Terminal)
	a.yes("clawwatch.process.bits_32", p.Bits32)
	a.str("container.id", p.ContainerID)
	if p.ExitCode != nil {
		a.PutInt("process.exit.code", int64(*p.ExitCode))
	}
	a.num("clawwatch.process.exit_signal", int64(p.ExitSignal))
	a.strs("clawwatch.process.ancestors", ancestors(p.Ancestors))
}

// ancestors gives "pid path", parent first.
func ancestors(up []event.Ancestor) []string {
	lines := make([]string, 0, min(len(up), maxElements))
	for _, x := range up[:min(len(up), maxElements)] {
		lines = append(lines, strings.TrimSpace(strconv.Itoa(int(x.PID))+" "+x.Executable))
	}
	return lines
}

func base(name string) string {
	if name == "" {
		return ""
	}
	return path.Base(name)
}

func putFile(a attributes, f *event.File) {
	if f == nil {
		return
	}
	a.str("file.path", f.Path)
	a.str("clawwatch.file.old_path", f.OldPath)
	a.str("clawwatch.file.operation", f.Operation)
	a.yes("clawwatch.file.directory", f.Directory)
	a.yes("clawwatch.file.path_truncated", f.Truncated)
	a.yes("clawwatch.file.passed", f.Passed)
	if f.Owner != nil {
		a.str("file.owner.id", strconv.FormatUint(uint64(f.Owner.ID), 10))
		a.str("file.owner.name", f.Owner.Name)
	}
	a.yes("clawwatch.file.path_unresolved", f.Unresolved)
	a.str("clawwatch.file.requested_path", f.Requested)
	a.str("file.symbolic_link.target_path", f.Target)
	a.str("clawwatch.file.attribute", f.Attribute)
	a.str("clawwatch.file.value", f.Value)
	a.total("clawwatch.file.bytes_read", f.BytesRead)
	a.total("clawwatch.file.bytes_written", f.BytesWritten)
	a.num("clawwatch.file.opens", int64(f.Opens))
	a.strs("clawwatch.file.mapped", f.Mapped)
	a.yes("clawwatch.file.opened_before", f.Opened)
	a.yes("clawwatch.file.io_uring", f.IOUring)
	a.yes("clawwatch.file.attempted", f.Attempted)
}

// putNetwork names the peer as network.peer.* and, in the terms of who began,
// as destination or source.
func putNetwork(a attributes, n *event.Network) {
	if n == nil {
		return
	}
	a.str("network.transport", string(n.Transport))
	a.str("clawwatch.network.direction", n.Direction)
	a.str("network.local.address", n.LocalAddress)
	a.num("network.local.port", int64(n.LocalPort))
	a.str("network.peer.address", n.PeerAddress)
	a.num("network.peer.port", int64(n.PeerPort))
	switch n.Direction {
	case "inbound":
		a.str("source.address", host(n))
		a.num("source.port", int64(n.PeerPort))
	case "outbound":
		a.str("destination.address", host(n))
		a.num("destination.port", int64(n.PeerPort))
	}
	if n.Vouched() == "" {
		a.str("clawwatch.network.host", n.Host) // the process's own word, and no destination
	}
	a.str("clawwatch.network.host_source", n.HostSource)
	a.str("clawwatch.network.host_also", n.HostAlso)
	a.yes("clawwatch.network.ech", n.ECH)
	a.yes("clawwatch.network.host_truncated", n.HostTruncated)
	if n.HostSource == "tls_sni" {
		a.str("tls.client.server_name", n.Host)
	}
	a.str("http.request.method", n.Method)
	a.str("url.path", n.URLPath)
	a.num("http.response.status_code", int64(n.StatusCode))
	a.yes("clawwatch.network.passed", n.Passed)
	a.yes("clawwatch.network.own", n.Own)
	a.str("clawwatch.network.family", n.Family)
	a.str("clawwatch.network.socket_type", n.SocketType)
	a.num("clawwatch.network.protocol", int64(n.Protocol))
	if n.BytesSent != nil {
		a.PutInt("clawwatch.network.bytes_sent", int64(*n.BytesSent))
	}
	if n.BytesReceived != nil {
		a.PutInt("clawwatch.network.bytes_received", int64(*n.BytesReceived))
	}
	a.num("clawwatch.network.errno", int64(n.Errno))
}

func putDNS(a attributes, d *event.DNS) {
	if d == nil {
		return
	}
	a.str("dns.question.name", d.Name)
	a.strs("dns.answers", d.Addresses)
	a.str("server.address", d.Server)
	a.yes("clawwatch.dns.trusted", d.Trusted)
}

func putEnv(a attributes, e *event.Env) {
	if e == nil {
		return
	}
	a.strs("clawwatch.env.names", e.Names)
	a.strs("clawwatch.env.referenced", e.Referenced)
	a.str("clawwatch.env.method", string(e.Method))
	a.num("clawwatch.env.target_pid", int64(e.TargetPID))
}

// putEffects puts what a tool call did against what it says. Counts of nothing
// are left out.
func putEffects(a attributes, x *event.Effects) {
	if x == nil {
		return
	}
	a.num("clawwatch.effects.processes", int64(x.Processes))
	a.num("clawwatch.effects.files_read", int64(x.FilesRead))
	a.num("clawwatch.effects.files_changed", int64(x.FilesChanged))
	a.num("clawwatch.effects.hosts", int64(x.Hosts))
	a.num("clawwatch.effects.unexplained_reads", int64(x.UnexplainedReads))
	a.num("clawwatch.effects.unexplained_writes", int64(x.UnexplainedWrites))
	a.num("clawwatch.effects.unexplained_hosts", int64(x.UnexplainedHosts))
	a.strs("clawwatch.effects.examples", x.Examples)
	a.yes("clawwatch.effects.silent", x.Silent)
	a.str("clawwatch.effects.missing", x.Missing)
	a.str("clawwatch.effects.unjudged", x.Unjudged)
}

func putAccess(a attributes, x *event.Accessed) {
	if x == nil {
		return
	}
	a.str("clawwatch.access.method", string(x.Method))
	a.num("clawwatch.access.signal", int64(x.Signal))
	a.yes("clawwatch.access.write", x.Write)
	if t := x.Target; t != nil {
		a.num("clawwatch.access.target.pid", int64(t.PID))
		a.num("clawwatch.access.target.start_time", int64(t.StartTime))
		a.str("clawwatch.access.target.role", string(t.Role))
		a.str("clawwatch.access.target.executable", t.Executable)
		a.yes("clawwatch.access.target.own", t.Own)
	}
}

func putLLM(a attributes, l *event.LLM) {
	if l == nil {
		return
	}
	a.PutStr("gen_ai.operation.name", "chat")
	a.str("gen_ai.provider.name", l.Provider)
	a.str("clawwatch.llm.api", l.API)
	a.str("gen_ai.request.model", l.Model)
	a.str("gen_ai.response.id", l.ResponseID)
	a.PutInt("gen_ai.usage.input_tokens", l.InputTokens)
	a.PutInt("gen_ai.usage.output_tokens", l.OutputTokens)
	a.num("gen_ai.usage.cache_read.input_tokens", l.CacheReadTokens)
	a.num("gen_ai.usage.cache_creation.input_tokens", l.CacheWriteTokens)
	if l.StopReason != "" {
		a.strs("gen_ai.response.finish_reasons", []string{l.StopReason})
	}
	a.num("http.response.status_code", int64(l.StatusCode))
	a.str("error.type", l.ErrorType)
	a.str("clawwatch.llm.error", l.Error)
	a.text("clawwatch.llm.prompt", l.Prompt)
	a.text("clawwatch.llm.response", l.Response)
}

func putTool(a attributes, t *event.Tool) {
	if t == nil {
		return
	}
	a.PutStr("gen_ai.operation.name", "execute_tool")
	a.str("gen_ai.tool.name", t.Name)
	a.str("gen_ai.tool.call.id", t.CallID)
	a.text("clawwatch.tool.command", t.Command)
	a.strs("clawwatch.tool.paths", t.Paths)
	a.str("url.full", t.URL)
	a.num("clawwatch.tool.pid", int64(t.PID))
	a.yes("clawwatch.tool.is_error", t.IsError)
	if t.ExitCode != nil {
		a.PutInt("clawwatch.tool.exit_code", int64(*t.ExitCode))
	}
}

// putSensitive puts what was found by type, and each find as a line.
func putSensitive(a attributes, all []event.Sensitive) {
	var types, lines []string
	for _, s := range all {
		if !slices.Contains(types, s.Type) {
			types = append(types, s.Type)
		}
		lines = append(lines, s.String())
	}
	a.strs("clawwatch.sensitive.types", types)
	a.strs("clawwatch.sensitive.found", lines)
}

func putSession(a attributes, s *event.Session) {
	if s == nil {
		return
	}
	a.str("clawwatch.session.key", s.Key)
	a.str("clawwatch.session.channel", s.Channel)
	a.str("clawwatch.session.account", s.Account)
	a.str("clawwatch.session.chat_type", s.ChatType)
	a.str("clawwatch.session.actor", s.Actor)
	a.str("clawwatch.session.created_via", s.CreatedVia)
	a.str("clawwatch.session.parent_key", s.ParentKey)
}

// putSkillChange keeps apart from clawwatch.skill.*, which is the skill that
// acted: one skill may install another.
func putSkillChange(a attributes, s *event.SkillChange) {
	if s == nil {
		return
	}
	putSkill(a, "clawwatch.skill_change.", &s.ID)
	a.str("clawwatch.skill_change.previous_sha256", s.Previous)
	a.str("clawwatch.skill_change.installer", s.Installer)
	if s.Installed != nil {
		a.str("clawwatch.skill_change.installed", s.Installed.UTC().Format(time.RFC3339))
	}
	if s.Owner != nil {
		a.PutInt("clawwatch.skill_change.owner.id", int64(s.Owner.ID))
		a.str("clawwatch.skill_change.owner.name", s.Owner.Name)
	}
	a.str("clawwatch.skill_change.error", s.Error)
}

func putSkill(a attributes, prefix string, id *event.SkillID) {
	a.str(prefix+"name", id.Name)
	a.str(prefix+"version", id.Version)
	a.str(prefix+"sha256", id.SHA256)
	a.str(prefix+"root", id.Root)
	a.str(prefix+"source", id.Source)
	a.str(prefix+"dir", id.Dir)
}

func putSensor(a attributes, s *event.Sensor) {
	if s == nil {
		return
	}
	a.str("clawwatch.sensor.probe", s.Probe)
	a.str("clawwatch.sensor.of", string(s.Of))
	kinds := make([]string, 0, len(s.Kinds))
	for _, k := range s.Kinds {
		kinds = append(kinds, string(k))
	}
	a.strs("clawwatch.sensor.kinds", kinds)
	a.num("clawwatch.sensor.lost", int64(s.Lost))
	a.str("clawwatch.sensor.fidelity", s.Fidelity)
	a.str("clawwatch.sensor.reason", s.Reason)
	if s.From != nil {
		a.str("clawwatch.sensor.from", s.From.UTC().Format(time.RFC3339Nano))
	}
	if l := s.Limited; l != nil {
		a.str("clawwatch.sensor.limited.rule", l.Rule)
		a.str("clawwatch.sensor.limited.alert", l.Alert)
		a.num("clawwatch.sensor.limited.held_back", int64(l.HeldBack))
		a.strs("clawwatch.sensor.limited.events", l.Events)
	}
}

// putAttribution gives the framework's own name to a skill only where nobody
// could doubt it; a guess must not pose as OpenClaw's word.
func putAttribution(a attributes, at *event.Attribution) {
	if at == nil {
		return
	}
	a.str("clawwatch.gateway", at.Gateway)
	a.str("gen_ai.agent.name", at.Agent)
	a.str("gen_ai.conversation.id", at.Session)
	a.str("clawwatch.session.key", at.SessionKey)
	a.str("clawwatch.run", at.Run)
	a.str("gen_ai.tool.call.id", at.ToolCall)
	if s := at.Skill; s != nil {
		putSkill(a, "clawwatch.skill.", s)
		if at.Confidence == event.Certain && s.Name != "" {
			a.Remove("clawwatch.skill.name")
			a.str("gen_ai.skill.name", s.Name)
		}
	}
	a.str("clawwatch.attribution.confidence", string(at.Confidence))
	a.strs("clawwatch.attribution.candidates", candidates(at.Candidates))
	a.strs("clawwatch.attribution.evidence", evidence(at.Evidence))
}

// candidates gives "name" or "name@version".
func candidates(ids []event.SkillID) []string {
	lines := make([]string, 0, min(len(ids), maxElements))
	for _, id := range ids[:min(len(ids), maxElements)] {
		if id.Version != "" {
			id.Name += "@" + id.Version
		}
		lines = append(lines, id.Name)
	}
	return lines
}

// evidence gives "kind: detail".
func evidence(all []event.Evidence) []string {
	lines := make([]string, 0, min(len(all), maxElements))
	for _, e := range all[:min(len(all), maxElements)] {
		lines = append(lines, e.Kind+": "+e.Detail)
	}
	return lines
}
