// Package redact takes secrets out of text before it is stored or leaves the
// process, and makes hostile text safe to print.
//
// A secret becomes [redacted:<type>:<digest>]: the type says what it was taken
// for, the digest is the first 8 hexadecimal digits of an HMAC-SHA256 under
// the redactor's salt. Two places with the same secret show the same digest on
// one host, and without the salt nobody can try guesses against it.
//
// What is recognised: keys and tokens that have a shape (shapes.go), numbers of
// people, cards and accounts (package sensitive), what the operator describes,
// user information and secret parameters in URLs, authorization headers, values
// of names that say they are secret (NAME=value, "name": "value", --name value),
// and curl's -u user:password.
//
// What it does not see: a password that stands alone without a name or a
// shape, secrets in an encoding (base64 of a whole file), and short options of
// programs it does not know (mysql -pSECRET).
//
// It costs about a microsecond for a short command line without anything that
// looks like a secret, and time in proportion to the text otherwise.
package redact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/clawwatch/clawwatch/internal/sensitive"
)

const marker = `\[redacted:[a-z0-9-]+:[0-9a-f]{8}\]`

var (
	marks    = regexp.MustCompile(marker)
	redacted = regexp.MustCompile(`^` + marker + `$`) // a secret that was taken out already, as a whole value
)

// A Redactor replaces secrets by salted digests. It may be used by several
// goroutines.
type Redactor struct {
	salt      []byte
	described atomic.Pointer[[]sensitive.Pattern] // by the operator; nil: nothing
}

// New makes a redactor. The salt should be random, kept for the life of the
// host's records, and never shipped.
func New(salt []byte) *Redactor { return &Redactor{salt: append([]byte(nil), salt...)} }

// Describe makes patterns, in the place of those given before, types of what is
// taken out from now on.
func (r *Redactor) Describe(patterns []sensitive.Pattern) { r.described.Store(&patterns) }

// Find tells of what String takes out by its look alone: keys and tokens, numbers,
// and what the operator described. The digest is that of the mark.
func (r *Redactor) Find(s string, found func(kind, digest string)) {
	lower := strings.ToLower(s)
	r.byLook(s, lower, pairsOf(lower), found)
}

// String replaces every secret in s. Text without secrets comes back as it is.
func (r *Redactor) String(s string) string {
	lower := strings.ToLower(s) // for hints only; it may differ from s in length
	pairs := pairsOf(lower)
	s = r.byLook(s, lower, pairs, nil)
	for i := range settings {
		if settings[i].possible(s, lower, pairs) {
			s = r.replace(s, &settings[i], nil)
		}
	}
	if hinted(lower, pairs, nameHints) {
		s = r.named(r.named(s, assignment, secretAssignment), flag, secretFlagValue)
	}
	return s
}

// Args redacts a command line, also where a flag and its secret are two
// arguments. The result is a new slice.
func (r *Redactor) Args(args []string) []string {
	out := make([]string, len(args))
	curl := len(args) > 0 && strings.HasSuffix(args[0], "curl")
	for i, a := range args {
		switch {
		case i > 0 && isFlag(args[i-1]) && secretFlagValue(args[i-1], "", a, false):
			out[i] = r.mark("value", a)
		case i > 0 && curl && (args[i-1] == "-u" || args[i-1] == "--user" || args[i-1] == "-U" || args[i-1] == "--proxy-user"):
			user, password, found := strings.Cut(a, ":")
			if out[i] = r.String(a); found && isValue(password, false) {
				out[i] = r.String(user) + ":" + r.mark("password", password)
			}
		default:
			out[i] = r.String(a)
		}
	}
	return out
}

// Digest gives what stands for s where even its redacted text is not kept.
func (r *Redactor) Digest(s string) string {
	h := hmac.New(sha256.New, r.salt)
	h.Write([]byte(s))
	return hex.EncodeToString(h.Sum(nil)[:4])
}

func (r *Redactor) mark(kind, secret string) string { return marked(kind, r.Digest(secret)) }

func marked(kind, digest string) string { return "[redacted:" + kind + ":" + digest + "]" }

// byLook takes out what needs no name beside it to be known, and tells of each
// where found is not nil.
func (r *Redactor) byLook(s, lower string, pairs *pairSet, found func(kind, digest string)) string {
	if patterns := r.described.Load(); patterns != nil {
		for _, p := range *patterns {
			s = r.cut(s, outside(s, p.Find(s)), found)
		}
	}
	for i := range tokens {
		if tokens[i].possible(s, lower, pairs) {
			s = r.replace(s, &tokens[i], found)
		}
	}
	return r.cut(s, sensitive.Find(s), found)
}

