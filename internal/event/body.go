package event

import (
	"net/netip"
	"time"
)

// Fork says that Event.Proc is the child. It has the parent's image until it execs.
type Fork struct {
	Parent ProcID
	UID    uint32
	Comm   string // at most 15 bytes
}

// Exec says that Event.Proc now runs another image.
type Exec struct {
	Path          string   // of the executable, absolute, resolved by the kernel
	Args          []string // as the kernel copied them at exec
	ArgsTruncated bool
	Cwd           string   // absolute
	EnvNames      []string // names of the variables handed over; never values
	EnvTruncated  bool
	Parent        ProcID
	UID           uint32
	Comm          string
	Name          string      // the file that exec was asked for, as it was asked: a script, where the kernel took its interpreter
	Script        bool        // Name is a script, or another file that the kernel has an interpreter for
	File          FileID      // of Path; zero: not known
	Deleted       bool        // no name leads to the executable any more
	Memory        bool        // the executable is a memfd
	Bits32        bool        // it is a 32-bit program
	Terminal      bool        // the process has a controlling terminal
	Session       int32       // PID of the session's leader; 0: not known
	Creds         *Creds      // nil: not known but for UID
	Namespaces    *Namespaces // those that differ from the agent's; nil: none, or not known
	ContainerID   string
	Tag           string       // what the process was handed in the variable of clawwatch's plugin; empty: nothing, or not known
	Snapshot      bool         // not an exec that was seen: the process ran before the sensor did
	Began         time.Time    // Snapshot: when the process began; zero: not known
	Known         *Attribution // Snapshot: what the agent itself recorded of the process before it was started anew
	Claim         string       // Snapshot of a process outside of every tree: the gateway whose exec calls carry the variables it has
}

// A FileID says which file it is, and as of when: the content of a file with the
// same FileID is the same, unless somebody wrote to it within the same tick of
// the file system's clock.
type FileID struct {
	Dev, Inode, Size  uint64
	Modified, Changed int64  // ns since 1970
	Magic             uint32 // of the file system, as statfs(2) gives it
}

// A FileKey is a file on this host, by the numbers that stat(2) gives. Both are given
// to another file once it is gone.
type FileKey struct{ Dev, Inode uint64 } // Dev as in FileID

// Creds are the credentials of a process, in the terms of the host.
type Creds struct {
	UID, EUID, SUID uint32
	GID, EGID, SGID uint32
	Permitted       uint64 // capabilities
	Effective       uint64
}

// Namespaces are inode numbers; 0: the agent's own.
type Namespaces struct {
	Mount uint32 `json:"mount,omitempty"`
	PID   uint32 `json:"pid,omitempty"`
	Net   uint32 `json:"net,omitempty"`
	User  uint32 `json:"user,omitempty"`
}

// Credentials says that the process changed its user, group or capabilities
// without an exec.
type Credentials struct {
	Creds
	Call string // the system call
}

// Namespace says that the process entered or made namespaces, or changed its
// root directory: what its paths, PIDs and addresses mean from now on.
type Namespace struct {
	Now  Namespaces
	Call string // unshare, setns, chroot, pivot_root
}

// Access says that the process got at another one, with success. The same again
// within a second is not said again.
type Access struct {
	Target ProcID // Start 0: it was gone before it could be asked; PID 0: it is in another PID namespace
	Method AccessMethod
	Signal int  // method signal: its number
	Write  bool // method proc_mem: opened for writing
}

// An AccessMethod says how a process got at another.
type AccessMethod string

// The methods there are.
const (
	AccessSignal      AccessMethod = "signal"            // kill, tgkill, pidfd_send_signal, rt_sigqueueinfo; not signal 0
	AccessPtrace      AccessMethod = "ptrace"            // attached to it
	AccessTraced      AccessMethod = "ptrace_traceme"    // the target asked for it
	AccessVMRead      AccessMethod = "process_vm_readv"  // read its memory
	AccessVMWrite     AccessMethod = "process_vm_writev" // wrote its memory
	AccessGetFD       AccessMethod = "pidfd_getfd"       // took a descriptor from it
	AccessProcMem     AccessMethod = "proc_mem"          // opened /proc/PID/mem
	AccessProcMaps    AccessMethod = "proc_maps"         // opened /proc/PID/maps or smaps
	AccessProcEnviron AccessMethod = "proc_environ"      // opened /proc/PID/environ
)

