package policy

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/clawwatch/clawwatch/internal/sensitive"
)

// A HostName is a host name in lower case without a trailing dot, or "*." and a
// domain, which stands for every name below it and not for the domain itself.
type HostName string

// UnmarshalText refuses what could never be compared with a name on the wire.
func (h *HostName) UnmarshalText(text []byte) error {
	s := normalHost(string(text))
	name := strings.TrimPrefix(s, "*.")
	for _, label := range strings.Split(name, ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("host %q: a name or *.domain is wanted", s)
		}
		for _, c := range []byte(label) {
			switch {
			case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			case c >= 0x80:
				return fmt.Errorf("host %q: write international names in their ASCII form, xn--…", s)
			default:
				return fmt.Errorf("host %q: %q is not allowed in a name; ports go to ports", s, c)
			}
		}
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return fmt.Errorf("host %q is an address: write cidr: %s", s, s)
	}
	*h = HostName(s)
	return nil
}

// normalHost makes names comparable: lower case, no trailing dot.
func normalHost(s string) string {
	return strings.ToLower(strings.TrimSuffix(s, ".")) // neither copies when there is nothing to do
}

// A CIDR is a network, or one address.
type CIDR struct{ netip.Prefix }

// UnmarshalText takes 192.0.2.0/24 and 192.0.2.1, IPv6 alike, and an
// IPv4-mapped address as the IPv4 address it is.
func (c *CIDR) UnmarshalText(text []byte) error {
	if addr, err := netip.ParseAddr(string(text)); err == nil {
		addr = addr.Unmap().WithZone("")
		c.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	p, err := netip.ParsePrefix(string(text))
	if err != nil {
		return fmt.Errorf("cidr %q: a network such as 192.0.2.0/24 is wanted", text)
	}
	if p.Addr().Is4In6() {
		return fmt.Errorf("cidr %q: write the IPv4 network", text)
	}
	if p.Masked() != p {
		return fmt.Errorf("cidr %q has bits beyond its length; %s is the network", text, p.Masked())
	}
	c.Prefix = p
	return nil
}

// An Access is what an approved directory may be used for.
type Access string

// The accesses there are. The zero Access is ReadWrite.
const (
	Read      Access = "read"
	ReadWrite Access = "read-write"
)

// UnmarshalText takes the accesses there are.
func (a *Access) UnmarshalText(text []byte) error {
	*a = Access(text)
	if *a != Read && *a != ReadWrite {
		return fmt.Errorf("access is %s or %s", Read, ReadWrite)
	}
	return nil
}

// A Content says how much of a conversation with a model is kept.
type Content string

// The contents there are.
const (
	ContentRedacted Content = "redacted" // the text, without the secrets that are recognised
	ContentDigest   Content = "digest"   // its length and a salted digest
	ContentNone     Content = "none"
)

// UnmarshalText takes the contents there are.
func (c *Content) UnmarshalText(text []byte) error {
	*c = Content(text)
	if *c != ContentRedacted && *c != ContentDigest && *c != ContentNone {
		return fmt.Errorf("content is %s, %s or %s", ContentRedacted, ContentDigest, ContentNone)
	}
	return nil
}

// A Digest is a SHA-256 in lower-case hexadecimal.
type Digest string

// UnmarshalText takes 64 hexadecimal digits.
func (d *Digest) UnmarshalText(text []byte) error {
	s := strings.ToLower(string(text))
	if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		return errors.New("sha256: 64 hexadecimal digits are wanted")
	}
	*d = Digest(s)
	return nil
}

// A Version is a version as a skill writes it, or a range of semantic versions:
// ">=1.2.0 <2", "^1.4", "1.2.x || 2.0.1". A range does not hold for what is not a
// semantic version, nor for a pre-release unless it names one.
type Version struct {
	text string
	set  *semver.Constraints // nil: the version itself
}

// UnmarshalText takes any text without the signs of a range as one version.
func (v *Version) UnmarshalText(text []byte) error {
	v.text, v.set = string(text), nil
	if !rangeSigns.MatchString(v.text) {
		return nil
	}
	set, err := semver.NewConstraint(v.text)
	if err != nil {
		return fmt.Errorf("version %q: a version is wanted, or a range such as \">=1.2.0 <2\"", v.text)
	}
	v.set = set
	return nil
}

// rangeSigns are what a range has and a version has not.
var rangeSigns = regexp.MustCompile(`[<>=~^*|, ]|\.[xX]\b`)

func (v Version) holds(version string) bool {
	if v.set == nil {
		return v.text == "" || v.text == version
	}
	got, err := semver.NewVersion(version)
	return err == nil && v.set.Check(got)
}

// A NamePart is one or more whole components of a variable's name, in upper
// case: TOKEN is part of GITHUB_TOKEN and of TOKEN_FILE, not of TOKENS.
type NamePart string

// UnmarshalText takes letters, digits and underscores.
func (n *NamePart) UnmarshalText(text []byte) error {
	s := strings.ToUpper(string(text))
	if s == "" || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return fmt.Errorf("%q: whole words of a variable's name are wanted, such as TOKEN or API_KEY", text)
	}
	*n = NamePart(s)
	return nil
}

// A Size is a number of bytes.
type Size int64

// Units of a Size: kB and the like count in thousands, KiB in 1024s.
var sizeUnits = []struct {
	name   string
	factor float64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"tib", 1 << 40},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"tb", 1e12},
	{"b", 1},
	{"", 1},
}

// UnmarshalText takes 10000000, 10MB, 1.5 GiB.
func (z *Size) UnmarshalText(text []byte) error {
	s := strings.ToLower(string(text))
	for _, unit := range sizeUnits {
		number, ok := strings.CutSuffix(s, unit.name)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(f >= 0) || f*unit.factor >= math.MaxInt64 {
			break
		}
		*z = Size(f * unit.factor)
		return nil
	}
	return fmt.Errorf("%q: a size such as 10MB, 500kB or 1GiB is wanted", text)
}

// String gives at most one decimal, in decimal units: "1.2 kB", "10 MB".
func (z Size) String() string {
	f, unit := float64(z), ""
	for _, u := range []string{"k", "M", "G", "T"} {
		if f < 999.95 {
			break
		}
		f, unit = f/1000, u
	}
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0") + " " + unit + "B"
}

// An Expression is a regular expression in Go's syntax (RE2), of at most 1024
// bytes. It matches at least one character; (?i) at its beginning makes it match
// in either case, and \b is the border of a word.
type Expression struct{ re *regexp.Regexp }

// UnmarshalText refuses what does not compile or would match everywhere.
func (x *Expression) UnmarshalText(text []byte) error {
	re, err := sensitive.Expression(string(text))
	if err != nil {
		return err
	}
	x.re = re
	return nil
}
