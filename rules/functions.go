package rules

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"golang.org/x/net/idna"

	"github.com/clawwatch/clawwatch/internal/policy"
)

// A Function is one of ours that conditions and messages may call. Its first
// argument is the value that is asked about, the others are patterns, or lists of
// them. They are written out, looked at when the rule is loaded, and prepared then.
type Function struct {
	Name    string
	Call    string // how it is written
	Meaning string
	values  bool // a pattern may be a value of the event as well
	wants   string
	prepare func(patterns []string) (match func(string) bool, err error)
}

// Functions lists them.
func Functions() []Function {
	return []Function{
		{
			Name: "cidr", Call: `cidr(address, "192.0.2.0/24", …)`, wants: "networks", prepare: inNetworks,
			Meaning: "the address is in one of the networks; an IPv4 address is the same in its IPv6 form",
		},
		{
			Name: "under", Call: `under(path, "/etc", …)`, wants: "directories", values: true, prepare: inDirectories,
			Meaning: "the path is one of the directories or below it, by whole components, . and .. worked out; a directory may be a field, such as process.cwd",
		},
		{
			Name: "glob", Call: `glob(path, "/home/*/.ssh/**", …)`, wants: "patterns", prepare: likeGlobs,
			Meaning: "the whole path fits one of the patterns: * and ? stand for anything within one component, ** between slashes for any number of components, also none",
		},
		{
			Name: "domain", Call: `domain(host, "example.com", …)`, wants: "domains", prepare: inDomains,
			Meaning: "the host is one of the domains or a name below it, in either case, with or without a dot at the end, international names in either form; an address never is",
		},
	}
}

// prepared are the patterns of one call.
type prepared struct {
	patterns []string
	match    func(string) bool
}

// functions makes ours known to the compiler. What it sees of the patterns is
// what call has made of them.
func functions() []expr.Option {
	var all []expr.Option
	for _, f := range Functions() {
		var signature any = new(func(string, *prepared) bool)
		if f.values {
			signature = new(func(string, *prepared, ...string) bool)
		}
		all = append(all, expr.Function(f.Name, func(in ...any) (any, error) {
			value := in[0].(string)
			if in[1].(*prepared).match(value) {
				return true, nil
			}
			return slices.ContainsFunc(in[2:], func(dir any) bool { return under(value, dir.(string)) }), nil
		}, signature))
	}
	return all
}

// call prepares the patterns of a call of one of our functions.
func (i *inspector) call(n *ast.CallNode) {
	name, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		return
	}
	all := Functions()
	at := slices.IndexFunc(all, func(f Function) bool { return f.Name == name.Value })
	if at < 0 {
		return
	}
	f := all[at]
	if len(n.Arguments) < 2 {
		i.refuse(n, fmt.Sprintf("%s wants a value and %s: %s", f.Name, f.wants, f.Call))
		return
	}
	var patterns []string
	var values []ast.Node
	for _, arg := range n.Arguments[1:] {
		texts := written(arg)
		switch {
		case texts == nil && f.values:
			values = append(values, arg)
			continue
		case texts == nil:
			i.refuse(arg, fmt.Sprintf("%s wants %s that are written out, or a list", f.Name, f.wants))
			return
		}
		for _, text := range texts {
			if _, err := f.prepare([]string{text}); err != nil {
				i.refuse(arg, err.Error())
				return
			}
		}
		patterns = append(patterns, texts...)
	}
	match, err := f.prepare(patterns)
	if err != nil {
		i.refuse(n, err.Error())
		return
	}
	ready := &ast.ConstantNode{Value: &prepared{patterns, match}}
	ready.SetLocation(n.Arguments[1].Location())
	n.Arguments = append([]ast.Node{n.Arguments[0], ready}, values...)
}

// written gives the texts of a string or of a list of strings; nil: it is neither.
func written(n ast.Node) []string {
	switch n := n.(type) {
	case *ast.StringNode:
		return []string{n.Value}
	case *ast.ArrayNode:
		texts := []string{}
		for _, item := range n.Nodes {
			s, ok := item.(*ast.StringNode)
			if !ok {
				return nil
			}
			texts = append(texts, s.Value)
		}
		return texts
	}
	return nil
}

// inNetworks does not care in which of its two forms an
// IPv4 address, or network, is written.
func inNetworks(patterns []string) (func(string) bool, error) {
	all, lengths := map[netip.Prefix]bool{}, []int{}
	for _, s := range patterns {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("%q is no network, such as 192.0.2.0/24", s)
		}
		if p.Addr().Is4In6() {
			if p.Bits() < 96 {
				return nil, fmt.Errorf("%q is no network of IPv4 addresses: at least 96 bits", s)
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if all[p.Masked()] = true; !slices.Contains(lengths, p.Bits()) {
			lengths = append(lengths, p.Bits())
		}
	}
	return func(s string) bool {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return false // what is not known is in no network
		}
		addr = addr.Unmap().WithZone("")
		return slices.ContainsFunc(lengths, func(bits int) bool {
			p, err := addr.Prefix(bits)
			return err == nil && all[p]
		})
	}, nil
}

