package attribution

import (
	"fmt"
	"slices"
)

// pair tells executions of one command apart by the directories that they began in,
// where each is that of exactly one call and each call has its own. It reports
// whether it could. One call too few or too many and there is no saying: a skill can
// have its command begin in another's directory, by a link.
func (e *Engine) pair(all []*execution) bool {
	mine := map[*execution]*call{}
	for _, x := range all {
		if x.old || x.cwd == "" || x.contested {
			return false
		}
		fits := x.candidates
		if x.call != nil {
			fits = []*call{x.call}
		}
		for _, c := range fits {
			if c.Cwd == "" || !slices.Contains(x.origin.gateway.readings(c.Cwd), x.cwd) {
				continue
			}
			if mine[x] != nil {
				return false
			}
			mine[x] = c
		}
		if mine[x] == nil {
			return false
		}
	}
	owners := map[*call]bool{}
	for _, c := range mine {
		owners[c] = true
	}
	if len(owners) != len(all) {
		return false
	}
	for x, c := range mine {
		if x.call == c {
			continue
		}
		if x != all[0] {
			e.changed = append(e.changed, x)
		}
		x.call, x.candidates, x.doubt = c, nil, false
		c.taken = x
		x.how = fmt.Sprintf("the shell's command is the text of tool call %s, and of the calls that have this text it alone was to begin in %s", c.ID, x.cwd)
	}
	return true
}
