package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/console"
	"github.com/clawwatch/clawwatch/internal/event"
)

// shownID is how much of an ID a table shows: the millisecond, and enough of
// the rest for `clawwatch why`.
const shownID = 14

// A printer writes for a person or a pipe. The first error stays in err; what
// comes after it is not written.
type printer struct {
	w      io.Writer
	width  int // of a line, in characters; 0: as long as it takes
	colour bool
	err    error
}

// newPrinter looks at where the output goes.
func newPrinter(w io.Writer) *printer {
	p := &printer{w: w}
	f, ok := w.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return p
	}
	p.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
		p.width = max(int(size.Col), 80)
	}
	return p
}

func (p *printer) line(s string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, s+"\n")
	}
}

func (p *printer) linef(format string, args ...any) { p.line(fmt.Sprintf(format, args...)) }

func (p *printer) paint(s string, style console.Style) string {
	return console.Paint(s, style, p.colour)
}

// A column is one of a table; the last takes what is left of the line.
type column struct {
	name  string
	width int
}

// header prints the names of the columns.
func (p *printer) header(columns []column) {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	p.line(p.paint(p.layout(columns, names), console.Dim))
}

// row prints cells that are safe already.
func (p *printer) row(columns []column, cells ...string) { p.line(p.layout(columns, cells)) }

func (p *printer) layout(columns []column, cells []string) string {
	var b strings.Builder
	used := 0
	for i, c := range columns[:len(columns)-1] {
		b.WriteString(pad(clip(cells[i], c.width), c.width) + "  ")
		used += c.width + 2
	}
	last := cells[len(cells)-1]
	if p.width > 0 {
		last = clip(last, max(p.width-used, 24))
	}
	return strings.TrimRight(b.String()+last, " ")
}

// clip cuts to so many characters and says so.
func clip(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(width-utf8.RuneCountInString(s), 0))
}

// text is hostile text made safe for a terminal.
func text(s string) string { return console.Text(s, 1000) }

// stamp is a time as tables show it: without the year.
func stamp(t time.Time) string { return t.Local().Format("01-02 15:04:05") }

func short(id string) string { return text(id)[:min(shownID, len(text(id)))] }

// words joins hostile texts with a space, those that are not empty.
func words(all ...string) string {
	all = slices.DeleteFunc(all, func(s string) bool { return s == "" })
	return text(strings.Join(all, " "))
}

// whose gives the skill and the sureness of an attribution, as two cells.
func whose(a *event.Attribution) (skill, sure string) {
	switch {
	case a == nil:
		return "-", "-"
	case a.Skill != nil:
		skill = text(a.Skill.Name)
	case len(a.Candidates) > 0:
		skill = console.Candidates(a.Candidates)
	}
	return orDash(skill), orDash(string(a.Confidence))
}

// modelText leaves out what OpenClaw puts before the model's own command: some
// 700 characters that are the same each time. The JSON output has all of it.
func modelText(arg string) string {
	const end = "unset OPENCLAW_PREPEND_PATH; "
	if _, after, ok := strings.Cut(arg, end); ok && strings.Contains(arg, "eval '") {
		return "… " + strings.TrimSuffix(after, "'")
	}
	return arg
}

// command is the command line of a process, quoted where it must be to be read.
func command(p *event.Process) string {
	if p == nil {
		return ""
	}
	if len(p.CommandArgs) == 0 {
		if p.Executable != nil {
			return text(p.Executable.Path)
		}
		return "?"
	}
	quoted := make([]string, len(p.CommandArgs))
	for i, a := range p.CommandArgs {
		a = modelText(a)
		quoted[i] = text(a)
		if a == "" || strings.ContainsAny(a, " \t\n\"'") {
			quoted[i] = text(strconv.Quote(a))
		}
	}
	s := strings.Join(quoted, " ")
	if p.ArgsTruncated {
		s += " …"
	}
	return clip(s, 1000)
}

// peer names the other end of a connection.
func peer(host, address string, port uint16) string {
	at := text(address) + ":" + strconv.Itoa(int(port))
	switch {
	case port == 0: // a Unix socket has none
		at = text(address)
	case strings.Contains(address, ":"):
		at = "[" + text(address) + "]:" + strconv.Itoa(int(port))
	}
	if host == "" {
		return at
	}
	return text(host) + " (" + at + ")"
}

// what says in one line what a record is about, and the types of sensitive data
// in it.
func what(r *event.Record) string {
	var types []string
	for _, s := range r.Sensitive {
		if !slices.Contains(types, s.Type) {
			types = append(types, s.Type)
		}
	}
	if len(types) == 0 {
		return plainWhat(r)
	}
	return plainWhat(r) + "  [holds " + text(strings.Join(types, ", ")) + "]"
}

func plainWhat(r *event.Record) string {
	switch {
	case r.Kind == event.KindExit:
		return ending(r.Process) + ": " + command(r.Process)
	case r.DNS != nil:
		return text(r.DNS.Name) + " is " + text(strings.Join(r.DNS.Addresses, ", ")) + ", says " + text(r.DNS.Server)
	case r.Env != nil:
		return envWhat(r)
	case r.Access != nil:
		return accessWhat(r.Access)
	case r.Call != "":
		return text(r.Call) + ": " + command(r.Process)
	case r.File != nil:
		return fileWhat(r.File)
	case r.Kind == event.KindListen:
		return text(string(r.Network.Transport)) + " at " + peer("", r.Network.LocalAddress, r.Network.LocalPort)
	case r.Kind == event.KindSocket:
		return words(r.Network.Family, r.Network.SocketType) + failed(r.Network.Errno)
	case r.Network != nil:
		return networkWhat(r.Network)
	case r.Effects != nil && r.Tool != nil:
		return toolWhat(r.Tool) + ": " + effectsWhat(r.Effects)
	case r.Tool != nil:
		return toolWhat(r.Tool)
	case r.LLM != nil:
		return llmWhat(r.LLM)
	case r.Session != nil:
		return words(r.Session.Key, r.Session.Channel, r.Session.Actor)
	case r.Skill != nil:
		return words(r.Skill.ID.Name, r.Skill.ID.Version, "in "+r.Skill.ID.Dir)
	case r.Gateway != nil:
		return text(string(r.Gateway.Role)) + " of " + text(r.Gateway.StateDir)
	case r.Sensor != nil:
		return sensorWhat(r.Sensor)
	}
	return command(r.Process)
}

