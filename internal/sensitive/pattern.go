package sensitive

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
)

// Bounds of what an operator may ask for.
const (
	MaxPatterns   = 32
	maxExpression = 1024 // bytes
	maxName       = 64
	maxMatches    = 256 // of one pattern in one text
)

// A Pattern is a type of data that an operator describes. It is immutable.
type Pattern struct {
	Name string
	re   *regexp.Regexp
}

// Expression compiles the regular expression of a pattern, in Go's syntax. One
// that can match the empty text is refused: it would match everywhere.
func Expression(text string) (*regexp.Regexp, error) {
	switch {
	case strings.TrimSpace(text) == "":
		return nil, errors.New("the expression is empty")
	case len(text) > maxExpression:
		return nil, fmt.Errorf("the expression has %d bytes, at most %d are allowed", len(text), maxExpression)
	case strings.ContainsFunc(text, unicode.IsControl):
		return nil, errors.New(`the expression holds a control character: \b in double quotes is one in YAML; write it in single quotes`)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if canBeEmpty(tree) {
		return nil, errors.New("the expression can match the empty text, which is everywhere")
	}
	return re, nil
}

func canBeEmpty(x *syntax.Regexp) bool {
	switch x.Op {
	case syntax.OpNoMatch, syntax.OpLiteral, syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return false
	case syntax.OpCapture, syntax.OpPlus:
		return canBeEmpty(x.Sub[0])
	case syntax.OpRepeat:
		return x.Min == 0 || canBeEmpty(x.Sub[0])
	case syntax.OpConcat:
		return !slices.ContainsFunc(x.Sub, func(s *syntax.Regexp) bool { return !canBeEmpty(s) })
	case syntax.OpAlternate:
		return slices.ContainsFunc(x.Sub, canBeEmpty)
	}
	return true // nothing, anchors, borders of words, * and ?
}

// CheckName refuses what cannot stand in the place of what was found.
func CheckName(name string) error {
	if name == "" || len(name) > maxName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.Trim(name, "-") != name {
		return fmt.Errorf("a name is lower-case words joined by hyphens, at most %d characters", maxName)
	}
	return nil
}

// NewPattern makes a pattern of what Expression gave.
func NewPattern(name string, re *regexp.Regexp) Pattern { return Pattern{name, re} }

// Find gives what matches in s, in its order. Of a text that matches more often
// than a few hundred times, all the rest is one match: an expression can look at
// the whole of the text for each.
func (p Pattern) Find(s string) []Span {
	var found []Span
	for _, at := range p.re.FindAllStringIndex(s, maxMatches) {
		found = append(found, Span{p.Name, at[0], at[1]})
	}
	if len(found) == maxMatches {
		found[maxMatches-1].To = len(s)
	}
	return found
}
