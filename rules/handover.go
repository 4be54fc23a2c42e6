package rules

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// service says which sort of service a Unix socket leads to, of those that start or
// run things for whoever asks; "": another, or none. The path of a connection that was
// made is the kernel's, so no link hides it. A terminal's server can be anywhere:
// there its client tells.
func service(peer, client string) string {
	switch {
	case strings.HasSuffix(peer, "/systemd/private"), strings.HasSuffix(peer, "/io.systemd.Manager"), strings.HasSuffix(peer, "/io.systemd.Machine"):
		return "manager"
	case buses.MatchString(peer):
		return "bus"
	case servers.MatchString(peer):
		return "server"
	case slices.Contains(clients, client) && !lookups.MatchString(peer):
		return "server"
	}
	return ""
}

var (
	buses   = regexp.MustCompile(`^(/var)?/run/dbus/system_bus_socket$|^/run/user/\d+/bus$|^@?/tmp/dbus-|^@dbus-|^/run/user/\d+/dbus-`)
	servers = regexp.MustCompile(`/tmux-\d+/|/screens?/S-[^/]+/|/\.screen/|/zellij(-\d+)?/|/emacs\d*/|/\.emacs\.d/server/|/\.pm2/rpc\.sock$|/supervisor[^/]*\.sock$`)
	lookups = regexp.MustCompile(`^(/var)?/run/(systemd|nscd|dbus)/|^@?/tmp/\.X11-unix/`) // that any program has its libraries make
	clients = []string{"tmux", "screen", "zellij", "emacsclient", "dtach", "abduco"}
)

// errand says what a program that has others act for it is told to ask for, by its
// name and arguments: run, that something is run, or look, nothing more than to be told
// something. "": that is not known. Only a program that is where the system's are is
// believed that it looks.
func errand(program string, args []string) string {
	args = args[min(1, len(args)):]
	if _, looks := strings.CutPrefix(program, "/usr/"); looks || strings.HasPrefix(program, "/bin/") {
		if onlyLooks(path.Base(program), args) {
			return "look"
		}
	}
	if runs(path.Base(program), args) {
		return "run"
	}
	return ""
}

func onlyLooks(name string, args []string) bool {
	switch name {
	case "systemctl":
		return slices.Contains(systemctlLooks, verb(args, ""))
	case "machinectl", "loginctl":
		return slices.Contains(ctlLooks, verb(args, ""))
	case "systemd-run": // --scope makes a group for what it then runs itself
		for _, a := range args {
			if a == "--scope" || !strings.HasPrefix(a, "-") {
				return a == "--scope"
			}
		}
	case "tmux": // a format can run a command, and one command can follow another
		return slices.Contains(tmuxLooks, verb(args, "cfLST")) &&
			!slices.ContainsFunc(args, func(a string) bool { return strings.HasSuffix(a, ";") || strings.Contains(a, "#(") })
	case "screen":
		return len(args) > 0 && slices.Contains([]string{"-ls", "-list", "-v", "--version"}, args[0])
	}
	return false
}

func runs(name string, args []string) bool {
	switch name {
	case "systemctl", "systemd-run", "run0", "machinectl", "at", "batch", "flatpak-spawn", "dbus-update-activation-environment",
		"gtk-launch", "kde-open", "kde-open5", "kioclient", "exo-open", "dex", "xdg-open",
		"gnome-terminal", "gnome-terminal.real", "xfce4-terminal", "kgx", "ptyxis", "tilix", "terminator",
		"pm2", "supervisorctl", "ssh", "sftp", "scp":
		return true
	case "gio", "gapplication":
		return slices.Contains([]string{"open", "launch", "action"}, verb(args, ""))
	case "busctl", "gdbus", "dbus-send", "qdbus", "qdbus6":
		return slices.ContainsFunc(args, func(a string) bool {
			return !strings.HasPrefix(a, "/") && methods.MatchString(a[strings.LastIndexByte(a, '.')+1:])
		})
	}
	return slices.Contains(clients, name)
}

// verb gives the first argument that is no option; valued are the letters of options
// that have their value in the next. An option that is not known to stand alone
// leaves it open: then there is no verb.
func verb(args []string, valued string) string {
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case !strings.HasPrefix(a, "-"):
			return a
		case len(a) == 2 && strings.Contains(valued, a[1:]):
			i++
		case valued == "" && !strings.Contains(a, "=") && !slices.Contains(alone, a):
			return ""
		}
	}
	return ""
}

// methods are the beginnings of D-Bus methods that start something.
var methods = regexp.MustCompile(`^(Start|Restart|TryRestart|Reload|Enable|Link|Open|Launch|Activate|Spawn|Exec|Run|HostCommand|SetEnvironment|AttachProcesses)`)

// What only looks, and the options of systemctl and its like that have no value.
var (
	systemctlLooks = []string{
		"status", "show", "cat", "help", "is-active", "is-enabled", "is-failed", "is-system-running", "get-default", "show-environment",
		"list-units", "list-unit-files", "list-timers", "list-sockets", "list-automounts", "list-paths", "list-jobs", "list-dependencies", "list-machines",
	}
	ctlLooks = []string{
		"list", "status", "show", "list-images", "image-status", "show-image", "list-sessions", "session-status", "show-session",
		"list-users", "user-status", "show-user", "list-seats", "seat-status", "show-seat",
	}
	tmuxLooks = []string{"ls", "list-sessions", "lsp", "list-panes", "lsw", "list-windows", "lsc", "list-clients", "has", "has-session", "capturep", "capture-pane"}
	alone     = []string{
		"--user", "--system", "--global", "--no-pager", "--no-legend", "--plain", "--all", "-a", "--full", "-l", "-al", "--failed", "--value",
		"--quiet", "-q", "--recursive", "-r", "--reverse", "--after", "--before", "--no-ask-password",
	}
)
