package attribution

import (
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// maxNamed bounds the paths that one command is taken to name.
const maxNamed = 512

// Named returns the absolute forms of all words of a command that could be
// paths, also of plain names, from where the command starts and from each
// directory that it goes to. What a pattern leaves open is cut off: notes/*.txt
// names notes. It is no shell parser, and errs on the side of more.
func Named(command, home, cwd string) []string {
	var out []string
	from := []string{cwd}
	goes := false
	for _, w := range wordBreak.Split(command, maxWords) {
		switch {
		case w == "" || len(out) >= maxNamed:
			continue
		case w == "cd" || w == "pushd" || w == "-C":
			goes = true
			continue
		case strings.HasPrefix(w, "-"):
			continue
		case w == "~" || w == "$HOME":
			w = home
		case strings.HasPrefix(w, "~/"):
			w = home + w[1:]
		case strings.HasPrefix(w, "$HOME/"):
			w = home + w[len("$HOME"):]
		case strings.HasPrefix(w, "$"):
			continue // whatever it holds
		}
		if i := strings.IndexAny(w, "*?[$"); i >= 0 {
			if w = w[:strings.LastIndexByte(w[:i], '/')+1]; w == "" {
				w = "."
			}
		}
		for _, dir := range from {
			if p := absolute(w, dir); p != "" {
				out = append(out, p)
			}
		}
		if goes && len(from) < 4 {
			if p := absolute(w, cwd); p != "" {
				from = append(from, p)
			}
		}
		goes = false
	}
	return out
}

// NamedBy returns the paths that a recorded call names by its arguments and its
// command, and the directory in which the command starts.
func (e *Engine) NamedBy(c event.ToolCall) (paths []string, cwd string) {
	g := e.gateway(c.Gateway)
	cwd = g.workdir(&call{ToolCall: c})
	for _, p := range c.Paths {
		paths = append(paths, g.readings(p)...)
	}
	return append(paths, Named(c.Command, g.found.Home, cwd)...), cwd
}

// Declared returns what the attributed skill, or any candidate, says that it
// needs.
func (e *Engine) Declared(a *event.Attribution) []event.Declared {
	if a == nil || e.gateways[a.Gateway] == nil {
		return nil
	}
	c := &e.gateways[a.Gateway].catalogue
	var all []event.Declared
	if a.Skill != nil {
		all = append(all, c.byDir(a.Skill.Dir).Declares)
	}
	for _, id := range a.Candidates {
		all = append(all, c.byDir(id.Dir).Declares)
	}
	return all
}