// Digest tells the content of an executable, or of a script, that is in use. It is no fact about
// a process, and comes out only with the records of those that run it.
type Digest struct {
	File   FileID
	SHA256 string
	Script string // of this script, and not of what runs in a process: its path, as Proc was given it
	Proc   ProcID
}

// Exit says that the last thread of Event.Proc ended.
type Exit struct {
	Code    int  // exit status, 0 to 255
	Signal  int  // the signal that killed it, or 0
	Unknown bool // neither is known
}

// Candidate says that Event.Proc took a name that OpenClaw's processes take. It is not
// yet known to be one.
type Candidate struct{ Comm string }

// Heir says that Event.Proc, which is in no watched tree, opened or ran a file that is
// watched for (collectors.FileWatcher), and is watched from now on with all that it forks:
// that open or exec comes behind it. Process 1 is only told of. It can come twice.
type Heir struct {
	File    FileKey
	Path    string // absolute, of the opened object; empty: it could not be told
	Program bool   // it is what the process runs now; else it was opened
	Write   bool   // opened for writing only: the opener changes it and does not act on it
	Comm    string
	Parent  ProcID // if it is cheap to have
	UID     uint32
	Said    string // the order in the file that it was started on, where another program read the file; else empty
	Alone   bool   // Said is all that the file orders
	Image   *Exec  // what the process ran when it opened the file, as a Snapshot; nil: not known, or an Exec follows
	Changed bool   // somebody in no watched tree has changed the file since it was left behind
	Left    *Left  // as it was kept; nil: not known
}

// Left says that a tool call, or what descends from one, left a file behind. Whoever
// runs or loads it later does so on that call's word.
type Left struct {
	Path    string
	File    FileKey // zero: not known
	Born    int64   // of the file, ns since 1970; 0: the file system does not say
	How     LeftHow
	At      time.Time
	By      Attribution // zero: not known yet
	Asker   string      // LeftAsked, LeftPerhaps: the process that asked, for people
	Hops    int         // files that led from the tool call to this one: 0 where it wrote this one itself
	Changed bool        // as in Heir
	SHA256  string      // of its content, when it was last looked at; empty: not known
	Size    uint64      // as of SHA256
	Story   string      // LeftCopied: by whom, and from where
	Of      FileKey     // LeftCopied: the file that By is to be taken from, while it is not known
}

// A LeftHow says how a file came to be left behind.
type LeftHow string

// The ways there are.
const (
	LeftMade    LeftHow = "made"
	LeftWritten LeftHow = "changed" // it was there before
	LeftRenamed LeftHow = "put in place by a rename"
	LeftLinked  LeftHow = "given a name"
	LeftCopied  LeftHow = "copied"  // by somebody in no watched tree
	LeftNoMore  LeftHow = "removed" // only Path and At count

	// A unit that systemd wrote itself; Event.Proc asked for it. Nobody else is told of.
	LeftAsked   LeftHow = "asked of systemd"
	LeftPerhaps LeftHow = "perhaps asked of systemd" // others can have done so
)

// Asked reports whether systemd wrote the file, for whoever asked it to run something.
func (h LeftHow) Asked() bool { return h == LeftAsked || h == LeftPerhaps }

// FileOpen says that a file was opened with success.
type FileOpen struct {
	Path      string  // absolute, from the opened object itself
	File      FileKey // the opened object; zero: not known
	Requested string  // the program's own string, where it says anything else than Path
	Read      bool
	Write     bool
	Execute   bool
	PathOnly  bool // O_PATH: nothing can be read or written through it
	Create    bool // the open made the file
	Emptied   bool // O_TRUNC
	Directory bool
	TID       int32 // thread that opened
	Truncated bool  // Path lost leading components
	Passed    bool  // the process did not open it: another one handed it over
	FileDoubt
}

// FileDoubt is how a file event came to be known, where that is not from the
// file itself after the fact.
type FileDoubt struct {
	Unresolved bool // links in a path could not be followed: it stands as the program wrote it
	IOUring    bool // asked of io_uring
	Attempted  bool // whether it succeeded is not known
}

// FileRename says that Old became New. Both absolute; the last component is not
// resolved, a symbolic link is named and not followed.
type FileRename struct {
	Old, New  string
	Exchange  bool // and New became Old
	Truncated bool
	FileDoubt
}

// FileDelete says that a name was removed.
type FileDelete struct {
	Path      string
	Directory bool
	Truncated bool
	FileDoubt
}

// FileLink says that a file got a further name, or a symbolic link was made.
type FileLink struct {
	Path      string // the new name
	Old       string // of a hard link: the name that the file had
	Target    string // of a symbolic link: its text
	Symbolic  bool
	Truncated bool
	FileDoubt
}

