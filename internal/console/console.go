// Package console is how clawwatch looks to a person: one alert on the agent's
// own terminal and in the command line alike, the colours, and the words for
// times, sizes and skills.
//
// Every text that came from outside passes redact.Sanitize here: what a skill
// calls itself must not move the cursor.
package console

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/redact"
)

// A Style is an ANSI text attribute.
type Style string

// The styles there are. Colour is never the only bearer of a meaning.
const (
	Plain  Style = ""
	Bold   Style = "1"
	Dim    Style = "2"
	Red    Style = "31"
	Yellow Style = "33"
	Blue   Style = "34"
	Alarm  Style = "1;37;41"
)

// Paint puts s into a style, when colour is wanted.
func Paint(s string, style Style, colour bool) string {
	if !colour || style == Plain || s == "" {
		return s
	}
	return "\x1b[" + string(style) + "m" + s + "\x1b[0m"
}

// SeverityStyle is the style of a severity.
func SeverityStyle(s event.Severity) Style {
	switch s {
	case event.Critical:
		return Alarm
	case event.High:
		return Red
	case event.Medium:
		return Yellow
	case event.Low:
		return Blue
	}
	return Dim
}

// FormatAlert gives an alert in two lines, without a newline at the end:
//
//	2026-11-22 07:00:01  HIGH      unapproved-endpoint  weather (certain)  01J…
//	    skill weather sent 1.2 kB to 192.0.2.1:443, which is not approved
func FormatAlert(a event.Alert, colour bool) string {
	severity := fmt.Sprintf("%-8s", strings.ToUpper(Text(string(a.Rule.Severity), 8)))
	head := []string{
		Time(a.Time),
		Paint(severity, SeverityStyle(a.Rule.Severity), colour),
		Paint(Text(a.Rule.Name, 60), Bold, colour),
		Whose(a.Attribution),
		Paint(Text(a.ID, 40), Dim, colour),
	}
	var more []string
	if a.Count > 1 {
		more = append(more, fmt.Sprintf("%d events", a.Count))
	}
	if a.Suppressed > 0 {
		more = append(more, fmt.Sprintf("%d like it suppressed", a.Suppressed))
	}
	text := Text(a.Message, 400)
	if len(more) > 0 {
		text += " (" + strings.Join(more, ", ") + ")"
	}
	return strings.Join(head, "  ") + "\n    " + text
}

// Whose names the skill and how sure that is: "weather (certain)",
// "weather or news (ambiguous)", or "no skill".
func Whose(a *event.Attribution) string {
	if a == nil {
		return "no agent"
	}
	var name string
	switch {
	case a.Skill != nil:
		name = Text(a.Skill.Name, 40)
	case len(a.Candidates) > 0:
		name = Candidates(a.Candidates)
	default:
		return "no skill"
	}
	return fmt.Sprintf("%s (%s)", name, cmp.Or(Text(string(a.Confidence), 12), "unsure"))
}

// Candidates names up to three skills.
func Candidates(all []event.SkillID) string {
	var names []string
	for i, c := range all {
		if i == 3 {
			names = append(names, fmt.Sprintf("%d others", len(all)-i))
			break
		}
		names = append(names, Text(c.Name, 40))
	}
	return strings.Join(names, " or ")
}

// Text is hostile text made safe for a terminal, of at most limit bytes.
func Text(s string, limit int) string { return redact.Sanitize(s, limit) }

// Time is a time of the reader's clock, to the second.
func Time(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// Bytes is a number of bytes in decimal units: "812 B", "1.2 kB", "10 MB".
func Bytes(n uint64) string {
	if n < 1000 {
		return strconv.FormatUint(n, 10) + " B"
	}
	v, units := float64(n)/1000, []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	for v >= 999.5 && len(units) > 1 {
		v, units = v/1000, units[1:]
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %s", v, units[0])
	}
	return fmt.Sprintf("%.0f %s", v, units[0])
}
