package rules

import (
	"math"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
)

// Env is what a condition sees: values only. What is not known is "", 0, false
// or an empty list.
type Env struct {
	Kind     string  `expr:"kind"`     // network.connect, file.open, …
	Acting   bool    `expr:"acting"`   // done for a tool call or a skill, not by OpenClaw for itself
	Process  Process `expr:"process"`  // who did it
	Stranger bool    `expr:"stranger"` // done from outside of every OpenClaw tree
	Access   Access  `expr:"access"`   // process.access
	Call     string  `expr:"call"`     // process.credentials, process.namespace: the system call
	File     File    `expr:"file"`     // file.*; env.read of a file
	Network  Network `expr:"network"`  // network.*
	DNS      DNS     `expr:"dns"`      // dns.answer
	Env      EnvRead `expr:"env"`      // env.read
	Skill    Skill   `expr:"skill"`    // for whom it was done
	Change   Change  `expr:"change"`   // skill.*: the skill that came, changed or went
	Session  Session `expr:"session"`
	Tool     Tool    `expr:"tool"`
	Effects  Effects `expr:"effects"` // tool.effects: what the call did against what it says
	LLM      LLM     `expr:"llm"`     // llm.call
	Sensor   Sensor  `expr:"sensor"`  // sensor.*: what the agent says of itself
	Run      RunEnv  `expr:"run"`
	Limits   Limits  `expr:"limits"`

	Sensitive Sensitive `expr:"sensitive"` // process.exec, tool.call, llm.call: data found in their texts
}

// Process is the process that acted.
type Process struct {
	PID         int      `expr:"pid"`
	Executable  string   `expr:"executable"`   // path
	Name        string   `expr:"name"`         // last component of the path
	Args        []string `expr:"args"`         // at most 256
	CommandLine string   `expr:"command_line"` // args joined by blanks, at most 16 KiB
	Cwd         string   `expr:"cwd"`
	Role        string   `expr:"role"`      // gateway, helper, tool, heir, cli
	User        string   `expr:"user"`      // name, or number where there is none
	Ancestors   []string `expr:"ancestors"` // names of their executables, parent first

	ParentExecutable  string `expr:"parent_executable"`   // path of the parent's
	ParentCommandLine string `expr:"parent_command_line"` // the parent's, when the process started its program

	SHA256        string   `expr:"sha256"`         // of the executable
	Memory        bool     `expr:"memory"`         // the executable is a memfd
	Deleted       bool     `expr:"deleted"`        // no name led to the executable any more
	Tmpfs         bool     `expr:"tmpfs"`          // the executable is in memory, as in /dev/shm
	Script        string   `expr:"script"`         // path, of an interpreter or a dynamic loader
	ScriptSource  string   `expr:"script_source"`  // file, stdin, argument, module, loader
	ScriptSHA256  string   `expr:"script_sha256"`  // source file; empty where it is not known for sure
	EffectiveUser string   `expr:"effective_user"` // where it is another than user
	Capabilities  []string `expr:"capabilities"`   // CAP_…, where the effective user is not root
	Terminal      bool     `expr:"terminal"`       // it has a controlling terminal
	Container     string   `expr:"container"`      // ID
	Errand        string   `expr:"errand"`         // of a program that has services act for it, as systemctl and tmux do: run, look; by its arguments
}

// Access is what one process did to another.
type Access struct {
	Method     string `expr:"method"` // signal, ptrace, ptrace_traceme, process_vm_readv, process_vm_writev, pidfd_getfd, proc_mem, proc_maps, proc_environ
	Signal     string `expr:"signal"` // SIGKILL, …
	Write      bool   `expr:"write"`  // proc_mem: opened for writing
	TargetPID  int    `expr:"target_pid"`
	TargetRole string `expr:"target_role"` // gateway, helper, tool, cli; agent: clawwatch itself
	TargetName string `expr:"target_name"` // last component of the executable's path
	Own        bool   `expr:"own"`         // the target is of the same tool call, or descends from the process
}

