package model

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func ask(t *testing.T, url, body string) (int, string) {
	t.Helper()
	res, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestConversationIsPickedByNewestMarkerAndTurnByAnswersSince(t *testing.T) {
	script := Script{"[a]": {{Text: "a0"}, {Text: "a1"}}, "[b]": {{Text: "b0"}}}
	for _, tt := range []struct {
		name, messages, marker string
		turn                   int
	}{
		{"first turn", `[{"role":"user","content":"go [a]"}]`, "[a]", 0},
		{"parts", `[{"role":"user","content":[{"type":"text","text":"go [a]"}]}]`, "[a]", 0},
		{"second turn", `[{"role":"user","content":"[a]"},{"role":"assistant"},{"role":"tool","content":"[b]"}]`, "[a]", 1},
		{"later prompt wins", `[{"role":"user","content":"[a]"},{"role":"assistant"},{"role":"user","content":"[b]"}]`, "[b]", 0},
		{"context block is no prompt", `[{"role":"user","content":"[a]"},{"role":"user","content":"<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>> [b]"}]`, "[a]", 0},
		{"no marker", `[{"role":"user","content":"hello"}]`, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var messages []message
			if err := json.Unmarshal([]byte(tt.messages), &messages); err != nil {
				t.Fatal(err)
			}
			if marker, turn := pick(script, messages); marker != tt.marker || turn != tt.turn {
				t.Errorf("got %q turn %d, want %q turn %d", marker, turn, tt.marker, tt.turn)
			}
		})
	}
}

func TestAnswersArriveStreamedPlainAndAsError(t *testing.T) {
	s := &Server{}
	s.Say(Script{
		"[tool]": {{Calls: []Call{{Tool: "exec", Args: map[string]any{"command": "true"}}}}},
		"[deny]": {{Status: 401}},
	})
	srv := httptest.NewServer(s)
	defer srv.Close()
	status, body := ask(t, srv.URL, `{"model":"m","messages":[{"role":"user","content":"[tool]"}]}`)
	if status != 200 || !strings.Contains(body, `"finish_reason":"tool_calls"`) || !strings.Contains(body, `"name":"exec"`) {
		t.Errorf("plain: %d %s", status, body)
	}
	status, body = ask(t, srv.URL, `{"model":"m","stream":true,"messages":[{"role":"user","content":"[tool]"}]}`)
	if status != 200 || !strings.HasPrefix(body, "data: {") || !strings.HasSuffix(body, "data: [DONE]\n\n") {
		t.Errorf("streamed: %d %s", status, body)
	}
	if status, body = ask(t, srv.URL, `{"model":"m","messages":[{"role":"user","content":"[deny]"}]}`); status != 401 {
		t.Errorf("error: %d %s", status, body)
	}
	if status, _ = ask(t, srv.URL, `garbage`); status != 400 {
		t.Errorf("garbage: %d", status)
	}
	got := s.Answers()
	if len(got) != 3 || got[1].Calls[0].ID != "call_2_0" || got[2].Status != 401 || got[2].ID != "" {
		t.Errorf("written down: %+v", got)
	}
}
