package rules

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// A throttle is the time in which a rule has one alert about the same thing of
// the same skill, in whichever execution it is found; what comes meanwhile is
// counted in it.
type throttle struct{ time.Duration }

// maxThrottle is a week: what is older than that is news again.
const maxThrottle = 7 * 24 * time.Hour

// UnmarshalText takes 90s, 10m, 12h or 2d.
func (t *throttle) UnmarshalText(text []byte) error {
	s := string(text)
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(min(max(n, 0), 8)) * 24 * time.Hour
	}
	if err != nil || d < time.Second || d > maxThrottle {
		return errors.New("a time from 1s to 7d is wanted, such as 10m")
	}
	t.Duration = d
	return nil
}
