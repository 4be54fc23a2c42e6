package skills

import (
	"bytes"
	"maps"
	"slices"
	"strings"
)

const (
	maxNames   = 128 // of one skill
	maxNameLen = 64
)

// secretWords make a variable's name look like a secret's, when one of them is a
// component of it.
var secretWords = []string{
	"KEY", "APIKEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "CREDENTIALS", "AUTH", "PRIVATE",
}

// envNames collects names of variables that look like secrets.
type envNames map[string]bool

// find takes in the names that occur in a text: runs of capitals, digits and
// underscores that begin with a capital and stand alone.
func (names envNames) find(text []byte) {
	for start := 0; start < len(text) && len(names) < maxNames; start++ {
		if !isName(text[start]) {
			continue
		}
		end := start
		for end < len(text) && isName(text[end]) {
			end++
		}
		// Only here is text made a string, and only for the few that qualify.
		if word := text[start:end]; word[0] >= 'A' && word[0] <= 'Z' && len(word) >= 3 && len(word) <= maxNameLen &&
			!bytes.ContainsFunc(word, isLower) && looksSecret(string(word)) {
			names[string(word)] = true
		}
		start = end
	}
}

func isName(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func isLower(r rune) bool { return r >= 'a' && r <= 'z' }

func looksSecret(name string) bool {
	for part := range strings.SplitSeq(name, "_") {
		if slices.Contains(secretWords, part) {
			return true
		}
	}
	return false
}

func (names envNames) sorted() []string { return slices.Sorted(maps.Keys(names)) }
