package redact

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Sanitize makes s safe to print on a terminal and to put into JSON: one line
// of valid UTF-8 without control characters, escape sequences, marks that turn
// the direction of text, or characters that do not show. Each of those appears
// as an escape such as \n, \x1b or \u202e. The result has at most limit bytes;
// a longer one is cut and ends in "…".
//
// A backslash stays as it is, so the result is for reading and not for taking
// back.
func Sanitize(s string, limit int) string {
	if len(s) <= limit && isPlain(s) {
		return s
	}
	var out strings.Builder
	fits := 0 // length of out up to which "…" still fits behind it
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		piece := s[:n]
		switch {
		case r == utf8.RuneError && n == 1:
			piece = fmt.Sprintf(`\x%02x`, s[0])
		case !strconv.IsPrint(r):
			quoted := strconv.QuoteRuneToASCII(r)
			piece = quoted[1 : len(quoted)-1]
		}
		if out.Len()+len(piece) > limit {
			if limit < len("…") {
				return ""
			}
			return out.String()[:fits] + "…"
		}
		out.WriteString(piece)
		if out.Len()+len("…") <= limit {
			fits = out.Len()
		}
		s = s[n:]
	}
	return out.String()
}

// isPlain reports printable ASCII, which most text is.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
