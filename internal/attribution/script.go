package attribution

import (
	"path"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// ScriptOf says what the program of an exec is given to run, if it is an
// interpreter or a dynamic loader. It goes by the name of the executable and by
// the arguments, except that the kernel itself tells of a script with #!.
func ScriptOf(x event.Exec) event.Script {
	exe := path.Base(x.Path)
	switch {
	case x.Script:
		return event.Script{Path: absolute(x.Name, x.Cwd), Source: event.ScriptFile}
	case isLoader(exe):
		if p := loaded(x.Args); p != "" {
			return event.Script{Path: absolute(p, x.Cwd), Source: event.ScriptLoader}
		}
	case interpreters.MatchString(exe):
		return interpreted(x)
	}
	return event.Script{}
}

func interpreted(x event.Exec) event.Script {
	if len(x.Args) == 0 {
		return event.Script{}
	}
	name := path.Base(x.Path)
	if slices.Contains(shells, name) {
		return ofShell(x)
	}
	for i := 1; i < len(x.Args); i++ {
		a := x.Args[i]
		switch {
		case a == "-V", a == "-v", a == "-h", a == "--version", a == "--help":
			return event.Script{}
		case a == "-m" && strings.HasPrefix(name, "py") && i+1 < len(x.Args):
			return event.Script{Path: x.Args[i+1], Source: event.ScriptModule}
		case isCode(name, a):
			return event.Script{Source: event.ScriptArgument}
		case slices.Contains(optionsWithValue, a):
			i++
			continue
		case len(a) > 1 && a[0] == '-' && a != "--":
			continue
		}
		break // the first that is no option
	}
	if p := script(x.Path, x.Args, x.Cwd); p != "" {
		return event.Script{Path: p, Source: event.ScriptFile}
	}
	return event.Script{Source: event.ScriptStdin}
}

func ofShell(x event.Exec) event.Script {
	if p := script(x.Path, x.Args, x.Cwd); p != "" {
		return event.Script{Path: p, Source: event.ScriptFile}
	}
	for _, a := range x.Args[1:] {
		if len(a) > 1 && a[0] == '-' && a[1] != '-' && strings.Contains(a, "c") {
			return event.Script{Source: event.ScriptArgument}
		}
	}
	return event.Script{Source: event.ScriptStdin}
}

// isCode reports whether an option of an interpreter is followed by code, or
// has it behind itself: -c in Python, -r in PHP, -e and -p in the others, each
// at the end of several letters, too.
func isCode(name, a string) bool {
	for _, option := range []string{"--eval", "--print"} {
		if a == option || strings.HasPrefix(a, option+"=") {
			return true
		}
	}
	if len(a) < 2 || a[0] != '-' || a[1] == '-' {
		return false
	}
	letters := "eEp"
	switch {
	case strings.HasPrefix(name, "py"):
		letters = "c"
	case strings.HasPrefix(name, "php"):
		letters = "r"
	}
	return strings.Contains(letters, a[1:2]) || strings.Contains(letters, a[len(a)-1:])
}

func isLoader(name string) bool {
	return strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld-musl-") || strings.HasPrefix(name, "ld.so") ||
		strings.HasPrefix(name, "ld-2.") || strings.HasPrefix(name, "ld64.so")
}

// loaderValues are the options of dynamic loaders that have a value behind them.
var loaderValues = []string{"--library-path", "--inhibit-rpath", "--audit", "--preload", "--argv0", "--glibc-hwcaps-prepend", "--glibc-hwcaps-mask"}

// loaded is the program among a dynamic loader's arguments.
func loaded(args []string) string {
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case slices.Contains(loaderValues, a):
			i++
		case a == "--":
			if i+1 < len(args) {
				return args[i+1]
			}
		case strings.HasPrefix(a, "--"):
		default:
			return a
		}
	}
	return ""
}
