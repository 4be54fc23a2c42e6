package attribution

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// What an exec tool call of OpenClaw puts around the model's command, as seen
// by running 2026.9.6 and 2026.6.11.
const (
	oomWrapper    = `echo 1000 > /proc/self/oom_score_adj`
	prependMarker = `unset OPENCLAW_PREPEND_PATH; `
	prependPath   = `export PATH="${OPENCLAW_PREPEND_PATH}${PATH:+:$PATH}"; ` + prependMarker
	snapshotProbe = `__OPENCLAW_SHELL_SNAPSHOT_CAPTURE__`
)

var shells = []string{"sh", "bash", "dash", "zsh", "ksh", "ash", "fish"}

// shellCommand returns what a shell was asked to run with -c, and whether the
// arguments are such a call. A wrapper `sh -c '… exec "$0" "$@"' SHELL … -c CMD`
// gives the inner command and wrapped=true: it is how OpenClaw starts an exec
// tool call, and nothing else does.
func shellCommand(args []string) (cmd string, wrapped, ok bool) {
	if len(args) < 3 || !slices.Contains(shells, path.Base(args[0])) {
		return "", false, false
	}
	i := slices.Index(args, "-c")
	if i < 1 || i+1 >= len(args) {
		// Combined flags: bash -lc CMD.
		i = slices.IndexFunc(args[1:], func(a string) bool {
			return len(a) > 2 && a[0] == '-' && a[1] != '-' && a[len(a)-1] == 'c'
		}) + 1
		if i < 1 || i+1 >= len(args) {
			return "", false, false
		}
	}
	cmd = args[i+1]
	if strings.HasPrefix(cmd, oomWrapper) && i+2 < len(args) {
		if inner, _, ok := shellCommand(args[i+2:]); ok {
			return inner, true, true
		}
	}
	return cmd, false, true
}

var evalTail = regexp.MustCompile(`(?s)(?:^|\n|; ?)eval ('.*')\s*$`)

// modelCommand takes OpenClaw's preamble off a shell command and returns the
// model's own text. isExec says that the preamble was there, which marks an
// exec tool call. There is no eval where OpenClaw could take no snapshot of the
// user's shell, as in a container.
func modelCommand(cmd string) (text string, isExec bool) {
	if after, ok := strings.CutPrefix(cmd, prependPath); ok {
		return after, true
	}
	m := evalTail.FindStringSubmatch(cmd)
	if m == nil {
		return cmd, false
	}
	text, ok := unquote(m[1])
	if !ok {
		return cmd, false
	}
	if _, after, found := strings.Cut(text, prependMarker); found {
		return after, true
	}
	return text, true
}

// unquote reads one single-quoted shell word in which a quote is written '\”.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '\'' || s[len(s)-1] != '\'' {
		return "", false
	}
	inner := s[1 : len(s)-1]
	plain := strings.ReplaceAll(inner, `'\''`, "\x00")
	if strings.Contains(plain, "'") {
		return "", false
	}
	return strings.ReplaceAll(plain, "\x00", "'"), true
}

// helperCommand reports whether a shell command is one that OpenClaw runs for
// itself and not for a tool call.
func helperCommand(cmd string) bool {
	switch strings.TrimSpace(cmd) {
	case "env -0", `printf '\0'; env -0`:
		return true
	}
	return strings.Contains(cmd, snapshotProbe)
}

// interpreters run a script that is named by their first argument that is not
// an option.
var interpreters = regexp.MustCompile(`^(?:sh|bash|dash|zsh|ksh|ash|fish|python[0-9.]*|pypy[0-9.]*|node|nodejs|bun|deno|ruby[0-9.]*|perl[0-9.]*|php[0-9.]*|lua[0-9.]*|tclsh|Rscript|osascript|tsx|ts-node)$`)

// inlineOptions are options of interpreters other than shells after which no
// script follows, but code, a module or standard input.
var inlineOptions = []string{"-", "-c", "-e", "-E", "-p", "-m", "--eval", "--print"}

// optionsWithValue are interpreter options whose next argument is not the
// script.
var optionsWithValue = []string{"-W", "-X", "-r", "--require", "--import", "--loader", "-I", "-M", "--rcfile", "--init-file"}

