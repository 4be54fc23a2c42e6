package rules

import (
	"math"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
)

// Bounds of what a condition may have to look through.
const (
	maxArgs        = 256
	maxCommandLine = 16 << 10
)

// fill makes e the environment of a record. The lists of the last one are used
// again. commandLine: some condition asks for it.
func (e *Env) fill(in Input, commandLine bool) {
	args, ancestors, unapproved := e.Process.Args[:0], e.Process.Ancestors[:0], e.Env.Unapproved[:0]
	candidates, types, places := e.Skill.Candidates[:0], e.Sensitive.Types[:0], e.Sensitive.Places[:0]
	*e = Env{Kind: string(in.Record.Kind), Stranger: in.Record.Stranger, Call: in.Record.Call}
	e.Process.Args, e.Process.Ancestors, e.Env.Unapproved, e.Skill.Candidates = args, ancestors, unapproved, candidates
	e.Sensitive.Types, e.Sensitive.Places = types, places
	r := in.Record
	e.process(r.Process, commandLine)
	e.attribution(in)
	e.Acting = acting(r)
	e.Run = in.Run.env()
	e.Day = DayEnv{clamp(in.Day.BytesSent), clamp(in.Day.BytesReceived), clamp(in.Day.PreviousBytesSent), clamp(in.Day.PreviousBytesReceived)}
	x := in.Profile
	e.Profile = ProfileEnv{x.Changed, int(x.Age / time.Second), x.Calls, x.NewHosts, x.NewPrograms, x.NewVariables}
	limits := in.View.Limits()
	e.Limits = Limits{limit(limits.BytesPerRun), limit(limits.BytesPerSkillDay)}
	if r.File != nil {
		e.file(r, in.View, in.Tier)
	}
	if r.Network != nil {
		e.network(r, in.View)
	}
	if r.DNS != nil {
		e.DNS = DNS{r.DNS.Name, r.DNS.Addresses}
	}
	if r.Env != nil {
		e.environment(r, in.View)
	}
	if r.Access != nil {
		e.access(r.Access)
	}
	if x := r.Effects; x != nil {
		e.Effects = Effects{
			x.Processes, x.FilesRead, x.FilesChanged, x.Hosts, x.UnexplainedReads + x.UnexplainedWrites + x.UnexplainedHosts,
			x.UnexplainedReads, x.UnexplainedWrites, x.UnexplainedHosts, x.Examples, x.Silent, x.Missing,
		}
	}
	if r.LLM != nil {
		e.LLM = LLM{r.LLM.Provider, r.LLM.Model, r.LLM.StatusCode, r.LLM.ErrorType}
	}
	if r.Sensor != nil {
		e.Sensor = Sensor{r.Sensor.Probe, r.Sensor.Fidelity, r.Sensor.Reason, clamp(r.Sensor.Lost)}
	}
	e.sensitive(r.Sensitive)
	if c := r.Skill; c != nil {
		e.Change = Change{c.ID.Name, c.ID.Version, c.ID.SHA256, c.Previous, c.ID.Root, c.Installer, in.View.SkillApproved(c.ID), grantedTo(r, in.View, c.ID.Dir)}
	}
}

