package event

import (
	"strconv"
	"time"
)

// A Record is a fact joined with its process and its attribution, in the shape
// in which it is stored, served and shipped (JSON: one object). What is not
// known is absent. Every text in it has passed redaction.
type Record struct {
	ID          string       `json:"id"` // ULID
	Time        time.Time    `json:"time"`
	Kind        Kind         `json:"kind"`
	Source      Source       `json:"source"`
	Stranger    bool         `json:"stranger,omitempty"` // the process is in no watched tree
	Process     *Process     `json:"process,omitempty"`
	File        *File        `json:"file,omitempty"`
	Network     *Network     `json:"network,omitempty"`
	DNS         *DNS         `json:"dns,omitempty"`
	Env         *Env         `json:"env,omitempty"`
	Access      *Accessed    `json:"access,omitempty"`
	Call        string       `json:"call,omitempty"` // process.credentials, process.namespace: the system call; the process is shown as it was after it
	Tool        *Tool        `json:"tool,omitempty"`
	Effects     *Effects     `json:"effects,omitempty"`
	LLM         *LLM         `json:"llm,omitempty"`
	Sensitive   []Sensitive  `json:"sensitive,omitempty"` // process.exec, tool.call, llm.call: what was found in its texts
	Session     *Session     `json:"session,omitempty"`
	Skill       *SkillChange `json:"skill,omitempty"`
	Sensor      *Sensor      `json:"sensor,omitempty"`
	Gateway     *Gateway     `json:"gateway,omitempty"`
	Attribution *Attribution `json:"attribution,omitempty"`
	Amended     bool         `json:"amended,omitempty"` // given out before with less known, under the same ID
}

// Process is the process that acted.
type Process struct {
	PID           int32       `json:"pid"`
	StartTime     uint64      `json:"start_time"` // clock ticks since boot
	ParentPID     int32       `json:"parent_pid,omitempty"`
	ParentStart   uint64      `json:"parent_start_time,omitempty"`
	Role          Role        `json:"role,omitempty"`
	Executable    *Executable `json:"executable,omitempty"`
	CommandArgs   []string    `json:"command_args,omitempty"`
	ArgsTruncated bool        `json:"args_truncated,omitempty"`
	Cwd           string      `json:"working_directory,omitempty"`
	EnvNames      []string    `json:"environment_variable_names,omitempty"` // exec only
	Script        *Script     `json:"script,omitempty"`
	User          *User       `json:"user,omitempty"`           // the real one
	EffectiveUser *User       `json:"effective_user,omitempty"` // where it is another
	Capabilities  []string    `json:"capabilities,omitempty"`   // effective ones, where the effective user is not root
	ContainerID   string      `json:"container_id,omitempty"`
	Namespaces    *Namespaces `json:"namespaces,omitempty"` // those that are not the agent's
	SessionLeader int32       `json:"session_leader_pid,omitempty"`
	Terminal      bool        `json:"terminal,omitempty"` // it has a controlling terminal
	Bits32        bool        `json:"bits_32,omitempty"`  // a 32-bit program, whose system calls are not seen
	ExitCode      *int        `json:"exit_code,omitempty"`
	ExitSignal    int         `json:"exit_signal,omitempty"`
	Ancestors     []Ancestor  `json:"ancestors,omitempty"` // parent first
}

// Executable is a program file.
type Executable struct {
	Path    string `json:"path"`
	SHA256  string `json:"sha256,omitempty"`  // of what ran; absent where it could not be known in time
	Memory  bool   `json:"memory,omitempty"`  // a memfd: it was never on a disk
	Deleted bool   `json:"deleted,omitempty"` // at exec no name led to it any more
	Tmpfs   bool   `json:"tmpfs,omitempty"`   // it is in memory, as /dev/shm is
}

// Script is what an interpreter runs, or a dynamic loader, as its arguments say.
type Script struct {
	Path   string       `json:"path,omitempty"`
	Source ScriptSource `json:"source"`
	SHA256 string       `json:"sha256,omitempty"` // source file; absent where it could not be known for sure and in time
}