// FileAttr says that an attribute of a file was changed.
type FileAttr struct {
	Path      string
	Attribute Attribute
	Value     string // mode in octal; user:group, -1 for as it was; name of the extended attribute
	Truncated bool
	FileDoubt
}

// An Attribute is what of a file was changed.
type Attribute string

// The attributes there are.
const (
	AttrMode         Attribute = "mode"
	AttrOwner        Attribute = "owner"
	AttrTimes        Attribute = "times"
	AttrXattr        Attribute = "xattr"
	AttrXattrRemoved Attribute = "xattr_removed"
	AttrFlags        Attribute = "flags"
)

// FileTruncate says that a file was cut, made longer, or had holes put in, without
// being written to.
type FileTruncate struct {
	Path      string
	Truncated bool
	FileDoubt
}

// FileUse says what a process did to a file in the last seconds: Event.Time is that of
// the first of it.
type FileUse struct {
	Path         string
	File         FileKey // as in FileOpen
	BytesRead    uint64
	BytesWritten uint64
	Opens        int  // further opens, like those that were reported
	MappedRead   bool // into memory; no one can tell how much is read or written there
	MappedWrite  bool
	MappedExec   bool
	Opened       bool // that this process opened it was reported; else it was given the descriptor
	Truncated    bool
	FileDoubt
}

// A Transport is a transport protocol by its OpenTelemetry name.
type Transport string

// The transports there are.
const (
	TCP   Transport = "tcp"
	UDP   Transport = "udp"
	Unix  Transport = "unix"  // a service of this host, by a path or an abstract name
	VSock Transport = "vsock" // the machine that this one runs in, or one that runs in this
)

// Connect says that a connection to Peer was asked for, or that the first datagram was
// sent to it. Errno is 0 for success or one still under way, else the positive error number.
type Connect struct {
	Transport   Transport
	Local, Peer netip.AddrPort
	Name        string // unix: the path, or @ and the abstract name; vsock: number and port
	Socket      uint64 // the kernel's socket cookie: same number, same socket; 0 unknown
	Errno       int
	Passed      bool // the process did not make the socket: inherited, handed over, or older than the watch
}

// Accept says that a connection from Peer was accepted, or that the first datagram came
// to a socket that has sent none.
type Accept struct {
	Transport   Transport
	Local, Peer netip.AddrPort
	Socket      uint64
	Passed      bool // as in Connect
}

// Listen says that connections can be made to the process, or datagrams sent.
type Listen struct {
	Transport Transport
	Local     netip.AddrPort
	Name      string // as in Connect
	Socket    uint64
}

// Send says what a connection has moved so far. The totals are those since its beginning,
// as in Close, and not since the last Send.
type Send struct {
	Transport      Transport
	Local, Peer    netip.AddrPort
	Socket         uint64
	Inbound        bool
	Sent, Received uint64
}

// Socket says that a socket was made, or refused, with which data can leave or be listened
// in to, and of which no other event would tell: raw, packet, ping, vsock and the like.
type Socket struct {
	Family   string // inet, packet, vsock, … or a number
	Type     string // stream, dgram, raw, seqpacket, … or a number
	Protocol int    // of the family
	Errno    int    // 0: it was made
}

// TLSName says which name a process gave its peer at the beginning of TLS or QUIC. It is
// the process's own word.
type TLSName struct {
	Transport   Transport
	Local, Peer netip.AddrPort
	Socket      uint64
	Name        string // lower case; empty: none was given, or none that could be a name
	ECH         bool   // a second name was sent encrypted, or something that looks like one
	Truncated   bool   // the name can be beyond what was looked at
}

// HTTPExchange says what a process asked for over HTTP without TLS, and how it was
// answered. The host is the process's own word.
type HTTPExchange struct {
	Local, Peer netip.AddrPort
	Socket      uint64
	Method      string
	Host        string // as in TLSName, without the port
	Path        string // up to the question mark
	Status      int    // 0: no answer was seen
}

// Close says that the socket is gone; the totals are those of its whole life, in bytes
// of payload.
type Close struct {
	Transport      Transport
	Local, Peer    netip.AddrPort
	Socket         uint64
	Inbound        bool // it had been accepted
	Sent, Received uint64
}

// DNSAnswer says that a name server told Event.Proc the addresses of a name.
type DNSAnswer struct {
	Server    netip.Addr // port 53, by UDP or TCP
	Name      string     // that was asked for, lower case, without the last dot
	Addresses []netip.Addr
	Socket    uint64
}

