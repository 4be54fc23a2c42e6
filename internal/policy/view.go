package policy

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Host is what a policy's variables need to know of the host. The caller reads
// it; this package reads nothing.
type Host struct {
	Resolvers []netip.Addr // name servers of /etc/resolv.conf
	Temp      []string     // directories for temporary files; none: /tmp and /var/tmp

	UserName, GroupName func(uint32) string // names of users and groups by number; nil: not known
}

// A View is a policy bound to one gateway on one host. It does not change and
// may be used by several goroutines.
type View struct {
	dirs      tree
	hosts     map[string][]grant // by exact name
	domains   map[string][]grant // by domain, for the names below it
	networks  []network
	addresses map[netip.AddrPort]bool // resolvers, and providers by address
	skills    []ApprovedSkill
	secrets   []string // "_TOKEN_": found in "_" + NAME + "_"
	env       map[string][]grant
	limits    Limits
	override  string

	canaryFiles     tree
	canaryVariables map[string]bool
	workspaces      []string
}

// A grant is one entry's condition besides what it is looked up by.
type grant struct {
	ports  []uint16
	skills []string
}

type network struct {
	prefix netip.Prefix
	grant
}

// For binds the policy to a gateway and a host. The directories in g are used
// as they are: paths of opened files have no symbolic links, so neither should
// they.
func (p *Policy) For(g event.GatewayFound, host Host) *View {
	p, override := p.Of(g, host)
	v := &View{
		override: override,
		hosts:    map[string][]grant{}, domains: map[string][]grant{}, env: map[string][]grant{},
		addresses: map[netip.AddrPort]bool{}, canaryVariables: map[string]bool{},
		skills:     slices.Clone(p.Skills.Approved.Items),
		limits:     p.Limits,
		workspaces: slices.Clone(g.Workspaces),
	}
	for _, e := range p.Endpoints.Approved.Items {
		v.approve(e)
	}
	if p.Endpoints.Resolvers {
		for _, a := range host.Resolvers {
			v.addresses[netip.AddrPortFrom(a.Unmap().WithZone(""), 53)] = true
		}
	}
	if p.Endpoints.Providers {
		for _, hostPort := range g.Providers {
			v.approveProvider(hostPort)
		}
	}
	for _, part := range p.Environment.SecretNames.Items {
		v.secrets = append(v.secrets, "_"+string(part)+"_")
	}
	for _, e := range p.Environment.Approved.Items {
		for _, name := range e.Names {
			v.env[name] = append(v.env[name], grant{skills: e.Skills})
		}
	}
	values := variablesOf(g, host)
	v.bindDirectories(p.Directories, values)
	for _, file := range p.Canaries.Files.Items {
		v.canaryFiles.bind(string(file), values, entry{tier: Restricted})
	}
	for _, name := range p.Canaries.Variables.Items {
		v.canaryVariables[name] = true
	}
	return v
}

func (v *View) approve(e Endpoint) {
	g := grant{ports: e.Ports, skills: e.Skills}
	if e.CIDR.IsValid() {
		v.networks = append(v.networks, network{e.CIDR.Prefix, g})
		return
	}
	if domain, ok := strings.CutPrefix(string(e.Host), "*."); ok {
		v.domains[domain] = append(v.domains[domain], g)
		return
	}
	v.hosts[string(e.Host)] = append(v.hosts[string(e.Host)], g)
}

func (v *View) approveProvider(hostPort string) {
	if addr, err := netip.ParseAddrPort(hostPort); err == nil {
		v.addresses[plain(addr)] = true
		return
	}
	name, port, ok := cutPort(hostPort)
	if ok {
		name = normalHost(name)
		v.hosts[name] = append(v.hosts[name], grant{ports: []uint16{port}})
	}
}

// variablesOf gives the values of the variables that paths begin with.
func variablesOf(g event.GatewayFound, host Host) map[string][]string {
	if len(host.Temp) == 0 {
		host.Temp = []string{"/tmp", "/var/tmp"}
	}
	return map[string][]string{
		"home": {g.Home}, "state": {g.StateDir}, "workspace": g.Workspaces, "skills": g.SkillRoots, "tmp": host.Temp,
	}
}

