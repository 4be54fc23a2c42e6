package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/console"
	"github.com/clawwatch/clawwatch/internal/event"
)

// meaning says what a confidence is worth.
var meaning = map[event.Confidence]string{
	event.Certain:   "it would stand in an incident review",
	event.Strong:    "one candidate, and nothing speaks against it",
	event.Weak:      "one candidate, by circumstance",
	event.Ambiguous: "several skills fit",
	event.None:      "the gateway or session is known, the skill is not",
}

// claim says in one sentence what a record is about: who did what, when, for
// whom, and how sure that is.
func claim(r *event.Record) string {
	return sentence(who(r)+" "+deed(r), r.Time, r.Attribution)
}

// sentence puts when and for whom before a claim, and how sure it is behind it.
func sentence(claim string, at time.Time, a *event.Attribution) string {
	s, sure := "At "+moment(at), ""
	if a != nil {
		for _, p := range [][2]string{{", in session ", a.Session}, {" for the tool call ", a.ToolCall}, {" of gateway ", a.Gateway}} {
			if p[1] != "" {
				s += p[0] + text(p[1])
			}
		}
		if m := meaning[a.Confidence]; m != "" {
			sure = "; " + text(string(a.Confidence)) + ": " + m
		}
	}
	return s + ", " + strings.TrimSuffix(claim, ".") + sure + "."
}

// who names the one that acted, as far as it is known.
func who(r *event.Record) string {
	a := r.Attribution
	switch {
	case r.Stranger && r.Process != nil && r.Process.Executable != nil:
		return "a process outside of OpenClaw, " + text(r.Process.Executable.Path) + ","
	case r.Stranger:
		return "a process outside of OpenClaw"
	case r.Sensor != nil || a == nil && r.Process == nil:
		return "clawwatch"
	case a == nil:
		return "a process of no agent"
	case a.Skill != nil:
		return words("skill", a.Skill.Name, a.Skill.Version)
	case len(a.Candidates) > 0:
		return "one of the skills " + console.Candidates(a.Candidates)
	}
	return "OpenClaw, for no skill that is known,"
}

// deed is what was done, to be read behind who did it.
func deed(r *event.Record) string {
	switch {
	case r.Sensor != nil:
		return "reported: " + what(r)
	case r.Kind == event.KindExec:
		return "ran " + command(r.Process)
	case r.Kind == event.KindConnect && r.Network != nil:
		return "connected to " + strings.TrimPrefix(what(r), text(string(r.Network.Transport))+" → ")
	case r.Kind == event.KindToolCall:
		return "was to be given the tool call " + what(r)
	}
	verbs := map[string]string{
		"read": "opened for reading:", "write": "wrote", "create": "created", "rename": "renamed", "exchange": "exchanged", "delete": "deleted",
		"execute": "mapped as a program", "link": "linked", "symlink": "linked", "truncate": "truncated", "path": "looked up", "attribute": "changed an attribute:",
	}
	if r.File != nil && r.Env == nil && verbs[r.File.Operation] != "" {
		return verbs[r.File.Operation] + " " + strings.TrimPrefix(fileWhat(r.File), r.File.Operation+" ")
	}
	return "did this (" + text(string(r.Kind)) + "): " + what(r)
}

func printAttribution(out *printer, a *event.Attribution) {
	if a == nil {
		out.line("\nAttributed to nobody: no agent is involved")
		return
	}
	answer := "no skill"
	switch {
	case a.Skill != nil:
		answer = words("skill", a.Skill.Name, a.Skill.Version)
	case len(a.Candidates) > 0:
		answer = console.Candidates(a.Candidates)
	}
	sure := cmp.Or(meaning[a.Confidence], "how sure is not known")
	out.linef("\n%s: %s (%s)", out.paint("Attributed to "+answer, console.Bold), text(string(cmp.Or(a.Confidence, "unsure"))), sure)
	if a.Skill != nil {
		out.field("tree hash", a.Skill.SHA256)
		out.field("directory", a.Skill.Dir)
	}
	out.field("gateway", a.Gateway)
	out.field("agent", a.Agent)
	out.field("session", strings.TrimSpace(a.Session+"  "+a.SessionKey))
	out.field("run", a.Run)
	out.field("tool call", a.ToolCall)
	printEvidence(out, a.Evidence)
	printConsidered(out, a)
	if more := surer(a); len(more) > 0 {
		out.line("\nWhat would make it surer")
		for _, m := range more {
			out.line("  " + m)
		}
	}
}

// surer says what is missing for an answer that would stand.
func surer(a *event.Attribution) []string {
	has := func(kind string) bool {
		return slices.ContainsFunc(a.Evidence, func(e event.Evidence) bool { return e.Kind == kind })
	}
	if a.Confidence == event.Certain || a.Confidence == "" {
		return nil
	}
	var more []string
	add := func(when bool, s string) {
		if when {
			more = append(more, s)
		}
	}
	opened := has("script_path") && !slices.ContainsFunc(a.Evidence, func(e event.Evidence) bool {
		return e.Kind == "script_path" && strings.Contains(e.Detail, "was not seen to open it")
	})
	add(!opened && has("script_path"), "that the script was seen to be opened by its interpreter: a command's words alone prove nothing")
	add(!has("script_path"), "a script or program of the skill in this process's lineage: what is done by other commands is tied only to what was read before")
	add(!has("skill_read") && !has("tool_path"), "that the skill's SKILL.md was read in this run, before the call; it may have been read where nobody watched")
	add(a.ToolCall == "", "one recorded tool call that the process can be matched with: look whether OpenClaw's records could be read (clawwatch doctor)")
	add(len(a.Candidates) > 1, "that of these skills only one had been used in the run")
	add(has("rejected") && a.Confidence == event.Strong, "that no other skill had been read in the session")
	add(has("calling_script"), "that the script was not started by another skill's")
	return more
}
