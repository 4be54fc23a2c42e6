package tables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/api"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

// All are the tables there are.
func All() []Table {
	return []Table{
		events(), alerts(), processes(), skills(), connections(), files(), envReads(), llmCalls(), sessions(), coverage(),
	}
}

func alerts() Table {
	type v = event.Alert
	ask := func(ctx context.Context, c *api.Client, q Query) iter.Seq2[v, error] {
		if q.ID == "" {
			return c.Alerts(ctx, q.Query, false)
		}
		return func(yield func(v, error) bool) {
			why, err := c.Why(ctx, q.ID)
			switch {
			case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrAmbiguous):
			case err != nil:
				yield(v{}, err)
			case why.Alert != nil:
				yield(*why.Alert, nil)
			}
		}
	}
	t := define("clawwatch_alerts", "What rules found: one row an alert.", ask, []field[v]{
		{Column{"id", Text, ByID, "of the alert, for clawwatch why"}, func(a *v) string { return text(a.ID) }},
		{Column{"rule", Text, ByRule, "name of the rule"}, func(a *v) string { return text(a.Rule.Name) }},
		{Column{"severity", Text, None, "info, low, medium, high or critical"}, func(a *v) string { return text(string(a.Rule.Severity)) }},
		{Column{"message", Text, None, "what was found, in a sentence"}, func(a *v) string { return text(a.Message) }},
		{Column{"tags", Text, None, "of the rule, such as ATT&CK techniques; a JSON array"}, func(a *v) string { return list(a.Rule.Tags) }},
		{Column{"rule_version", Integer, None, "that the rule says"}, func(a *v) string { return count(a.Rule.Version) }},
		{Column{"rule_digest", Text, None, "of the rule's text: the first 16 digits of a SHA-256"}, func(a *v) string { return text(a.Rule.Digest) }},
		{Column{"ruleset_digest", Text, None, "of all files of rules that were in force, likewise"}, func(a *v) string { return text(a.Rule.Ruleset) }},
		{Column{"events", Text, None, "IDs of the records it is about, as many as fit; a JSON array"}, func(a *v) string { return list(a.Events) }},
		{Column{"count", Integer, None, "how many records it is about"}, func(a *v) string { return count(a.Count) }},
		{Column{"suppressed", Integer, None, "how many more of its kind were left out before it"}, func(a *v) string { return count(a.Suppressed) }},
	}, when(func(a *v) time.Time { return a.Time }), acting(func(a *v) *event.Process { return a.Process }), attributed(func(a *v) *event.Attribution { return a.Attribution }))
	t.Examples = []string{
		"SELECT datetime, severity, rule, skill, message FROM clawwatch_alerts WHERE time > strftime('%s', 'now') - 86400;",
		"SELECT a.rule, e.datetime, e.kind, e.target FROM clawwatch_alerts a, json_each(a.events) i JOIN clawwatch_events e ON e.id = i.value WHERE a.time > strftime('%s', 'now') - 3600;",
	}
	return t
}

// recent is how far back processes are looked for when nothing says which.
const recent = time.Hour

func processes() Table {
	type v = store.Activity
	ask := func(ctx context.Context, c *api.Client, q Query) iter.Seq2[v, error] {
		if q.Since.IsZero() && q.Until.IsZero() && q.PID == 0 && q.Skill == "" && q.Session == "" {
			q.Since = time.Now().Add(-recent)
		}
		return c.Processes(ctx, q.Query)
	}
	sum := func(of func(store.Connection) uint64) func(*v) string {
		return func(p *v) string {
			var n uint64
			for _, c := range p.Connections {
				n += of(c)
			}
			return big(n)
		}
	}
	t := define("clawwatch_processes", "Processes with what each did. A condition on time chooses the records that count: a process is listed with what it did in that time. Without a condition on time, pid, skill or session: the last hour.", ask,
		when(func(p *v) time.Time { return p.First }),
		[]field[v]{{Column{"last_time", BigInt, None, "its last record, in seconds since 1970"}, func(p *v) string { return seconds(p.Last) }}},
		acting(func(p *v) *event.Process { return &p.Process }),
		[]field[v]{
			{Column{"role", Text, None, "what it is to OpenClaw: gateway, helper, tool or cli"}, func(p *v) string { return text(string(p.Process.Role)) }},
			{Column{"exited", Integer, None, "1: it has ended"}, func(p *v) string { return boolean(p.Exited) }},
			{Column{"exit_code", Integer, None, "its exit status"}, func(p *v) string { return optional(p.Process.ExitCode) }},
			{Column{"exit_signal", Integer, None, "the signal that killed it"}, func(p *v) string { return number(p.Process.ExitSignal) }},
			{Column{"files_read", Integer, None, "how often it opened a file to read"}, func(p *v) string { return count(p.Files["read"]) }},
			{Column{"files_changed", Integer, None, "how often it wrote, made, renamed or removed one"}, func(p *v) string { return count(changed(p.Files)) }},
			{Column{"connections", Integer, None, "connections that are counted here: to its first 24 peers"}, func(p *v) string { return count(opened(p.Connections)) }},
			{Column{"bytes_sent", BigInt, None, "over those of them that were closed"}, sum(func(c store.Connection) uint64 { return c.Sent })},
			{Column{"bytes_received", BigInt, None, "over those of them that were closed"}, sum(func(c store.Connection) uint64 { return c.Received })},
			{Column{"env_names", Text, None, "environment variables that it read; a JSON array"}, func(p *v) string { return list(p.EnvNames) }},
		}, attributed(func(p *v) *event.Attribution { return p.Attribution }))
	t.MaxRows = 4_999 // the store's own limit is one more: that there is more can be seen
	t.Examples = []string{
		"SELECT p.pid, p.cmdline, p.skill, a.rule FROM clawwatch_alerts a JOIN clawwatch_processes p ON p.pid = a.pid AND p.start_time = a.start_time WHERE a.time > strftime('%s', 'now') - 3600;",
		"SELECT c.pid, c.cmdline, c.skill, o.local_address, o.remote_address FROM clawwatch_processes c JOIN process_open_sockets o USING (pid) WHERE c.exited = 0;",
	}
	return t
}

