package skills

import (
	"bytes"
	"slices"
	"strings"
)

// shellWords come first in a command and are no programs.
var shellWords = []string{
	"if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "in", "function", "select", "time", "coproc",
	"alias", "bg", "break", "builtin", "cd", "command", "continue", "declare", "dirs", "disown", "echo", "eval", "exec", "exit", "export",
	"false", "fg", "getopts", "hash", "jobs", "let", "local", "popd", "printf", "pushd", "pwd", "read", "readonly", "return", "set", "shift",
	"shopt", "source", "test", "trap", "true", "type", "typeset", "ulimit", "umask", "unalias", "unset", "wait",
}

// shellPrefixes stand before the command that they run.
var shellPrefixes = []string{"sudo", "exec", "command", "time", "nohup", "then", "do", "else", "if", "while", "until", "elif", "!", "{", "(", "$"}

// shellVariables are every program's, or set by the shell itself.
var shellVariables = []string{"HOME", "PATH", "PWD", "OLDPWD", "USER", "SHELL", "TERM", "LANG", "TMPDIR", "IFS", "PPID", "RANDOM", "SECONDS", "HOSTNAME", "UID", "EUID", "BASH_SOURCE"}

// shellLanguages are those of a block of code that holds commands.
var shellLanguages = []string{"", "sh", "bash", "zsh", "shell", "console", "shell-session", "terminal"}

// prose takes the commands of the shell code in a text: of the blocks between
// fences, and of code within a line where it is more than one word.
func (d *declaration) prose(body []byte) {
	var fence, block []byte
	shell := false
	for line := range bytes.Lines(body) {
		if len(d.bins) >= maxDeclared {
			return
		}
		mark, language := fenceOf(line)
		switch {
		case fence == nil && mark != nil:
			fence, block, shell = mark, nil, slices.Contains(shellLanguages, language)
		case fence == nil:
			d.inline(line)
		case mark != nil && language == "" && mark[0] == fence[0] && len(mark) >= len(fence):
			d.script(block)
			fence, block = nil, nil
		case shell:
			block = append(block, line...)
		}
	}
	d.script(block)
}

// fenceOf reads a line that begins or ends a block of code.
func fenceOf(line []byte) (mark []byte, language string) {
	line = bytes.TrimSpace(line)
	n := 0
	for n < len(line) && (line[n] == '`' || line[n] == '~') && line[n] == line[0] {
		n++
	}
	if n < 3 || bytes.IndexByte(line[n:], '`') >= 0 {
		return nil, ""
	}
	language, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(string(line[n:]))), " ")
	return line[:n], language
}

// inline takes the commands among the code within a line. A single word there
// is as often a name.
func (d *declaration) inline(line []byte) {
	for {
		_, rest, ok := bytes.Cut(line, []byte{'`'})
		code, after, closed := bytes.Cut(rest, []byte{'`'})
		if !ok || !closed {
			return
		}
		if bytes.IndexByte(bytes.TrimSpace(code), ' ') > 0 {
			d.script(code)
		}
		line = after
	}
}

// script takes the first word of every command of a piece of shell code, as far
// as that can be told without running it.
func (d *declaration) script(code []byte) {
	heredoc := ""
	code = bytes.ReplaceAll(code, []byte("\\\n"), []byte(" "))
	for line := range bytes.Lines(code) {
		text := strings.TrimSpace(string(line))
		if heredoc != "" {
			if text == heredoc {
				heredoc = ""
			}
			continue
		}
		if strings.HasPrefix(text, "#") {
			continue
		}
		for _, command := range splitCommands(text) {
			if word := firstWord(command); word != "" {
				d.bin(word)
			}
		}
		if _, after, ok := strings.Cut(text, "<<"); ok && !strings.HasPrefix(after, "<") {
			heredoc, _, _ = strings.Cut(strings.TrimLeft(after, "- "), " ")
			heredoc = strings.Trim(heredoc, `'"\`)
		}
	}
}

// splitCommands cuts a line where another command begins. Text in quotes stays
// whole, but for what is to be run in it.
func splitCommands(line string) []string {
	var all []string
	var quote byte
	start := 0
	cut := func(from, to int) {
		all = append(all, line[start:from])
		start = to
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\':
			i++
		case quote != '\'' && c == '`':
			cut(i, i+1)
		case quote != '\'' && strings.HasPrefix(line[i:], "$("):
			cut(i, i+2)
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '|' || c == ';' || c == '&' && (i == 0 || line[i-1] != '>'):
			cut(i, i+1)
		case c == '#' && i > 0 && line[i-1] == ' ':
			return append(all, line[start:i])
		}
	}
	return append(all, line[start:])
}

// firstWord gives the program of a command, behind what sets variables or stands
// before programs.
func firstWord(command string) string {
	for _, word := range strings.Fields(command) {
		name, _, assigns := strings.Cut(word, "=")
		switch {
		case assigns && envShape.MatchString(name):
		case slices.Contains(shellPrefixes, word):
		default:
			return strings.Trim(word, `"'()`)
		}
	}
	return ""
}
