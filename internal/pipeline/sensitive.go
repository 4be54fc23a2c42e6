package pipeline

import (
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
)

// maxSensitive is how many different pieces of data a record names. What is
// beyond is counted by type.
const maxSensitive = 32

// sensitive looks for data of a sensitive type in the texts of a fact as they
// are before redaction. A conversation of which the policy keeps nothing is not
// looked at.
func (p *Pipeline) sensitive(body event.Body) []event.Sensitive {
	var found sightings
	switch b := body.(type) {
	case event.Exec:
		for i, arg := range b.Args {
			p.look(&found, arg, event.InCommandLine, i)
		}
	case event.ToolCall:
		p.look(&found, b.Command, event.InToolArgument, 0)
		p.look(&found, b.URL, event.InToolArgument, 0)
	case event.LLMCall:
		if p.Policy.LLM.Content != policy.ContentNone {
			p.look(&found, b.Prompt, event.InPrompt, 0)
			p.look(&found, b.Response, event.InResponse, 0)
		}
	}
	return found
}

func (p *Pipeline) look(found *sightings, text string, place event.Place, argument int) {
	p.Redactor.Find(text, func(kind, digest string) {
		found.add(event.Sensitive{Type: kind, Place: place, Argument: argument, Digest: digest, Count: 1})
	})
}

// sightings are at most maxSensitive pieces, and one more entry a type.
type sightings []event.Sensitive

func (all *sightings) add(s event.Sensitive) {
	if all.count(s) {
		return
	}
	if len(*all) >= maxSensitive {
		s = event.Sensitive{Type: s.Type, Count: s.Count}
		if all.count(s) {
			return
		}
	}
	*all = append(*all, s)
}

// count adds to the entry that differs in nothing else, if there is one.
func (all sightings) count(s event.Sensitive) bool {
	for i := range all {
		same := all[i]
		same.Count = s.Count
		if same == s {
			all[i].Count += s.Count
			return true
		}
	}
	return false
}

// describe puts the operator's own types in force.
func (p *Pipeline) describe() { p.Redactor.Describe(p.Policy.Described()) }
