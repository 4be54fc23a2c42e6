package tables

import (
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// when are the columns of something that happened at a time.
func when[T any](of func(*T) time.Time) []field[T] {
	return []field[T]{
		{Column{"time", BigInt, ByTime, "when it happened, in seconds since 1970"}, func(v *T) string { return seconds(of(v)) }},
		{Column{"datetime", Text, None, "the same with nanoseconds, as RFC 3339 in UTC"}, func(v *T) string { return datetime(of(v)) }},
	}
}

// recorded are the columns that every record has.
func recorded() []field[event.Record] {
	type r = event.Record
	return append([]field[r]{
		{Column{"id", Text, ByID, "of the record, for clawwatch why"}, func(v *r) string { return text(v.ID) }},
		{Column{"kind", Text, ByKind, "what happened, such as file.open"}, func(v *r) string { return text(string(v.Kind)) }},
		{Column{"source", Text, None, "which collector saw it: ebpf, procfs, openclaw, skills, agent"}, func(v *r) string { return text(string(v.Source)) }},
	}, when(func(v *r) time.Time { return v.Time })...)
}

// acting are the columns of the process that acted.
func acting[T any](of func(*T) *event.Process) []field[T] {
	value := func(get func(*event.Process) string) func(*T) string {
		return func(v *T) string {
			p := of(v)
			if p == nil {
				return ""
			}
			return get(p)
		}
	}
	type p = event.Process
	return []field[T]{
		{Column{"pid", BigInt, ByPID, "of the process that acted"}, value(func(p *p) string { return number(p.PID) })},
		{Column{"start_time", BigInt, None, "of the process, in clock ticks since boot; with pid it names one process for all time"}, value(func(p *p) string { return big(p.StartTime) })},
		{Column{"parent_pid", BigInt, None, "of its parent"}, value(func(p *p) string { return number(p.ParentPID) })},
		{Column{"executable", Text, None, "path of its program"}, value(executable)},
		{Column{"sha256", Text, None, "digest of its program, where it could be told"}, value(digest)},
		{Column{"script", Text, None, "path of the script that it runs, as its arguments say"}, value(script)},
		{Column{"cmdline", Text, None, "its arguments with secrets taken out, joined by spaces"}, value(func(p *p) string { return text(strings.Join(p.CommandArgs, " ")) })},
		{Column{"cwd", Text, None, "its working directory"}, value(func(p *p) string { return text(p.Cwd) })},
		{Column{"uid", BigInt, None, "its user"}, value(func(p *p) string { return uid(p.User) })},
		{Column{"username", Text, None, "its user's name"}, value(func(p *p) string { return username(p.User) })},
		{Column{"container_id", Text, None, "its container"}, value(func(p *p) string { return text(p.ContainerID) })},
	}
}

func executable(p *event.Process) string {
	if p.Executable == nil {
		return ""
	}
	return text(p.Executable.Path)
}

func digest(p *event.Process) string {
	if p.Executable == nil {
		return ""
	}
	return text(p.Executable.SHA256)
}

func script(p *event.Process) string {
	if p.Script == nil {
		return ""
	}
	return text(p.Script.Path)
}

func uid(u *event.User) string {
	if u == nil {
		return ""
	}
	return count(int64(u.ID))
}

func username(u *event.User) string {
	if u == nil {
		return ""
	}
	return text(u.Name)
}

// attributed are the columns that say on whose behalf, and how sure that is.
func attributed[T any](of func(*T) *event.Attribution) []field[T] {
	value := func(get func(*event.Attribution) string) func(*T) string {
		return func(v *T) string {
			a := of(v)
			if a == nil {
				return ""
			}
			return get(a)
		}
	}
	skill := func(get func(*event.SkillID) string) func(*T) string {
		return value(func(a *event.Attribution) string {
			if a.Skill == nil {
				return ""
			}
			return get(a.Skill)
		})
	}
	type a = event.Attribution
	return []field[T]{
		{Column{"skill", Text, BySkill, "name of the skill it was done for"}, skill(func(s *event.SkillID) string { return text(s.Name) })},
		{Column{"skill_version", Text, None, "its version"}, skill(func(s *event.SkillID) string { return text(s.Version) })},
		{Column{"skill_sha256", Text, None, "digest of the skill's files, as they were then"}, skill(func(s *event.SkillID) string { return text(s.SHA256) })},
		{Column{"confidence", Text, None, "how sure the skill is: certain, strong, weak, ambiguous (see candidates), none"}, value(func(a *a) string { return text(string(a.Confidence)) })},
		{Column{"candidates", Text, None, "names of the skills that fit, where several do; a JSON array"}, value(candidates)},
		{Column{"evidence", Text, None, "why, strongest reason first"}, value(evidence)},
		{Column{"agent", Text, None, "OpenClaw's agent"}, value(func(a *a) string { return text(a.Agent) })},
		{Column{"session", Text, BySession, "ID of the session"}, value(func(a *a) string { return text(a.Session) })},
		{Column{"session_key", Text, BySession, "key of the session"}, value(func(a *a) string { return text(a.SessionKey) })},
		{Column{"tool_call", Text, None, "ID of the tool call"}, value(func(a *a) string { return text(a.ToolCall) })},
		{Column{"gateway", Text, ByGateway, "state directory of the OpenClaw gateway"}, value(func(a *a) string { return text(a.Gateway) })},
	}
}

func candidates(a *event.Attribution) string {
	var names []string
	for _, c := range a.Candidates {
		names = append(names, c.Name)
	}
	return list(names)
}

func evidence(a *event.Attribution) string {
	var all []string
	for _, e := range a.Evidence {
		all = append(all, e.Kind+": "+e.Detail)
	}
	return text(strings.Join(all, "; "))
}