func (e *Env) process(p *event.Process, commandLine bool) {
	if p == nil {
		return
	}
	e.Process.PID, e.Process.Cwd, e.Process.Role = int(p.PID), p.Cwd, string(p.Role)
	if x := p.Executable; x != nil {
		e.Process.Executable, e.Process.Name = x.Path, base(x.Path)
		e.Process.SHA256, e.Process.Memory, e.Process.Deleted, e.Process.Tmpfs = x.SHA256, x.Memory, x.Deleted, x.Tmpfs
	}
	if p.Script != nil {
		e.Process.Script, e.Process.ScriptSource, e.Process.ScriptSHA256 = p.Script.Path, string(p.Script.Source), p.Script.SHA256
	}
	e.Process.User, e.Process.EffectiveUser = userName(p.User), userName(p.EffectiveUser)
	e.Process.Capabilities, e.Process.Terminal, e.Process.Container = p.Capabilities, p.Terminal, p.ContainerID
	e.Process.Args = append(e.Process.Args, p.CommandArgs[:min(len(p.CommandArgs), maxArgs)]...)
	if commandLine {
		e.Process.CommandLine = lineOf(p.CommandArgs)
	}
	if len(p.Ancestors) > 0 {
		e.Process.ParentExecutable = p.Ancestors[0].Executable
		if commandLine {
			e.Process.ParentCommandLine = lineOf(p.Ancestors[0].Args)
		}
	}
	e.Process.Errand = errand(e.Process.Executable, e.Process.Args)
	for _, a := range p.Ancestors {
		e.Process.Ancestors = append(e.Process.Ancestors, base(a.Executable))
	}
}

func lineOf(args []string) string {
	line := strings.Join(args, " ")
	return line[:min(len(line), maxCommandLine)]
}

func (e *Env) sensitive(all []event.Sensitive) {
	s := &e.Sensitive
	for _, x := range all {
		s.Count += x.Count
		if !slices.Contains(s.Types, x.Type) {
			s.Types = append(s.Types, x.Type)
		}
		if x.Place != "" && !slices.Contains(s.Places, string(x.Place)) {
			s.Places = append(s.Places, string(x.Place))
		}
	}
}

func userName(u *event.User) string {
	switch {
	case u == nil:
		return ""
	case u.Name == "":
		return strconv.FormatUint(uint64(u.ID), 10)
	}
	return u.Name
}

func (e *Env) access(x *event.Accessed) {
	e.Access = Access{Method: string(x.Method), Write: x.Write}
	if x.Signal != 0 {
		e.Access.Signal = unix.SignalName(syscall.Signal(x.Signal))
	}
	if t := x.Target; t != nil {
		e.Access.TargetPID, e.Access.TargetRole, e.Access.TargetName, e.Access.Own = int(t.PID), string(t.Role), base(t.Executable), t.Own
	}
}

func (e *Env) attribution(in Input) {
	session, tool := in.Session, in.Tool
	if in.Record.Session != nil {
		session = in.Record.Session
	}
	if in.Record.Tool != nil {
		tool = in.Record.Tool
	}
	if session != nil {
		e.Session = Session{Key: session.Key, Channel: session.Channel}
	}
	if tool != nil {
		e.Tool = Tool{ID: tool.CallID, Name: tool.Name, Command: tool.Command}
	}
	a := in.Record.Attribution
	if a == nil {
		return
	}
	e.Session.ID = a.Session
	if e.Session.Key == "" {
		e.Session.Key = a.SessionKey
	}
	if e.Tool.ID == "" {
		e.Tool.ID = a.ToolCall
	}
	if i := slices.IndexFunc(a.Evidence, func(w event.Evidence) bool { return w.Kind == event.EvidenceForgedTag }); i >= 0 {
		e.Tool.ForgedTag = a.Evidence[i].Detail
	}
	e.Skill.Confidence = string(a.Confidence)
	if s := a.Skill; s != nil {
		e.Skill.Vetting = in.View.Vetting()
		e.Skill.Known, e.Skill.Name, e.Skill.Version, e.Skill.Approved = true, s.Name, s.Version, in.View.SkillApproved(*s)
		return
	}
	for _, c := range a.Candidates {
		e.Skill.Candidates = append(e.Skill.Candidates, c.Name)
	}
}

// limit makes a limit of 0, which is none, the largest number.
func limit(z policy.Size) int {
	if z == 0 {
		return math.MaxInt
	}
	return int(z)
}

