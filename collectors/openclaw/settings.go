package openclaw

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// environment holds the few variables of an OpenClaw process that place things.
type environment map[string]string

// placing lists them. Nothing else of an environment is looked at.
var placing = []string{
	"HOME", "OPENCLAW_HOME", "OPENCLAW_STATE_DIR", "OPENCLAW_PROFILE", "OPENCLAW_WORKSPACE_DIR",
	"OPENCLAW_CONFIG_PATH", "OPENCLAW_BUNDLED_SKILLS_DIR", "OPENCLAW_GATEWAY_PORT", "npm_package_json", "_",
}

// parseEnvironment picks the placing variables out of /proc/PID/environ.
func parseEnvironment(b []byte) environment {
	env := environment{}
	for entry := range strings.SplitSeq(string(b), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		if slices.Contains(placing, name) && len(value) <= maxPath {
			env[name] = strings.TrimSpace(value)
		}
	}
	return env
}

// Bounds on what one gateway can name.
const (
	maxExtraDirs = 64
	maxProviders = 256
)

// home is what ~ means to OpenClaw.
func (env environment) home() string {
	if h := env["OPENCLAW_HOME"]; h != "" {
		return filepath.Clean(expand(h, env["HOME"]))
	}
	return env["HOME"]
}

// path resolves ~ and a relative path as OpenClaw does; no link is followed.
func (env environment) path(p, cwd string) string {
	p = expand(p, env.home())
	if !filepath.IsAbs(p) {
		p = filepath.Join(cwd, p)
	}
	return filepath.Clean(p)
}

func expand(p, home string) string {
	if p == "~" || strings.HasPrefix(p, "~/") {
		return home + p[1:]
	}
	return p
}

// profile is the named profile, or empty for the default one.
func (env environment) profile() string {
	if p := env["OPENCLAW_PROFILE"]; !strings.EqualFold(p, "default") && !strings.ContainsAny(p, "/\x00") {
		return p
	}
	return ""
}

// stateDirs lists where the state directory can be; the first that exists is it.
// Earlier releases of the product had other names.
func (env environment) stateDirs(cwd string) []string {
	if s := env["OPENCLAW_STATE_DIR"]; s != "" {
		return []string{env.path(s, cwd)}
	}
	if p := env.profile(); p != "" {
		return []string{filepath.Join(env.home(), ".openclaw-"+p)}
	}
	return []string{
		filepath.Join(env.home(), ".openclaw"),
		filepath.Join(env.home(), ".clawdbot"),
		filepath.Join(env.home(), ".moltbot"),
	}
}

// settings is what openclaw.json says that matters here. No secret is kept.
type settings struct {
	Port       int
	Workspace  string            // default for all agents, as written
	Workspaces map[string]string // by agent; empty: its default
	ExtraDirs  []string          // as written
	Providers  []string          // host:port
}

type agentJSON struct {
	ID        string `json:"id"`
	Workspace string `json:"workspace"`
}

// parseSettings reads openclaw.json. A field of an unexpected type is passed
// over; the error is for a file that is no JSON at all, and quotes none of it.
func parseSettings(b []byte) (settings, error) {
	var j struct {
		Gateway struct {
			Port float64 `json:"port"`
		} `json:"gateway"`
		Agents struct {
			Defaults struct {
				Workspace string `json:"workspace"`
			} `json:"defaults"`
			List    []agentJSON          `json:"list"`
			Entries map[string]agentJSON `json:"entries"`
		} `json:"agents"`
		Models struct {
			Providers map[string]struct {
				BaseURL string `json:"baseUrl"`
			} `json:"providers"`
		} `json:"models"`
		Skills struct {
			Load struct {
				ExtraDirs []string `json:"extraDirs"`
			} `json:"load"`
		} `json:"skills"`
	}
	if err := lenient(json.Unmarshal(toJSON(b), &j)); err != nil {
		return settings{}, fmt.Errorf("parse settings: %w", syntaxOnly(err))
	}
	s := settings{Workspace: j.Agents.Defaults.Workspace, Workspaces: map[string]string{}}
	s.ExtraDirs = j.Skills.Load.ExtraDirs[:min(len(j.Skills.Load.ExtraDirs), maxExtraDirs)]
	if p := j.Gateway.Port; p > 0 && p < 1<<16 {
		s.Port = int(p)
	}
	for _, a := range j.Agents.List {
		s.Workspaces[a.ID] = a.Workspace
	}
	for id, a := range j.Agents.Entries {
		s.Workspaces[id] = a.Workspace
	}
	for _, p := range j.Models.Providers {
		if hp := hostPort(p.BaseURL); hp != "" {
			s.Providers = append(s.Providers, hp)
		}
	}
	slices.Sort(s.Providers)
	s.Providers = slices.Compact(s.Providers)
	s.Providers = s.Providers[:min(len(s.Providers), maxProviders)]
	return s, nil
}

// hostPort gives where a URL leads; credentials, path and query are dropped.
func hostPort(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "ws": "80"}[u.Scheme]
	}
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// port is where the gateway listens: the environment wins over the settings,
// and a named profile has a port of its own.
func (env environment) port(s settings) int {
	raw := env["OPENCLAW_GATEWAY_PORT"]
	if _, after, ok := strings.Cut(raw, ":"); ok {
		raw = after[strings.LastIndexByte(after, ':')+1:]
	}
	if n, err := strconv.Atoi(raw); err == nil && n > 0 && n < 1<<16 {
		return n
	}
	if s.Port != 0 {
		return s.Port
	}
	p := env.profile()
	if p == "" {
		return 18789
	}
	hash := uint32(2166136261) // FNV-1a, as OpenClaw spreads its profiles
	for _, b := range []byte(p) {
		hash = (hash ^ uint32(b)) * 16777619
	}
	return 20000 + int(hash%40000)
}

// workspaces gives the agents' workspaces, the default agent's first.
func (s settings) workspaces(env environment, stateDir, cwd string, agents []string) []string {
	fallback := filepath.Join(stateDir, "workspace")
	if w := env["OPENCLAW_WORKSPACE_DIR"]; w != "" {
		fallback = env.path(w, cwd)
	}
	if s.Workspace != "" {
		fallback = env.path(s.Workspace, cwd)
	}
	dirs := []string{fallback}
	for _, id := range agents {
		switch w := s.Workspaces[id]; {
		case w != "":
			dirs = append(dirs, env.path(w, cwd))
		case id == "" || id == "main":
		case s.Workspace != "":
			dirs = append(dirs, filepath.Join(fallback, id))
		default:
			dirs = append(dirs, filepath.Join(stateDir, "workspace-"+id))
		}
	}
	return unique(dirs)
}

// unique drops empty strings and repetitions and keeps the order.
func unique(in []string) []string {
	var out []string
	for _, s := range in {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
