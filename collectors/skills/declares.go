package skills

import (
	"bytes"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds on what one skill is taken to declare. Its author could write any
// number of names.
const (
	maxDeclared = 128     // names of each sort
	maxHost     = 253     // bytes of a host's name
	maxProse    = 1 << 20 // of SKILL.md that are looked through
	maxAliases  = 8       // of YAML
)

// A declaration collects what a SKILL.md says that its skill needs.
type declaration struct{ bins, envs, hosts nameSet }

// parseDeclares reads what a SKILL.md says of programs, variables and hosts: the
// requirements and installers in its frontmatter, and in its prose the commands
// of shell code, variables with a dollar that look like secrets, and the hosts of
// URLs. It is what the
// author says, and proves nothing: what is named is only what was not hidden.
func parseDeclares(b []byte) event.Declared {
	b = b[:min(len(b), maxProse)]
	d := declaration{bins: nameSet{}, envs: nameSet{}, hosts: nameSet{}}
	head, body := cutFrontmatter(b)
	d.frontmatter(head)
	d.urls(b)
	d.variables(body)
	d.prose(body)
	return event.Declared{Bins: d.bins.sorted(), Envs: d.envs.sorted(), Hosts: d.hosts.sorted()}
}

// cutFrontmatter splits a SKILL.md into what stands between the two lines of
// dashes at its head, and the rest.
func cutFrontmatter(b []byte) (head, body []byte) {
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	first, rest, _ := bytes.Cut(b, []byte{'\n'})
	if string(bytes.TrimSpace(first)) != "---" {
		return nil, b
	}
	end := 0
	for line := range bytes.Lines(rest) {
		if string(bytes.TrimSpace(line)) == "---" {
			return rest[:end], rest[end+len(line):]
		}
		end += len(line)
	}
	return rest, nil
}

// A nameSet is a bounded set of names.
type nameSet map[string]bool

func (s nameSet) add(name string) {
	if name != "" && len(s) < maxDeclared {
		s[name] = true
	}
}

func (s nameSet) sorted() []string {
	if len(s) == 0 {
		return nil
	}
	return envNames(s).sorted()
}

var (
	binShape   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)
	envShape   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{1,63}$`)
	hostShape  = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)+$`)
	urlShape   = regexp.MustCompile(`\b(?i:https?|wss?|ftp|git|ssh)://[^\s"'<>()\[\]{}|\\^` + "`" + `]{1,512}`)
	aliasShape = regexp.MustCompile(`(?m)(^|[\s\[{,:-])\*[^\s*]`)
	varShape   = regexp.MustCompile(`\$\{?([A-Za-z_][A-Za-z0-9_]{1,63})`)
)

// bin takes a program's name, or the last part of an absolute path. What is
// beside the SKILL.md is the skill's own.
func (d *declaration) bin(name string) {
	if strings.HasPrefix(name, "/") || strings.HasPrefix(name, "~/") {
		name = path.Base(name)
	}
	if binShape.MatchString(name) && !slices.Contains(shellWords, name) {
		d.bins.add(name)
	}
}

func (d *declaration) env(name string) {
	if envShape.MatchString(name) && !slices.Contains(shellVariables, name) {
		d.envs.add(name)
	}
}

// host takes the host of a URL: a name with a dot in it, or an address.
func (d *declaration) host(raw string) {
	u, err := url.Parse(strings.TrimRight(raw, ".,;:!?*_"))
	if err != nil {
		return
	}
	h := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if addr, err := netip.ParseAddr(h); err == nil {
		d.hosts.add(addr.Unmap().WithZone("").String())
	} else if len(h) <= maxHost && hostShape.MatchString(h) {
		d.hosts.add(h)
	}
}

// frontmatter takes what metadata.openclaw requires, under that name or one of
// those it had before. Where the YAML is wrong there is nothing to be had.
func (d *declaration) frontmatter(head []byte) {
	defer func() { _ = recover() }() // a parser of a stranger's text: what it has given stays
	if !parsable(head) {
		return
	}
	var doc struct {
		Metadata any `yaml:"metadata"`
	}
	if yaml.Unmarshal(head, &doc) != nil {
		return
	}
	if text, ok := doc.Metadata.(string); ok { // JSON in a string, which is YAML too
		if !parsable([]byte(text)) || yaml.Unmarshal([]byte(text), &doc.Metadata) != nil {
			return
		}
	}
	for _, product := range []string{"openclaw", "clawdbot", "clawdis", "moltbot"} {
		meta := at(doc.Metadata, product)
		requires := at(meta, "requires")
		for _, key := range []string{"bins", "anyBins"} {
			for _, s := range texts(at(requires, key)) {
				d.bin(s)
			}
		}
		for _, s := range append(texts(at(requires, "env")), texts(at(meta, "primaryEnv"))...) {
			d.env(s)
		}
		installers, _ := at(meta, "install").([]any)
		for _, spec := range installers[:min(len(installers), maxDeclared)] {
			for _, s := range texts(at(spec, "bins")) {
				d.bin(s)
			}
		}
	}
}

// parsable reports whether YAML may be parsed as a whole: aliases of aliases
// grow without end.
func parsable(b []byte) bool {
	return len(b) <= maxFront && nesting(b) <= maxNesting && len(aliasShape.FindAll(b, maxAliases+1)) <= maxAliases
}

// at gives a key of a map, or nil.
func at(v any, key string) any {
	m, _ := v.(map[string]any)
	return m[key]
}

// texts gives the texts of a list, or a text alone.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{strings.TrimSpace(v)}
	case []any:
		var all []string
		for _, x := range v[:min(len(v), maxDeclared)] {
			if s, ok := x.(string); ok {
				all = append(all, strings.TrimSpace(s))
			}
		}
		return all
	}
	return nil
}

func (d *declaration) urls(b []byte) {
	for rest := b; len(d.hosts) < maxDeclared; {
		at := urlShape.FindIndex(rest)
		if at == nil {
			return
		}
		d.host(string(rest[at[0]:at[1]]))
		rest = rest[at[1]:]
	}
}

func (d *declaration) variables(b []byte) {
	for rest := b; len(d.envs) < maxDeclared; {
		at := varShape.FindSubmatchIndex(rest)
		if at == nil {
			return
		}
		if name := string(rest[at[2]:at[3]]); looksSecret(name) { // others are as often the example's own
			d.env(name)
		}
		rest = rest[at[1]:]
	}
}