// script returns the script that a process runs: its executable when that is a
// script by #! (the kernel puts its path among the arguments), or the script
// argument of an interpreter, made absolute with cwd. Empty: none.
func script(exe string, args []string, cwd string) string {
	if len(args) < 2 {
		return ""
	}
	if !interpreters.MatchString(path.Base(exe)) && !interpreters.MatchString(path.Base(args[0])) {
		return ""
	}
	isShell := slices.Contains(shells, path.Base(exe)) || slices.Contains(shells, path.Base(args[0]))
	for i := 1; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--" && i+1 < len(args):
			return absolute(args[i+1], cwd)
		case a == "run" && i == 1 && (path.Base(exe) == "deno" || path.Base(exe) == "bun"):
			continue
		case isShell && a[:min(1, len(a))] == "-" && !strings.HasPrefix(a, "--"):
			if strings.ContainsAny(a, "cs") || a == "-" {
				return "" // -c CMD, -lc CMD, -s: no script
			}
			if a == "-o" || a == "-O" {
				i++
			}
		case a == "-E" && strings.HasPrefix(path.Base(exe), "py"): // no code in Python
		case !isShell && slices.Contains(inlineOptions, a):
			return ""
		case slices.Contains(optionsWithValue, a):
			i++
		case strings.HasPrefix(a, "-") || strings.HasPrefix(a, "+"):
		default:
			return absolute(a, cwd)
		}
	}
	return ""
}

// slippers are variables that have a loader or an interpreter run other code than
// the script that it is given.
var slippers = []string{
	"LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH", "BASH_ENV", "ENV", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "NODE_OPTIONS", "NODE_PATH",
	"PERL5OPT", "PERL5LIB", "RUBYOPT", "RUBYLIB", "LUA_INIT", "PHPRC",
}

func slipping(names []string) []string {
	var found []string
	for _, n := range names {
		if slices.Contains(slippers, n) {
			found = append(found, n)
		}
	}
	return found
}

func absolute(p, cwd string) string {
	if p == "" || strings.ContainsRune(p, 0) {
		return ""
	}
	if !path.IsAbs(p) {
		if cwd == "" {
			return ""
		}
		p = cwd + "/" + p
	}
	return path.Clean(p)
}

var quoted = regexp.MustCompile("'[^']*'|\"[^\"$`\\\\]*\"")

// wholeCommand returns the script or program that a command is a call of and
// nothing else, as an absolute path. Empty: it does more, or cannot be read so
// simply.
func wholeCommand(cmd, home, cwd string) string {
	plain := quoted.ReplaceAllString(strings.TrimSpace(cmd), "q")
	if strings.ContainsAny(plain, ";&|<>()$`\n\\{}'\"") {
		return ""
	}
	words := strings.Fields(plain)
	if len(words) == 0 {
		return ""
	}
	for i, w := range words {
		if strings.HasPrefix(w, "~/") {
			words[i] = home + w[1:]
		}
	}
	if interpreters.MatchString(path.Base(words[0])) {
		src := ScriptOf(event.Exec{Path: words[0], Args: words, Cwd: cwd})
		if src.Source != event.ScriptFile {
			return ""
		}
		return src.Path
	}
	if !strings.Contains(words[0], "/") {
		return ""
	}
	return absolute(words[0], cwd)
}

// maxWords bounds the work on one command text; a longer one is looked at as
// far as that.
const maxWords = 4096

var wordBreak = regexp.MustCompile("[\\s\"'`;|&<>(){}=,]+")

// mentionedPaths returns the absolute forms of all words of a command that look
// like paths. It is no shell parser: it finds what is written, and evidence
// from it is never more than a hint.
func mentionedPaths(cmd, home, cwd string) []string {
	var out []string
	for _, w := range wordBreak.Split(cmd, maxWords) {
		switch {
		case !strings.Contains(w, "/"):
			continue
		case strings.HasPrefix(w, "~/"):
			w = home + w[1:]
		case strings.HasPrefix(w, "$HOME/"):
			w = home + w[len("$HOME"):]
		}
		if p := absolute(w, cwd); p != "" {
			out = append(out, p)
		}
	}
	return out
}
