package openclaw

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/collectors/rootfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds of what a process can make us read, in bytes and entries.
const (
	maxSettings = 4 << 20
	maxEnviron  = 256 << 10
	maxAgents   = 256
	maxOpen     = 1024 // file descriptors looked at
)

// isOpenClaw reports whether the process is a JavaScript runtime under
// OpenClaw's name, or a program of its package. Any user can arrange both; what
// the process may be believed is decided by who owns its state directory.
func isOpenClaw(p procfs.Process) bool {
	if !strings.HasPrefix(p.Comm, "openclaw") {
		return false
	}
	switch filepath.Base(p.Path) {
	case "node", "nodejs", "bun", "deno", "openclaw":
		return true
	}
	return strings.Contains(p.Path, "/node_modules/openclaw/")
}

// roleOf tells the server from the commands. The server retitles itself, and
// its arguments are lost with that; until then they say what it will be.
func roleOf(p procfs.Process) event.Role {
	if p.Comm == "openclaw-gatewa" { // 15 bytes are all there is
		return event.RoleGateway
	}
	script := slices.IndexFunc(p.Args, func(a string) bool {
		base := filepath.Base(a)
		return base == "openclaw.mjs" || base == "openclaw" || strings.Contains(a, "/openclaw/dist/")
	})
	if script < 0 {
		return event.RoleCLI
	}
	words := p.Args[script+1:]
	for len(words) > 0 && strings.HasPrefix(words[0], "-") {
		if words[0] == "--profile" && len(words) > 1 {
			words = words[1:]
		}
		words = words[1:]
	}
	if len(words) > 0 && words[0] == "gateway" {
		if len(words) == 1 || words[1] == "run" || strings.HasPrefix(words[1], "-") {
			return event.RoleGateway
		}
	}
	return event.RoleCLI
}

// describe says what an OpenClaw process is and where its things are, in its own
// terms: paths are as it sees them. Of a process whose state directory is not its
// user's, nothing it says is taken; the error says why. pkg is looked for only while
// it is not known.
func describe(proc fs.FS, procPath string, p procfs.Process, pkg *install) (event.GatewayFound, error) {
	g := event.GatewayFound{
		ID:   fmt.Sprintf("unverified:%d", p.ID.PID),
		Role: roleOf(p),
		UID:  p.UID, Groups: p.Groups,
	}
	b, err := boxOf(proc, procPath, p)
	if err != nil {
		return g, err
	}
	root, err := b.place.Open()
	if err != nil {
		return g, err
	}
	defer root.Close() //nolint:errcheck // it was only read
	env := readEnvironment(proc, p.ID.PID)
	state := resolve(root, stateDir(proc, root, p, env))
	if err := checkOwner(root, state, p.UID); err != nil {
		return g, fmt.Errorf("state directory %w", err)
	}
	g.ID, g.StateDir, g.Home = b.id(root, state), state, env.home()
	g.Root, g.Mount, g.Network, g.ContainerID = b.place.Root, b.place.Mount, b.network, p.ContainerID
	g.ConfigPath = filepath.Join(state, "openclaw.json")
	if c := env["OPENCLAW_CONFIG_PATH"]; c != "" {
		g.ConfigPath = env.path(c, p.Cwd)
	}
	var s settings
	text, err := readSettingsFile(root, g.ConfigPath, p.UID, maxSettings)
	if err == nil {
		s, err = parseSettings(text)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // all defaults: OpenClaw runs so, too
	}
	g.Port, g.Providers = env.port(s), s.Providers
	if g.Role == event.RoleCLI && len(p.Args) > 0 && strings.Join(p.Args[1:], "") == "" && listens(proc, p.ID.PID, g.Port) {
		g.Role = event.RoleGateway // its title says less than it is
	}
	agents := agentsOf(root, state, p.UID, s)
	for _, w := range s.workspaces(env, state, p.Cwd, agents) {
		g.Workspaces = append(g.Workspaces, resolve(root, w))
	}
	if pkg.dir == "" {
		*pkg = findInstall(proc, root, p, env, state)
	}
	g.Version = pkg.version
	g.SkillRoots = skillRoots(root, g, env, p.Cwd, s, agents, pkg.dir)
	return g, err
}

func readEnvironment(proc fs.FS, pid int32) environment {
	f, err := proc.Open(fmt.Sprintf("%d/environ", pid))
	if err != nil {
		return environment{}
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, maxEnviron)) // a part is better than nothing
	return parseEnvironment(b)
}

// stateDir finds where the process keeps its state: certainly, where it holds
// the database open; else where its environment leads.
func stateDir(proc fs.FS, r *rootfs.Root, p procfs.Process, env environment) string {
	if state := heldState(proc, p.ID.PID); state != "" {
		return state
	}
	candidates := env.stateDirs(p.Cwd)
	for _, c := range candidates {
		if _, err := r.Real(c); err == nil {
			return c
		}
	}
	return candidates[0]
}

