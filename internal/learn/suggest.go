package learn

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/internal/redact"
)

// Bounds of what is suggested.
const (
	maxSuggested = 64 // of one sort, for one skill; and left out
	manyFiles    = 3  // different ones make their directory a suggestion
)

// An entry is one line that may be added to a policy.
type entry struct {
	text string
	why  []string // one for each version of the skill
}

// A draft is what is written for all skills.
type draft struct {
	hosts, dirs, variables []*entry
	left                   []string
}

// Suggest writes the additions to the policy that would allow what the profiles
// say, for a person to review. It is a policy file by itself, and read as one
// before it is given out.
func Suggest(profiles []*Profile) (string, error) {
	var d draft
	dirs := map[string][]string{}
	for _, p := range profiles {
		if name := p.Skill.Name; !slices.Contains(dirs[name], p.Skill.Dir) {
			dirs[name] = append(dirs[name], p.Skill.Dir)
		}
	}
	for _, p := range profiles {
		if p.Skill.Name == "" {
			d.leave(p, "it has no name")
			continue
		}
		d.of(p, len(dirs[p.Skill.Name]))
	}
	text := d.String()
	if _, err := policy.Load("suggestion", []byte(text)); err != nil {
		return "", fmt.Errorf("read suggestion: %w", err)
	}
	return text, nil
}

// of adds what one version of a skill would need.
func (d *draft) of(p *Profile, namesakes int) {
	who := version(p)
	if namesakes > 1 {
		who += fmt.Sprintf("; %d skills have this name, and all of them would be allowed it", namesakes)
	}
	if p.Override != "" {
		who += "; its gateway is under the override " + p.Override + ", where this has to stand"
	}
	n := 0
	for _, s := range p.Hosts {
		if d.wanted(p, s, &n) {
			d.hosts = add(d.hosts, endpoint(s, p.Skill.Name), s.String()+by(s)+"; "+who)
		}
	}
	n = 0
	for _, s := range p.Variables {
		if d.wanted(p, s, &n) {
			d.variables = add(d.variables, fmt.Sprintf("{names: [%s], skills: [%s]}", quote(s.Name), quote(p.Skill.Name)), s.String()+"; "+who)
		}
	}
	d.files(p, who)
	if p.Doubtful > 0 {
		d.leave(p, times(p.Doubtful, "event")+" that may be this skill's, and may not")
	}
	if p.More > 0 {
		d.leave(p, times(p.More, "use")+" of further names")
	}
	if most := max(p.MaxSent, p.MaxReceived); p.Limit > 0 && most > p.Limit {
		d.leave(p, fmt.Sprintf("moved %s in one run; limits.bytes_per_run is %s, and counts for all skills", policy.Size(most), policy.Size(p.Limit)))
	}
}

// wanted reports whether something may be suggested, and notes what is not.
func (d *draft) wanted(p *Profile, s *Seen, n *int) bool {
	switch {
	case s.Allowed:
		return false
	case s.LeftOut != "":
		d.leave(p, s.what()+": "+s.LeftOut+" ("+s.String()+")")
		return false
	}
	if *n++; *n == maxSuggested+1 {
		d.leave(p, fmt.Sprintf("what comes after the first %d of a sort", maxSuggested))
	}
	return *n <= maxSuggested
}

// files suggests directories where many files of one were used, and else the
// files. What may be written may be read.
func (d *draft) files(p *Profile, who string) {
	n, granted := 0, []string{}
	for _, write := range []bool{true, false} {
		groups := map[string][]*Seen{}
		var order []string
		for _, s := range p.Files {
			if s.Write != write || slices.ContainsFunc(granted, func(g string) bool { return s.Name == g || strings.HasPrefix(s.Name, g+"/") }) || !d.wanted(p, s, &n) {
				continue
			}
			dir := path.Dir(strings.TrimSuffix(s.Name, "/."))
			if groups[dir] == nil {
				order = append(order, dir)
			}
			groups[dir] = append(groups[dir], s)
		}
		for _, dir := range order {
			files := groups[dir]
			if len(files) >= manyFiles && !broad(dir, p.Gateway) {
				granted = append(granted, dir)
				d.dirs = add(d.dirs, directory(dir, write, p.Skill.Name), fmt.Sprintf("%d files in it, %s; %s", len(files), together(files), who))
				continue
			}
			for _, s := range files {
				granted = append(granted, s.Name)
				d.dirs = add(d.dirs, directory(s.Name, write, p.Skill.Name), s.String()+"; "+who)
			}
		}
	}
}

