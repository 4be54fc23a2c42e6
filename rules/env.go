package rules

// Env is what a condition sees: values only. What is not known is "", 0, false
// or an empty list.
type Env struct {
	Kind     string     `expr:"kind"`     // network.connect, file.open, …
	Acting   bool       `expr:"acting"`   // done for a tool call or a skill, not by OpenClaw for itself
	Process  Process    `expr:"process"`  // who did it
	Stranger bool       `expr:"stranger"` // done from outside of every OpenClaw tree
	Access   Access     `expr:"access"`   // process.access
	Call     string     `expr:"call"`     // process.credentials, process.namespace: the system call
	File     File       `expr:"file"`     // file.*; env.read of a file
	Network  Network    `expr:"network"`  // network.*
	DNS      DNS        `expr:"dns"`      // dns.answer
	Env      EnvRead    `expr:"env"`      // env.read
	Skill    Skill      `expr:"skill"`    // for whom it was done
	Change   Change     `expr:"change"`   // skill.*: the skill that came, changed or went
	Session  Session    `expr:"session"`
	Tool     Tool       `expr:"tool"`
	Effects  Effects    `expr:"effects"` // tool.effects: what the call did against what it says
	LLM      LLM        `expr:"llm"`     // llm.call
	Sensor   Sensor     `expr:"sensor"`  // sensor.*: what the agent says of itself
	Run      RunEnv     `expr:"run"`     // of the skill execution so far
	Profile  ProfileEnv `expr:"profile"` // process.exec, network.connect, env.read
	Day      DayEnv     `expr:"day"`     // network.send, network.close
	Limits   Limits     `expr:"limits"`

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
	Startup      bool     `expr:"startup"`      // by its path: what a shell, cron, systemd, git, Python or a desktop runs or takes in by itself
	Granted      bool     `expr:"granted"`      // the policy allows it to this skill by name
	Instructions bool     `expr:"instructions"` // it tells an agent who it is and what to do: SOUL.md and its like in a workspace
	Memory       bool     `expr:"memory"`       // it is what an agent noted down: memory/*.md in a workspace
	Canary       bool     `expr:"canary"`       // the policy says that it was planted; of a rename: one of the two names
	Owner        string   `expr:"owner"`        // of what a stranger touched: the user whose OpenClaw it is
	Tier         string   `expr:"tier"`         // public, internal, restricted, outside; of a rename: the worse of the two names
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
	Own           bool   `expr:"own"`         // unix: a process of the same tool call, or for the same skill in the same session, serves the socket
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
	Canaries   []string `expr:"canaries"`   // of names: those that the policy says were planted
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
	Vetting    bool     `expr:"vetting"`    // the policy names vetted skills at all
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
	Granted   bool   `expr:"granted"` // the policy allows the acting skill by name to write there
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

	Hosts           []string `expr:"hosts"`            // other hosts that were connected to: names, or addresses where there is none; at most 64
	HostCount       int      `expr:"host_count"`       // of hosts
	RestrictedFiles int      `expr:"restricted_files"` // how often a file of this tier was opened, also for writing, renamed or linked
	OutsideFiles    int      `expr:"outside_files"`    // likewise
	InternalFiles   int      `expr:"internal_files"`   // likewise
	Secrets         int      `expr:"secrets"`          // restricted_files, and accesses to secret variables that the policy does not approve; not those that were handed over and no more
	Programs        int      `expr:"programs"`         // that were started
	Duration        int      `expr:"duration"`         // seconds since its first event
	Fired           []string `expr:"fired"`            // rules that gave an alert before this event, by name; at most 64

	PreviousHostCount       int `expr:"previous_host_count"`
	PreviousRestrictedFiles int `expr:"previous_restricted_files"`
	PreviousOutsideFiles    int `expr:"previous_outside_files"`
	PreviousInternalFiles   int `expr:"previous_internal_files"`
	PreviousSecrets         int `expr:"previous_secrets"`
	PreviousPrograms        int `expr:"previous_programs"`
}

// ProfileEnv is what the skill had not done before, as far as the store knows, and
// whether its files have changed since it was first known. Only what is certainly or
// strongly a skill's has one.
type ProfileEnv struct {
	Changed      bool     `expr:"changed"`       // within 30 days
	Age          int      `expr:"age"`           // seconds since that change
	Calls        int      `expr:"calls"`         // tool calls that were made for it until that change
	NewHosts     []string `expr:"new_hosts"`     // by name, or by address where the name is not known; without name servers
	NewPrograms  []string `expr:"new_programs"`  // names of programs that are not the skill's own
	NewVariables []string `expr:"new_variables"` // that look like secrets and were asked for by name
}

// DayEnv is what the skill moved since midnight by UTC, in all its executions at this
// gateway, or since the agent was started; likewise.
type DayEnv struct {
	BytesSent             int `expr:"bytes_sent"`
	BytesReceived         int `expr:"bytes_received"`
	PreviousBytesSent     int `expr:"previous_bytes_sent"`
	PreviousBytesReceived int `expr:"previous_bytes_received"`
}

// Limits are the policy's. A limit of 0 in the policy is the largest number
// here: none is crossed.
type Limits struct {
	BytesPerRun      int `expr:"bytes_per_run"`
	BytesPerSkillDay int `expr:"bytes_per_skill_day"`
}
