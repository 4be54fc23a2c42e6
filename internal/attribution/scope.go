package attribution

import (
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A Scope is what a process stands for, from one exec to the next.
type Scope struct {
	role   event.Role
	origin *origin
	exec   *execution   // roles tool and heir
	script *scriptRun   // nearest script of a skill, own or inherited
	caller skillSet     // skills of other scripts further up, in the same execution
	lent   []*scriptRun // scripts further up that were left behind
	cwd    skillSet     // skill whose directory was the working directory
	broker bool         // OpenClaw's spawn broker
	root   event.ProcID
	tag    string // of clawwatch's plugin, where it is not that of the execution's root
	tagAt  time.Time

	answers [2]answer // for the root of the execution, and for what descends from it
}

// An answer is an attribution that holds while nothing it depends on changes. A
// storm of facts of one execution is weighed once.
type answer struct {
	version uint64
	*event.Attribution
}

// Role says what the process is; empty when it is in no known tree.
func (s *Scope) Role() event.Role {
	if s == nil {
		return ""
	}
	return s.role
}

// Gateway returns the gateway of the process, or nil.
func (s *Scope) Gateway() *event.GatewayFound {
	if s == nil || s.origin.gateway == nil {
		return nil
	}
	return &s.origin.gateway.found
}

// Execution identifies the tool call's process tree that the process is in;
// zero outside of one.
func (s *Scope) Execution() event.ProcID {
	if s == nil || s.exec == nil {
		return event.ProcID{}
	}
	return s.exec.root
}

// Begins reports whether an exec is the one that an execution began with.
func (s *Scope) Begins(ev event.Event) bool {
	return s != nil && s.exec != nil && s.exec.root == ev.Proc && s.exec.seen.Equal(ev.Time)
}

// OwnScript reports whether the process itself, and not one above it, was
// started with a skill's script.
func (s *Scope) OwnScript(id event.ProcID) bool {
	return s != nil && s.script != nil && s.script.proc == id
}

// An origin is an OpenClaw process at the top of a watched tree. The gateway is
// filled in when it is known.
type origin struct {
	proc    event.ProcID
	gateway *gateway
	command bool // it is a command, and not the gateway
	seen    time.Time
	joined  time.Time // its plugin did, or lost count; zero: there is none
}

// A scriptRun is a skill's script, or program, in execution.
type scriptRun struct {
	proc   event.ProcID
	skill  event.SkillID // zero: that of whoever left it
	left   *legacy       // it was left behind by somebody else; nil: it was not
	path   string
	opened bool   // the process was seen to open it, or it is the executable itself
	fake   bool   // the interpreter is a program that a tool call made: what it opens proves nothing
	slips  string // variable, set in this tool call, by which other code comes into the process; empty: none
	at     time.Time
}