// heldState is the state directory whose database a process has open; empty: none.
func heldState(proc fs.FS, pid int32) string {
	dir := fmt.Sprintf("%d/fd", pid)
	fds, _ := fs.ReadDir(proc, dir) // not allowed, or gone: the environment it is
	for _, fd := range fds[:min(len(fds), maxOpen)] {
		target, err := fs.ReadLink(proc, dir+"/"+fd.Name())
		if state, ok := strings.CutSuffix(target, "/state/openclaw.sqlite"); err == nil && ok {
			return state
		}
	}
	return ""
}

// agentsOf names the agents that are configured or have records.
func agentsOf(r *rootfs.Root, state string, uid uint32, s settings) []string {
	agents := []string{"main"}
	for id := range s.Workspaces {
		agents = append(agents, id)
	}
	if _, err := lstatBelowIn(r, state, uid, "agents"); err == nil {
		dirs, _ := r.ReadDir(filepath.Join(state, "agents"))
		for _, d := range dirs {
			if d.IsDir() {
				agents = append(agents, d.Name())
			}
		}
	}
	slices.Sort(agents[1:])
	agents = unique(agents)
	return agents[:min(len(agents), maxAgents)]
}

// skillRoots lists the directories that OpenClaw loads skills from, highest
// precedence first.
func skillRoots(root *rootfs.Root, g event.GatewayFound, env environment, cwd string, s settings, agents []string, pkg string) []string {
	var roots []string
	for _, w := range g.Workspaces {
		roots = append(roots, filepath.Join(w, "skills"), filepath.Join(w, ".agents", "skills"))
	}
	if g.StateDir == resolve(root, filepath.Join(g.Home, ".openclaw")) {
		roots = append(roots, filepath.Join(g.Home, ".agents", "skills"))
	}
	roots = append(roots, filepath.Join(g.StateDir, "skills"))
	for _, a := range agents {
		roots = append(roots, filepath.Join(g.StateDir, "agents", a, "agent", "workshop-skills"))
	}
	roots = append(roots, filepath.Join(g.StateDir, "skill-library"))
	switch b := env["OPENCLAW_BUNDLED_SKILLS_DIR"]; {
	case b != "":
		roots = append(roots, env.path(b, cwd))
	case pkg != "":
		roots = append(roots, filepath.Join(pkg, "skills"), filepath.Join(pkg, "custodian-skills"))
	}
	for _, d := range s.ExtraDirs {
		roots = append(roots, env.path(d, cwd))
	}
	roots = append(roots, filepath.Join(g.StateDir, "plugin-skills"))
	for i, r := range roots {
		roots[i] = resolve(root, r)
	}
	return unique(roots)
}

// An install is OpenClaw's package as it is on disk. Zero: not found.
type install struct{ dir, version string }

// findInstall finds the package that the process runs from: by its script, its
// executable, the links that OpenClaw leaves in its state directory, or a child
// that it starts from there.
func findInstall(proc fs.FS, r *rootfs.Root, p procfs.Process, env environment, state string) install {
	hints := slices.Concat(p.Args, []string{p.Path, env["_"], env["npm_package_json"]})
	links, _ := r.ReadDir(filepath.Join(state, "plugin-skills"))
	for _, l := range links[:min(len(links), 16)] {
		if target, err := r.Readlink(filepath.Join(state, "plugin-skills", l.Name())); err == nil {
			hints = append(hints, target)
		}
	}
	hints = append(hints, childArgs(proc, p.ID.PID)...)
	for _, h := range hints {
		if in := installAbove(r, h, p.Cwd); in.dir != "" {
			return in
		}
	}
	return install{}
}

// childArgs gives the arguments of the process's children: the spawn broker,
// which starts all commands, is a script of the package.
func childArgs(proc fs.FS, pid int32) []string {
	b, err := fs.ReadFile(proc, fmt.Sprintf("%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var all []string
	pids := strings.Fields(string(b))
	for _, child := range pids[:min(len(pids), 64)] {
		args, err := fs.ReadFile(proc, child+"/cmdline")
		if err != nil {
			continue
		}
		all = append(all, strings.Split(string(args[:min(len(args), maxPath)]), "\x00")...)
	}
	return all
}

// installAbove gives the OpenClaw package that a file belongs to.
func installAbove(r *rootfs.Root, file, cwd string) install {
	if !strings.Contains(file, "openclaw") || len(file) > maxPath {
		return install{}
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(cwd, file)
	}
	real, err := r.Real(file)
	if err != nil {
		return install{}
	}
	for dir := real; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if v := versionOf(r, dir); v != "" {
			return install{dir, v}
		}
	}
	return install{}
}

// versionOf reads the version of the OpenClaw package in dir; empty: it is none.
func versionOf(r *rootfs.Root, dir string) string {
	b, err := readSettingsFile(r, filepath.Join(dir, "package.json"), 0, 1<<20)
	if err != nil {
		return ""
	}
	var j struct{ Name, Version string }
	if json.Unmarshal(b, &j) != nil || (j.Name != "openclaw" && j.Name != "clawdbot" && j.Name != "moltbot") {
		return ""
	}
	return clip(j.Version, maxWord)
}
