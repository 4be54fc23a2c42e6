package pipeline

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
)

// environment derives from a fact the access to environment variables that lies
// in it, or nil. A read of a variable that a process already has makes no
// system call, so what it was handed at exec stands for it.
func (p *Pipeline) environment(it *item) *event.Event {
	var read event.EnvRead
	switch b := it.ev.Body.(type) {
	case event.Exec:
		read = p.handedOver(it, b)
	case event.FileOpen:
		if !b.Read || b.Directory {
			return nil
		}
		read = fromFile(b.Path)
	case event.FileUse:
		if b.Opened || b.BytesRead == 0 && !b.MappedRead {
			return nil // the open told
		}
		read = fromFile(b.Path)
	}
	if read.Method == "" {
		return nil
	}
	return &event.Event{Time: it.ev.Time, Proc: it.ev.Proc, Source: it.ev.Source, Body: read}
}

// handedOver looks at an exec inside a tool call: at what dumps the
// environment, else at the names that look like secrets. Every process of a
// tool call is handed the same ones, so they are reported for its root and for
// each script of a skill, and not for each cat and sed between.
func (p *Pipeline) handedOver(it *item, b event.Exec) event.EnvRead {
	if !it.scope.Role().ByTool() {
		return event.EnvRead{}
	}
	if names, dump := dumps(b.Args); dump {
		return event.EnvRead{Method: event.EnvDump, Names: names}
	}
	if !it.scope.Begins(it.ev) && !it.scope.OwnScript(it.ev.Proc) {
		return event.EnvRead{}
	}
	view := p.view(it.scope, nil)
	read := event.EnvRead{}
	for _, name := range b.EnvNames {
		if view.SecretName(name) {
			read.Names, read.Method = append(read.Names, name), event.EnvExec
		}
	}
	slices.Sort(read.Names) // shells hand them on in another order
	return read
}

// dumps reports whether a command prints its environment: printenv, or env
// with no command to run. names are those asked for; none: all.
func dumps(args []string) (names []string, ok bool) {
	if len(args) == 0 {
		return nil, false
	}
	switch path.Base(args[0]) {
	case "printenv":
		for _, a := range args[1:] {
			if !strings.HasPrefix(a, "-") {
				names = append(names, a)
			}
		}
		return names, true
	case "env":
		for i := 1; i < len(args); i++ {
			a := args[i]
			switch {
			case a == "-i" || a == "-" || a == "--ignore-environment":
				return nil, false // empties it first
			case a == "-u" || a == "-C" || a == "--unset" || a == "--chdir":
				i++
			case a == "-S" || strings.HasPrefix(a, "--split-string") || strings.HasPrefix(a, "-S"):
				return nil, false
			case strings.HasPrefix(a, "-") || strings.Contains(a, "="):
			default:
				return nil, false // a command follows
			}
		}
		return nil, true
	}
	return nil, false
}

// fromFile recognises files that hold an environment.
func fromFile(file string) event.EnvRead {
	if rest, ok := strings.CutPrefix(file, "/proc/"); ok {
		dir, name, _ := strings.Cut(rest, "/")
		if strings.HasPrefix(name, "task/") {
			name = path.Base(name)
		}
		if pid, err := strconv.ParseInt(dir, 10, 32); err == nil && name == "environ" {
			return event.EnvRead{Method: event.EnvProcEnviron, Path: file, Target: event.ProcID{PID: int32(pid)}}
		}
		return event.EnvRead{}
	}
	base := path.Base(file)
	if base != ".env" && !strings.HasPrefix(base, ".env.") && base != ".envrc" {
		return event.EnvRead{}
	}
	switch strings.TrimPrefix(base, ".env.") {
	case "example", "sample", "template", "dist", "defaults":
		return event.EnvRead{}
	}
	return event.EnvRead{Method: event.EnvDotenv, Path: file}
}

// bundled reports whether a directory belongs to the plugins in the package
// that a gateway runs from.
func bundled(g event.GatewayFound, dir string) bool {
	return slices.ContainsFunc(g.SkillRoots, func(root string) bool {
		pkg, ok := strings.CutSuffix(root, "/openclaw/skills")
		return ok && strings.HasPrefix(dir, pkg+"/openclaw/dist/")
	})
}

// content is what the policy lets through of a prompt or an answer.
func (p *Pipeline) content(text string) string {
	switch p.Policy.LLM.Content {
	case policy.ContentNone:
		return ""
	case policy.ContentDigest:
		return p.Redactor.Digest(text)
	}
	return p.Redactor.String(text)
}
