// Package event is the vocabulary of clawwatch: the facts that collectors
// observe, and the records that the pipeline makes of them.
//
// An Event is what a collector saw; nothing in it is guessed. A Record is the
// same fact joined with its process, the skill it was done for and the evidence
// for that; it is what is stored, judged, shipped and printed. An Alert is a
// rule's finding about one or more records.
//
// The package imports only the standard library and starts nothing.
package event

import (
	"cmp"
	"fmt"
	"time"
)

// A ProcID names one process for all time: a PID is reused, the pair is not.
//
// Start is the process's start time in clock ticks (USER_HZ, 100 a second)
// since boot, the finest unit that the kernel and field 22 of /proc/PID/stat
// agree on. The zero ProcID names no process.
type ProcID struct {
	PID   int32
	Start uint64
}

// IsZero reports whether the ID names no process.
func (p ProcID) IsZero() bool { return p == ProcID{} }

// String gives "pid@start".
func (p ProcID) String() string { return fmt.Sprintf("%d@%d", p.PID, p.Start) }

// Compare orders by start, then PID.
func (p ProcID) Compare(q ProcID) int {
	return cmp.Or(cmp.Compare(p.Start, q.Start), cmp.Compare(p.PID, q.PID))
}

// A Source says which collector observed an event.
type Source string

// The sources there are.
const (
	SourceEBPF       Source = "ebpf"
	SourceProcfs     Source = "procfs"
	SourceProcEvents Source = "procevents"
	SourceFanotify   Source = "fanotify"
	SourceSockDiag   Source = "sockdiag"
	SourceInotify    Source = "inotify"
	SourceOpenClaw   Source = "openclaw"
	SourceSkills     Source = "skills"
	SourcePlugin     Source = "plugin"
	SourceAgent      Source = "agent"
)

// An Event is one fact that a collector observed.
//
// Time is wall-clock time; collectors that have kernel time convert it. Proc is
// the process that acted, and zero where the fact has none (a transcript row).
type Event struct {
	Time   time.Time
	Proc   ProcID
	Source Source
	Body   Body
	// Stranger: Proc is in no watched tree. What it, or somebody unknown, acted
	// upon belongs to Gateway, where that is known.
	Stranger bool
	Gateway  string
}

// A Body is the content of an Event: one of the types in body.go.
type Body interface {
	Kind() Kind
	body()
}

// A Kind names what happened, as users, rules and SIEMs see it.
type Kind string

// The kinds there are. KindCandidate, KindToolResult, KindPrompt and KindGateway are
// signals between collectors, agent and pipeline, and so are KindDigest, KindLeft and
// KindToolPhase.
const (
	KindFork       Kind = "process.fork"
	KindExec       Kind = "process.exec"
	KindExit       Kind = "process.exit"
	KindCandidate  Kind = "process.candidate"
	KindHeir       Kind = "process.heir"
	KindLeft       Kind = "file.left"
	KindFileOpen   Kind = "file.open"
	KindFileCreate Kind = "file.create"
	KindFileRename Kind = "file.rename"
	KindFileDelete Kind = "file.delete"
	KindFileLink   Kind = "file.link"
	KindFileAttr   Kind = "file.attr"
	KindFileRead   Kind = "file.read"
	KindFileWrite  Kind = "file.write"
	KindConnect    Kind = "network.connect"
	KindAccept     Kind = "network.accept"
	KindClose      Kind = "network.close"
	KindListen     Kind = "network.listen"
	KindSend       Kind = "network.send"
	KindSocket     Kind = "network.socket"
	KindTLSName    Kind = "tls.name"
	KindHTTP       Kind = "http.exchange"
	KindDNS        Kind = "dns.answer"
	KindEnvRead    Kind = "env.read"

	KindAccess      Kind = "process.access"
	KindCredentials Kind = "process.credentials"
	KindNamespace   Kind = "process.namespace"
	KindDigest      Kind = "process.digest"

	KindGateway      Kind = "gateway.found"
	KindToolEffects  Kind = "tool.effects"
	KindToolCall     Kind = "tool.call"
	KindToolResult   Kind = "tool.result"
	KindToolPhase    Kind = "tool.phase"
	KindLLMCall      Kind = "llm.call"
	KindPrompt       Kind = "session.prompt"
	KindSessionStart Kind = "session.start"

	KindSkillPresent   Kind = "skill.present"
	KindSkillInstalled Kind = "skill.installed"
	KindSkillUpdated   Kind = "skill.updated"
	KindSkillRemoved   Kind = "skill.removed"

	KindLost     Kind = "sensor.lost"
	KindCoverage Kind = "sensor.coverage"
)
