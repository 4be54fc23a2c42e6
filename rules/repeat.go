package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A repeat is how often a rule's condition has to be true before there is an alert.
type repeat struct {
	Of     int        `yaml:"of"`
	Within throttle   `yaml:"within"`
	Over   repeatOver `yaml:"over"`
}

// maxRepeat bounds what has to be remembered of each.
const maxRepeat = 100

// Validate is called by yamlfile.
func (r *repeat) Validate() error {
	if r.Of < 2 || r.Of > maxRepeat || r.Within.Duration == 0 {
		return fmt.Errorf("a count has of, from 2 to %d, and within, such as 1m", maxRepeat)
	}
	return nil
}

// repeatOver says whose findings are counted together.
type repeatOver string

// What findings can be counted over.
const (
	OverSkill     = "skill"     // of a gateway, or what nobody is named for of one session
	OverSession   = "session"   // one conversation
	OverExecution = "execution" // the processes of one tool call
)

func (o *repeatOver) UnmarshalText(text []byte) error {
	if all := []string{OverSkill, OverSession, OverExecution}; !slices.Contains(all, string(text)) {
		return errors.New("over is one of " + strings.Join(all, ", "))
	}
	*o = repeatOver(text)
	return nil
}

// A Repeat says that a finding is an alert only together with others of the rule.
type Repeat struct {
	Of     int // as many, this one included; below 2: it is one by itself
	Within time.Duration
	Over   string
}

func (r repeat) repeat() Repeat {
	if r.Of > 0 && r.Over == "" {
		r.Over = OverSkill
	}
	return Repeat{r.Of, r.Within.Duration, string(r.Over)}
}
