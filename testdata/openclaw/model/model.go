// Package model is a language model that says what a script tells it to: a
// server of the OpenAI chat completions API, streaming and plain.
//
// A Script holds conversations by marker. The newest user message that contains
// a marker picks the conversation, and the number of assistant messages since
// then picks the turn: sessions are independent of each other, and a request
// that is repeated gets the same answer.
package model

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Script is the turns of each conversation, by marker.
type Script map[string][]Turn

// A Turn is one answer: tool calls, text, or an HTTP error.
type Turn struct {
	Calls  []Call
	Text   string
	Status int           // of an HTTP error; 0: none
	Delay  time.Duration // before the answer
}

// A Call asks for a tool.
type Call struct {
	Tool string
	Args map[string]any
	// Fill completes the arguments from what the request said, where it is not nil.
	// It must not ask the server.
	Fill func(args map[string]any, heard string) map[string]any
}

// An Answer is what was said to one request.
type Answer struct {
	ID     string // of the response; empty for an error
	Marker string // empty: no conversation of the script
	Turn   int
	Status int
	Calls  []SentCall
	Heard  string // all that the request's messages said
}

// A SentCall is a Call as it was sent.
type SentCall struct{ ID, Tool string }

// A Server answers. Its zero value has an empty script.
type Server struct {
	mu      sync.Mutex
	script  Script
	asked   int
	answers []Answer
}

// Say adds conversations to the script.
func (s *Server) Say(script Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.script == nil {
		s.script = Script{}
	}
	for marker, turns := range script {
		s.script[marker] = turns
	}
}

// Answers is everything that has been said, in order.
func (s *Server) Answers() []Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Answer(nil), s.answers...)
}

// request is the part of a chat completion request that matters here.
type request struct {
	Model    string    `json:"model"`
	Stream   bool      `json:"stream"`
	Messages []message `json:"messages"`
}

type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"` // a string, or parts
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		fmt.Fprint(w, `{"object":"list","data":[{"id":"mock-1","object":"model"}]}`)
		return
	}
	var req request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<20)).Decode(&req); err != nil {
		http.Error(w, `{"error":{"message":"no JSON"}}`, http.StatusBadRequest)
		return
	}
	answer, turn := s.next(req)
	select {
	case <-time.After(turn.Delay):
	case <-r.Context().Done():
		return
	}
	if turn.Status != 0 {
		w.WriteHeader(turn.Status)
		fmt.Fprint(w, `{"error":{"message":"Incorrect API key provided: sk-mock.","type":"invalid_request_error","code":"invalid_api_key"}}`)
		return
	}
	reply := newReply(req.Model, answer, turn)
	if req.Stream {
		reply.stream(w)
		return
	}
	reply.whole(w)
}

// next picks the turn and writes down what is going to be said.
func (s *Server) next(req request) (Answer, Turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	marker, n := pick(s.script, req.Messages)
	turn := Turn{Text: "ok"}
	if turns := s.script[marker]; n < len(turns) {
		turn = turns[n]
	}
	a := Answer{Marker: marker, Turn: n, Status: http.StatusOK, Heard: heard(req.Messages)}
	if turn.Status != 0 {
		a.Status = turn.Status
	} else {
		a.ID = fmt.Sprintf("chatcmpl-%d", s.asked)
		turn.Calls = slices.Clone(turn.Calls)
		for i, c := range turn.Calls {
			if c.Fill != nil {
				turn.Calls[i].Args = c.Fill(c.Args, heard(req.Messages))
			}
			a.Calls = append(a.Calls, SentCall{ID: fmt.Sprintf("call_%d_%d", s.asked, i), Tool: c.Tool})
		}
	}
	s.answers = append(s.answers, a)
	return a, turn
}

func heard(messages []message) string {
	var all strings.Builder
	for _, m := range messages {
		all.WriteString(m.text())
	}
	return all.String()
}

// pick finds the conversation and its turn.
func pick(script Script, messages []message) (marker string, turn int) {
	for i := len(messages) - 1; i >= 0; i-- {
		m := messages[i]
		if m.Role == "assistant" {
			turn++
		}
		if m.Role != "user" {
			continue
		}
		text := m.text()
		if strings.HasPrefix(strings.TrimSpace(text), "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>") {
			continue // OpenClaw appends it to every request; it is no prompt
		}
		for marker := range script {
			if strings.Contains(text, marker) {
				return marker, turn
			}
		}
	}
	return "", 0
}

func (m message) text() string {
	var s string
	if json.Unmarshal(m.Content, &s) == nil {
		return s
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(m.Content, &parts) != nil {
		return ""
	}
	for _, p := range parts {
		s += p.Text + "\n"
	}
	return s
}