func changed(files map[string]int) int {
	n := 0
	for operation, times := range files {
		if event.Changes(operation) {
			n += times
		}
	}
	return n
}

func opened(all []store.Connection) int {
	n := 0
	for _, c := range all {
		n += c.Count
	}
	return n
}

func skills() Table {
	type v = store.Skill
	ask := func(ctx context.Context, c *api.Client, q Query) iter.Seq2[v, error] { return c.Skills(ctx, q.Query) }
	t := define("clawwatch_skills", "The inventory: the skills that each gateway can load, and those that were removed.", ask, []field[v]{
		{Column{"skill", Text, BySkill, "its name"}, func(s *v) string { return text(s.Skill.ID.Name) }},
		{Column{"skill_version", Text, None, "its version"}, func(s *v) string { return text(s.Skill.ID.Version) }},
		{Column{"skill_sha256", Text, None, "digest of its files"}, func(s *v) string { return text(s.Skill.ID.SHA256) }},
		{Column{"previous_sha256", Text, None, "digest before its last update"}, func(s *v) string { return text(s.Skill.Previous) }},
		{Column{"directory", Text, None, "where it is"}, func(s *v) string { return text(s.Skill.ID.Dir) }},
		{Column{"root", Text, None, "the skill root it is loaded from"}, func(s *v) string { return text(s.Skill.ID.Root) }},
		{Column{"gateway", Text, ByGateway, "state directory of the OpenClaw gateway"}, func(s *v) string { return text(s.Gateway) }},
		{Column{"installer", Text, None, "how it came: clawhub, path, git, …; absent: copied by hand"}, func(s *v) string { return text(s.Skill.Installer) }},
		{Column{"installed_time", BigInt, None, "when it came, in seconds since 1970"}, func(s *v) string {
			if s.Skill.Installed == nil {
				return ""
			}
			return seconds(*s.Skill.Installed)
		}},
		{Column{"uid", BigInt, None, "owner of its SKILL.md"}, func(s *v) string { return uid(s.Skill.Owner) }},
		{Column{"username", Text, None, "the owner's name"}, func(s *v) string { return username(s.Skill.Owner) }},
		{Column{"change", Text, None, "the last that was recorded: skill.present, skill.installed, skill.updated or skill.removed"}, func(s *v) string { return text(string(s.Change)) }},
		{Column{"seen_time", BigInt, None, "when it was last reported, in seconds since 1970"}, func(s *v) string { return seconds(s.Seen) }},
		{Column{"removed", Integer, None, "1: it is no longer there"}, func(s *v) string { return boolean(s.Removed) }},
		{Column{"alerts", Integer, None, "alerts attributed to a skill of this name"}, func(s *v) string { return count(s.Alerts) }},
		{Column{"last_alert_time", BigInt, None, "the last of them, in seconds since 1970"}, func(s *v) string { return seconds(s.Last) }},
		{Column{"event_id", Text, None, "ID of the record of its last change"}, func(s *v) string { return text(s.Record) }},
		{Column{"error", Text, None, "why digest or metadata are incomplete"}, func(s *v) string { return text(s.Skill.Error) }},
	})
	t.Examples = []string{"SELECT skill, skill_version, installer, username, directory FROM clawwatch_skills WHERE removed = 0;"}
	return t
}

