package openclaw

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds on what is kept of a row, in bytes. A command is bounded by what the
// kernel takes as one argument.
const (
	maxCommand = 128 << 10
	maxText    = 4 << 10 // prompt, answer, message of an error
	maxPath    = 4 << 10
	maxPaths   = 64
	maxWord    = 256 // names and IDs
	maxCalls   = 256 // tool calls in one row
)

// A row is one transcript row, as far as this package reads it.
type row struct {
	database bool      // and not a line of a file
	id       string    // unique with its session; empty where the record has none
	at       time.Time // when it was made; zero: it does not say
	run      string
	asks     bool   // it is a user's message
	user     string // its text

	// Gateway, Agent, Session, SessionKey and Prompt are not the row's to know,
	// and stay empty in these.
	calls   []call
	results []event.ToolResult
	llm     *event.LLMCall

	version float64 // of the transcript, whose first row this is; 0: it is another row

	tools  []string // whose results these are
	nested bool     // calls and results were made by another call, and are recorded when they ended
	parent string   // nested: ID of that other call
}

// A call is a tool call that the model made. A wrapped one is reported under
// the name of the tool that it carries in its arguments.
type call struct {
	event.ToolCall
	wrapped bool
}

// The shapes of the record, with the fields that are read. OpenClaw writes
// them; a provider's answer and a skill's output stand inside.
type (
	rowJSON struct {
		Type      string      `json:"type"`
		ID        string      `json:"id"`
		Timestamp scalar      `json:"timestamp"`
		Version   float64     `json:"version"` // type session: the transcript's
		Message   messageJSON `json:"message"`
	}
	messageJSON struct {
		Role           string    `json:"role"`
		CustomType     string    `json:"customType"`
		Content        content   `json:"content"`
		API            string    `json:"api"`
		Provider       string    `json:"provider"`
		Model          string    `json:"model"`
		ResponseID     string    `json:"responseId"`
		StopReason     string    `json:"stopReason"`
		Usage          usageJSON `json:"usage"`
		ErrorMessage   string    `json:"errorMessage"`
		ErrorCode      scalar    `json:"errorCode"`
		ErrorType      scalar    `json:"errorType"`
		ErrorBody      string    `json:"errorBody"`
		ToolCallID     string    `json:"toolCallId"`
		ToolName       string    `json:"toolName"`
		IsError        bool      `json:"isError"`
		Details        details   `json:"details"`
		IdempotencyKey string    `json:"idempotencyKey"`
		OpenClaw       struct {
			RunID string `json:"runId"`
		} `json:"__openclaw"`
	}
	usageJSON struct {
		Input      float64 `json:"input"`
		Output     float64 `json:"output"`
		CacheRead  float64 `json:"cacheRead"`
		CacheWrite float64 `json:"cacheWrite"`
	}
	// details belong to a tool's result, or hold a whole nested call.
	details struct {
		Status     string   `json:"status"`
		PID        float64  `json:"pid"`
		ExitCode   *float64 `json:"exitCode"`
		DurationMS float64  `json:"durationMs"`

		RunID            string    `json:"runId"`
		ParentToolCallID string    `json:"parentToolCallId"`
		ToolCallID       string    `json:"toolCallId"`
		ToolName         string    `json:"toolName"`
		Input            arguments `json:"input"`
		IsError          bool      `json:"isError"`
		Result           struct {
			Details struct {
				Status     string   `json:"status"`
				PID        float64  `json:"pid"`
				ExitCode   *float64 `json:"exitCode"`
				DurationMS float64  `json:"durationMs"`
			} `json:"details"`
		} `json:"result"`
	}
	part struct {
		Type      string    `json:"type"`
		Text      string    `json:"text"`
		ID        string    `json:"id"`
		Name      string    `json:"name"`
		Arguments arguments `json:"arguments"`
	}
	// arguments of any tool. A model may write anything here, so each field is
	// taken only where it has the type the tool wants.
	arguments struct {
		Command  scalar     `json:"command"`
		Workdir  scalar     `json:"workdir"`
		Path     scalar     `json:"path"`
		FilePath scalar     `json:"file_path"`
		URL      scalar     `json:"url"`
		Input    scalar     `json:"input"` // apply_patch
		ID       scalar     `json:"id"`    // tool_call: the tool meant
		Args     *arguments `json:"args"`  // tool_call: its arguments
	}
)

// content is a list of parts, or one text.
type content []part

func (c *content) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		err := json.Unmarshal(b, &s)
		*c = content{{Type: "text", Text: s}}
		return err
	}
	return lenient(json.Unmarshal(b, (*[]part)(c)))
}

// scalar is a string, or a number or boolean as it is written; anything else is empty.
type scalar string

func (s *scalar) UnmarshalJSON(b []byte) error {
	switch {
	case len(b) > 0 && b[0] == '"':
		return json.Unmarshal(b, (*string)(s))
	case len(b) == 0 || bytes.ContainsAny(b[:1], "{[n"):
		*s = ""
	default:
		*s = scalar(b)
	}
	return nil
}

// time reads a moment, as text or in milliseconds; zero: it is none.
func (s scalar) time() time.Time {
	if at, err := time.Parse(time.RFC3339, string(s)); err == nil {
		return at
	}
	if ms, err := strconv.ParseInt(string(s), 10, 64); err == nil && ms > 0 && ms < 1<<43 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

// lenient forgives a field of an unexpected type: the others have been read.
func lenient(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return nil
	}
	return err
}

