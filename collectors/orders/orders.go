// Package orders reads what files tell a service manager or a scheduler to start:
// the lines of a crontab, the commands of a systemd unit.
//
// It is asked when such a file was left behind by a tool call and cron or systemd
// comes upon it, so that what is started can be told from what other files ask
// for. A file is read once, as far as 64 KiB and 256 orders; the rest is said to be
// missing. What an order expands to (variables, specifiers, % in a crontab) is not
// worked out: such an order is known by its program, or its beginning.
//
// Units that systemd writes for whoever asks it to run something are no file of a tool
// call's; transient.go finds them, and compares them with what the asker was told.
package orders

import (
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds of one file.
const (
	maxBytes  = 64 << 10
	maxOrders = 256
)

// An Order is one command that a file gives.
type Order struct {
	Text  string   // as the file has it, without schedule and user
	Shell bool     // it is for a shell, as one argument after -c
	Words []string // of the command, where it is not
	asked []string // Words as systemd was given them, before it fills in variables
	Loose bool     // it is expanded before it is run: only the beginning counts
}

// Starter reports whether a program starts others on the word of files.
func Starter(comm string) bool {
	switch comm {
	case "cron", "crond", "anacron", "fcron", "systemd":
		return true
	}
	return false
}

// Kept reports whether a file is where starters look for their orders. They read
// it once, and not each time that they follow it.
func Kept(file string) bool {
	return strings.Contains(file, "/systemd/") || strings.HasPrefix(file, "/var/spool/cron/") ||
		file == "/etc/crontab" || file == "/etc/anacrontab" || strings.HasPrefix(file, "/etc/cron.d/")
}

// Passing reports whether a program stands between a starter and what it starts.
func Passing(program string) bool { return path.Base(program) == "systemd-executor" }

// Read gives the orders of a file. cut: there are more.
func Read(file string) (all []Order, cut bool, err error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, false, fmt.Errorf("read orders: %w", err)
	}
	defer f.Close() // it was only read
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		return nil, false, fmt.Errorf("read orders: %s is no regular file", file)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, false, fmt.Errorf("read orders: %w", err)
	}
	cut = len(b) > maxBytes
	all = Parse(file, string(b[:min(len(b), maxBytes)]))
	if len(all) > maxOrders {
		all, cut = all[:maxOrders], true
	}
	return all, cut, nil
}

// Parse reads the text of a file; which language it is in follows from the path.
func Parse(file, text string) []Order {
	text = strings.ReplaceAll(text, "\\\n", " ")
	switch {
	case strings.Contains(file, "/systemd/"):
		return unit(text)
	case path.Base(file) == "anacrontab":
		return table(text, 3, false)
	case strings.HasPrefix(file, "/etc/"):
		return table(text, 5, true)
	}
	return table(text, 5, false)
}

// table reads a crontab: so many fields of time, and in the system's a user.
func table(text string, fields int, user bool) []Order {
	var all []Order
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || isVariable(line) {
			continue
		}
		skip := fields
		if line[0] == '@' && fields == 5 {
			skip = 1
		}
		if user {
			skip++
		}
		for range skip {
			i := strings.IndexAny(line, " \t")
			if i < 0 {
				line = ""
				break
			}
			line = strings.TrimLeft(line[i:], " \t")
		}
		if line == "" {
			continue
		}
		o := Order{Text: line, Shell: true}
		if i := strings.IndexByte(line, '%'); i >= 0 {
			o.Text, o.Loose = strings.TrimSuffix(line[:i], "\\"), true
		}
		all = append(all, o)
	}
	return all
}

// isVariable reports whether a line of a crontab sets one: NAME = value.
func isVariable(line string) bool {
	name, _, ok := strings.Cut(line, "=")
	name = strings.Trim(strings.TrimSpace(name), `"'`)
	return ok && name != "" && !strings.ContainsAny(name, " \t*/@,")
}

// unit reads the commands of a systemd unit.
func unit(text string) []Order {
	var all []Order
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || !strings.HasPrefix(key, "Exec") {
			continue
		}
		for command := range strings.SplitSeq(value, " ; ") {
			command = strings.TrimSpace(command)
			bare := strings.TrimLeft(command, "@-:+!|")
			prefix := command[:len(command)-len(bare)]
			words, plain := split(bare)
			if len(words) > 1 && strings.Contains(prefix, "@") {
				words = append(words[:1], words[2:]...) // the second is what the program is to call itself
			}
			if len(words) == 0 {
				continue
			}
			o := Order{Text: bare, Words: words, Loose: !plain, asked: words}
			if !strings.Contains(prefix, ":") {
				o.Words = Filled(words)
				o.Loose = o.Loose || slices.ContainsFunc(words, variable)
			}
			all = append(all, o)
		}
	}
	return all
}

// Obeys reports whether an exec can be the one that an order asks for.
func (o Order) Obeys(x event.Exec) bool {
	if o.Shell {
		i := slices.Index(x.Args, "-c")
		if i < 1 || i+1 >= len(x.Args) {
			return false
		}
		said := x.Args[i+1]
		if o.Loose {
			return o.Text != "" && strings.HasPrefix(said, strings.ReplaceAll(o.Text, `\%`, "%"))
		}
		return strings.TrimSpace(said) == o.Text
	}
	if len(x.Args) == 0 || len(o.Words) == 0 {
		return false
	}
	program := o.Words[0] == x.Path || o.Words[0] == x.Name || o.Words[0] == x.Args[0] || x.Script && slices.Contains(x.Args, o.Words[0])
	if o.Loose {
		return program || !path.IsAbs(o.Words[0]) && path.Base(x.Path) == o.Words[0]
	}
	args := x.Args
	if x.Script { // the interpreter is first, and may have an option
		if i := slices.Index(args, o.Words[0]); i >= 0 {
			args = args[i:]
		}
	}
	return (program || path.Base(x.Path) == o.Words[0]) && slices.Equal(args[1:], o.Words[1:])
}
