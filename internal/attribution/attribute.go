package attribution

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Attribute answers for one fact that happened in a scope, with all that is
// known by now. Nil: no agent is involved. The answer is shared and must not be
// changed.
func (e *Engine) Attribute(s *Scope, ev event.Event) *event.Attribution {
	if s == nil || !s.role.ByTool() || s.origin.gateway == nil {
		return e.cleaned(e.attribute(s, ev))
	}
	switch ev.Body.(type) {
	case event.ToolCall, event.ToolResult, event.LLMCall, event.SessionStart, event.GatewayFound:
		return e.cleaned(e.attribute(s, ev))
	}
	known := &s.answers[0]
	if ev.Proc != s.exec.root {
		known = &s.answers[1]
	}
	if known.version != e.version {
		*known = answer{e.version, e.cleaned(e.attribute(s, ev))}
	}
	return known.Attribution
}

func (e *Engine) cleaned(a *event.Attribution) *event.Attribution {
	if a != nil {
		for i := range a.Evidence {
			a.Evidence[i].Detail = e.clean(a.Evidence[i].Detail)
		}
		sourced(a.Evidence)
	}
	return a
}

func (e *Engine) attribute(s *Scope, ev event.Event) *event.Attribution {
	switch b := ev.Body.(type) {
	case event.ToolCall:
		return e.ofCall(b.Gateway, b.Session, b.ID)
	case event.ToolResult:
		return e.ofCall(b.Gateway, b.Session, b.ID)
	case event.ToolEffects:
		return e.ofCall(b.Gateway, b.Session, b.ID)
	case event.LLMCall:
		return e.ofModel(ev.Time, b)
	case event.SessionStart:
		return &event.Attribution{Gateway: b.Gateway, Agent: b.Agent, Session: b.Session, SessionKey: b.SessionKey, Confidence: event.None}
	case event.GatewayFound:
		return &event.Attribution{Gateway: b.ID, Confidence: event.None}
	}
	if b, ok := ev.Body.(event.Skill); ok && s == nil {
		return &event.Attribution{Gateway: b.Gateway, Confidence: event.None}
	}
	if s == nil {
		return nil
	}
	a := &event.Attribution{Confidence: event.None}
	if s.origin.gateway == nil {
		a.Evidence = []event.Evidence{{Kind: "lineage", Detail: fmt.Sprintf("descends from process %d, which took OpenClaw's name and is not known to be one of its processes", s.origin.proc.PID)}}
		return a
	}
	a.Gateway = s.origin.gateway.found.ID
	if s.role == event.RoleHeir {
		e.ofHeir(a, s, ev)
		return a
	}
	if s.role == event.RoleTool {
		e.ofExecution(a, s, ev, true)
		return a
	}
	g := s.origin.gateway
	switch {
	case g.server == ev.Proc && lists(ev):
		a.Evidence = []event.Evidence{{Kind: "gateway_process", Detail: "opened by OpenClaw's main thread, which so lists the skills; what a tool call reads is opened by another"}}
	case !g.records(s.origin) || !e.inProcess(a, s, ev) && !e.ownNetwork(a, g, ev):
		a.Evidence = []event.Evidence{{Kind: "gateway_process", Detail: "done by OpenClaw itself; no recorded tool call explains it"}}
	}
	return a
}