func sessions() Table {
	type v = store.Session
	ask := func(ctx context.Context, c *api.Client, q Query) iter.Seq2[v, error] { return c.Sessions(ctx, q.Query) }
	of := func(get func(*event.Session) string) func(*v) string {
		return func(s *v) string {
			if s.Record.Session == nil {
				return ""
			}
			return get(s.Record.Session)
		}
	}
	by := func(get func(*event.Attribution) string) func(*v) string {
		return func(s *v) string {
			if s.Record.Attribution == nil {
				return ""
			}
			return get(s.Record.Attribution)
		}
	}
	type (
		o = event.Session
		a = event.Attribution
	)
	t := define("clawwatch_sessions", "Sessions: who talks to an agent, and from where. time is that of the beginning.", ask,
		when(func(s *v) time.Time { return s.Record.Time }), []field[v]{
			{Column{"last_time", BigInt, None, "its last record, or one shortly after, in seconds since 1970"}, func(s *v) string { return seconds(s.Last) }},
			{Column{"session", Text, BySession, "its ID"}, by(func(a *a) string { return text(a.Session) })},
			{Column{"session_key", Text, BySession, "its key"}, of(func(s *o) string { return text(s.Key) })},
			{Column{"agent", Text, None, "OpenClaw's agent"}, by(func(a *a) string { return text(a.Agent) })},
			{Column{"gateway", Text, ByGateway, "state directory of the OpenClaw gateway"}, by(func(a *a) string { return text(a.Gateway) })},
			{Column{"channel", Text, None, "messaging platform; absent: the operator's own client"}, of(func(s *o) string { return text(s.Channel) })},
			{Column{"account", Text, None, "the platform's account"}, of(func(s *o) string { return text(s.Account) })},
			{Column{"chat_type", Text, None, "direct, group, …"}, of(func(s *o) string { return text(s.ChatType) })},
			{Column{"actor", Text, None, "who, as OpenClaw names them"}, of(func(s *o) string { return text(s.Actor) })},
			{Column{"created_via", Text, None, "operator, spawn, channel, cron, …"}, of(func(s *o) string { return text(s.CreatedVia) })},
			{Column{"parent_key", Text, None, "key of the session that spawned it"}, of(func(s *o) string { return text(s.ParentKey) })},
			{Column{"alerts", Integer, None, "alerts attributed to it"}, func(s *v) string { return count(s.Alerts) }},
			{Column{"last_alert_time", BigInt, None, "the last of them, in seconds since 1970"}, func(s *v) string { return seconds(s.Alerted) }},
		})
	t.MaxRows = 1_999 // as for processes
	t.Examples = []string{"SELECT session, channel, actor, alerts FROM clawwatch_sessions WHERE alerts > 0 ORDER BY last_alert_time DESC;"}
	return t
}

func coverage() Table {
	type v = event.Coverage
	t := define("clawwatch_coverage", "What clawwatch sees on this host, and why not more. The row agent says whether the agent answers, the row osquery what tables here left out of late.", askCoverage, []field[v]{
		{Column{"probe", Text, None, "what sees: a collector's probe, agent, or osquery"}, func(c *v) string { return text(c.Probe) }},
		{Column{"kinds", Text, None, "kinds of events that it sees; a JSON array"}, func(c *v) string { return list(c.Kinds) }},
		{Column{"fidelity", Text, None, "complete; sampled: may miss, silently; none: blind"}, func(c *v) string { return text(c.Fidelity) }},
		{Column{"reason", Text, None, "why it is not complete"}, func(c *v) string { return text(c.Reason) }},
	})
	t.Examples = []string{"SELECT * FROM clawwatch_coverage WHERE fidelity <> 'complete';"}
	return t
}

// askCoverage gives a row where the agent is away, too: that nobody watches is
// something to know.
func askCoverage(ctx context.Context, c *api.Client, _ Query) iter.Seq2[event.Coverage, error] {
	return func(yield func(event.Coverage, error) bool) {
		answer, err := c.Status(ctx, false)
		var status struct {
			Coverage []event.Coverage `json:"coverage"`
			Unstored uint64           `json:"unstored"`
		}
		if err == nil {
			err = json.Unmarshal(answer, &status)
		}
		agent := event.Coverage{Probe: "agent", Fidelity: "complete"}
		switch {
		case err != nil:
			agent.Fidelity, agent.Reason = "none", strings.TrimSpace(err.Error())
		case status.Unstored > 0:
			agent.Fidelity, agent.Reason = "sampled", fmt.Sprintf("%d records and alerts could not be stored", status.Unstored)
		}
		if !yield(agent, nil) {
			return
		}
		for _, c := range status.Coverage {
			if !yield(c, nil) {
				return
			}
		}
	}
}
