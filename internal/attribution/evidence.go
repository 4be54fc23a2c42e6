package attribution

import "github.com/clawwatch/clawwatch/internal/event"

// sources says where each kind of evidence is from. What rests on two of them is
// given that of the one that a skill cannot write.
var sources = map[string]event.EvidenceSource{
	"exec_argv":          event.FromKernel,
	"lineage":            event.FromKernel,
	"script_path":        event.FromKernel,
	"calling_script":     event.FromKernel,
	"working_directory":  event.FromKernel,
	"gateway_process":    event.FromKernel,
	"file_provenance":    event.FromKernel,
	"handed_over":        event.FromProc,
	"script_written_by":  event.FromKernel,
	"heir":               event.FromKernel,
	"environment_marker": event.FromProc,
	"plugin_tag":         event.FromPlugin,
	"skill_read":         event.FromTranscript,
	"skill_read_earlier": event.FromTranscript,
	"tool_path":          event.FromTranscript,
	"rejected":           event.FromTranscript,
	"records_in_doubt":   event.FromTranscript,
	"command_mentions":   event.FromSkillTree,
	"content":            event.FromSkillTree,
	"skill_changed":      event.FromSkillTree,
	"declared":           event.FromSkillTree,

	event.EvidenceForgedTag: event.FromPlugin,
}

// sourced fills in where evidence is from, where nobody has said so.
func sourced(all []event.Evidence) {
	for i := range all {
		if all[i].Source == "" {
			all[i].Source = sources[all[i].Kind]
		}
	}
}
