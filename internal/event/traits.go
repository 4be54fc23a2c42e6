package event

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// A TraitSort says what sort of thing a skill uses.
type TraitSort string

// The sorts there are.
const (
	TraitProgram  TraitSort = "bin"
	TraitVariable TraitSort = "env"
	TraitHost     TraitSort = "host"
	TraitResolver TraitSort = "resolver" // a name server of the host; those are every program's
	TraitCall     TraitSort = "call"     // a tool call, by the tool's name
)

// A Trait is one thing that a skill was seen to use.
type Trait struct {
	What   TraitSort
	Name   string // at most 256 bytes
	Detail string // a program's file; the name of a host; how a variable was read
}

// A Habit is what one skill was seen to use.
type Habit struct {
	Gateway, Dir string   // of the skill
	Calls        int      // tool calls that were made for it
	Trees        []string // digests of the trees that lay in its directory
	Traits       []Trait
}

const maxTraitName = 256 // bytes

// Traits gives what a record tells of the skill that it is attributed to. Only where
// the skill is sure does it tell anything: a doubt must not become a trait of a skill.
func (r *Record) Traits() []Trait {
	a := r.Attribution
	if r.Skill != nil || a == nil || a.Skill == nil || r.Stranger || a.Confidence != Certain && a.Confidence != Strong {
		return nil
	}
	var all []Trait
	add := func(what TraitSort, name, detail string) {
		if name != "" {
			all = append(all, Trait{what, name[:min(len(name), maxTraitName)], detail[:min(len(detail), maxTraitName)]})
		}
	}
	switch {
	case r.Kind == KindToolCall && r.Tool != nil:
		add(TraitCall, r.Tool.Name, "")
	case r.Kind == KindExec && r.Process != nil:
		if name, from := program(r); from != "" {
			add(TraitProgram, name, from)
		}
	case r.Env != nil && (r.Env.Method == EnvGetenv || r.Env.Method == EnvShell || r.Env.Method == EnvDump):
		for _, name := range r.Env.Names {
			add(TraitVariable, name, string(r.Env.Method))
		}
	case r.DNS != nil && r.DNS.Trusted:
		add(TraitResolver, resolver(r.DNS.Server), "")
	case r.Kind == KindConnect && r.Network != nil:
		add(TraitHost, hostOf(r.Network), r.Network.Host)
	}
	return all
}

// program names what an exec runs, and its file: the program, or the script
// that is installed as one. It is none where that is the skill's own, or the
// shell that OpenClaw begins each call with.
func program(r *Record) (name, from string) {
	p, dir := r.Process, r.Attribution.Skill.Dir
	if p.Role != RoleTool || p.Executable == nil || begins(r) {
		return "", ""
	}
	from = p.Executable.Path
	if s := p.Script; s != nil && s.Source == ScriptFile && strings.HasPrefix(s.Path, "/") && strings.HasSuffix(path.Dir(s.Path), "bin") {
		from = s.Path
	}
	if strings.HasPrefix(from, dir+"/") {
		return "", ""
	}
	return path.Base(from), from
}

var shells = []string{"sh", "bash", "dash", "zsh", "ash", "busybox", "ksh"}

// begins reports whether an exec is the shell of a tool call itself: what comes
// out of it descends by fork.
func begins(r *Record) bool {
	return slices.Contains(shells, path.Base(r.Process.Executable.Path)) &&
		!slices.ContainsFunc(r.Attribution.Evidence, func(e Evidence) bool { return e.Kind == "lineage" })
}

// hostOf names the other end of a connection: by the name that a name server
// gave, else by address. What the process calls it is its own word.
func hostOf(n *Network) string {
	switch {
	case n.Direction != "outbound" || n.Transport != TCP && n.Transport != UDP:
		return ""
	case n.Vouched() != "":
		return n.Vouched()
	case n.PeerPort == 53:
		return resolver(n.PeerAddress)
	}
	return n.PeerAddress
}

func resolver(address string) string { return address + " port " + strconv.Itoa(53) }
