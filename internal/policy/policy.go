// Package policy is the operator's intent, typed: which endpoints skills may
// reach, which directories hold what, which skills are vetted, how much one
// run may move, which environment variables are secrets, which data is sensitive.
//
// A policy is a YAML file over the default that is built in (default.yaml,
// which is also its documentation). What a file does not mention keeps its
// default; a list given replaces the default's list, and
//
//	approved:
//	  extend: [...]
//
// adds to it. All mistakes of a file are reported at once, each with its place.
//
// A Policy is text about variables; a View is the policy of one gateway on one
// host, with the variables bound, compiled, and never changed again. Asking a
// View costs about a microsecond and never touches the host.
//
// What it does not see: paths are judged as they are given, so the caller gives
// the path of the opened object and directories without symbolic links. A hard
// link to a restricted file under another name is judged by that name. A host
// name is a claim by whoever learned it. Names of skills are chosen by their
// authors; a grant to a name is as good as the vetting of what is installed.
package policy

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
	"github.com/clawwatch/clawwatch/internal/sensitive"
)

// A Policy is a policy file, checked.
type Policy struct {
	Version     int         `yaml:"version"`
	Endpoints   Endpoints   `yaml:"endpoints"`
	Directories Directories `yaml:"directories"`
	Skills      Skills      `yaml:"skills"`
	Limits      Limits      `yaml:"limits"`
	Environment Environment `yaml:"environment"`
	LLM         LLM         `yaml:"llm"`

	SensitiveData SensitiveData `yaml:"sensitive_data"`
	Canaries      Canaries      `yaml:"canaries"`

	Overrides []Override `yaml:"overrides"`
}

// Endpoints says where connections may go.
type Endpoints struct {
	Approved  yamlfile.List[Endpoint] `yaml:"approved"`  // where skills may connect to
	Resolvers bool                    `yaml:"resolvers"` // the host's name servers, port 53
	Providers bool                    `yaml:"providers"` // the model providers configured in the gateway
}

// An Endpoint is a destination, by name or by address: one of Host and CIDR.
type Endpoint struct {
	Host    HostName `yaml:"host"`    // name, or *.domain for every name below it
	CIDR    CIDR     `yaml:"cidr"`    // network or address
	Ports   []uint16 `yaml:"ports"`   // none: any
	Skills  []string `yaml:"skills"`  // none: all
	Comment string   `yaml:"comment"` // for people
}

// Directories sorts paths into tiers.
type Directories struct {
	Public     yamlfile.List[Directory] `yaml:"public"`     // of no interest
	Internal   yamlfile.List[Directory] `yaml:"internal"`   // the agent's own work
	Restricted yamlfile.List[Directory] `yaml:"restricted"` // no skill's business
}

// A Directory is a set of paths in one tier, each with all that is below it.
type Directory struct {
	Paths   []Pattern `yaml:"paths"`   // see Pattern below
	Access  Access    `yaml:"access"`  // read, or read-write (the default)
	Skills  []string  `yaml:"skills"`  // none: all
	Comment string    `yaml:"comment"` // for people
}

// Skills says which skills were vetted.
type Skills struct {
	Approved yamlfile.List[ApprovedSkill] `yaml:"approved"` // empty: none was, and nothing alerts on that; else what another skill runs does
}

// An ApprovedSkill is one vetted skill, as far as an entry says: all of its
// conditions must hold. Only the digest is proof: name, version and source stand
// in files of the skill, and whoever writes those can write what he likes.
type ApprovedSkill struct {
	Name    string  `yaml:"name"`    // as the skill calls itself; "*": any, for an entry with a digest or a source
	Version Version `yaml:"version"` // none: any
	SHA256  Digest  `yaml:"sha256"`  // of the tree, as clawwatch skills shows it; none: any
	Source  string  `yaml:"source"`  // where the metadata of its install says it is from, as clawhub or git; or bundled, with OpenClaw; none: any
	Comment string  `yaml:"comment"` // for people
}

// Limits bounds how much skills may move over the network.
type Limits struct {
	BytesPerRun      Size `yaml:"bytes_per_run"`       // sent or received in one skill execution; 0: no limit
	BytesPerSkillDay Size `yaml:"bytes_per_skill_day"` // sent or received for one skill of a gateway in one day, by UTC; 0: no limit
}

// Environment says which variables are secrets, and who may read them.
type Environment struct {
	SecretNames yamlfile.List[NamePart] `yaml:"secret_names"` // whole words of a variable's name that make it a secret
	Approved    yamlfile.List[EnvGrant] `yaml:"approved"`     // variables that skills may read
}

