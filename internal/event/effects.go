package event

// ToolEffects says what the processes of a tool call, or OpenClaw for it, were seen to
// do that the call does not say, and whether it said what was not seen to be done.
type ToolEffects struct {
	Gateway, Session, ID string
	Name                 string // of the tool
	Effects
}

// Kind is that of its own.
func (ToolEffects) Kind() Kind { return KindToolEffects }

func (ToolEffects) body() {}

// Effects is what a tool call was seen to do, against what it says. Explained is
// what its command or arguments name, the skill's own directory and what its
// SKILL.md names, the directory it starts in, temporary files that it made, and
// what every program does. Files and hosts are counted once each, up to 1000.
type Effects struct {
	Processes         int      `json:"processes,omitempty"` // programs that were run
	FilesRead         int      `json:"files_read,omitempty"`
	FilesChanged      int      `json:"files_changed,omitempty"`
	Hosts             int      `json:"hosts,omitempty"`
	UnexplainedReads  int      `json:"unexplained_reads,omitempty"`
	UnexplainedWrites int      `json:"unexplained_writes,omitempty"`
	UnexplainedHosts  int      `json:"unexplained_hosts,omitempty"`
	Examples          []string `json:"examples,omitempty"` // the first that are unexplained: read PATH, write PATH, connect HOST
	Silent            bool     `json:"silent,omitempty"`   // what the call says that it did was not seen, where it would have been
	Missing           string   `json:"missing,omitempty"`  // silent: what was not seen
	Unjudged          string   `json:"unjudged,omitempty"` // why it cannot be said whether it is silent
}