func accessWhat(a *event.Accessed) string {
	s := text(string(a.Method))
	if a.Signal != 0 {
		s += " " + strconv.Itoa(a.Signal)
	}
	if t := a.Target; t != nil {
		s += " → " + strconv.Itoa(int(t.PID)) + " " + text(t.Executable)
		if t.Role != "" {
			s += " (" + text(string(t.Role)) + ")"
		}
	}
	return s
}

func fileWhat(f *event.File) string {
	s := text(f.Operation) + " "
	switch {
	case f.OldPath != "":
		s += text(f.OldPath) + " → "
	case f.Attribute != "":
		s += words(f.Attribute, f.Value) + " of "
	}
	s += text(f.Path)
	switch {
	case f.Target != "":
		s += " → " + text(f.Target)
	case f.Requested != "":
		s += " as " + text(f.Requested)
	}
	for _, n := range []struct {
		bytes *uint64
		what  string
	}{{f.BytesRead, "read"}, {f.BytesWritten, "written"}} {
		if n.bytes != nil {
			s += fmt.Sprintf(", %d bytes %s", *n.bytes, n.what)
		}
	}
	if f.Attempted {
		s += ", asked for"
	}
	return s
}

func envWhat(r *event.Record) string {
	names := make([]string, len(r.Env.Names))
	for i, n := range r.Env.Names {
		names[i] = text(n)
	}
	s := text(string(r.Env.Method))
	if r.File != nil {
		s += " " + text(r.File.Path)
	}
	return clip(s+": "+strings.Join(names, " "), 400)
}

func networkWhat(n *event.Network) string {
	arrow := "→"
	if n.Direction == "inbound" {
		arrow = "←"
	}
	s := text(string(n.Transport)) + " " + arrow + " " + peer(n.Vouched(), n.PeerAddress, n.PeerPort)
	if n.Host != "" && n.Vouched() == "" {
		s += " (calling it " + text(n.Host) + ")"
	}
	if n.BytesSent != nil && n.BytesReceived != nil {
		s += fmt.Sprintf(", sent %s, received %s", console.Bytes(*n.BytesSent), console.Bytes(*n.BytesReceived))
	}
	if n.HostAlso != "" {
		s += ", also called " + text(n.HostAlso)
	}
	if n.Method != "" {
		s += ": " + text(n.Method) + " " + text(n.URLPath)
	}
	if n.StatusCode != 0 {
		s += fmt.Sprintf(", answered %d", n.StatusCode)
	}
	return s + failed(n.Errno)
}

func failed(errno int) string {
	if errno == 0 {
		return ""
	}
	return ", failed: " + unix.ErrnoName(unix.Errno(errno))
}

func toolWhat(t *event.Tool) string {
	s := text(t.Name) + " " + text(t.CallID)
	switch {
	case t.Command != "":
		s += ": " + text(t.Command)
	case len(t.Paths) > 0:
		s += ": " + text(strings.Join(t.Paths, " "))
	case t.URL != "":
		s += ": " + text(t.URL)
	case t.IsError:
		s += ": failed"
	}
	return strings.TrimSpace(s)
}

func effectsWhat(x *event.Effects) string {
	n := x.UnexplainedReads + x.UnexplainedWrites + x.UnexplainedHosts
	switch {
	case x.Silent:
		return "said to be done, but " + text(x.Missing)
	case n > 0:
		return fmt.Sprintf("did what it does not say (%d): %s", n, text(strings.Join(x.Examples, ", ")))
	case x.Unjudged != "":
		return "not seen, but " + text(x.Unjudged)
	}
	return fmt.Sprintf("%d programs, %d files read, %d changed, %d hosts, all as it says", x.Processes, x.FilesRead, x.FilesChanged, x.Hosts)
}

func llmWhat(l *event.LLM) string {
	s := fmt.Sprintf("%s/%s, %d in, %d out", text(l.Provider), text(l.Model), l.InputTokens, l.OutputTokens)
	if l.StatusCode != 0 || l.ErrorType != "" {
		s += fmt.Sprintf(", failed: %d %s", l.StatusCode, text(l.ErrorType))
	}
	return s
}

func sensorWhat(s *event.Sensor) string {
	if s.Lost > 0 {
		return fmt.Sprintf("lost %d %s: %s", s.Lost, text(string(s.Of)), text(s.Reason))
	}
	return words(s.Probe, s.Fidelity, s.Reason)
}

// ending says how a process ended, as far as that is known.
func ending(p *event.Process) string {
	switch {
	case p == nil:
		return "ended"
	case p.ExitSignal != 0:
		if name := unix.SignalName(unix.Signal(p.ExitSignal)); name != "" {
			return name
		}
		return fmt.Sprintf("signal %d", p.ExitSignal)
	case p.ExitCode != nil:
		return fmt.Sprintf("exit %d", *p.ExitCode)
	}
	return "ended"
}
