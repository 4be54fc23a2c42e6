package sigma

import (
	"regexp"
	"strconv"
	"strings"
)

// A glob is a text of Sigma with its wildcards.
type glob []piece

// A piece is text, or a wildcard: * or ?.
type piece struct {
	text string
	wild byte
}

// parseGlob reads a value. A backslash takes the meaning from a wildcard or from
// another backslash, and stands for itself elsewhere.
func parseGlob(s string) glob {
	var g glob
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			g = append(g, piece{text: text.String()})
			text.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`*?\`, s[i+1]) >= 0:
			i++
			text.WriteByte(s[i])
		case c == '*' || c == '?':
			flush()
			g = append(g, piece{wild: c})
		default:
			text.WriteByte(c)
		}
	}
	flush()
	return g
}

// placed adds what the modifier means.
func (g glob) placed(modifier string) glob {
	star := piece{wild: '*'}
	if modifier == "contains" || modifier == "endswith" {
		g = append(glob{star}, g...)
	}
	if modifier == "contains" || modifier == "startswith" {
		g = append(g, star)
	}
	var out glob
	for _, p := range g {
		if p == star && len(out) > 0 && out[len(out)-1] == star {
			continue
		}
		out = append(out, p)
	}
	return out
}

// plain tells how a glob can be compared without a pattern: "in", "contains",
// "startsWith", "endsWith" with the text; "any" is every text; "" is none of these.
func (g glob) plain() (how, text string) {
	var shape strings.Builder
	for _, p := range g {
		switch p.wild {
		case 0:
			text = p.text
			shape.WriteByte('x')
		default:
			shape.WriteByte(p.wild)
		}
	}
	switch shape.String() {
	case "", "x":
		return "in", text
	case "*x*":
		return "contains", text
	case "x*":
		return "startsWith", text
	case "*x":
		return "endsWith", text
	case "*":
		return "any", ""
	}
	return "", ""
}

// pattern is the glob as a regular expression of the whole text.
func (g glob) pattern() string {
	var b strings.Builder
	for i, p := range g {
		switch {
		case p.wild == '?':
			b.WriteString(".")
		case p.wild == 0:
			b.WriteString(regexp.QuoteMeta(p.text))
		case i > 0 && i < len(g)-1:
			b.WriteString(".*")
		}
	}
	s := b.String()
	if len(g) == 0 || g[0].wild != '*' {
		s = "^" + s
	}
	if len(g) == 0 || g[len(g)-1].wild != '*' {
		s += "$"
	}
	return s
}

func (g glob) match(s string) bool {
	return regexp.MustCompile("(?is)" + g.pattern()).MatchString(s)
}

// compare writes the comparisons of a text with globs: one for all that are alike,
// or with the modifier all one for each that differs.
func (t *translator) compare(f field, m modifiers, globs []glob) []*node {
	subject, fold := "lower("+f.expr+")", strings.ToLower
	if m.cased {
		subject, fold = f.expr, func(s string) string { return s }
	}
	flags := map[bool]string{false: "(?is)", true: "(?s)"}[m.cased]
	byHow, patterns := map[string][]string{}, []string{}
	var each []*node
	for _, g := range globs {
		how, text := g.plain()
		switch {
		case how == "any":
			each = append(each, f.present())
		case how == "":
			patterns = append(patterns, g.pattern())
		case how == "endsWith" && f.name != "" && strings.LastIndexByte(text, '/') == 0 && len(text) > 1:
			byHow["name"] = append(byHow["name"], literal(fold(text[1:])))
		default:
			byHow[how] = append(byHow[how], literal(fold(text)))
		}
		if how != "any" && how != "" && len(globs) > t.longest && !m.all {
			patterns = append(patterns, g.pattern())
		}
	}
	if len(patterns) > 0 && !m.all {
		each = append(each, leaf(f.expr+" matches "+raw(flags+strings.Join(patterns, "|"))))
	} else {
		for _, p := range patterns {
			each = append(each, leaf(f.expr+" matches "+raw(flags+p)))
		}
	}
	if len(globs) > t.longest && !m.all {
		return each
	}
	for _, how := range []string{"name", "in", "startsWith", "endsWith", "contains"} {
		if texts := byHow[how]; len(texts) > 0 {
			each = append(each, alike(f, m, subject, how, texts))
		}
	}
	return each
}

// alike compares a text with several in the same way.
func alike(f field, m modifiers, subject, how string, texts []string) *node {
	if how == "name" {
		how, subject = "in", strings.Replace(subject, f.expr, f.name, 1)
	}
	list := "[" + strings.Join(texts, ", ") + "]"
	switch {
	case len(texts) == 1 && how == "in":
		return leaf(subject + " == " + texts[0])
	case len(texts) == 1:
		return leaf(subject + " " + how + " " + texts[0])
	case how == "in" && m.all:
		return leaf("all(" + list + ", " + subject + " == #)")
	case how == "in":
		return leaf(subject + " in " + list)
	case m.all:
		return leaf("all(" + list + ", " + subject + " " + how + " #)")
	}
	return leaf("any(" + list + ", " + subject + " " + how + " #)")
}

// literal is a text in the language of rules.
func literal(s string) string { return strconv.Quote(s) }

// raw is a pattern in the language of rules: without its backslashes doubled, where that is possible.
func raw(s string) string {
	if strings.ContainsRune(s, '`') || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return literal(s)
	}
	return "`" + s + "`"
}
