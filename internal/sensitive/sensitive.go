// Package sensitive finds data about people and money in text: social security
// numbers of the United States, numbers of payment cards, IBANs, and whatever an
// operator describes by a Pattern. Keys and tokens are package redact's.
//
// A number counts only if its check digits are right, or where there are none
// its areas are in use, and if it stands alone: not within a word, a path, a
// decimal fraction, a UUID or a hash. Nine digits without hyphens are a social
// security number only behind words that say so.
//
// It takes one pass over the text, some nanoseconds a byte, and looks at most at
// some tens of bytes from where a number can begin.
//
// What it does not see: numbers in an encoding or in words, with other
// separators than single blanks or hyphens, or cut by the end of the text; a
// card's number of 13 digits, which a bar code may be as well.
package sensitive

import "strings"

// The types there are.
const (
	SSN  = "us-ssn"
	Card = "payment-card"
	IBAN = "iban"
)

// A Span is where in a text something of a type stands.
type Span struct {
	Type     string
	From, To int
}

// Canonical is the number without its separators: one number is the same
// however it is written.
func Canonical(number string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, number)
}

// Find gives the numbers in s, in their order.
func Find(s string) []Span {
	var found []Span
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !isDigit(c) && !isUpper(c) || !begins(s, i) {
			continue
		}
		kind, n := number(s, i)
		if n > 0 && ends(s, i+n) {
			found = append(found, Span{kind, i, i + n})
			i += n - 1
		}
	}
	return found
}

// number reads one that begins at i; n is 0 where there is none.
func number(s string, i int) (kind string, n int) {
	if isUpper(s[i]) {
		return IBAN, iban(s[i:])
	}
	if n = card(s[i:]); n > 0 {
		return Card, n
	}
	return SSN, ssn(s, i)
}

// begins reports whether a number can begin at i: what stands before is not part
// of a longer word, number or path. An escaped end of line or tab is none.
func begins(s string, i int) bool {
	if i == 0 {
		return true
	}
	if c := s[i-1]; i > 1 && s[i-2] == '\\' && (c == 'n' || c == 'r' || c == 't') {
		return true
	}
	return !isWord(s[i-1]) && strings.IndexByte(`-./\+%#`, s[i-1]) < 0
}

// ends reports whether a number can end before i. A full stop may follow, a
// fraction may not.
func ends(s string, i int) bool {
	if i == len(s) {
		return true
	}
	if s[i] == '.' {
		return i+1 == len(s) || !isWord(s[i+1])
	}
	return !isWord(s[i]) && s[i] != '-' && s[i] != '+'
}

func isWord(c byte) bool {
	return isDigit(c) || isUpper(c) || c >= 'a' && c <= 'z' || c == '_'
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }

// run gives how many digits s begins with, up to most and one.
func run(s string, most int) int {
	n := 0
	for n < len(s) && n <= most && isDigit(s[n]) {
		n++
	}
	return n
}

// grouped gives the length of what s begins with, if that is groups of so many
// digits with one separator, a blank or a hyphen, between all of them; else 0.
func grouped(s string, sizes ...int) int {
	n := 0
	for i, size := range sizes {
		if i > 0 {
			if n == len(s) || s[n] != s[sizes[0]] || s[n] != ' ' && s[n] != '-' {
				return 0
			}
			n++
		}
		if run(s[n:], size) != size {
			return 0
		}
		n += size
	}
	return n
}