// A ScriptSource says where an interpreter has its program from.
type ScriptSource string

// The sources there are.
const (
	ScriptFile     ScriptSource = "file"     // Path
	ScriptStdin    ScriptSource = "stdin"    // standard input, or a person at a terminal
	ScriptArgument ScriptSource = "argument" // -c, -e and the like
	ScriptModule   ScriptSource = "module"   // python -m: Path is the module's name
	ScriptLoader   ScriptSource = "loader"   // ld.so PROGRAM: Path is the program
)

// User is a user of the host.
type User struct {
	ID   uint32 `json:"id"`
	Name string `json:"name,omitempty"`
}

// Ancestor is one step up the process tree.
type Ancestor struct {
	PID        int32    `json:"pid"`
	Executable string   `json:"executable,omitempty"`
	Args       []string `json:"-"` // of the parent alone, redacted: rules ask for them, and records would double in size
}

// File is what was done to a file.
type File struct {
	Path         string   `json:"path"`
	OldPath      string   `json:"old_path,omitempty"`
	Requested    string   `json:"requested_path,omitempty"` // open: what the program asked for, where path is not that
	Target       string   `json:"target,omitempty"`         // symlink: its text
	Operation    string   `json:"operation"`                // read, write, create, path (O_PATH), execute, rename, exchange, delete, link, symlink, truncate, attribute
	Directory    bool     `json:"directory,omitempty"`
	Truncated    bool     `json:"path_truncated,omitempty"`
	Unresolved   bool     `json:"path_unresolved,omitempty"` // as the program wrote it, with links in it not followed
	Attribute    string   `json:"attribute,omitempty"`       // mode, owner, times, xattr, xattr_removed, flags
	Value        string   `json:"value,omitempty"`           // of the attribute, or its name
	BytesRead    *uint64  `json:"bytes_read,omitempty"`      // since the last such record of this process and file
	BytesWritten *uint64  `json:"bytes_written,omitempty"`   // as above
	Opens        int      `json:"opens,omitempty"`           // further opens that are no records of their own
	Mapped       []string `json:"mapped,omitempty"`          // into memory: read, write, execute
	Opened       bool     `json:"opened_before,omitempty"`   // read and write: the open is another record
	IOUring      bool     `json:"io_uring,omitempty"`        // asked of io_uring
	Attempted    bool     `json:"attempted,omitempty"`       // whether it succeeded is not known
	Passed       bool     `json:"passed,omitempty"`          // another process handed it over
	Owner        *User    `json:"owner,omitempty"`           // a stranger's: whose OpenClaw the file belongs to
}

// Changes reports whether an operation on a file changes it, or what has its
// name.
func Changes(operation string) bool {
	switch operation {
	case "read", "path", "execute":
		return false
	}
	return true
}

// Network is one connection, or a socket.
type Network struct {
	Transport     Transport `json:"transport,omitempty"` // tcp, udp, unix, vsock
	Direction     string    `json:"direction,omitempty"` // outbound, inbound
	LocalAddress  string    `json:"local_address,omitempty"`
	LocalPort     uint16    `json:"local_port,omitempty"`
	PeerAddress   string    `json:"peer_address,omitempty"` // unix: the path, or @ and an abstract name; vsock: number and port
	PeerPort      uint16    `json:"peer_port,omitempty"`
	Host          string    `json:"host,omitempty"`
	HostSource    string    `json:"host_source,omitempty"`    // dns: a name server of the host gave the address; tls_sni, http_host: the process's own word
	HostAlso      string    `json:"host_also,omitempty"`      // another name of the same connection, where they differ
	ECH           bool      `json:"ech,omitempty"`            // tls.name: a second name may be there, encrypted
	HostTruncated bool      `json:"host_truncated,omitempty"` // tls.name: the name can be beyond what was looked at
	Method        string    `json:"http_method,omitempty"`
	URLPath       string    `json:"url_path,omitempty"` // without the query; redacted
	StatusCode    int       `json:"status_code,omitempty"`
	BytesSent     *uint64   `json:"bytes_sent,omitempty"`
	BytesReceived *uint64   `json:"bytes_received,omitempty"`
	Passed        bool      `json:"passed,omitempty"`      // the process did not make the socket
	Own           bool      `json:"own,omitempty"`         // unix: a process of the same tool call, or for the same skill in the same session, serves the socket
	Family        string    `json:"family,omitempty"`      // network.socket: inet, packet, …
	SocketType    string    `json:"socket_type,omitempty"` // network.socket: raw, dgram, …
	Protocol      int       `json:"protocol,omitempty"`    // network.socket: of the family
	Errno         int       `json:"errno,omitempty"`
}