// A SkillID names one skill as it was at one moment.
type SkillID struct {
	Name    string `json:"name"`              // from the frontmatter of SKILL.md, else the directory's name
	Version string `json:"version,omitempty"` // from install metadata, where there is any
	SHA256  string `json:"sha256,omitempty"`  // of the tree, as collectors/skills defines it
	Root    string `json:"root,omitempty"`    // the skill root it was loaded from
	Dir     string `json:"dir,omitempty"`     // the skill's own directory, absolute and resolved
	Source  string `json:"source,omitempty"`  // where the metadata of its install says it is from, as clawhub or git; or bundled, with OpenClaw
}

// GatewayFound says that Event.Proc is an OpenClaw gateway, or another OpenClaw process
// that acts for a person (Role tells).
type GatewayFound struct {
	ID         string   `json:"id"` // its state directory: one gateway at a time can hold it; in a container, CONTAINER:DIRECTORY
	Role       Role     `json:"role"`
	StateDir   string   `json:"state_dir"`
	ConfigPath string   `json:"config_path,omitempty"`
	Workspaces []string `json:"workspaces,omitempty"`
	SkillRoots []string `json:"skill_roots,omitempty"` // highest precedence first, absolute and resolved
	Port       int      `json:"port,omitempty"`
	UID        uint32   `json:"uid"`
	Groups     []uint32 `json:"groups,omitempty"`    // that its process is in, the first one its own
	Home       string   `json:"home,omitempty"`      // of the gateway's user, as its environment says
	Providers  []string `json:"providers,omitempty"` // host:port of every configured model provider
	Version    string   `json:"version,omitempty"`
	// Resolvers are the name servers that its processes are configured with.
	Resolvers []netip.Addr `json:"resolvers,omitempty"`
	// Paths are as the gateway sees them. Where its mounts are not the host's,
	// Root is its root directory as this host reaches it, while the process that
	// it is named after lives, and Mount the namespace of its mounts.
	Root        string `json:"root,omitempty"`
	Mount       uint32 `json:"mount_namespace,omitempty"`
	Network     uint32 `json:"network_namespace,omitempty"` // 0: the host's; else Port is not one of the host's
	ContainerID string `json:"container_id,omitempty"`
}

// A Role says what an OpenClaw process is to its host.
type Role string

// The roles there are.
const (
	RoleGateway Role = "gateway" // the long-lived server
	RoleHelper  Role = "helper"  // a process that the gateway runs for itself
	RoleTool    Role = "tool"    // started by an exec tool call, or descended from one
	RoleHeir    Role = "heir"    // runs or loads what a tool call left behind, or descended from one that does
	RoleCLI     Role = "cli"     // an openclaw command that a person or program ran, or descended from one
	RoleAgent   Role = "agent"   // this agent; only ever a target
)

// ByTool reports whether a process does what a tool call asked for, then or later.
func (r Role) ByTool() bool { return r == RoleTool || r == RoleHeir }

// ToolCall says that a model asked for a tool and OpenClaw recorded it.
type ToolCall struct {
	Gateway, Agent, Session, SessionKey, Run string
	ID                                       string    // unique with Session
	Name                                     string    // exec, read, write, edit, …
	Command                                  string    // exec: the model's command text, raw; never leaves the process unredacted
	Paths                                    []string  // read, write, edit, apply_patch: files named, as the model wrote them
	URL                                      string    // web_fetch
	Cwd                                      string    // exec: workdir argument; empty: the workspace
	Backfill                                 bool      // recorded before the collector's time: learned from, not reported
	Database                                 bool      // the row is of the database, and not of a file of JSON lines
	Unread, Read                             time.Time // between these moments the row came into the records; zero: not known
}

// ToolResult says that a tool call ended, or went to the background.
type ToolResult struct {
	Gateway, Agent, Session, Run string
	ID                           string
	PID                          int32 // background exec: the root process; else 0
	Running                      bool
	IsError                      bool
	ExitCode                     *int
	Duration                     time.Duration
	Backfill                     bool // as in ToolCall
}

// Prompt says that a user's message is in a session: a model will be asked.
type Prompt struct {
	Gateway, Agent, Session, SessionKey string
}

// ToolPhase is what clawwatch's plugin in the gateway Event.Proc says of a tool
// call. It is the gateway's word; it is never a record of its own.
type ToolPhase struct {
	Phase               Phase
	Agent, Session, Run string
	SessionKey          string
	ID, Name            string // begin, end: of the call
	Tag                 string // tag: what the session's next command gets in its environment
	Open                bool   // end: the command runs on, or is yet to be approved
}

