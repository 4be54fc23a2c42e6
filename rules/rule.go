package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
	"github.com/clawwatch/clawwatch/internal/redact"
)

// A rule as it stands in a file.
type rule struct {
	Name        ruleName  `yaml:"name"`
	Description string    `yaml:"description"`
	Severity    severity  `yaml:"severity"`
	Kinds       []kind    `yaml:"kinds"`
	Condition   condition `yaml:"condition"`
	Message     message   `yaml:"message"`
	Tags        []tag     `yaml:"tags"`
	References  []string  `yaml:"references"`
	Enabled     enabled   `yaml:"enabled"`
	Version     version   `yaml:"version"`
	Throttle    throttle  `yaml:"throttle"`
	Count       repeat    `yaml:"count"`
	At          yamlfile.Pos
	counters

	Exceptions      []exceptionText `yaml:"exceptions"`
	exceptions      []*exception
	overridden      string // the file that changed enabled or severity
	allowance       allowance
	builtin         bool
	changed         bool // it is no built-in one, or a file changes what it says
	digest, ruleset string
}

// Validate is called by yamlfile.
func (r *rule) Validate() error {
	var missing []string
	for key, there := range map[string]bool{
		"name": r.Name != "", "description": r.Description != "", "severity": r.Severity != "",
		"condition": strings.TrimSpace(r.Condition.Text) != "", "message": len(r.Message.parts) > 0,
	} {
		if !there {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("a rule needs %s as well", strings.Join(missing, ", "))
	}
	return nil
}

func (r *rule) ref() event.RuleRef {
	tags := make([]string, len(r.Tags))
	for i, t := range r.Tags {
		tags[i] = string(t)
	}
	return event.RuleRef{Name: string(r.Name), Severity: event.Severity(r.Severity), Tags: tags, Version: max(int(r.Version), 1), Digest: r.digest, Ruleset: r.ruleset}
}

// kinds gives the kinds that the rule is for; nil: all.
func (r *rule) kinds() []event.Kind {
	if len(r.Kinds) == 0 {
		return r.Condition.kinds
	}
	out := make([]event.Kind, len(r.Kinds))
	for i, k := range r.Kinds {
		out[i] = event.Kind(k)
	}
	return out
}

func (r *rule) failed(err error) {
	r.errors.Add(1)
	text := redact.Sanitize(err.Error(), maxMessage)
	r.lastError.Store(&text)
}

// A condition is an expression that gives true or false.
type condition struct {
	yamlfile.Scalar
	source      string
	program     *vm.Program
	kinds       []event.Kind // nil: any
	tiers       []string     // of file.tier, for which it can be true; nil: any
	commandLine bool
	words       []string // lists and macros that it uses
	need        *need    // what must hold for it to be true
}

// allows reports whether the condition can be true for a file of this tier.
func (c *condition) allows(tier string) bool { return c.tiers == nil || slices.Contains(c.tiers, tier) }

// compile makes the condition ready, when the lists and macros of all files are known.
func (c *condition) compile(words *vocabulary) error {
	program, seen, err := compile(c.Text, Env{}, words, expr.AsBool())
	if err != nil {
		return err
	}
	c.source, c.program = strings.TrimSpace(c.Text), program
	c.kinds, c.tiers, c.commandLine, c.words = seen.kinds, seen.tiers, seen.commandLine, seen.words
	c.need = needOf(program.Node(), true)
	if c.kinds != nil && len(c.kinds) == 0 {
		return errors.New("no kind can fulfil this condition")
	}
	return nil
}

type ruleName string

func (n *ruleName) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "" || len(s) > 64 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.Trim(s, "-") != s {
		return errors.New("a name is lower-case words joined by hyphens, at most 64 characters")
	}
	*n = ruleName(s)
	return nil
}

type severity string

func (v *severity) UnmarshalText(text []byte) error {
	known := []event.Severity{event.Info, event.Low, event.Medium, event.High, event.Critical}
	if !slices.Contains(known, event.Severity(text)) {
		return fmt.Errorf("severity is one of %v", known)
	}
	*v = severity(text)
	return nil
}

type kind string

func (k *kind) UnmarshalText(text []byte) error {
	if !slices.Contains(kinds, event.Kind(text)) {
		return fmt.Errorf("unknown kind; known are %v", kinds)
	}
	*k = kind(text)
	return nil
}

type tag string

func (t *tag) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "" || len(s) > 64 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return errors.New("a tag is lower case, such as attack.t1048.003")
	}
	*t = tag(s)
	return nil
}

// enabled is true unless the file says false.
type enabled struct{ off, given bool }

func (e *enabled) UnmarshalText(text []byte) error {
	if s := string(text); s != "true" && s != "false" {
		return errors.New("true or false is wanted")
	}
	e.off, e.given = string(text) == "false", true
	return nil
}