// An EnvGrant allows skills to read variables, by exact name.
type EnvGrant struct {
	Names   []string `yaml:"names"`   // compared exactly
	Skills  []string `yaml:"skills"`  // none: all
	Comment string   `yaml:"comment"` // for people
}

// LLM says how much of a conversation is kept.
type LLM struct {
	Content Content `yaml:"content"` // redacted, digest or none
}

// SensitiveData says what data is to be recognised in prompts, answers, tool
// calls and command lines, besides what is built in: payment cards, IBANs, social
// security numbers of the United States, private keys, and keys and tokens of the
// common providers. What is recognised is taken out of every text, and reported
// by type, place and digest.
type SensitiveData struct {
	Patterns yamlfile.List[DataPattern] `yaml:"patterns"` // types of your own
}

// A DataPattern is a type of data.
type DataPattern struct {
	Name    string     `yaml:"name"`    // of the type, as alerts show it: lower-case words joined by hyphens
	Regexp  Expression `yaml:"regexp"`  // what such data looks like
	Comment string     `yaml:"comment"` // for people
}

//go:embed default.yaml
var defaultYAML []byte

// Default gives a fresh copy of the built-in policy.
func Default() *Policy {
	p := new(Policy)
	if err := yamlfile.Decode("default.yaml", defaultYAML, p); err != nil {
		panic(err) // the file is part of the program, and tested
	}
	return p
}

// DefaultYAML is the built-in policy as text, to start a file of one's own from.
func DefaultYAML() []byte { return slices.Clone(defaultYAML) }

// Load reads a policy file over the default. The error joins one
// *yamlfile.Error a mistake; the policy is nil then.
func Load(name string, data []byte) (*Policy, error) {
	p := Default()
	if err := yamlfile.Decode(name, data, p); err != nil {
		return nil, err
	}
	return p, nil
}

// Validate is called by yamlfile.
func (p *Policy) Validate() error {
	if p.Version != 1 {
		return fmt.Errorf("version %d, this program reads 1", p.Version)
	}
	return nil
}

// UnmarshalText reads the short form of an endpoint: a host, or a network.
func (e *Endpoint) UnmarshalText(text []byte) error {
	if strings.ContainsRune(string(text), '/') {
		return e.CIDR.UnmarshalText(text)
	}
	return e.Host.UnmarshalText(text)
}

// Validate is called by yamlfile.
func (e *Endpoint) Validate() error {
	if (e.Host == "") == !e.CIDR.IsValid() {
		return errors.New("an endpoint has a host or a cidr")
	}
	return nil
}

// UnmarshalText reads the short form of a directory: one path, for all skills,
// to read and to write.
func (d *Directory) UnmarshalText(text []byte) error {
	d.Paths = make([]Pattern, 1)
	return d.Paths[0].UnmarshalText(text)
}

// Validate is called by yamlfile.
func (d *Directory) Validate() error {
	if len(d.Paths) == 0 {
		return errors.New("paths is missing")
	}
	return nil
}

// Validate is called by yamlfile.
func (s *ApprovedSkill) Validate() error {
	if s.Name == "" {
		return errors.New("name is missing")
	}
	if s.Name == "*" && s.SHA256 == "" && s.Source == "" {
		return errors.New("any skill of any source is no vetting: give sha256 or source")
	}
	return nil
}

// Validate is called by yamlfile.
func (g *EnvGrant) Validate() error {
	if len(g.Names) == 0 {
		return errors.New("names is missing")
	}
	return nil
}

// Validate is called by yamlfile.
func (d *SensitiveData) Validate() error {
	if n := len(d.Patterns.Items); n > sensitive.MaxPatterns {
		return fmt.Errorf("%d patterns, at most %d are allowed", n, sensitive.MaxPatterns)
	}
	return nil
}

// Validate is called by yamlfile.
func (d *DataPattern) Validate() error {
	if d.Regexp.re == nil {
		return errors.New("regexp is missing")
	}
	return sensitive.CheckName(d.Name)
}

// Pattern is what finds such data.
func (d DataPattern) Pattern() sensitive.Pattern { return sensitive.NewPattern(d.Name, d.Regexp.re) }

// approves reports whether the entry stands for the skill as it is.
func (s ApprovedSkill) approves(id event.SkillID) bool {
	return (s.Name == id.Name || s.Name == "*") && s.Version.holds(id.Version) &&
		(s.SHA256 == "" || string(s.SHA256) == id.SHA256) && (s.Source == "" || s.Source == id.Source)
}