// ofExecution attributes what a tool call's process tree does. With authors, who
// wrote its script counts, too.
func (e *Engine) ofExecution(a *event.Attribution, s *Scope, ev event.Event, authors bool) {
	x, g := s.exec, s.origin.gateway
	if x.known != nil && s.script == nil {
		remember(a, x.known)
		return
	}
	var sig signals
	of := append(e.forgery(s), x.tagEvidence()...)
	switch {
	case x.call != nil:
		fill(a, x.call)
		of = append(of, event.Evidence{Kind: "exec_argv", Detail: x.how})
		sig = g.signals(x.call)
		sig.callKnown = !x.truncated && !x.young && !x.unmasked
	case x.doubt:
		of = append(of, event.Evidence{Kind: "exec_argv", Detail: "the command is that of tool call " + callIDs(x.candidates) + ", but more processes ran it than calls were recorded"})
		sig = g.signals(x.candidates...)
		sig.split = true
	case len(x.candidates) > 0:
		of = append(of, e.shared(a, x.candidates))
		sig = g.signals(x.candidates...)
	case x.known != nil:
		var before event.Attribution
		remember(&before, x.known)
		a.Agent, a.Session, a.SessionKey, a.Run, a.ToolCall = before.Agent, before.Session, before.SessionKey, before.Run, before.ToolCall
		of = append(of, before.Evidence[0])
	case x.claimed:
		of = append(of, event.Evidence{Kind: "environment_marker", Detail: "ran before the agent did, outside of every tree, with the variables that OpenClaw sets for its exec calls; anyone can set them"})
	default:
		of = append(of, event.Evidence{Kind: "exec_argv", Detail: "no recorded tool call has the command of process " + fmt.Sprint(x.root.PID)})
		sig = signals{mentioned: g.mentioned(x.command, x.cwd, x.started)}
		if x.tagged != nil { // the run is not known, so what its session read counts as read before
			_, sig.earlier = g.reads(x.tagged.session, noRun, x.started)
		}
	}
	if x.unmasked && x.call != nil {
		sig.mentioned = g.mentioned(x.command, g.workdir(x.call), x.call.at)
	}
	if x.tagged != nil {
		ses := x.tagged.session
		a.Agent, a.Session, a.SessionKey = ses.agent, ses.id, ses.key
	}
	if ev.Proc != x.root {
		of = append(of, event.Evidence{Kind: "lineage", Detail: fmt.Sprintf("descends by fork from process %d, the root of that command", x.root.PID)})
	}
	sig.script, sig.callers, sig.cwd = s.script, slices.Clip(s.caller), s.cwd
	if x.known != nil { // it began before, for these
		before := skillSet(x.known.Candidates)
		if x.known.Skill != nil {
			before = append(slices.Clip(before), *x.known.Skill)
		}
		for _, id := range before.without(s.script.skill) {
			sig.callers.add(id)
		}
	}
	if authors {
		var why []event.Evidence
		sig.authors, why = e.foreign(s)
		of = append(of, why...)
	}
	// What a command that is one script does is done by the script: a process that
	// does not come of it shows that the path led elsewhere.
	if sig.whole = g.whole(x.command, x.cwd); s.script == nil && (ev.Proc != x.root || x.replaced) {
		sig.whole = nil
	}
	for _, id := range x.scripts {
		sig.mentioned.add(id)
	}
	var alike []event.Evidence
	sig.content, alike = e.copies(x, authors)
	for i := range of {
		of[i].Time = x.started
	}
	of = append(append(of, alike...), e.inherit(&sig, s)...)
	var why []event.Evidence
	a.Skill, a.Confidence, a.Candidates, why = weigh(sig)
	a.Evidence = append(append(of, why...), g.drift(a.Skill)...)
	g.lean(a, x.programs)
}

// remember takes over what was recorded of a process. What it did while nobody
// watched is not known, so nothing is certain.
func remember(a *event.Attribution, known *event.Attribution) {
	*a = *known
	if a.Confidence == event.Certain {
		a.Confidence = event.Strong
	}
	a.Evidence = []event.Evidence{{Kind: "remembered", Detail: "recorded so before clawwatch was started anew; it is the same process, by number and start"}}
	for _, e := range known.Evidence {
		if e.Kind != "remembered" && len(a.Evidence) < maxEvidence {
			a.Evidence = append(a.Evidence, e)
		}
	}
}

// drift says that a skill has other files now than when it was read or run.
func (g *gateway) drift(id *event.SkillID) []event.Evidence {
	if id == nil {
		return nil
	}
	now := g.catalogue.skills[id.Dir].ID.SHA256
	if now == "" || id.SHA256 == "" || now == id.SHA256 {
		return nil
	}
	return []event.Evidence{{Kind: "skill_changed", Detail: fmt.Sprintf("%s has changed since it was read or run here: its tree was %s and is %s", id.Name, id.SHA256, now)}}
}

// shared fills in what several calls that fit have in common.
func (e *Engine) shared(a *event.Attribution, calls []*call) event.Evidence {
	first := calls[0]
	sameSession, sameRun := true, true
	for _, c := range calls {
		sameSession = sameSession && c.session == first.session
		sameRun = sameRun && c.Run == first.Run
	}
	if sameSession {
		fill(a, first)
		a.ToolCall = ""
		if !sameRun {
			a.Run = ""
		}
	}
	return event.Evidence{Kind: "exec_argv", Detail: "the same command was recorded for several tool calls: " + callIDs(calls)}
}

func callIDs(calls []*call) string {
	ids := make([]string, len(calls))
	for i, c := range calls {
		ids[i] = c.ID
	}
	return strings.Join(ids, ", ")
}

func fill(a *event.Attribution, c *call) {
	a.Agent, a.Session, a.SessionKey, a.Run, a.ToolCall = c.session.agent, c.session.id, c.session.key, c.Run, c.ID
}

// lists reports whether a gateway looks at a SKILL.md to list its skills: it does that
// on its main thread, and opens a file for a tool call on another.
func lists(ev event.Event) bool {
	b, ok := ev.Body.(event.FileOpen)
	return ok && b.TID == ev.Proc.PID && path.Base(b.Path) == "SKILL.md" && !b.Write
}