func inDirectories(patterns []string) (func(string) bool, error) {
	dirs := map[string]bool{}
	for _, s := range patterns {
		clean := path.Clean(s)
		if !path.IsAbs(s) || clean != s && clean+"/" != s {
			return nil, fmt.Errorf("%q is no directory: it begins with /, without . .. and double slashes", s)
		}
		dirs[clean] = true
	}
	return func(s string) bool {
		if len(dirs) == 0 || !path.IsAbs(s) {
			return false
		}
		for s = path.Clean(s); s != "/" && !dirs[s]; {
			s = s[:max(1, strings.LastIndexByte(s, '/'))]
		}
		return dirs[s]
	}, nil
}

// under reports whether a path is a directory or below it. What is not absolute
// is nowhere.
func under(p, dir string) bool {
	if !path.IsAbs(p) || !path.IsAbs(dir) {
		return false
	}
	p, dir = path.Clean(p), path.Clean(dir) // neither copies a clean one
	rest, ok := strings.CutPrefix(p, dir)
	return ok && (dir == "/" || rest == "" || rest[0] == '/')
}

// Bounds of patterns; the work of each is the product of its length and the path's.
const (
	maxGlob  = 512 // bytes
	maxGlobs = 200
)

func likeGlobs(patterns []string) (func(string) bool, error) {
	if len(patterns) > maxGlobs {
		return nil, fmt.Errorf("%d patterns, at most %d are read", len(patterns), maxGlobs)
	}
	all := make([][]string, len(patterns))
	for i, s := range patterns {
		if err := checkGlob(s); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", s, err)
		}
		all[i] = strings.Split(s[1:], "/")
	}
	return func(s string) bool {
		if !path.IsAbs(s) {
			return false
		}
		s = path.Clean(s)[1:]
		return slices.ContainsFunc(all, func(parts []string) bool { return globbed(parts, s) })
	}, nil
}

func checkGlob(s string) error {
	switch {
	case !strings.HasPrefix(s, "/"):
		return errors.New("it begins with /, for it is held against the whole path")
	case len(s) > maxGlob:
		return fmt.Errorf("at most %d bytes", maxGlob)
	case path.Clean(s) != s:
		return fmt.Errorf("write it without . .. and double slashes: %s", path.Clean(s))
	case strings.ContainsAny(s, `[]{}\`):
		return errors.New(`[ ] { } and \ mean nothing here; ? stands for one of them`)
	}
	for _, part := range strings.Split(s, "/") {
		if strings.Contains(part, "**") && part != "**" {
			return errors.New("** stands alone between slashes")
		}
	}
	return nil
}

// globbed matches the components of p, going back only to the last **: it can take
// in one component more, and nothing before it need be tried again.
func globbed(pattern []string, p string) bool {
	at, back, mark := 0, -1, ""
	for p != "" {
		first, rest, _ := strings.Cut(p, "/")
		switch {
		case at < len(pattern) && pattern[at] == "**":
			back, mark = at, p
			at++
		case at < len(pattern) && policy.Wildcard(pattern[at], first):
			at++
			p = rest
		case back >= 0:
			_, mark, _ = strings.Cut(mark, "/")
			at, p = back+1, mark
		default:
			return false
		}
	}
	for at < len(pattern) && (pattern[at] == "**" || pattern[at] == "") {
		at++
	}
	return at == len(pattern)
}

func inDomains(patterns []string) (func(string) bool, error) {
	all := map[string]bool{}
	for _, s := range patterns {
		name := asciiHost(s)
		if err := checkDomain(s, name); err != nil {
			return nil, err
		}
		all[name] = true
	}
	return func(s string) bool {
		host := asciiHost(s)
		if numeric(host) {
			return false
		}
		for name, more := strings.TrimPrefix(host, "."), host != "" && host[0] != '.'; more; _, name, more = strings.Cut(name, ".") {
			if all[name] {
				return true
			}
		}
		return false
	}, nil
}

func checkDomain(written, name string) error {
	switch {
	case strings.ContainsAny(written, "*"):
		return fmt.Errorf("domain %q: a domain stands for all names below it: leave the * out", written)
	case name == "" || len(name) > 253:
		return fmt.Errorf("domain %q: a name such as example.com is wanted", written)
	case numeric(name):
		return fmt.Errorf("domain %q is an address: use cidr", written)
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return fmt.Errorf("domain %q: a name such as example.com is wanted", written)
		}
	}
	return nil
}

// numeric reports whether a host is an address in one of its forms: it has a
// colon, or its last label is a number, which that of a name never is.
func numeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	hex, isHex := strings.CutPrefix(last, "0x")
	return strings.ContainsAny(host, ":[]") || last != "" && strings.Trim(last, "0123456789") == "" || isHex && strings.Trim(hex, "0123456789abcdef") == ""
}

// names takes labels as they are looked up, one by one: a label that is none must
// not keep the others from being compared.
var names = idna.New(idna.MapForLookup(), idna.Transitional(false))

// asciiHost makes hosts comparable: lower case, international labels in their
// ASCII form, no dot at the end.
func asciiHost(s string) string {
	if !ascii(s) {
		s = strings.NewReplacer("。", ".", "．", ".", "｡", ".").Replace(s)
		labels := strings.Split(s, ".")
		for i, label := range labels {
			if plain, err := names.ToASCII(label); err == nil && !ascii(label) {
				labels[i] = plain
			}
		}
		s = strings.Join(labels, ".")
	}
	return strings.ToLower(strings.TrimSuffix(s, "."))
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