// parseRow takes the JSON of one transcript row apart. A row of a kind that is
// not read gives an empty row. The error tells of broken JSON and quotes none of it.
func parseRow(b []byte) (row, error) {
	var j rowJSON
	if err := lenient(json.Unmarshal(b, &j)); err != nil {
		return row{}, fmt.Errorf("parse row: %w", syntaxOnly(err))
	}
	m := &j.Message
	r := row{id: clip(j.ID, maxWord), at: j.Timestamp.time(), run: clip(m.OpenClaw.RunID, maxWord)}
	if j.Type == "session" {
		r.version = j.Version
	}
	if j.Type != "message" {
		return r, nil
	}
	switch m.Role {
	case "user":
		r.asks, r.user = true, text(m.Content)
		if r.run == "" {
			r.run, _ = strings.CutSuffix(clip(m.IdempotencyKey, maxWord), ":user")
		}
	case "assistant":
		for _, p := range m.Content {
			if p.Type == "toolCall" && len(r.calls) < maxCalls {
				r.calls = append(r.calls, toolCall(r.run, p.ID, p.Name, p.Arguments))
			}
		}
		r.llm = llmCall(r.run, m)
	case "toolResult":
		r.tools = []string{clip(m.ToolName, maxWord)}
		r.results = []event.ToolResult{m.Details.result(r.run, m.ToolCallID, m.IsError)}
	case "custom":
		if m.CustomType == "openclaw.nested-tool.v1" {
			r.readNested(m.Details)
		}
	}
	return r, nil
}

// readNested reads the record of a call that another call made. OpenClaw
// writes it when the call has ended, so call and result are there at once.
func (r *row) readNested(d details) {
	r.nested, r.parent = true, clip(d.ParentToolCallID, maxWord)
	if d.RunID != "" {
		r.run = clip(d.RunID, maxWord)
	}
	r.calls = []call{toolCall(r.run, d.ToolCallID, d.ToolName, d.Input)}
	inner := details{
		Status: d.Result.Details.Status, PID: d.Result.Details.PID,
		ExitCode: d.Result.Details.ExitCode, DurationMS: d.Result.Details.DurationMS,
	}
	r.results = []event.ToolResult{inner.result(r.run, d.ToolCallID, d.IsError)}
}

// wraps names the tool that carries a call of another one in its arguments.
const wraps = "tool_call"

// toolCall reads a call. One that only carries another is reported as that
// other, under its own ID: its record is the only one written before it runs.
func toolCall(run, id, name string, a arguments) call {
	wrapped := false
	if name == wraps && a.Args != nil && a.ID != "" {
		inner := string(a.ID) // openclaw:core:web_fetch, or web_fetch
		name, a, wrapped = inner[strings.LastIndexByte(inner, ':')+1:], *a.Args, true
	}
	c := event.ToolCall{Run: run, ID: clip(id, maxWord), Name: clip(name, maxWord)}
	switch name {
	case "exec":
		c.Command = clip(string(a.Command), maxCommand)
		c.Cwd = clip(string(a.Workdir), maxPath)
	case "apply_patch":
		c.Paths = patchPaths(string(a.Input))
	case "web_fetch":
		c.URL = clip(string(a.URL), maxPath)
	default:
		for _, p := range []scalar{a.Path, a.FilePath} {
			if p != "" {
				c.Paths = append(c.Paths, clip(string(p), maxPath))
			}
		}
	}
	return call{c, wrapped}
}

// patchPaths gives the files that a patch names, in its order.
func patchPaths(patch string) []string {
	var paths []string
	for line := range strings.Lines(patch) {
		for _, mark := range []string{"*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: "} {
			if p, ok := strings.CutPrefix(line, mark); ok && len(paths) < maxPaths {
				paths = append(paths, clip(strings.TrimSpace(p), maxPath))
			}
		}
	}
	return paths
}

func (d details) result(run, id string, isError bool) event.ToolResult {
	res := event.ToolResult{Run: run, ID: clip(id, maxWord), IsError: isError, Running: d.Status == "running"}
	if res.Running && d.PID > 0 && d.PID < 1<<31 {
		res.PID = int32(d.PID)
	}
	if d.ExitCode != nil && *d.ExitCode >= -1<<31 && *d.ExitCode < 1<<31 {
		code := int(*d.ExitCode)
		res.ExitCode = &code
	}
	if d.DurationMS > 0 && d.DurationMS < 1e12 {
		res.Duration = time.Duration(d.DurationMS) * time.Millisecond
	}
	return res
}

// text joins the text parts, up to maxText bytes.
func text(c content) string {
	var b strings.Builder
	for _, p := range c {
		if p.Type != "text" || b.Len() > maxText {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(clip(p.Text, maxText))
	}
	return clip(b.String(), maxText)
}

// clip cuts to n bytes, at a rune's border, and makes the copy that lets the row go.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.Clone(strings.ToValidUTF8(s, ""))
}

// syntaxOnly drops what json's errors quote of their input.
func syntaxOnly(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("no JSON after byte %d", syntax.Offset)
	}
	return errors.New("no JSON")
}