// Vouched gives the host where more than the process's own word says so: anyone
// can say any name to anyone.
func (n *Network) Vouched() string {
	if n.HostSource == "tls_sni" || n.HostSource == "http_host" {
		return ""
	}
	return n.Host
}

// DNS is the answer of a name server.
type DNS struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	Server    string   `json:"server"`
	Trusted   bool     `json:"trusted"` // one of the host's own name servers: only these give connections their host
}

// Env is an access to environment variables, by name.
type Env struct {
	Names      []string  `json:"names,omitempty"`
	Referenced []string  `json:"referenced,omitempty"` // of Names: those the skill's own files mention
	Method     EnvMethod `json:"method"`
	TargetPID  int32     `json:"target_pid,omitempty"`
}

// Accessed is what one process did to another.
type Accessed struct {
	Method AccessMethod `json:"method"`
	Signal int          `json:"signal,omitempty"`
	Write  bool         `json:"write,omitempty"` // proc_mem: opened for writing
	Target *Target      `json:"target,omitempty"`
}

// Target is the process that something was done to.
type Target struct {
	PID        int32  `json:"pid"`
	StartTime  uint64 `json:"start_time,omitempty"`
	Role       Role   `json:"role,omitempty"`
	Executable string `json:"executable,omitempty"`
	Own        bool   `json:"own,omitempty"` // of the same tool call, or a descendant of the one that acts
}

// Gateway is an OpenClaw process that was found.
type Gateway struct {
	Role       Role     `json:"role"`
	StateDir   string   `json:"state_dir"`
	Workspaces []string `json:"workspaces,omitempty"`
	SkillRoots []string `json:"skill_roots,omitempty"`
	Port       int      `json:"port,omitempty"`
	User       *User    `json:"user,omitempty"`
	Version    string   `json:"version,omitempty"`

	ContainerID string `json:"container_id,omitempty"` // whose paths these are
}

// Tool is one tool call.
type Tool struct {
	Name     string   `json:"name"`
	CallID   string   `json:"call_id"`
	Command  string   `json:"command,omitempty"` // redacted
	Paths    []string `json:"paths,omitempty"`
	URL      string   `json:"url,omitempty"`
	PID      int32    `json:"pid,omitempty"`
	IsError  bool     `json:"is_error,omitempty"`
	ExitCode *int     `json:"exit_code,omitempty"`
}

// LLM is one call of a model.
type LLM struct {
	Provider         string `json:"provider"`
	API              string `json:"api,omitempty"`
	Model            string `json:"model"`
	ResponseID       string `json:"response_id,omitempty"`
	InputTokens      int64  `json:"input_tokens"`
	OutputTokens     int64  `json:"output_tokens"`
	CacheReadTokens  int64  `json:"cache_read_tokens,omitempty"`
	CacheWriteTokens int64  `json:"cache_write_tokens,omitempty"`
	StopReason       string `json:"stop_reason,omitempty"`
	StatusCode       int    `json:"status_code,omitempty"`
	ErrorType        string `json:"error_type,omitempty"`
	Error            string `json:"error,omitempty"`    // redacted
	Prompt           string `json:"prompt,omitempty"`   // redacted
	Response         string `json:"response,omitempty"` // redacted
}

