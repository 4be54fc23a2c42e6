package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
	"github.com/clawwatch/clawwatch/internal/sensitive"
)

// Canaries are dummy credentials that you have planted, and that nothing has a reason
// to touch. What a skill or a tool call does with one raises canary-touched. Write
// down here what lies where; clawwatch plants nothing. A canary is one for all
// gateways.
type Canaries struct {
	Files     yamlfile.List[Pattern]     `yaml:"files"`     // any use of them, and of what is below them; see Pattern below
	Variables yamlfile.List[string]      `yaml:"variables"` // asked for by name, by a command of a tool call; a name like a secret's is seen best
	Values    yamlfile.List[CanaryValue] `yaml:"values"`    // in a command line, a prompt, an answer or the arguments of a tool call
}

// A CanaryValue is the dummy credential itself. It is taken out of every text, like
// other sensitive data, and told of as canary-NAME.
type CanaryValue struct {
	Name    string     `yaml:"name"`  // lower-case words joined by hyphens
	Value   CanaryText `yaml:"value"` // as it stands in the file or the variable
	Comment string     `yaml:"comment"`
}

// A CanaryText is what nobody would write by chance: 12 to 1024 characters, compared
// exactly. It may stand in this file in clear because it opens nothing.
type CanaryText string

// CanaryType begins the types of data that canaries are.
const CanaryType = "canary-"

// UnmarshalText refuses what would be found everywhere.
func (c *CanaryText) UnmarshalText(text []byte) error {
	if n := len(strings.TrimSpace(string(text))); n < 12 || len(text) > 1024 {
		return errors.New("12 to 1024 characters are wanted, which nothing else would have in it")
	}
	*c = CanaryText(text)
	return nil
}

// Validate is called by yamlfile.
func (c *CanaryValue) Validate() error {
	if c.Value == "" {
		return errors.New("value is missing")
	}
	return sensitive.CheckName(c.Name)
}

// Validate is called by yamlfile.
func (c *Canaries) Validate() error {
	if n := len(c.Values.Items); n > sensitive.MaxPatterns {
		return fmt.Errorf("%d values, at most %d are allowed", n, sensitive.MaxPatterns)
	}
	return nil
}

// Described are the types of data that the policy adds to those built in.
func (p *Policy) Described() []sensitive.Pattern {
	var own []sensitive.Pattern
	for _, c := range p.Canaries.Values.Items {
		own = append(own, sensitive.NewPattern(CanaryType+c.Name, regexp.MustCompile(regexp.QuoteMeta(string(c.Value)))))
	}
	for _, x := range p.SensitiveData.Patterns.Items {
		own = append(own, x.Pattern())
	}
	return own
}
