package rules

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
	"github.com/clawwatch/clawwatch/internal/redact"
)

// Bounds of a message, in bytes.
const (
	maxMessage = 600
	maxValue   = 256 // of one value in it
)

// Words are what a message sees besides the Env: phrases for people.
type Words struct {
	Env
	Who      string `expr:"who"`      // "skill weather", and how sure that is where it is not certain
	Did      string `expr:"did"`      // what was done to a file: "read", "wrote", …
	Endpoint string `expr:"endpoint"` // "api.example.com (192.0.2.1:443)"
	By       string `expr:"by"`       // " by curl, user dev", or ""
}

var did = map[string]string{
	"read": "read", "write": "wrote", "create": "created", "rename": "renamed", "delete": "deleted", "path": "looked up",
	"execute": "executed", "exchange": "exchanged", "link": "linked", "symlink": "made the symbolic link", "truncate": "truncated",
	"attribute": "changed the attributes of",
}

// A message is text with expressions in braces.
type message struct {
	parts       []part
	commandLine bool
}

// A part is literal text, or an expression.
type part struct {
	text    string
	program *vm.Program
}

// UnmarshalText is called by yamlfile.
func (m *message) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	at := 0
	for {
		open := strings.IndexByte(s[at:], '{')
		if open < 0 {
			break
		}
		open += at
		end := closing(s, open+1)
		if end < 0 {
			return &yamlfile.InnerError{Line: 1, Column: open + 1, Message: "brace without an end"}
		}
		program, seen, err := compile(s[open+1:end], Words{}, nil, messageFunctions()...)
		if err != nil {
			var inner *yamlfile.InnerError
			if errors.As(err, &inner) {
				inner.Column += open + 1
			}
			return err
		}
		m.parts = append(m.parts, part{text: s[at:open]}, part{program: program})
		m.commandLine = m.commandLine || seen.commandLine
		at = end + 1
	}
	m.parts = append(m.parts, part{text: s[at:]})
	return nil
}

// closing finds the brace that ends an expression, past those in strings.
func closing(s string, i int) int {
	var quote byte
	for depth := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"', c == '\'', c == '`':
			quote = c
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		case c == '}':
			return i
		}
	}
	return -1
}

// messageFunctions: bytes(n) is a size for people, list(names) an enumeration,
// text(n) a number as text.
func messageFunctions() []expr.Option {
	return []expr.Option{
		expr.Function("bytes", func(in ...any) (any, error) {
			return policy.Size(in[0].(int)).String(), nil
		}, new(func(int) string)),
		expr.Function("list", func(in ...any) (any, error) {
			return enumerate(in[0].([]string)), nil
		}, new(func([]string) string)),
		expr.Function("text", func(in ...any) (any, error) {
			return strconv.Itoa(in[0].(int)), nil
		}, new(func(int) string)),
	}
}

// render gives one line of text that is safe to print. Whatever of it cannot be
// computed shows as "?"; the first such error is returned with the rest.
func (m *message) render(machine *vm.VM, w *Words) (string, error) {
	var out strings.Builder
	var failed error
	for _, p := range m.parts {
		if p.program == nil {
			out.WriteString(p.text)
			continue
		}
		value, err := machine.Run(p.program, w)
		if err != nil {
			value, failed = "?", errors.Join(failed, err)
		}
		out.WriteString(redact.Sanitize(fmt.Sprint(value), maxValue))
	}
	return redact.Sanitize(out.String(), maxMessage), failed
}

// phrase fills the words for the record of the environment.
func (w *Words) phrase(r *event.Record) {
	w.Who, w.By = who(r), ""
	w.Did = did[w.File.Operation]
	w.Endpoint = w.Network.PeerAddress
	if w.Network.Transport != string(event.Unix) && w.Network.Transport != string(event.VSock) {
		w.Endpoint = net.JoinHostPort(w.Network.PeerAddress, strconv.Itoa(w.Network.PeerPort))
	}
	switch {
	case w.Network.Host == "":
	case r.Network != nil && r.Network.Vouched() == "":
		w.Endpoint += " (calling it " + w.Network.Host + ")"
	default:
		w.Endpoint = w.Network.Host + " (" + w.Endpoint + ")"
	}
	if w.Process.Name != "" {
		w.By = " by " + redact.Sanitize(w.Process.Name, 64)
		if w.Process.User != "" {
			w.By += ", user " + redact.Sanitize(w.Process.User, 64)
		}
	}
}

// who names the skill with the care that the attribution calls for.
func who(r *event.Record) string {
	a := r.Attribution
	if a == nil {
		a = new(event.Attribution)
	}
	if a.Skill != nil {
		s := "skill " + redact.Sanitize(a.Skill.Name, 64)
		if a.Confidence != event.Certain {
			s += fmt.Sprintf(" (attribution %s)", a.Confidence)
		}
		return s
	}
	if len(a.Candidates) > 0 {
		names := make([]string, len(a.Candidates))
		for i, c := range a.Candidates {
			names[i] = c.Name
		}
		return "one of the skills " + enumerate(names)
	}
	if r.Process == nil {
		return "an agent with no skill known"
	}
	switch r.Process.Role {
	case event.RoleTool:
		return "a process of an exec call with no skill known"
	case event.RoleHeir:
		return "a process that acts on what an exec call left behind, with no skill known"
	case event.RoleGateway:
		return "the gateway in a tool call with no skill known"
	}
	return "a process with no skill known"
}

// enumerate gives at most five names: they may be long and many.
func enumerate(names []string) string {
	const most = 5
	shown := make([]string, 0, most)
	for _, n := range names[:min(len(names), most)] {
		shown = append(shown, redact.Sanitize(n, 32))
	}
	s := strings.Join(shown, ", ")
	if len(names) > most {
		s += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return s
}
