package attribution

import (
	"path"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// An Act is what a process does with a file that it opened.
type Act int

// The acts there are.
const (
	Reads   Act = iota // as data: what is in it does not command the process
	TakesIn            // as a part of what commands it: a start-up file, a module, a library
	Runs               // as its program or script
)

// ActOn says what a process does with a file that it opened or runs. x is what
// is known of the process, at least Comm; script is what x was given to run, with
// links followed. Where neither the program nor the name of the file says that it
// is code, it counts as data: an editor, a search or a backup is no heir.
func ActOn(x event.Exec, script string, h event.Heir) Act {
	name := path.Base(x.Path)
	if x.Path == "" {
		name = x.Comm
	}
	ext := path.Ext(h.Path)
	switch {
	case name == "atd" && strings.HasPrefix(h.Path, "/var/spool/cron/atjobs/"): // it becomes the shell that reads it
		return Runs
	case h.Program || script != "" && script == h.Path:
		return Runs
	case strings.HasSuffix(h.Path, ".so") || strings.Contains(path.Base(h.Path), ".so."):
		return TakesIn
	case slices.Contains(shells, name):
		if slices.Contains(shellExts, ext) || startup(h.Path) {
			return TakesIn
		}
	case interpreters.MatchString(name):
		if slices.Contains(codeExts, ext) {
			return TakesIn
		}
	}
	return Reads
}

// Extensions of files that a shell, or another interpreter, takes in.
var (
	shellExts = []string{".sh", ".bash", ".zsh", ".ksh", ".fish", ".env"}
	codeExts  = []string{".py", ".pyc", ".pth", ".js", ".mjs", ".cjs", ".ts", ".rb", ".pl", ".pm", ".lua", ".php", ".node", ".tcl", ".R"}
)

// startupNames are what shells read when they start, by the end of the path.
var startupNames = []string{
	".bashrc", ".bash_profile", ".bash_login", ".bash_aliases", ".bash_logout", ".profile", ".zshrc", ".zshenv", ".zprofile", ".zlogin", ".kshrc",
	"/etc/profile", "/etc/bash.bashrc", "/etc/zsh/zshrc", "/etc/zsh/zshenv", "/fish/config.fish",
}

func startup(p string) bool {
	return strings.HasPrefix(p, "/etc/profile.d/") || slices.ContainsFunc(startupNames, func(n string) bool { return strings.HasSuffix(p, n) })
}
