package redact

import (
	"regexp"
	"slices"
	"strings"
)

// nameHints is the words that make a name secret; see secretName.
var nameHints = []string{"key", "token", "secret", "pass", "pwd", "auth", "cred", "bearer"}

var (
	// assignment is a marker, or NAME=, "name": or name: before a value.
	assignment = regexp.MustCompile(marker + `|([A-Za-z_][A-Za-z0-9_.-]*)(\\*["']?[ \t]*[=:][ \t]*)`)
	// flag is a marker, or --name or -name before a value.
	flag = regexp.MustCompile(marker + `|(--?[A-Za-z][A-Za-z0-9_-]*)([ \t]+)`)
)

// named takes out the values that accept says are secret. An expression finds
// the names; the values are read by hand, because a value that is no secret may
// hold a name and a secret of its own: x='TOKEN=y'.
func (r *Redactor) named(s string, names *regexp.Regexp, accept func(name, separator, value string, literal bool) bool) string {
	var out strings.Builder
	done, at := 0, 0 // written up to; searched up to
	for {
		m := names.FindStringSubmatchIndex(s[at:])
		if m == nil {
			break
		}
		if m[2] < 0 { // a marker, which looks like names and values itself
			at += m[1]
			continue
		}
		name, separator := s[at+m[2]:at+m[3]], s[at+m[4]:at+m[5]]
		at += m[1]
		if secretName(name) == no {
			continue
		}
		from, to, literal := valueAt(s, at)
		if !accept(name, separator, s[from:to], literal) {
			continue
		}
		out.WriteString(s[done:from])
		out.WriteString(r.mark("value", s[from:to]))
		done, at = to, to
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// valueAt finds the value that begins at i as a shell or JSON would have it,
// without its quotes: quoted, quoted within quotes, with an end or without, or
// a plain word. literal: in quotes in which a dollar is a dollar.
func valueAt(s string, i int) (from, to int, literal bool) {
	rest := s[i:]
	switch {
	case strings.HasPrefix(rest, `'\''`): // a quote within single quotes
		return i + 4, i + 4 + upTo(rest[4:], '\''), true
	case strings.HasPrefix(rest, `$'`):
		return i + 2, i + 2 + upTo(rest[2:], '\''), true
	case strings.HasPrefix(rest, `'`):
		return i + 1, i + 1 + upTo(rest[1:], '\''), true
	case strings.HasPrefix(strings.TrimLeft(rest, `\`), `"`): // also \" within double quotes
		open := len(rest) - len(strings.TrimLeft(rest, `\`)) + 1
		end := open
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' && open == 1 {
				end++
			}
			end++
		}
		end = min(end, len(rest))
		if open > 1 {
			end = open + len(strings.TrimRight(rest[open:end], `\`))
		}
		return i + open, i + end, false
	}
	end := wordEnd(rest)
	return i, i + len(strings.TrimRight(rest[:end], ",;}")), false
}

// wordEnd finds the end of a plain word, to which quotes may be joined.
func wordEnd(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ', '\t', '\n', '\r', ';', '|', '&', '<', '>', '(', ')':
			return i
		case '\\':
			i++ // what follows is part of the word
		case '"', '\'':
			joined := upTo(s[i+1:], s[i])
			if i == 0 || joined == 0 || i+1+joined == len(s) || strings.ContainsAny(s[i+1:i+1+joined], " \t\n,:{}") {
				return i // the end of quotes around it all
			}
			i += joined + 1
		}
	}
	return len(s)
}

// upTo gives the length of s before the quote, or all of it.
func upTo(s string, quote byte) int {
	if i := strings.IndexByte(s, quote); i >= 0 {
		return i
	}
	return len(s)
}

// isFlag reports whether an argument is a flag whose value is the next one.
func isFlag(arg string) bool {
	return len(arg) > 3 && arg[0] == '-' && !strings.ContainsAny(arg, "=: \t\n/")
}

func secretFlagValue(name, _, value string, literal bool) bool {
	name = strings.TrimLeft(name, "-")
	return len(name) > 2 && secretName(name) == yes && isValue(value, literal) && !isFile(name, value) && value[0] != '-'
}

// secretAssignment judges name, separator and value.
func secretAssignment(name, separator, value string, literal bool) bool {
	if !isValue(value, literal) || isFile(name, value) {
		return false
	}
	switch secretName(name) {
	case yes:
		if !strings.Contains(separator, ":") || strings.ContainsAny(separator, `"'`) || strings.Contains(strings.ToLower(name), "password") {
			return true
		}
		// "fix the token: refresh it", "docker pull corp/secret:latest", "-v /etc/passwd:/x"
		prose := len(value) < 12 && strings.Trim(value, "abcdefghijklmnopqrstuvwxyz.") == ""
		return len(splitName(name)) > 1 || !prose && value[0] != '/'
	case maybe:
		return len(value) >= 12 && !strings.ContainsAny(value, "/ ,.") && strings.ContainsAny(value, "0123456789")
	}
	return false
}

// isFile reports a key that is named by its file.
func isFile(name, value string) bool {
	if !strings.HasSuffix(strings.ToLower(name), "key") && !strings.HasSuffix(strings.ToLower(name), "passwd") {
		return false
	}
	for _, prefix := range []string{"~/", "./", "../", "/home/", "/etc/", "/root/", "/tmp/", "/run/", "/usr/", "/var/"} {
		if strings.HasPrefix(value, prefix) {
			return true
		}
	}
	for _, suffix := range []string{".pem", ".key", ".pub", ".crt", ".json"} {
		if strings.HasSuffix(value, suffix) {
			return true
		}
	}
	return false
}

// isValue reports whether there is something to hide: not a reference such as
// $NAME or $(cat file), a placeholder, or what is redacted already. In literal
// text a dollar is a dollar.
func isValue(v string, literal bool) bool {
	switch {
	case len(v) < 3, strings.Trim(v, "*xX.…-_=") == "", redacted.MatchString(v):
		return false
	case v[0] == '$' && !literal, v[0] == '`', v[0] == '<' && v[len(v)-1] == '>', strings.HasPrefix(v, "{{"), strings.HasPrefix(v, "${"):
		return false
	}
	for _, reference := range []string{"os.environ", "os.getenv", "process.env", "getenv", "ENV[", "//"} {
		if strings.HasPrefix(v, reference) {
			return false
		}
	}
	return !slices.Contains(noValues, strings.ToLower(strings.TrimRight(v, ")}]")))
}

// noValues are words that stand where a value would.
var noValues = []string{"true", "false", "null", "none", "nil", "undefined", "yes", "off", "string", "required", "optional", "str"}