// File is what was done to a file.
type File struct {
	Path      string `expr:"path"`
	OldPath   string `expr:"old_path"`       // rename, exchange, link
	Requested string `expr:"requested_path"` // what the program asked to open, where that is not the path
	Target    string `expr:"target"`         // symlink: its text
	Name      string `expr:"name"`           // last component of the path
	// read, write, create, path (O_PATH), execute, rename, exchange, delete, link, symlink, truncate, attribute
	Operation    string   `expr:"operation"`
	Attribute    string   `expr:"attribute"` // mode, owner, times, xattr, xattr_removed, flags
	Value        string   `expr:"value"`     // of the attribute: 0644, 1000:1000, security.capability
	BytesRead    int      `expr:"bytes_read"`
	BytesWritten int      `expr:"bytes_written"`
	Mapped       []string `expr:"mapped"`        // into memory: read, write, execute
	OpenedBefore bool     `expr:"opened_before"` // file.read, file.write: the open was an event of its own
	IOUring      bool     `expr:"io_uring"`
	Attempted    bool     `expr:"attempted"` // whether it succeeded is not known
	Directory    bool     `expr:"directory"`
	Startup      bool     `expr:"startup"` // by its path: what a shell, cron, systemd, git, Python or a desktop runs or takes in by itself
	Owner        string   `expr:"owner"`   // of what a stranger touched: the user whose OpenClaw it is
	Tier         string   `expr:"tier"`    // public, internal, restricted, outside; of a rename: the worse of the two names
}

// Network is one connection.
type Network struct {
	Transport     string `expr:"transport"`    // tcp, udp, unix, vsock
	Direction     string `expr:"direction"`    // outbound, inbound
	PeerAddress   string `expr:"peer_address"` // unix: the path, or @ and an abstract name
	PeerPort      int    `expr:"peer_port"`
	LocalAddress  string `expr:"local_address"`
	LocalPort     int    `expr:"local_port"`
	Host          string `expr:"host"`
	HostSource    string `expr:"host_source"` // dns; tls_sni, http_host: the process's own word
	HostAlso      string `expr:"host_also"`   // another name of the same connection, where they differ
	ECH           bool   `expr:"ech"`         // tls.name: a second name may be there, encrypted
	Method        string `expr:"http_method"` // http.exchange
	URLPath       string `expr:"url_path"`    // http.exchange; without the query
	StatusCode    int    `expr:"status_code"` // http.exchange
	Passed        bool   `expr:"passed"`      // the process did not make the socket
	Family        string `expr:"family"`      // network.socket: packet, inet, vsock, …
	SocketType    string `expr:"socket_type"` // network.socket: raw, dgram, …
	Protocol      int    `expr:"protocol"`    // network.socket
	BytesSent     int    `expr:"bytes_sent"`
	BytesReceived int    `expr:"bytes_received"`
	Errno         int    `expr:"errno"`
	Loopback      bool   `expr:"loopback"`
	Service       string `expr:"service"`  // unix, of those that start things for others: bus (D-Bus), manager (systemd), server (tmux, screen and their like)
	Approved      bool   `expr:"approved"` // by the policy, for this skill; a name that only the process itself said does not make it so
}

// DNS is what a name server said.
type DNS struct {
	Name      string   `expr:"name"`
	Addresses []string `expr:"addresses"`
}

// EnvRead is an access to environment variables.
type EnvRead struct {
	Method     string   `expr:"method"` // exec, getenv, shell, proc_environ, dump, dotenv
	Names      []string `expr:"names"`
	Referenced []string `expr:"referenced"` // of names: those the skill's own files mention
	Unapproved []string `expr:"unapproved"` // of names (method exec: of referenced): secrets that the policy does not approve
	Approved   bool     `expr:"approved"`   // the names are known, and none is an unapproved secret
}

// Skill is the skill that the fact was done for.
type Skill struct {
	Known      bool     `expr:"known"`
	Name       string   `expr:"name"`
	Version    string   `expr:"version"`
	Confidence string   `expr:"confidence"` // certain, strong, weak, ambiguous, none
	Candidates []string `expr:"candidates"` // names, when ambiguous
	Approved   bool     `expr:"approved"`   // vetted, says the policy
}

// Change is a skill that came, changed or went.
type Change struct {
	Name      string `expr:"name"`
	Version   string `expr:"version"`
	SHA256    string `expr:"sha256"`
	Previous  string `expr:"previous_sha256"`
	Root      string `expr:"root"`
	Installer string `expr:"installer"`
	Approved  bool   `expr:"approved"`
}

