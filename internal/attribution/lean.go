package attribution

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// maxRun bounds how many programs of one execution are remembered by name.
const maxRun = 64

// notes keeps the name of a program that an execution ran, and reports whether it is
// new.
func (x *execution) notes(file string) bool {
	name := path.Base(file)
	if len(x.programs) >= maxRun || slices.Contains(x.programs, name) {
		return false
	}
	x.programs = append(x.programs, name)
	return true
}

// lean puts those of several candidates first whose SKILL.md names a program that
// ran, where it does so for some of them and not for all. An author writes there what
// he likes: it changes the order, and nothing else.
func (g *gateway) lean(a *event.Attribution, programs []string) {
	if a.Confidence != event.Ambiguous || len(a.Candidates) < 2 {
		return
	}
	var first, others []event.SkillID
	var named []string
	for _, id := range a.Candidates {
		bins := slices.DeleteFunc(slices.Clone(g.catalogue.byDir(id.Dir).Declares.Bins), func(bin string) bool { return !slices.Contains(programs, bin) })
		if len(bins) == 0 {
			others = append(others, id)
			continue
		}
		first = append(first, id)
		named = append(named, bins...)
	}
	if len(first) == 0 || len(others) == 0 {
		return
	}
	slices.Sort(named)
	a.Candidates = slices.Concat(first, others)
	a.Evidence = append(a.Evidence, event.Evidence{Kind: "declared", Detail: fmt.Sprintf(
		"of these only the SKILL.md of %s names %s, which ran here; that is a hint and no more", skillSet(first).names(), strings.Join(slices.Compact(named), ", "))})
}