// A Phase is what a ToolPhase is about.
type Phase string

// The phases there are.
const (
	PhaseJoined Phase = "joined" // the plugin has joined, or has lost count: of what was before, not all is known
	PhaseTag    Phase = "tag"
	PhaseBegin  Phase = "begin"
	PhaseEnd    Phase = "end"
)

// LLMCall is one answer of a model, or its failure.
type LLMCall struct {
	Gateway, Agent, Session, SessionKey, Run string
	Provider, API, Model, ResponseID         string
	InputTokens, OutputTokens                int64
	CacheReadTokens, CacheWriteTokens        int64
	StopReason                               string
	Status                                   int    // HTTP status of a failure, as far as the record tells; 0 otherwise
	ErrorType                                string // the provider's machine-readable code
	Error                                    string // its message, raw; may quote a key
	Prompt, Response                         string // raw text, bounded by the collector
}

// SessionStart says that a session was first seen in OpenClaw's records.
type SessionStart struct {
	Gateway, Agent, Session, SessionKey string
	Channel, Account, ChatType          string // messaging platform; empty for the operator's own clients
	Actor                               string // who, as OpenClaw names them
	CreatedVia                          string // operator, spawn, channel, cron, …
	ParentKey                           string // session key of the spawning session
	StartedAt                           time.Time
	Backfill                            bool // as in ToolCall
}

// A Skill is what a skill's directory says of itself, and how it came or went.
// Every text in it was written by the skill's author.
type Skill struct {
	Change    Change
	Gateway   string // state directory of the gateway that can load it
	ID        SkillID
	Previous  string    // SHA256 before an update
	Installer string    // source of the install metadata: clawhub, path, git, …; empty: copied by hand
	Installed time.Time // from metadata, else the modification time of SKILL.md
	OwnerUID  uint32    // owner of SKILL.md
	Declares  Declared  // what its SKILL.md says that it needs
	EnvNames  []string  // variable names that look like secrets and occur in its files
	Links     []string  // symbolic links in the root that lead to Dir
	Scripts   []SkillScript
	Err       string // why hash or metadata are incomplete
}

// A SkillScript is a file of a skill that looks like code, so that a copy of it can be
// known by its content.
type SkillScript struct {
	Path    string // below the skill's directory
	SHA256  string // of the content
	Changed int64  // ns since 1970, as in FileID: it had this content then, and may not have had it before
}

// Declared is what a SKILL.md says of what its skill needs: in the requirements
// of its frontmatter, and in the commands, variables and URLs of its text. The
// author may leave out anything.
type Declared struct {
	Bins  []string `json:"bins,omitempty"`  // programs, by name
	Envs  []string `json:"envs,omitempty"`  // variables
	Hosts []string `json:"hosts,omitempty"` // names, or addresses
}

// A Change says how a skill came to be reported.
type Change int

// The changes there are.
const (
	Present   Change = iota // was there when the collector first looked
	Installed               // came while it watched
	Updated                 // its tree's hash changed
	Removed
)

// EnvRead says that Event.Proc read, or was handed, environment variables. The pipeline
// derives it from execs and opens; the kernel sensor tells of getenv and shell.
type EnvRead struct {
	Names  []string
	Method EnvMethod
	Path   string // of the file read, for proc_environ and dotenv
	Target ProcID // proc_environ: whose
}

// An EnvMethod says how an environment was read.
type EnvMethod string

// The methods there are.
const (
	EnvExec        EnvMethod = "exec"         // handed over at exec
	EnvProcEnviron EnvMethod = "proc_environ" // /proc/PID/environ
	EnvDump        EnvMethod = "dump"         // env, printenv
	EnvDotenv      EnvMethod = "dotenv"       // a .env file
	EnvGetenv      EnvMethod = "getenv"       // asked its C library for it
	EnvShell       EnvMethod = "shell"        // looked up by bash
)

// Lost says that the collector dropped Count events of kind Of since the last report.
type Lost struct {
	Of    Kind
	Count uint64
	Cause string
	From  time.Time // they happened between From and the event's own time; zero: not known
}

// Gap says that a collector saw nothing, or not all, of these kinds for a while. How
// much it missed is not known.
type Gap struct {
	Kinds []Kind
	Cause string
}