func (v *View) bindDirectories(d Directories, values map[string][]string) {
	for _, tier := range []struct {
		tier Tier
		list []Directory
	}{{Public, d.Public.Items}, {Internal, d.Internal.Items}, {Restricted, d.Restricted.Items}} {
		for _, dir := range tier.list {
			entry := entry{tier: tier.tier, write: dir.Access != Read, skills: dir.Skills}
			for _, p := range dir.Paths {
				v.dirs.bind(string(p), values, entry)
			}
		}
	}
}

// Directory sorts a path into a tier. It must be absolute; one that is not has
// lost its beginning and is outside. write: the access changes the file or its
// name. skill is the one that acts; nil where it is not known for sure.
//
// Of the entries that match, the one that matches the path deepest decides;
// then the one with more components written out; then one that names the skill;
// then the more restricted tier; then the later one. A directory that may be
// read only is Outside to a write.
func (v *View) Directory(path string, write bool, skill *event.SkillID) Tier {
	return v.dirs.lookup(path, write, skill)
}

// Granted reports whether the policy allows a path to the skill by its name.
func (v *View) Granted(path string, write bool, skill *event.SkillID) bool {
	if skill == nil {
		return false
	}
	e, named := v.dirs.decide(path, skill)
	return named && (e.tier == Public || e.tier == Internal) && (e.write || !write)
}

// Workspace gives a path as it is below one of the gateway's workspaces; ok: it is.
func (v *View) Workspace(path string) (rest string, ok bool) {
	for _, w := range v.workspaces {
		if rest, ok := strings.CutPrefix(path, w+"/"); ok {
			return rest, true
		}
	}
	return "", false
}

// Endpoint reports whether a connection to addr is approved. host is the name
// that addr was reached by, empty where it is not known; skill is empty
// likewise. Loopback is an address like any other.
func (v *View) Endpoint(addr netip.AddrPort, host, skill string) bool {
	addr = plain(addr)
	if v.addresses[addr] {
		return true
	}
	if host != "" {
		host = normalHost(host)
		if allows(v.hosts[host], addr.Port(), skill) {
			return true
		}
		for rest := host; ; {
			_, after, ok := strings.Cut(rest, ".")
			if !ok {
				break
			}
			if allows(v.domains[after], addr.Port(), skill) {
				return true
			}
			rest = after
		}
	}
	for i := range v.networks {
		if n := &v.networks[i]; n.prefix.Contains(addr.Addr()) && n.allows(addr.Port(), skill) {
			return true
		}
	}
	return false
}

// CanaryFile reports whether a file is a planted one.
func (v *View) CanaryFile(path string) bool {
	return v.canaryFiles.lookup(path, false, nil) == Restricted
}

// CanaryVariable reports whether a variable is a planted one.
func (v *View) CanaryVariable(name string) bool { return v.canaryVariables[name] }

// SecretName reports whether a variable of this name holds a secret, or a canary.
func (v *View) SecretName(name string) bool {
	if v.canaryVariables[name] {
		return true
	}
	name = "_" + strings.ToUpper(name) + "_"
	for _, s := range v.secrets {
		if strings.Contains(name, s) {
			return true
		}
	}
	return false
}

// EnvApproved reports whether the skill may read the variable. Names are
// compared exactly. skill is empty where it is not known for sure.
func (v *View) EnvApproved(name, skill string) bool { return allows(v.env[name], 0, skill) }

// SkillApproved reports whether the skill was vetted as it is.
func (v *View) SkillApproved(id event.SkillID) bool {
	return slices.ContainsFunc(v.skills, func(s ApprovedSkill) bool { return s.approves(id) })
}

// Vetting reports whether the policy names vetted skills at all: then one that it does
// not name is not vetted.
func (v *View) Vetting() bool { return len(v.skills) > 0 }

// Override names the override that the policy is under; empty: none.
func (v *View) Override() string { return v.override }

// Limits gives the bounds on what skills move.
func (v *View) Limits() Limits { return v.limits }

func allows(grants []grant, port uint16, skill string) bool {
	for i := range grants {
		if grants[i].allows(port, skill) {
			return true
		}
	}
	return false
}

func (g *grant) allows(port uint16, skill string) bool {
	return (len(g.ports) == 0 || slices.Contains(g.ports, port)) &&
		(len(g.skills) == 0 || skill != "" && slices.Contains(g.skills, skill))
}

// plain makes an IPv4-mapped address the IPv4 address it is, and drops the
// zone.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