// outside leaves out what lies within a mark: its digest may look like anything.
func outside(s string, spans []sensitive.Span) []sensitive.Span {
	if len(spans) == 0 || !strings.Contains(s, "[redacted:") {
		return spans
	}
	taken := marks.FindAllStringIndex(s, -1)
	return slices.DeleteFunc(spans, func(x sensitive.Span) bool {
		for len(taken) > 0 && taken[0][1] <= x.From {
			taken = taken[1:]
		}
		return len(taken) > 0 && taken[0][0] <= x.From && x.To <= taken[0][1]
	})
}

// cut takes out spans, which are in their order.
func (r *Redactor) cut(s string, spans []sensitive.Span, found func(kind, digest string)) string {
	if len(spans) == 0 {
		return s
	}
	var out strings.Builder
	end := 0
	for _, x := range spans {
		digest := r.Digest(s[x.From:x.To])
		if x.Type == sensitive.Card || x.Type == sensitive.SSN || x.Type == sensitive.IBAN {
			digest = r.Digest(sensitive.Canonical(s[x.From:x.To]))
		}
		out.WriteString(s[end:x.From])
		out.WriteString(marked(x.Type, digest))
		if end = x.To; found != nil {
			found(x.Type, digest)
		}
	}
	out.WriteString(s[end:])
	return out.String()
}

// A shape is one way to recognise a secret.
type shape struct {
	kind  string
	hints []string // in lower case; one of them is in every text that matches,
	and   string   // and so is this,
	run   int      // and so are that many characters of a token in a row
	re    *regexp.Regexp
	group int // of the secret in re; 0: all of it
	// accept decides on a match that the expression alone cannot; nil: yes.
	// m are the groups.
	accept func(m []string) bool
	// words: names in programs can look like that too. All are taken out; told of
	// are those that look random.
	words bool
}

// possible is a cheap look before the expression.
func (sh *shape) possible(s, lower string, pairs *pairSet) bool {
	return hinted(lower, pairs, sh.hints) && strings.Contains(s, sh.and) && (sh.run == 0 || hasRun(s, sh.run))
}

// hasRun reports whether n characters of which tokens are made follow one
// another.
func hasRun(s string, n int) bool {
	run := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '.':
			if run++; run >= n {
				return true
			}
		default:
			run = 0
		}
	}
	return false
}

func hinted(lower string, pairs *pairSet, hints []string) bool {
	for _, h := range hints {
		if pairs.all(h) && strings.Contains(lower, h) {
			return true
		}
	}
	return false
}

// A pairSet is the pairs of neighbouring bytes in a text, hashed to 12 bits: one
// pass over the text spares nearly all of the searches for hints.
type pairSet [1 << 6]uint64

func pairsOf(s string) *pairSet {
	var set pairSet
	for i := 1; i < len(s); i++ {
		p := pair(s[i-1], s[i])
		set[p>>6] |= 1 << (p & 63)
	}
	return &set
}

func pair(a, b byte) uint16 { return (uint16(a)*131 + uint16(b)*7) & (1<<12 - 1) }

// all reports whether every pair of s is in the set.
func (set *pairSet) all(s string) bool {
	for i := 1; i < len(s); i++ {
		p := pair(s[i-1], s[i])
		if set[p>>6]&(1<<(p&63)) == 0 {
			return false
		}
	}
	return true
}

func (r *Redactor) replace(s string, sh *shape, found func(kind, digest string)) string {
	matches := sh.re.FindAllStringSubmatchIndex(s, -1)
	if matches == nil {
		return s
	}
	var out strings.Builder
	end := 0
	for _, at := range matches {
		from, to := at[2*sh.group], at[2*sh.group+1]
		if from < 0 || from == to {
			continue
		}
		if sh.accept != nil && !sh.accept(groups(s, at)) {
			continue
		}
		digest := r.Digest(s[from:to])
		out.WriteString(s[end:from])
		out.WriteString(marked(sh.kind, digest))
		if end = to; found != nil && (!sh.words || !isName(s[from:to])) {
			found(sh.kind, digest)
		}
	}
	out.WriteString(s[end:])
	return out.String()
}

// isName reports whether a token is more like a name: of words that are joined,
// none of them long and with a digit in it.
func isName(token string) bool {
	for _, word := range strings.FieldsFunc(token, func(c rune) bool { return c == '-' || c == '_' || c == '.' }) {
		if len(word) >= 16 && strings.ContainsAny(word, "0123456789") {
			return false
		}
	}
	return true
}

func groups(s string, at []int) []string {
	m := make([]string, len(at)/2)
	for i := range m {
		if at[2*i] >= 0 {
			m[i] = s[at[2*i]:at[2*i+1]]
		}
	}
	return m
}
