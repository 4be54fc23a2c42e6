package sigma

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/clawwatch/clawwatch/internal/redact"
)

// header is what a rule says besides its detection.
type header struct {
	name                        string // here
	title, id, status, level    string
	author, date, license       string
	category, product, service  string
	description                 string
	references, tags, falsehits []string
}

func headerOf(top map[string]any) *header {
	text := func(key string) string { s, _ := textOf(top[key]); return s }
	source, _ := top["logsource"].(map[string]any)
	from := func(key string) string { s, _ := textOf(source[key]); return strings.ToLower(s) }
	return &header{
		title: oneLine(text("title"), 200), id: oneLine(text("id"), 64), status: oneLine(strings.ToLower(text("status")), 32),
		level: strings.ToLower(text("level")), author: oneLine(text("author"), 500), date: oneLine(text("date"), 32),
		license: oneLine(text("license"), 200), category: from("category"), product: from("product"), service: from("service"),
		description: text("description"), references: listOf(top["references"]), tags: listOf(top["tags"]), falsehits: listOf(top["falsepositives"]),
	}
}

func listOf(v any) []string {
	const most = 50
	values, ok := v.([]any)
	if !ok {
		values = []any{v}
	}
	var out []string
	for _, v := range values[:min(len(values), most)] {
		if s, ok := textOf(v); ok && strings.TrimSpace(s) != "" {
			out = append(out, oneLine(s, 500))
		}
	}
	return out
}

func oneLine(s string, limit int) string { return strings.TrimSpace(redact.Sanitize(s, limit)) }

// quoted is a word of the rule in a reason.
func quoted(s string) string { return strconv.Quote(oneLine(s, 64)) }

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// uniqueName makes a name of the title; where it is taken, with the first of the ID.
func (h *header) uniqueName(taken func(string) bool) string {
	const most = 64
	cut := func(s string, n int) string {
		if len(s) > n {
			if i := strings.LastIndexByte(s[:n+1], '-'); i > n/2 {
				n = i
			}
			s = s[:n]
		}
		return strings.Trim(s, "-")
	}
	name := strings.Trim("sigma-"+strings.Trim(notInName.ReplaceAllString(strings.ToLower(h.title), "-"), "-"), "-")
	if short := cut(name, most); !taken(short) {
		return short
	}
	suffix := "-" + notInName.ReplaceAllString(strings.ToLower(h.id), "")
	suffix = strings.TrimRight(suffix[:min(len(suffix), 9)], "-")
	name = cut(name, most-len(suffix)-5)
	next := name + suffix
	for n := 2; taken(next); n++ {
		next = name + suffix + "-" + strconv.Itoa(n)
	}
	return next
}

// write is the file of the rule. Every text of a stranger is one printable line,
// quoted or in a block of its own.
func (h *header) write(c *category, kinds []string, condition string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Imported from a Sigma rule by `clawwatch rules import`.\nrules:\n  - name: %s\n    severity: %s\n", h.name, h.severity())
	fmt.Fprintf(&b, "    description: |\n%s", block(h.about()))
	fmt.Fprintf(&b, "    kinds: [%s]\n    condition: |\n%s", strings.Join(kinds, ", "), block(condition))
	title := strings.NewReplacer("{", "(", "}", ")").Replace(h.title) // braces are expressions in a message
	fmt.Fprintf(&b, "    message: %s\n", single(oneLine(title, 120)+": "+c.message))
	if tags, _ := h.splitTags(); len(tags) > 0 {
		fmt.Fprintf(&b, "    tags: [%s]\n", strings.Join(tags, ", "))
	}
	if len(h.references) > 0 {
		b.WriteString("    references:\n")
		for _, r := range h.references {
			fmt.Fprintf(&b, "      - %s\n", single(r))
		}
	}
	return []byte(b.String())
}

// about is the description, with whose rule it is.
func (h *header) about() string {
	var out []string
	for line := range strings.Lines(h.description) {
		if len(out) < 100 {
			out = append(out, strings.TrimRight(redact.Sanitize(strings.TrimRight(line, "\r\n"), 500), " "))
		}
	}
	text := strings.TrimSpace(strings.Join(out, "\n"))
	if text == "" {
		text = h.title + "."
	}
	text += "\n\n"
	if len(h.falsehits) > 0 {
		text += "Known to be harmless: " + strings.Join(h.falsehits, "; ") + "\n"
	}
	text += "Sigma rule: " + h.title + "\n"
	for _, part := range []struct{ label, value string }{
		{"ID", h.id}, {"Author", h.author}, {"Date", h.date}, {"Status", h.status}, {"License", h.license},
	} {
		if part.value != "" {
			text += part.label + ": " + part.value + "\n"
		}
	}
	if _, refused := h.splitTags(); len(refused) > 0 {
		text += "Tags that have no form here: " + strings.Join(refused, ", ") + "\n"
	}
	return strings.TrimSpace(text)
}

func (h *header) severity() string {
	switch h.level {
	case "low", "medium", "high", "critical":
		return h.level
	case "informational":
		return "info"
	}
	return "medium" // the author does not say
}

var tag = regexp.MustCompile(`^[a-z0-9._-]{1,64}$`)

// splitTags gives the tags that the language of rules takes, and the others.
func (h *header) splitTags() (tags, refused []string) {
	for _, s := range h.tags {
		lower := strings.ToLower(s)
		switch {
		case slices.Contains(tags, lower):
		case tag.MatchString(lower) && strings.Trim(lower, "._-0123456789") != "":
			tags = append(tags, lower)
		default:
			refused = append(refused, s)
		}
	}
	return tags, refused
}

// block is a text as the lines of a literal block.
func block(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s + "\n") {
		if line = strings.TrimRight(line, " \n"); line != "" {
			b.WriteString("      " + line)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// single is a line in single quotes.
func single(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