// Coverage says what one probe sees on this host, and why not more.
type Coverage struct {
	Probe    string `json:"probe"`
	Kinds    []Kind `json:"kinds,omitempty"`
	Fidelity string `json:"fidelity"`         // complete, sampled, none
	Reason   string `json:"reason,omitempty"` // why not complete; empty when it is
	Known    bool   `json:"known,omitempty"`  // a limit of the mechanism, which every such host has: nothing is wrong
}

// Kind is file.create for an open that made the file.
func (b FileOpen) Kind() Kind {
	if b.Create {
		return KindFileCreate
	}
	return KindFileOpen
}

// Kind is that of the worst: file.write, file.read, or file.open where it was no more.
func (b FileUse) Kind() Kind {
	switch {
	case b.BytesWritten > 0 || b.MappedWrite:
		return KindFileWrite
	case b.BytesRead > 0 || b.MappedRead || b.IOUring:
		return KindFileRead
	}
	return KindFileOpen
}

// Kind follows the change.
func (b Skill) Kind() Kind {
	return [...]Kind{KindSkillPresent, KindSkillInstalled, KindSkillUpdated, KindSkillRemoved}[b.Change]
}

// Kind methods: one kind a type.
func (Fork) Kind() Kind         { return KindFork }
func (Exec) Kind() Kind         { return KindExec }
func (Exit) Kind() Kind         { return KindExit }
func (Candidate) Kind() Kind    { return KindCandidate }
func (Heir) Kind() Kind         { return KindHeir }
func (Left) Kind() Kind         { return KindLeft }
func (FileRename) Kind() Kind   { return KindFileRename }
func (FileDelete) Kind() Kind   { return KindFileDelete }
func (FileLink) Kind() Kind     { return KindFileLink }
func (FileAttr) Kind() Kind     { return KindFileAttr }
func (FileTruncate) Kind() Kind { return KindFileWrite }
func (Connect) Kind() Kind      { return KindConnect }
func (Accept) Kind() Kind       { return KindAccept }
func (Close) Kind() Kind        { return KindClose }
func (Listen) Kind() Kind       { return KindListen }
func (Send) Kind() Kind         { return KindSend }
func (Socket) Kind() Kind       { return KindSocket }
func (TLSName) Kind() Kind      { return KindTLSName }
func (HTTPExchange) Kind() Kind { return KindHTTP }
func (GatewayFound) Kind() Kind { return KindGateway }
func (ToolCall) Kind() Kind     { return KindToolCall }
func (ToolResult) Kind() Kind   { return KindToolResult }
func (Prompt) Kind() Kind       { return KindPrompt }
func (ToolPhase) Kind() Kind    { return KindToolPhase }
func (LLMCall) Kind() Kind      { return KindLLMCall }
func (SessionStart) Kind() Kind { return KindSessionStart }
func (DNSAnswer) Kind() Kind    { return KindDNS }
func (EnvRead) Kind() Kind      { return KindEnvRead }
func (Access) Kind() Kind       { return KindAccess }
func (Credentials) Kind() Kind  { return KindCredentials }
func (Namespace) Kind() Kind    { return KindNamespace }
func (Digest) Kind() Kind       { return KindDigest }
func (Lost) Kind() Kind         { return KindLost }
func (Gap) Kind() Kind          { return KindLost }
func (Coverage) Kind() Kind     { return KindCoverage }

func (Fork) body()         {}
func (Exec) body()         {}
func (Exit) body()         {}
func (Candidate) body()    {}
func (Heir) body()         {}
func (Left) body()         {}
func (FileOpen) body()     {}
func (FileRename) body()   {}
func (FileDelete) body()   {}
func (FileLink) body()     {}
func (FileAttr) body()     {}
func (FileTruncate) body() {}
func (FileUse) body()      {}
func (Connect) body()      {}
func (Accept) body()       {}
func (Close) body()        {}
func (Listen) body()       {}
func (Send) body()         {}
func (Socket) body()       {}
func (TLSName) body()      {}
func (HTTPExchange) body() {}
func (GatewayFound) body() {}
func (ToolCall) body()     {}
func (ToolResult) body()   {}
func (Prompt) body()       {}
func (ToolPhase) body()    {}
func (LLMCall) body()      {}
func (SessionStart) body() {}
func (Skill) body()        {}
func (DNSAnswer) body()    {}
func (EnvRead) body()      {}
func (Access) body()       {}
func (Credentials) body()  {}
func (Namespace) body()    {}
func (Digest) body()       {}
func (Lost) body()         {}
func (Gap) body()          {}
func (Coverage) body()     {}
