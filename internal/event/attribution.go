package event

import "time"

// Attribution says on whose behalf a fact came about, how sure that is, and
// why. The zero Attribution says that no agent is involved.
type Attribution struct {
	Gateway    string     `json:"gateway,omitempty"`
	Agent      string     `json:"agent,omitempty"`
	Session    string     `json:"session,omitempty"`
	SessionKey string     `json:"session_key,omitempty"`
	Run        string     `json:"run,omitempty"`
	ToolCall   string     `json:"tool_call,omitempty"`
	Skill      *SkillID   `json:"skill,omitempty"`
	Confidence Confidence `json:"confidence,omitempty"`
	Candidates []SkillID  `json:"candidates,omitempty"`
	Evidence   []Evidence `json:"evidence,omitempty"` // strongest first
}

// A Confidence says how far the name of the skill can be relied on: a word, and
// never a number that nobody could defend.
type Confidence string

// The confidences there are, most sure first.
const (
	Certain   Confidence = "certain"   // would stand in an incident review
	Strong    Confidence = "strong"    // one candidate, and nothing speaks against it
	Weak      Confidence = "weak"      // one candidate, by circumstance
	Ambiguous Confidence = "ambiguous" // several fit: see Candidates
	None      Confidence = "none"      // gateway or session known, skill not
)

// Evidence is one reason for an Attribution, in words that a person can check.
type Evidence struct {
	Kind   string `json:"kind"`   // exec_argv, lineage, script_path, working_directory, skill_read, …
	Detail string `json:"detail"` // what was seen; for a rejected candidate: why
	// Time is when it happened, Source who saw or wrote it.
	Time   time.Time      `json:"time,omitzero"`
	Source EvidenceSource `json:"source,omitempty"` // kernel, transcript, /proc, skill tree, plugin
}

// EvidenceForgedTag is the kind of evidence that says: the process was handed a
// tag of clawwatch's plugin that is not its own. It never speaks for anybody.
const EvidenceForgedTag = "forged_tag"