// acting tells what is done for a tool call or a skill from what OpenClaw does
// for itself. The gateway acts where the attribution names the call.
func acting(r *event.Record) bool {
	a := r.Attribution
	if a == nil {
		a = new(event.Attribution)
	}
	if r.Process == nil {
		return a.ToolCall != "" || a.Skill != nil
	}
	switch r.Process.Role {
	case event.RoleTool, event.RoleHeir:
		return true
	case event.RoleCLI: // one that works without a gateway does what that would
		return slices.ContainsFunc(a.Evidence, ofCalls)
	case event.RoleGateway:
		return a.ToolCall != "" || slices.ContainsFunc(a.Evidence, ofCalls)
	case event.RoleHelper:
		return false
	}
	return a.ToolCall != "" || a.Skill != nil || len(a.Candidates) > 0
}

// ofCalls reports whether evidence is that OpenClaw did something in its own
// process for one of several tool calls.
func ofCalls(e event.Evidence) bool { return e.Kind == "tool_path" || e.Kind == "tool_host" }

func (e *Env) file(r *event.Record, v *policy.View, tier string) {
	f := r.File
	e.File = File{
		Path: f.Path, OldPath: f.OldPath, Requested: f.Requested, Target: f.Target, Name: base(f.Path), Operation: f.Operation,
		Attribute: f.Attribute, Value: f.Value, Mapped: f.Mapped, OpenedBefore: f.Opened, IOUring: f.IOUring,
		Attempted: f.Attempted, Directory: f.Directory, Startup: startup(f.Path), Owner: userName(f.Owner),
	}
	if f.BytesRead != nil {
		e.File.BytesRead = clamp(*f.BytesRead)
	}
	if f.BytesWritten != nil {
		e.File.BytesWritten = clamp(*f.BytesWritten)
	}
	e.File.Tier = tier
	e.File.Canary = v.CanaryFile(f.Path) || f.OldPath != "" && v.CanaryFile(f.OldPath)
	e.File.Granted = (e.File.Tier == string(policy.Internal) || e.File.Tier == string(policy.Public)) && grantedTo(r, v, f.Path)
	e.File.Instructions, e.File.Memory = instructs(v, f.Path), remembers(v, f.Path)
	if f.OldPath != "" {
		e.File.Granted = e.File.Granted && grantedTo(r, v, f.OldPath)
		e.File.Instructions = e.File.Instructions || instructs(v, f.OldPath)
		e.File.Memory = e.File.Memory || remembers(v, f.OldPath)
	}
}

// instructs reports whether a file is one that OpenClaw hands to the model of an agent
// as who it is and what it is to do.
func instructs(v *policy.View, p string) bool {
	rest, ok := v.Workspace(p)
	return ok && slices.Contains(orders, rest)
}

// remembers reports whether a file is one of an agent's notes, which it reads again.
func remembers(v *policy.View, p string) bool {
	rest, ok := v.Workspace(p)
	return ok && strings.HasPrefix(rest, "memory/") && strings.HasSuffix(rest, ".md")
}

var orders = []string{
	"AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "TOOLS.md", "HEARTBEAT.md", "BOOT.md", "BOOTSTRAP.md", "MEMORY.md", "memory.md", "CLAUDE.md",
}

// grantedTo reports whether the policy allows a path to the acting skill by its name,
// to do to it what was done.
func grantedTo(r *event.Record, v *policy.View, p string) bool {
	a := r.Attribution
	return a != nil && v.Granted(p, r.File == nil || event.Changes(r.File.Operation), a.Skill)
}

// fileTier is the tier of the file, or the worse of its two names.
func fileTier(r *event.Record, v *policy.View) string {
	f := r.File
	write := event.Changes(f.Operation)
	tier := worstTier(r, v, f.Path, write)
	if f.OldPath != "" {
		tier = worse(tier, worstTier(r, v, f.OldPath, write))
	}
	return string(tier)
}