// broad reports whether a directory is that of many purposes: of a file in it
// only the file is suggested.
func broad(dir, gateway string) bool {
	home := path.Dir(stateOf(gateway))
	if dir == home || strings.HasPrefix(home, dir+"/") || strings.Count(dir, "/") < 2 {
		return true
	}
	switch path.Dir(dir) {
	case "/home", "/etc", "/var", "/mnt", "/media", "/run", "/usr":
		return true
	}
	return path.Base(dir)[0] == '.' // ~/.config, and all others that programs keep for themselves
}

func (d *draft) leave(p *Profile, what string) {
	d.left = append(d.left, plain(p.Skill.Name)+": "+plain(what))
}

func add(list []*entry, text, why string) []*entry {
	for _, e := range list {
		if e.text == text {
			e.why = append(e.why, why)
			return list
		}
	}
	return append(list, &entry{text, []string{why}})
}

func endpoint(s *Seen, skill string) string {
	key := "host"
	if addr, err := netip.ParseAddr(s.Name); err == nil {
		key, s = "cidr", &Seen{Name: netip.PrefixFrom(addr, addr.BitLen()).String(), Port: s.Port}
	}
	ports := ""
	if s.Port != 0 {
		ports = fmt.Sprintf("ports: [%d], ", s.Port)
	}
	return fmt.Sprintf("{%s: %s, %sskills: [%s]}", key, quote(s.Name), ports, quote(skill))
}

func directory(name string, write bool, skill string) string {
	access := "read"
	if write {
		access = "read-write"
	}
	return fmt.Sprintf("{paths: [%s], access: %s, skills: [%s]}", quote(name), access, quote(skill))
}

// String writes the policy file.
func (d *draft) String() string {
	var b strings.Builder
	b.WriteString("# Suggested from what was observed. It says what skills did, and not that they should: review each line,\n" +
		"# and ask for what a skill would need it. Every line allows it to whatever is installed under that name.\nversion: 1\n")
	for _, s := range []struct {
		head string
		list []*entry
	}{
		{"endpoints:\n  approved:\n", d.hosts}, {"directories:\n  internal:\n", d.dirs}, {"environment:\n  approved:\n", d.variables},
	} {
		if len(s.list) == 0 {
			continue
		}
		b.WriteString("\n" + s.head + "    extend:\n")
		for _, e := range s.list {
			for _, why := range e.why {
				b.WriteString("      # " + plain(why) + "\n")
			}
			b.WriteString("      - " + e.text + "\n")
		}
	}
	if len(d.left) > 0 {
		b.WriteString("\n# Left out:\n")
	}
	for i, l := range d.left {
		if i == 4*maxSuggested {
			fmt.Fprintf(&b, "# and %d more\n", len(d.left)-i)
			break
		}
		b.WriteString("# - " + l + "\n")
	}
	return b.String()
}

// String says how often something was seen, and when.
func (s *Seen) String() string {
	sure := "certain"
	if !s.Certain {
		sure = "strong"
	}
	return fmt.Sprintf("%s in %s, %s, %s, such as %s", times(s.Count, "time"), times(s.Sessions, "session"), span(s.First, s.Last), sure, s.Example)
}

// by says what a suggestion by address rests on.
func by(s *Seen) string {
	if _, err := netip.ParseAddr(s.Name); err == nil {
		return "; no name server of the host gave it a name"
	}
	return ""
}

func (s *Seen) what() string {
	switch {
	case s.Port != 0:
		return fmt.Sprintf("connected to %s port %d", s.Name, s.Port)
	case s.Write:
		return "changed " + s.Name
	}
	return "read " + s.Name
}

func together(files []*Seen) string {
	all := Seen{Certain: true, First: files[0].First, Example: files[0].Example}
	for _, s := range files {
		all.Count += s.Count
		all.Sessions = max(all.Sessions, s.Sessions) // at least
		all.Certain = all.Certain && s.Certain
		if s.First.Before(all.First) {
			all.First, all.Example = s.First, s.Example
		}
		if s.Last.After(all.Last) {
			all.Last = s.Last
		}
	}
	return all.String()
}

func times(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func span(first, last time.Time) string {
	const minute = "2006-01-02 15:04"
	from, to := first.UTC().Format(minute), last.UTC().Format(minute)
	if from == to {
		return from
	}
	return from + " to " + to
}

func version(p *Profile) string {
	v := p.Skill.Name
	if p.Skill.Version != "" {
		v += " " + p.Skill.Version
	}
	if p.Skill.SHA256 != "" {
		v += " (" + p.Skill.SHA256[:min(len(p.Skill.SHA256), 12)] + ")"
	}
	return v
}

// plain makes a text one line of a comment.
func plain(s string) string { return redact.Sanitize(s, 400) }

// quote makes a text a string of YAML, which those of JSON are. What does not
// show is an escape.
func quote(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		return `""` // no string
	}
	var b strings.Builder
	for _, r := range string(raw) {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
