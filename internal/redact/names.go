package redact

import (
	"slices"
	"strings"
)

// A verdict says whether what a name holds is a secret.
type verdict int

const (
	no    verdict = iota
	maybe         // by its name alone: key, auth
	yes
)

var (
	// secretWords make a secret of any name that has one of them.
	secretWords = []string{
		"password", "passwd", "passphrase", "pass", "pwd", "secret", "secrets", "token", "apikey", "credential", "credentials", "bearer",
		"accesskey", "secretkey", "privatekey", "authtoken", "accesstoken", "pgpassword", "authkey", "passcode",
	}
	// aboutWords, at the end of a name, say that it tells something about a
	// secret and does not hold it.
	aboutWords = []string{
		"file", "path", "dir", "url", "uri", "name", "names", "count", "limit", "type", "ttl", "length", "len", "size", "sock", "endpoint",
		"expiry", "expires", "budget", "usage", "field", "column", "policy", "version", "manager", "provider", "helper", "id", "ids", "env", "index",
	}
	// plainKeys are words before "key" that make it one of a table or a map.
	plainKeys = []string{
		"primary", "sort", "foreign", "public", "partition", "cache", "hash", "range", "row", "group", "order", "object", "map", "json", "hot",
		"up", "down", "left", "right", "unique", "composite", "arrow", "any", "by", "per", "host", "session", "trusted",
	}
)

// secretName judges a name by its words: API_KEY, api-key, apiKey and
// client.secret alike.
func secretName(name string) verdict {
	words := splitName(name)
	if len(words) == 0 || slices.Contains(aboutWords, words[len(words)-1]) {
		return no
	}
	if name == "PWD" || name == "OLDPWD" {
		return no // directories
	}
	for _, w := range words {
		if slices.Contains(secretWords, w) {
			return yes
		}
	}
	switch last := words[len(words)-1]; {
	case last == "key" && len(words) == 1, last == "auth":
		return maybe
	case last == "key" && !slices.Contains(plainKeys, words[len(words)-2]), last == "keys" && len(words) > 1 && words[len(words)-2] == "api":
		return yes
	case strings.HasSuffix(last, "apikey"), strings.HasSuffix(last, "token"), strings.HasSuffix(last, "password"), strings.HasSuffix(last, "secret"):
		return yes
	}
	return no
}

// splitName gives the words of a name in lower case.
func splitName(name string) []string {
	var words []string
	start := 0
	for i := 0; i <= len(name); i++ {
		atSeparator := i == len(name) || name[i] == '_' || name[i] == '-' || name[i] == '.'
		atCapital := i > 0 && i < len(name) && isUpper(name[i]) && !isUpper(name[i-1])
		if (atSeparator || atCapital) && i > start {
			words = append(words, strings.ToLower(name[start:i]))
		}
		if atSeparator {
			start = i + 1
		} else if atCapital {
			start = i
		}
	}
	return words
}

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