// worstTier is the tier for the skill, or the worst for any that it may be.
func worstTier(r *event.Record, v *policy.View, p string, write bool) policy.Tier {
	if r.Process != nil {
		p = ownProc(p, r.Process.PID)
	}
	a := r.Attribution
	switch {
	case a == nil:
		return v.Directory(p, write, nil)
	case a.Skill != nil || len(a.Candidates) == 0:
		return v.Directory(p, write, a.Skill)
	}
	tier := policy.Public
	for i := range a.Candidates {
		tier = worse(tier, v.Directory(p, write, &a.Candidates[i]))
	}
	return tier
}

func worse(a, b policy.Tier) policy.Tier {
	for _, t := range []policy.Tier{policy.Restricted, policy.Outside, policy.Internal} {
		if a == t || b == t {
			return t
		}
	}
	return policy.Public
}

// ownProc turns /proc/PID of the process itself back into the /proc/self that
// it most likely wrote: the kernel names the opened file by number.
func ownProc(p string, pid int32) string {
	rest, ok := strings.CutPrefix(p, "/proc/")
	if !ok {
		return p
	}
	first, rest, _ := strings.Cut(rest, "/")
	if n, err := strconv.Atoi(first); err != nil || n != int(pid) {
		return p
	}
	return "/proc/self/" + rest
}

func (e *Env) network(r *event.Record, v *policy.View) {
	n := r.Network
	e.Network = Network{
		Transport: string(n.Transport), Direction: n.Direction, PeerAddress: n.PeerAddress, PeerPort: int(n.PeerPort),
		LocalAddress: n.LocalAddress, LocalPort: int(n.LocalPort), Host: n.Host, HostSource: n.HostSource, HostAlso: n.HostAlso,
		ECH: n.ECH, Method: n.Method, URLPath: n.URLPath, StatusCode: n.StatusCode, Passed: n.Passed, Own: n.Own,
		Family: n.Family, SocketType: n.SocketType, Protocol: n.Protocol, Errno: n.Errno,
	}
	if n.Transport == event.Unix {
		e.Network.Service = service(n.PeerAddress, e.Process.Name)
	}
	if n.BytesSent != nil {
		e.Network.BytesSent = clamp(*n.BytesSent)
	}
	if n.BytesReceived != nil {
		e.Network.BytesReceived = clamp(*n.BytesReceived)
	}
	addr, _ := netip.ParseAddr(n.PeerAddress) // zero: matches nothing by address
	peer := netip.AddrPortFrom(addr, n.PeerPort)
	e.Network.Loopback = addr.Unmap().IsLoopback()
	host := n.Vouched() // where there is none, the address alone counts
	a := r.Attribution
	switch {
	case a != nil && a.Skill != nil:
		e.Network.Approved = v.Endpoint(peer, host, a.Skill.Name)
	case a != nil && len(a.Candidates) > 0:
		e.Network.Approved = true
		for _, c := range a.Candidates {
			e.Network.Approved = e.Network.Approved && v.Endpoint(peer, host, c.Name)
		}
	default:
		e.Network.Approved = v.Endpoint(peer, host, "")
	}
}

func (e *Env) environment(r *event.Record, v *policy.View) {
	e.Env.Method, e.Env.Names, e.Env.Referenced = string(r.Env.Method), r.Env.Names, r.Env.Referenced
	names := r.Env.Names
	if r.Env.Method == event.EnvExec {
		names = r.Env.Referenced
	}
	for _, name := range names {
		if v.SecretName(name) && !v.EnvApproved(name, e.Skill.Name) {
			e.Env.Unapproved = append(e.Env.Unapproved, name)
		}
	}
	for _, name := range r.Env.Names {
		if v.CanaryVariable(name) {
			e.Env.Canaries = append(e.Env.Canaries, name)
		}
	}
	e.Env.Approved = len(names) > 0 && len(e.Env.Unapproved) == 0
}

func base(p string) string {
	if p == "" {
		return ""
	}
	return path.Base(p)
}

func clamp(n uint64) int { return int(min(n, math.MaxInt)) }