// inProcess attributes a file access of OpenClaw's own process to the tool call
// that named the path at that time, and reports whether there was one.
func (e *Engine) inProcess(a *event.Attribution, s *Scope, ev event.Event) bool {
	var paths []string
	switch b := ev.Body.(type) {
	case event.FileOpen:
		paths = []string{b.Path}
	case event.FileRename:
		paths = []string{b.New, b.Old}
	case event.FileDelete:
		paths = []string{b.Path}
	case event.FileLink:
		paths = []string{b.Path, b.Old}
	case event.FileAttr:
		paths = []string{b.Path}
	case event.FileTruncate:
		paths = []string{b.Path}
	case event.FileUse:
		paths = []string{b.Path}
	default:
		return false
	}
	g := s.origin.gateway
	var fits []*call
	for _, p := range paths {
		for _, c := range g.naming(ev.Time, p) {
			if !slices.Contains(fits, c) {
				fits = append(fits, c)
			}
		}
	}
	if len(fits) == 0 {
		return false
	}
	e.ofCalls(a, g, fits, "tool_path", "named this path and ran at this time", paths)
	return true
}

// ofCalls attributes what OpenClaw did in its own process to the calls that it
// can be done for. kind and what say how that is known; paths are those of the
// files touched.
func (e *Engine) ofCalls(a *event.Attribution, g *gateway, fits []*call, kind, what string, paths []string) {
	if len(fits) == 1 {
		c := fits[0]
		fill(a, c)
		a.Evidence = []event.Evidence{{Kind: kind, Detail: fmt.Sprintf("tool call %s (%s) %s", c.ID, c.Name, what)}}
	} else {
		e.shared(a, fits)
		a.Evidence = []event.Evidence{{Kind: kind, Detail: fmt.Sprintf("several tool calls %s: %s", what, callIDs(fits))}}
	}
	for i := range a.Evidence {
		a.Evidence[i].Time = fits[0].at
	}
	sig := g.signals(fits...)
	for _, p := range paths {
		if id, ok := g.catalogue.at(p); ok {
			sig.mentioned.add(id)
			if path.Base(p) == "SKILL.md" && len(fits) == 1 && fits[0].Name == "read" {
				sig.read = []read{{skill: id, at: fits[0].at, how: "tool call " + fits[0].ID + " read " + p}}
				sig.mentioned = nil
			}
		}
	}
	var why []event.Evidence
	a.Skill, a.Confidence, a.Candidates, why = weigh(sig)
	a.Evidence = append(append(a.Evidence, why...), g.drift(a.Skill)...)
}

// slack allows for the time between a row and the act it records.
const slack = time.Second

func during(c *call, at time.Time) bool {
	if runs, known := c.runs(at); known {
		return runs
	}
	if at.Before(c.at.Add(-slack)) {
		return false
	}
	if c.ended.IsZero() {
		return at.Before(c.at.Add(time.Minute))
	}
	return !at.After(c.ended.Add(slack))
}

// ofCall attributes the record of a call itself.
func (e *Engine) ofCall(gatewayID, sessionID, callID string) *event.Attribution {
	a := &event.Attribution{Gateway: gatewayID, Session: sessionID, ToolCall: callID, Confidence: event.None}
	g := e.gateway(gatewayID)
	c := g.calls[sessionID+"\x00"+callID]
	if c == nil {
		return a
	}
	fill(a, c)
	sig := g.signals(c)
	for _, p := range c.paths {
		if id, ok := g.catalogue.at(p); ok {
			sig.mentioned.add(id)
			if path.Base(p) == "SKILL.md" && c.Name == "read" {
				sig.read, sig.mentioned = []read{{skill: id, at: c.at, how: "this call read " + p}}, nil
			}
		}
	}
	a.Skill, a.Confidence, a.Candidates, a.Evidence = weigh(sig)
	return a
}

// ofModel attributes a model's call to its session. That a skill was read in
// the run before is a circumstance, so the skill is never more than weak.
func (e *Engine) ofModel(at time.Time, b event.LLMCall) *event.Attribution {
	a := &event.Attribution{Gateway: b.Gateway, Agent: b.Agent, Session: b.Session, SessionKey: b.SessionKey, Run: b.Run, Confidence: event.None}
	g := e.gateway(b.Gateway)
	s := g.sessions[b.Session]
	if s == nil {
		return a
	}
	read, earlier := g.reads(s, b.Run, at)
	a.Skill, a.Confidence, a.Candidates, a.Evidence = weigh(signals{read: read, earlier: earlier})
	if a.Confidence == event.Strong {
		a.Confidence = event.Weak
	}
	return a
}

// SecretsOf returns the secret-like variable names that the files of the
// attributed skill, or of any candidate, mention.
func (e *Engine) SecretsOf(a *event.Attribution) []string {
	if a == nil || e.gateways[a.Gateway] == nil {
		return nil
	}
	c := &e.gateways[a.Gateway].catalogue
	var names []string
	if a.Skill != nil {
		names = append(names, c.byDir(a.Skill.Dir).EnvNames...)
	}
	for _, id := range a.Candidates {
		names = append(names, c.byDir(id.Dir).EnvNames...)
	}
	return names
}
