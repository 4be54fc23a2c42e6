package orders

import (
	"strconv"
	"strings"
)

// split takes the command line of a unit apart as systemd does: at blanks, with quotes
// and escapes. plain: without doubt, which there is where a specifier is filled in, or
// something is not understood.
func split(s string) (words []string, plain bool) {
	var word strings.Builder
	var quote byte
	in := false
	plain = true
	end := func() {
		if in {
			words = append(words, word.String())
		}
		word.Reset()
		in = false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			end()
		case c == '\\':
			text, n := unescape(s[i:])
			plain = plain && n > 0
			word.WriteString(text)
			i += max(n, 1) - 1
			in = true
		case c == '%':
			if i+1 < len(s) && s[i+1] == c { // one that is meant
				i++
			} else {
				plain = false
			}
			word.WriteByte(c)
			in = true
		default:
			word.WriteByte(c)
			in = true
		}
	}
	end()
	return words, plain && quote == 0
}

// variable reports whether systemd fills something in for a word: for $NAME that stands
// alone, and for ${NAME} anywhere.
func variable(word string) bool {
	word = strings.ReplaceAll(word, "$$", "")
	return strings.HasPrefix(word, "$") || strings.Contains(word, "${")
}

// Filled gives words as a program is handed them by systemd, but for variables: $$ stands for $.
func Filled(words []string) []string {
	filled := make([]string, len(words))
	for i, w := range words {
		filled[i] = strings.ReplaceAll(w, "$$", "$")
	}
	return filled
}

// escapes are those of one letter.
var escapes = map[byte]string{
	'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v", 's': " ", '\\': "\\", '"': `"`, '\'': "'", '$': "$", ';': ";", '`': "`",
}

// unescape gives what the escape at the beginning of s stands for, and its length; 0:
// it is none.
func unescape(s string) (string, int) {
	if len(s) < 2 {
		return s, 0
	}
	if text, ok := escapes[s[1]]; ok {
		return text, 2
	}
	digits, base, from := 0, 16, 2
	switch {
	case s[1] == 'x':
		digits = 2
	case s[1] == 'u':
		digits = 4
	case s[1] == 'U':
		digits = 8
	case s[1] >= '0' && s[1] <= '7':
		digits, base, from = 3, 8, 1
	}
	if digits == 0 || len(s) < from+digits {
		return s[:1], 0
	}
	n, err := strconv.ParseUint(s[from:from+digits], base, 32)
	switch {
	case err != nil || n == 0:
		return s[:1], 0
	case digits < 4: // a byte
		return string([]byte{byte(n)}), from + digits
	}
	return string(rune(n)), from + digits
}
