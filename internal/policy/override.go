package policy

import (
	"errors"
	"slices"
	"strconv"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
)

// An Override is another policy for some gateways: those of the users or groups, or
// with the state directories, that it names. What it does not mention is as in the
// rest of the file, wherever in the file that stands; a list with extend adds to
// that. The first override that fits a gateway is the one, and no other counts.
type Override struct {
	Name     string         `yaml:"name"`     // for people: status and doctor show which one a gateway is under
	Users    []string       `yaml:"users"`    // of gateways, by name or number
	Groups   []string       `yaml:"groups"`   // that the gateway's process is in, by name or number
	Gateways []string       `yaml:"gateways"` // state directories, as clawwatch status shows them
	Policy   yamlfile.Later `yaml:"policy"`   // endpoints, directories, skills, limits and environment, as in the rest of the file
	Comment  string         `yaml:"comment"`  // for people

	whole *Policy // the file with the override laid over it
}

// sections are what an override can say otherwise.
type sections struct {
	Endpoints   *Endpoints   `yaml:"endpoints"`
	Directories *Directories `yaml:"directories"`
	Skills      *Skills      `yaml:"skills"`
	Limits      *Limits      `yaml:"limits"`
	Environment *Environment `yaml:"environment"`
}

// Finish is called by yamlfile: by now the rest of the file is known.
func (p *Policy) Finish() {
	for i := range p.Overrides {
		o := &p.Overrides[i]
		whole := *p
		whole.Overrides = nil
		o.Policy.Decode(&sections{&whole.Endpoints, &whole.Directories, &whole.Skills, &whole.Limits, &whole.Environment})
		o.whole = &whole
	}
}

// Validate is called by yamlfile.
func (o *Override) Validate() error {
	switch {
	case o.Name == "":
		return errors.New("name is missing")
	case len(o.Users)+len(o.Groups)+len(o.Gateways) == 0:
		return errors.New("an override is for users, groups or gateways: one of these is missing")
	case !o.Policy.Given():
		return errors.New("policy is missing")
	}
	return nil
}

// Of gives the policy of a gateway, and the name of the override that makes it so;
// empty: none does.
func (p *Policy) Of(g event.GatewayFound, host Host) (*Policy, string) {
	for i := range p.Overrides {
		if o := &p.Overrides[i]; o.fits(g, host) {
			return o.whole, o.Name
		}
	}
	return p, ""
}

// fits reports whether a gateway is one of those that are named. A number in a
// container is not the host's: such a gateway is known by its state directory only.
func (o *Override) fits(g event.GatewayFound, host Host) bool {
	if g.ID == "" {
		return false
	}
	if slices.Contains(o.Gateways, g.ID) || g.ContainerID == "" && slices.Contains(o.Gateways, g.StateDir) {
		return true
	}
	if g.ContainerID != "" {
		return false
	}
	names := func(list []string, id uint32, name func(uint32) string) bool {
		return slices.Contains(list, strconv.FormatUint(uint64(id), 10)) || name != nil && name(id) != "" && slices.Contains(list, name(id))
	}
	return names(o.Users, g.UID, host.UserName) ||
		slices.ContainsFunc(g.Groups, func(id uint32) bool { return names(o.Groups, id, host.GroupName) })
}
