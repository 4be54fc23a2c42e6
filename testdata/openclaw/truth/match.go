package truth

import "slices"

// A Verdict says how good an attribution is. They are in order: the worst of
// several counts.
type Verdict int

// The verdicts there are.
const (
	Right     Verdict = iota // certain or strong, of the true skill and session; or rightly none
	Unsure                   // the true skill, but weak, or without its session
	Ambiguous                // the true skill is one of the candidates
	None                     // no skill named where there is one
	Wrong                    // another skill, session or gateway
	Missing                  // no event at all
)

func (v Verdict) String() string {
	return [...]string{"right", "unsure", "ambiguous", "none", "wrong", "missing"}[v]
}

// judge compares what was said with the truth.
func judge(a *Attribution, truth Label) Verdict {
	if a == nil {
		return None
	}
	if a.Gateway != "" && a.Gateway != truth.Gateway || a.Session != "" && a.Session != truth.Session {
		return Wrong
	}
	whole := a.Gateway != "" && (a.Session != "" || truth.Session == "")
	switch {
	case a.Skill != nil && !truth.is(*a.Skill):
		return Wrong
	case a.Confidence == "ambiguous" && truth.Skill != "" && !slices.ContainsFunc(a.Candidates, truth.is):
		return Wrong
	case a.Confidence == "ambiguous":
		return Ambiguous
	case a.Skill == nil && truth.Skill != "":
		return None
	case whole && (a.Skill == nil || a.Confidence == "certain" || a.Confidence == "strong"):
		return Right
	}
	return Unsure
}

// is reports whether the skill named is the true one.
func (l Label) is(s Skill) bool { return s.Name == l.Skill && (l.Dir == "" || s.Dir == l.Dir) }

// find is every event that tells of the line. The environment that a process
// is handed may be told of at any process that handed it on: the nearest one
// that tells is taken.
func (l Line) find(byProc map[Proc][]Event, rest []Event) []Event {
	matching := func(events []Event) []Event {
		var found []Event
		for _, e := range events {
			if l.matches(e) {
				found = append(found, e)
			}
		}
		return found
	}
	switch l.Op {
	case "tool", "llm", "installed":
		return matching(rest)
	case "env":
		for _, p := range append([]Proc{l.Proc}, l.Ancestors...) {
			if found := matching(byProc[p]); found != nil {
				return found
			}
		}
		return nil
	}
	return matching(byProc[l.Proc])
}

// matches leaves the process aside: find has chosen it.
func (l Line) matches(e Event) bool {
	file := func(operation string, kinds ...string) bool {
		return slices.Contains(kinds, e.Kind) && e.File.Path == l.Path && e.File.OldPath == l.OldPath && e.File.Operation == operation
	}
	switch l.Op {
	case "exec":
		return e.Kind == "process.exec" && e.Process.Executable.Path == l.Exe
	case "read":
		return file("read", "file.open", "file.read")
	case "write":
		return file("create", "file.create") || file("write", "file.open", "file.write", "file.create")
	case "edit": // of a file that is there
		return file("write", "file.open", "file.write")
	case "delete":
		return file("delete", "file.delete")
	case "rename":
		return file("rename", "file.rename")
	case "connect", "close":
		host, port := l.splitPeer()
		return e.Kind == "network."+l.Op && e.Network.Address == host && e.Network.Port == port
	case "env":
		return e.Kind == "env.read" && slices.Contains(e.Env.Names, l.Name)
	case "environ":
		return e.Kind == "env.read" && e.Env.Method == "proc_environ"
	case "dump", "dotenv":
		return e.Kind == "env.read" && e.Env.Method == l.Op
	case "tool":
		return e.Kind == "tool.call" && e.Tool.CallID == l.ID
	case "llm":
		return e.Kind == "llm.call" && (l.ID != "" && e.LLM.ResponseID == l.ID || l.ID == "" && e.LLM.Status == l.Status)
	case "installed":
		return e.Kind == "skill.installed" && e.Skill.ID.Name == l.Name
	}
	return false
}

// bytes is what the events of a close add up to.
func bytes(events []Event) (n uint64) {
	for _, e := range events {
		n += e.Network.Sent
	}
	return n
}