// Sensitive is data of a sensitive type that was found in a text, before that was
// redacted. Where a record has more than some tens, the others are counted
// together by type, without place and digest.
type Sensitive struct {
	Type     string `json:"type"`               // payment-card, us-ssn, iban, private-key, github-token, …, or a name from the policy
	Place    Place  `json:"place,omitempty"`    // prompt, response, tool_argument, command_line
	Argument int    `json:"argument,omitempty"` // command_line: its number in command_args
	Digest   string `json:"digest,omitempty"`   // salted; the same data has the same one on this host, and in the marks of redaction
	Count    int    `json:"count"`              // how often it is there
}

// String says it in a line.
func (s Sensitive) String() string {
	out := s.Type
	if s.Place != "" {
		out += " in " + string(s.Place)
	}
	if s.Argument != 0 {
		out += " " + strconv.Itoa(s.Argument)
	}
	if s.Digest != "" {
		out += ", digest " + s.Digest
	}
	if s.Count != 1 {
		out += ", " + strconv.Itoa(s.Count) + " times"
	}
	return out
}

// A Place is a text of a record.
type Place string

// The places there are.
const (
	InPrompt       Place = "prompt"
	InResponse     Place = "response"
	InToolArgument Place = "tool_argument" // command and URL
	InCommandLine  Place = "command_line"
)

// Session is who talks to an agent, from where.
type Session struct {
	Key        string `json:"key"`
	Channel    string `json:"channel,omitempty"`
	Account    string `json:"account,omitempty"`
	ChatType   string `json:"chat_type,omitempty"`
	Actor      string `json:"actor,omitempty"`
	CreatedVia string `json:"created_via,omitempty"`
	ParentKey  string `json:"parent_key,omitempty"`
}

// SkillChange is a skill that came, changed or went.
type SkillChange struct {
	ID        SkillID    `json:"id"`
	Previous  string     `json:"previous_sha256,omitempty"`
	Installer string     `json:"installer,omitempty"`
	Installed *time.Time `json:"installed,omitempty"`
	Owner     *User      `json:"owner,omitempty"`
	Declares  *Declared  `json:"declares,omitempty"` // what its SKILL.md says that it needs
	Error     string     `json:"error,omitempty"`
}

// Sensor is what a collector says of itself.
type Sensor struct {
	Probe    string     `json:"probe,omitempty"`
	Of       Kind       `json:"of,omitempty"`
	Kinds    []Kind     `json:"kinds,omitempty"`
	Lost     uint64     `json:"lost,omitempty"`
	Fidelity string     `json:"fidelity,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	From     *time.Time `json:"from,omitempty"`    // sensor.lost: they happened between this and the record's time
	Limited  *Limited   `json:"limited,omitempty"` // sensor.coverage, probe alerts: whose alerts are held back, or no longer are
}

// Limited says what was found faster than alerts are given out one by one. The
// record's attribution says for whom.
type Limited struct {
	Rule     string   `json:"rule"`
	Alert    string   `json:"alert"`            // the alert that counts them as suppressed; earlier ones may count some, too
	HeldBack int      `json:"held_back"`        // how many, so far
	Events   []string `json:"events,omitempty"` // IDs of the first 16 of their records
}

// An Alert is a rule's finding.
type Alert struct {
	ID          string       `json:"id"` // ULID
	Time        time.Time    `json:"time"`
	Rule        RuleRef      `json:"rule"`
	Message     string       `json:"message"`
	Attribution *Attribution `json:"attribution,omitempty"`
	Process     *Process     `json:"process,omitempty"`
	Events      []string     `json:"events"` // IDs of the records, first one first
	Count       int          `json:"count"`
	Suppressed  int          `json:"suppressed"`
	Amended     bool         `json:"amended,omitempty"`
}

// RuleRef names the rule of an Alert.
type RuleRef struct {
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	Tags     []string `json:"tags,omitempty"`
	Version  int      `json:"version,omitempty"` // that the rule's author gave it, or 1
	Digest   string   `json:"digest,omitempty"`  // of the rule's text in its file: the first 16 digits of a SHA-256
	Ruleset  string   `json:"ruleset,omitempty"` // of all files of rules that were in force, likewise, whatever their names
}

// A Severity ranks an Alert.
type Severity string

// The severities there are, least first.
const (
	Info     Severity = "info"
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)