// Session is who talks to the agent, from where.
type Session struct {
	ID      string `expr:"id"`
	Key     string `expr:"key"`
	Channel string `expr:"channel"`
}

// Tool is the tool call that the fact belongs to.
type Tool struct {
	ID      string `expr:"id"`
	Name    string `expr:"name"`
	Command string `expr:"command"`
	// Why the tag of clawwatch's plugin that the process was handed is not its own.
	ForgedTag string `expr:"forged_tag"` // empty: it is, or there is none, or nothing can be said
}

// Effects is what a tool call was seen to do, against what it says; see Effects
// of the record for what is explained.
type Effects struct {
	Processes         int      `expr:"processes"` // programs that were run
	FilesRead         int      `expr:"files_read"`
	FilesChanged      int      `expr:"files_changed"`
	Hosts             int      `expr:"hosts"`
	Unexplained       int      `expr:"unexplained"` // the following three together
	UnexplainedReads  int      `expr:"unexplained_reads"`
	UnexplainedWrites int      `expr:"unexplained_writes"`
	UnexplainedHosts  int      `expr:"unexplained_hosts"`
	Examples          []string `expr:"examples"` // the first that are unexplained: read PATH, write PATH, connect HOST
	Silent            bool     `expr:"silent"`   // what the call says that it did was not seen, where it would have been
	Missing           string   `expr:"missing"`  // silent: what was not seen
}

// LLM is one call of a model.
type LLM struct {
	Provider  string `expr:"provider"`
	Model     string `expr:"model"`
	Status    int    `expr:"status"`
	ErrorType string `expr:"error_type"`
}

// Sensitive is data that was found in a command line, in the arguments of a tool
// call, in a prompt or in an answer.
type Sensitive struct {
	Types  []string `expr:"types"`  // payment-card, iban, us-ssn, private-key, github-token, …, and names of the policy's patterns
	Places []string `expr:"places"` // prompt, response, tool_argument, command_line
	Count  int      `expr:"count"`  // how often such data is there
}

// Sensor is what the agent says of its own sight.
type Sensor struct {
	Probe    string `expr:"probe"`
	Fidelity string `expr:"fidelity"` // complete, sampled, none
	Reason   string `expr:"reason"`
	Lost     int    `expr:"lost"` // sensor.lost: number of events
}

// RunEnv is the skill execution so far, this event included. The previous
// totals leave it out, so that a threshold is crossed at one event only.
type RunEnv struct {
	BytesSent             int `expr:"bytes_sent"`
	BytesReceived         int `expr:"bytes_received"`
	PreviousBytesSent     int `expr:"previous_bytes_sent"`
	PreviousBytesReceived int `expr:"previous_bytes_received"`
}

// Limits are the policy's. A limit of 0 in the policy is the largest number
// here: none is crossed.
type Limits struct {
	BytesPerRun int `expr:"bytes_per_run"`
}

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
	e.Run = RunEnv{clamp(in.Run.BytesSent), clamp(in.Run.BytesReceived), clamp(in.Run.PreviousBytesSent), clamp(in.Run.PreviousBytesReceived)}
	if e.Limits.BytesPerRun = int(in.View.Limits().BytesPerRun); e.Limits.BytesPerRun == 0 {
		e.Limits.BytesPerRun = math.MaxInt
	}
	if r.File != nil {
		e.file(r, in.View)
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
		e.Change = Change{c.ID.Name, c.ID.Version, c.ID.SHA256, c.Previous, c.ID.Root, c.Installer, in.View.SkillApproved(c.ID)}
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
		e.Skill.Known, e.Skill.Name, e.Skill.Version, e.Skill.Approved = true, s.Name, s.Version, in.View.SkillApproved(*s)
		return
	}
	for _, c := range a.Candidates {
		e.Skill.Candidates = append(e.Skill.Candidates, c.Name)
	}
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

func (e *Env) file(r *event.Record, v *policy.View) {
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
	e.File.Tier = fileTier(r, v)
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
		ECH: n.ECH, Method: n.Method, URLPath: n.URLPath, StatusCode: n.StatusCode, Passed: n.Passed,
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
	e.Env.Approved = len(names) > 0 && len(e.Env.Unapproved) == 0
}

func base(p string) string {
	if p == "" {
		return ""
	}
	return path.Base(p)
}

func clamp(n uint64) int { return int(min(n, math.MaxInt)) }
