package truth

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// An Event is the part of an event, as clawwatch prints it, that the comparison
// looks at. It is declared here and not taken from clawwatch's own types: a
// name that changes there must not change here by itself.
type Event struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Process struct {
		Proc
		Executable struct {
			Path string `json:"path"`
		} `json:"executable"`
		Args      []string `json:"command_args"`
		Ancestors []Proc   `json:"ancestors"`
	} `json:"process"`
	File struct {
		Path      string `json:"path"`
		OldPath   string `json:"old_path"`
		Operation string `json:"operation"`
	} `json:"file"`
	Network struct {
		Address string `json:"peer_address"`
		Port    uint16 `json:"peer_port"`
		Sent    uint64 `json:"bytes_sent"`
	} `json:"network"`
	Env struct {
		Names  []string `json:"names"`
		Method string   `json:"method"`
	} `json:"env"`
	Tool struct {
		CallID string `json:"call_id"`
	} `json:"tool"`
	LLM struct {
		ResponseID string `json:"response_id"`
		Status     int    `json:"status_code"`
	} `json:"llm"`
	Skill struct {
		ID       Skill  `json:"id"`
		Previous string `json:"previous_sha256"`
	} `json:"skill"`
	Attribution *Attribution `json:"attribution"`
}

// A Skill is known by its name, and by its directory where there are several of
// that name.
type Skill struct {
	Name   string `json:"name"`
	Dir    string `json:"dir"`
	SHA256 string `json:"sha256"`
}

// String is the name.
func (s Skill) String() string { return s.Name }

// An Attribution is for whom clawwatch says that something was done.
type Attribution struct {
	Gateway    string  `json:"gateway"`
	Session    string  `json:"session_key"`
	Skill      *Skill  `json:"skill"`
	Confidence string  `json:"confidence"`
	Candidates []Skill `json:"candidates"`
	ToolCall   string  `json:"tool_call"`
	Evidence   []struct {
		Kind string `json:"kind"`
	} `json:"evidence"`
}

// Has reports whether there is evidence of a kind.
func (a Attribution) Has(kind string) bool {
	for _, e := range a.Evidence {
		if e.Kind == kind {
			return true
		}
	}
	return false
}

// An Alert is the part of an alert that the comparison looks at.
type Alert struct {
	ID   string `json:"id"`
	Rule struct {
		Name     string `json:"name"`
		Severity string `json:"severity"`
	} `json:"rule"`
	Message     string       `json:"message"`
	Attribution *Attribution `json:"attribution"`
	Events      []string     `json:"events"`
}

// Decode reads JSON objects, one a line.
func Decode[T any](r io.Reader) ([]T, error) {
	var all []T
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var one T
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return nil, fmt.Errorf("parse line %d: %w", len(all)+1, err)
		}
		all = append(all, one)
	}
	return all, lines.Err()
}
