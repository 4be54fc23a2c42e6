package pipeline

import (
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
)

// explaining looks for a reason why a call did something: in what it says, in
// what its skill says, or in what every program does.
type explaining struct {
	*Pipeline
	call *ledger
	it   *item
	a    *event.Attribution
	view *policy.View
}

// file reports whether there is a reason to have touched a file.
func (x explaining) file(file string, write bool) bool {
	return file == "" || x.ordinary(file, write) || x.call.made[file] || x.named(file) || x.own(file) || x.atHand(file, write)
}

// ordinary: what programs do whatever they are for.
func (x explaining) ordinary(file string, write bool) bool {
	switch {
	case strings.HasPrefix(file, "/proc/"):
		return !x.foreign(file)
	case slices.Contains(devices, file) || strings.HasPrefix(file, "/dev/pts/") || strings.HasPrefix(file, "/dev/fd/"):
		return true
	case strings.HasPrefix(file, "memfd:") || !path.IsAbs(file):
		return strings.HasPrefix(file, "memfd:") // a path that has lost its beginning may be any
	case write:
		return strings.Contains(file, "/__pycache__/")
	case inPackage(file) || strings.Contains(file, "/site-packages/") || strings.Contains(file, "/dist-packages/"):
		return true
	}
	return x.view.Directory(file, false, x.a.Skill) == policy.Public
}

var devices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/console"}

// foreign reports whether a file in /proc lets one look into another process.
func (x explaining) foreign(file string) bool {
	dir, rest, _ := strings.Cut(strings.TrimPrefix(file, "/proc/"), "/")
	pid, err := strconv.ParseInt(dir, 10, 32)
	if err != nil || int32(pid) == x.it.ev.Proc.PID {
		return false
	}
	return slices.Contains([]string{"environ", "mem", "maps", "smaps"}, path.Base(rest)) || strings.Contains(rest, "fd/")
}

// named: by the call. Whoever names a home, or what is above it, does not name
// all that is in it.
func (x explaining) named(file string) bool {
	home := ""
	if g := x.it.scope.Gateway(); g != nil {
		home = g.Home
	}
	return slices.ContainsFunc(x.call.paths, func(p string) bool {
		return file == p || !above(p, home) && below(file, p)
	})
}

// own: the skill's, or the ones that it can be, and what OpenClaw starts a
// command with.
func (x explaining) own(file string) bool {
	if x.a.Skill != nil && below(file, x.a.Skill.Dir) {
		return true
	}
	if g := x.it.scope.Gateway(); g != nil && (below(file, g.StateDir+"/cache/shell-snapshots") || below(file, g.StateDir+"/tmp/agent-cli")) {
		return true
	}
	return slices.ContainsFunc(x.a.Candidates, func(id event.SkillID) bool { return below(file, id.Dir) })
}

// atHand: in the directory that the call starts in, unless it is a skill's, or
// the policy restricts it, as it does the files that tell an agent who it is.
func (x explaining) atHand(file string, write bool) bool {
	home := ""
	if g := x.it.scope.Gateway(); g != nil {
		home = g.Home
		if slices.ContainsFunc(g.SkillRoots, func(root string) bool { return below(file, root) }) {
			return false
		}
	}
	return !above(x.call.cwd, home) && below(file, x.call.cwd) && x.view.Directory(file, write, x.a.Skill) != policy.Restricted
}

// host reports whether there is a reason to have connected to an address, which
// has these names for whom the call is.
func (x explaining) host(addr netip.Addr, names []string) bool {
	said := strings.ToLower(x.call.call.Command + " " + x.call.call.URL)
	all := append([]string{addr.String()}, names...)
	if addr.IsLoopback() {
		all = append(all, "localhost")
	}
	for _, name := range all {
		if mentions(said, name) {
			return true
		}
		for _, d := range x.engine.Declared(x.a) {
			if slices.ContainsFunc(d.Hosts, func(h string) bool { return name == h || strings.HasSuffix(name, "."+h) }) {
				return true
			}
		}
	}
	return false
}

// mentions reports whether a text has a host's name in it that is not the end or
// beginning of another.
func mentions(text, host string) bool {
	part := func(c byte) bool {
		return c == '.' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z'
	}
	for at := 0; host != ""; {
		i := strings.Index(text[at:], host)
		if i < 0 {
			return false
		}
		from, to := at+i, at+i+len(host)
		if (from == 0 || !part(text[from-1])) && (to == len(text) || !part(text[to]) || text[to] == '.' && (to+1 == len(text) || !part(text[to+1]))) {
			return true
		}
		at = from + 1
	}
	return false
}

// temporary reports whether a file is in a place for such.
func temporary(file string) bool {
	return below(file, "/tmp") || below(file, "/var/tmp") || below(file, "/dev/shm")
}

func below(file, dir string) bool {
	return dir != "" && dir != "/" && strings.HasPrefix(file, dir+"/")
}

// above reports whether a directory is a home, or has it in it.
func above(dir, home string) bool {
	return dir == "" || dir == "/" || dir == "/home" || dir == "/root" || dir == home || below(home, dir)
}
