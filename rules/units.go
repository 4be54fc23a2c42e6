package rules

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
)

// A quantity is a number with a unit in an expression: 10MB, 5m. It is an int, of
// bytes or of seconds.
type quantity struct {
	written, stand string // as it is written, and the name of as many characters that stands for it
	value          int
}

// quantities puts a name in the place of every number with a unit, for the parser
// knows none, and gives what each stands for by its place in characters. Strings and
// comments are left alone, and so is what the parser takes for a number itself.
func quantities(source string) (string, map[int]quantity, error) {
	text := []rune(source)
	found := map[int]quantity{}
	for at := 0; at < len(text); {
		switch c := text[at]; {
		case c == '"' || c == '\'' || c == '`':
			at = endOfString(text, at)
		case c == '/' && at+1 < len(text) && (text[at+1] == '/' || text[at+1] == '*'):
			at = endOfComment(text, at)
		case c >= '0' && c <= '9' || isWord(c):
			end := at
			for end < len(text) && (isWord(text[end]) || isPoint(text, end)) {
				end++
			}
			word := string(text[at:end])
			if c >= '0' && c <= '9' && (at == 0 || text[at-1] != '.') && !isNumber(word) {
				value, err := valueOf(word)
				if err != nil {
					return "", nil, placed(text[:at], err.Error())
				}
				stand := "_" + strings.Map(func(r rune) rune {
					if r == '.' {
						return '_'
					}
					return r
				}, word[1:])
				found[at] = quantity{word, stand, value}
				copy(text[at:end], []rune(stand))
			}
			at = end
		default:
			at++
		}
	}
	return string(text), found, nil
}

func isWord(r rune) bool { return r == '_' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// isPoint reports whether the dot at a place is that of a number.
func isPoint(text []rune, at int) bool {
	digit := func(i int) bool { return i >= 0 && i < len(text) && text[i] >= '0' && text[i] <= '9' }
	return text[at] == '.' && digit(at-1) && digit(at+1)
}

func endOfString(text []rune, at int) int {
	quote := text[at]
	for at++; at < len(text) && text[at] != quote; at++ {
		if text[at] == '\\' && quote != '`' {
			at++
		}
	}
	return min(at+1, len(text))
}

func endOfComment(text []rune, at int) int {
	line := text[at+1] == '/'
	for at += 2; at < len(text); at++ {
		if line && text[at] == '\n' || !line && text[at] == '/' && text[at-1] == '*' {
			return at + 1
		}
	}
	return at
}

// isNumber reports whether the parser takes a word for a number.
func isNumber(word string) bool {
	word = strings.ReplaceAll(strings.ToLower(word), "_", "")
	if strings.Trim(word, "0123456789.") == "" {
		return true
	}
	if len(word) > 1 && word[0] == '0' && strings.ContainsRune("xob", rune(word[1])) {
		return true // hexadecimal, octal, binary, or a mistake in one
	}
	number, exponent, ok := strings.Cut(word, "e")
	return ok && strings.Trim(number, "0123456789.") == "" && strings.Trim(exponent, "0123456789") == ""
}

// seconds of the units of time.
var seconds = []struct {
	unit   string
	factor float64
}{{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}}

func valueOf(word string) (int, error) {
	wrong := fmt.Errorf("%q: a size such as 10MB or 1GiB, or a time such as 30s, 5m, 2h or 1d, is wanted", word)
	plain := strings.ReplaceAll(word, "_", "")
	for _, s := range seconds {
		number, ok := strings.CutSuffix(plain, s.unit)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(number, 64)
		if err != nil {
			break
		}
		if whole := f * s.factor; whole > 1<<53 || whole != float64(int(whole)) {
			return 0, fmt.Errorf("%q is no whole number of seconds", word)
		}
		return int(f * s.factor), nil
	}
	if last := plain[len(plain)-1]; last != 'b' && last != 'B' {
		return 0, wrong
	}
	var size policy.Size
	if size.UnmarshalText([]byte(plain)) != nil {
		return 0, wrong
	}
	return int(size), nil
}

// asWritten puts the quantities back into a message of the parser.
func asWritten(message string, units map[int]quantity) string {
	for _, q := range units {
		message = strings.ReplaceAll(message, strconv.Quote(q.stand), strconv.Quote(q.written))
	}
	return message
}

// placed is a mistake behind the text.
func placed(before []rune, message string) *yamlfile.InnerError {
	inner := &yamlfile.InnerError{Line: 1, Column: 1, Message: message}
	for _, r := range before {
		if inner.Column++; r == '\n' {
			inner.Line, inner.Column = inner.Line+1, 1
		}
	}
	return inner
}
