package orders

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// maxUnits bounds the units of one directory that are looked at.
const maxUnits = 1024

// Asks reports whether a program has systemd run what its last arguments say.
func Asks(program string) bool {
	name := path.Base(program)
	return name == "systemd-run" || name == "run0"
}

// Hears reports whether a Unix socket leads to systemd: to its own, or over a
// message bus.
func Hears(socket string) bool {
	return strings.HasSuffix(socket, "/systemd/private") || strings.HasSuffix(socket, "/dbus/system_bus_socket") ||
		strings.HasPrefix(socket, "/run/user/") && strings.HasSuffix(socket, "/bus") || strings.HasPrefix(strings.TrimPrefix(socket, "@"), "/tmp/dbus-")
}

// Transient reports whether a file is a unit that systemd wrote for whoever asked
// it to run something.
func Transient(file string) bool { return strings.Contains(file, "/systemd/transient/") }

// Services gives the services that the system's systemd, and that of a user, was asked
// for and has not forgotten: the files in which they keep them. run is /run.
func Services(run string, uid uint32) []string {
	var all []string
	for _, in := range []string{run, fmt.Sprintf("%s/user/%d", run, uid)} {
		all = append(all, services(in)...)
	}
	return all
}

// services looks into a directory of which the end can be a user's own: no link
// leads out of it.
func services(in string) []string {
	root, err := os.OpenRoot(in)
	if err != nil {
		return nil
	}
	defer func() { _ = root.Close() }() // it was only read
	dir, err := root.Open("systemd/transient")
	if err != nil {
		return nil
	}
	defer dir.Close() // as above
	entries, _ := dir.ReadDir(maxUnits)
	var all []string
	for _, e := range entries {
		if e.Type() == fs.FileMode(0) && strings.HasSuffix(e.Name(), ".service") {
			all = append(all, filepath.Join(in, "systemd/transient", e.Name()))
		}
	}
	return all
}

// SaidIn reports whether arguments end with the command of an order: those of a
// program that asked for it. The program itself can have been found by its name.
func (o Order) SaidIn(args []string) bool {
	return !o.Shell && EndsWith(args, o.asked)
}

// EndsWith reports whether arguments end with a command, whose first word can be given
// with another directory, or with none.
func EndsWith(args, command []string) bool {
	n := len(args) - len(command)
	return len(command) > 0 && n > 0 && path.Base(args[n]) == path.Base(command[0]) && slices.Equal(args[n+1:], command[1:])
}
