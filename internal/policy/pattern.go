package policy

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// A Pattern names a path and all that is below it, component by component:
//
//	/etc/ssl        /etc/ssl and below, not /etc/ssl-old
//	/etc/python*    * and ? stand for anything within one component
//	/**/.env        ** stands for any number of components, also none
//	${home}/.       the directory itself and nothing below it
//
// A path begins with / or one of the variables: ${home} of the gateway's user;
// ${state}, the gateway's state directory; ${workspace}, each of its agents'
// workspaces; ${skills}, each skill root; ${skill}, the directory of the skill
// that acts; ${tmp}, each directory for temporary files.
type Pattern string

var variables = []string{"home", "state", "workspace", "skills", "skill", "tmp"}

// UnmarshalText refuses a pattern that could not mean what it says.
func (p *Pattern) UnmarshalText(text []byte) error {
	s := string(text)
	rest := s
	if name, after, ok := cutVariable(s); ok {
		if !slices.Contains(variables, name) {
			return fmt.Errorf("unknown variable ${%s}; known are %s", name, strings.Join(variables, ", "))
		}
		rest = after
	} else if !strings.HasPrefix(s, "/") {
		return errors.New("a path begins with / or a variable such as ${home}")
	}
	if rest != "" && rest[0] != '/' {
		return errors.New("a variable stands for whole components: ${home}/x, not ${home}x")
	}
	rest = strings.TrimSuffix(rest, "/.")
	if strings.Contains(rest, "${") {
		return errors.New("a variable stands only at the beginning")
	}
	if strings.ContainsRune(s, 0) || len(s) > 4096 {
		return errors.New("not a path")
	}
	if rest != "" && rest != "/" && path.Clean(rest) != rest {
		return fmt.Errorf("write it without . .. and double slashes: %s", path.Clean(rest))
	}
	parts := strings.Split(rest, "/")
	if n := strings.Count(rest, "**"); n > 1 || n == 1 && !slices.Contains(parts, "**") {
		return errors.New("** stands alone between slashes, and once")
	}
	if parts[len(parts)-1] == "**" {
		return errors.New("a path stands for all that is below it: leave the ** out")
	}
	if rest == "/" {
		return errors.New("/ stands for everything; /. is the directory itself")
	}
	*p = Pattern(s)
	return nil
}

// cutVariable splits "${name}/rest" into name and "/rest".
func cutVariable(s string) (name, rest string, ok bool) {
	if !strings.HasPrefix(s, "${") {
		return "", s, false
	}
	return strings.Cut(s[2:], "}")
}

// components splits a clean path or pattern: "/a/b" is a and b.
func components(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == '/' })
}

// Wildcard matches one component of a path against a pattern of * and ?, as
// Patterns do.
func Wildcard(pattern, s string) bool { return wildcard(pattern, s) }

// wildcard matches one component against a pattern of * and ?, going back only
// to the last star: the product of the two lengths at worst.
func wildcard(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
