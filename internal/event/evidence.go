package event

// An EvidenceSource says where a reason is from: what a skill can write counts
// for less than what the kernel saw.
type EvidenceSource string

// The sources there are.
const (
	FromKernel     EvidenceSource = "kernel"
	FromTranscript EvidenceSource = "transcript" // OpenClaw's own records
	FromProc       EvidenceSource = "/proc"
	FromSkillTree  EvidenceSource = "skill tree" // the files of a skill
	FromPlugin     EvidenceSource = "plugin"     // in the gateway
)
