package openclaw

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestAFailureTellsStatusAndCodeAsFarAsTheRecordDoes(t *testing.T) {
	for name, test := range map[string]struct {
		message, code, kind, body string
		status                    int
		want                      string
	}{
		"openai 401":          {"401 Incorrect API key provided: sk-mock.", `"invalid_api_key"`, `"invalid_request_error"`, `{"code":"invalid_api_key"}`, 401, "invalid_api_key"},
		"anthropic 401":       {`401 {"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`, "", "", `{"type":"error","error":{"type":"authentication_error"}}`, 401, "authentication_error"},
		"anthropic 529":       {"Overloaded", "", `"overloaded_error"`, "", 529, "overloaded_error"},
		"403 with words":      {"Request failed with status code 403", "", "", "", 403, ""},
		"429 as a code":       {"slow down", `429`, "", "", 429, ""},
		"429 as text":         {"HTTP 429: too many", "", "", "", 429, ""},
		"only a code":         {"quota", `"insufficient_quota"`, "", "", 429, "insufficient_quota"},
		"status in the body":  {"failed", "", "", `{"status": 503}`, 503, ""},
		"port is no status":   {"connect ECONNREFUSED 192.0.2.1:443", `"ECONNREFUSED"`, "", "", 0, "ECONNREFUSED"},
		"number in the words": {"context of 401 tokens", "", "", "", 0, ""},
		"code is an object":   {"x", `{"a":1}`, `[1]`, "", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			or := func(s string) json.RawMessage { return json.RawMessage(cmp.Or(s, "null")) }
			b, err := json.Marshal(map[string]any{"type": "message", "message": map[string]any{
				"role": "assistant", "content": []any{}, "stopReason": "error", "errorMessage": test.message,
				"errorCode": or(test.code), "errorType": or(test.kind), "errorBody": test.body,
			}})
			if err != nil {
				t.Fatal(err)
			}
			r, err := parseRow(b)
			if err != nil || r.llm == nil {
				t.Fatal(r, err)
			}
			if r.llm.Status != test.status || r.llm.ErrorType != test.want || r.llm.Error != test.message {
				t.Errorf("got %d %q %q", r.llm.Status, r.llm.ErrorType, r.llm.Error)
			}
		})
	}
}

func TestOddArgumentsLoseNothingElse(t *testing.T) {
	r, err := parseRow([]byte(`{"type":"message","message":{"role":"assistant","usage":"none","content":[
		{"type":"toolCall","id":7,"name":"exec","arguments":{"command":["rm","-rf"]}},
		{"type":"toolCall","id":"b","name":"exec","arguments":"not an object"},
		{"type":"toolCall","id":"c","name":"read","arguments":{"file_path":"/etc/passwd","path":{"x":1}}},
		{"type":"text","text":"hello"}]}}`))
	if err != nil || len(r.calls) != 3 || r.llm.Response != "hello" {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := r.calls[2].Paths; !slices.Equal(got, []string{"/etc/passwd"}) {
		t.Errorf("paths %q", got)
	}
}

func TestAPatchNamesItsFiles(t *testing.T) {
	got := patchPaths("*** Begin Patch\n*** Add File: a.txt\n+*** Update File: no\n*** Update File: dir/b c.ts\n*** Move to: d.ts\r\n*** Delete File: e\n*** End Patch")
	if want := []string{"a.txt", "dir/b c.ts", "d.ts", "e"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	long := strings.Repeat("ä", 1<<17)
	b, err := json.Marshal(map[string]any{"type": "message", "id": long, "message": map[string]any{
		"role": "assistant", "model": long, "content": []any{
			map[string]any{"type": "text", "text": long},
			map[string]any{"type": "toolCall", "id": long, "name": "exec", "arguments": map[string]any{"command": long, "workdir": long}},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseRow(b)
	if err != nil {
		t.Fatal(err)
	}
	c := r.calls[0]
	for what, n := range map[string][2]int{
		"id": {len(r.id), maxWord}, "model": {len(r.llm.Model), maxWord}, "response": {len(r.llm.Response), maxText},
		"call id": {len(c.ID), maxWord}, "command": {len(c.Command), maxCommand}, "cwd": {len(c.Cwd), maxPath},
	} {
		if n[0] == 0 || n[0] > n[1] {
			t.Errorf("%s: %d bytes, want 1 to %d", what, n[0], n[1])
		}
	}
}

func TestAnErrorQuotesNothing(t *testing.T) {
	for _, s := range []string{`{"key":"sk-secret`, `sk-secret`, `{"type": sk-secret}`} {
		if _, err := parseRow([]byte(s)); err == nil || strings.Contains(err.Error(), "sk-") {
			t.Errorf("parseRow(%q): %v", s, err)
		}
		if _, err := parseSettings([]byte(s + "{{")); err == nil || strings.Contains(err.Error(), "sk-") {
			t.Errorf("parseSettings(%q): %v", s, err)
		}
	}
}

func FuzzParseRow(f *testing.F) {
	f.Add([]byte(execRow("a", "ls")))
	f.Add([]byte(`{"type":"message","message":{"role":"toolResult","toolCallId":"x","details":{"status":"running","pid":1e99,"exitCode":-5.5,"durationMs":-1}}}`))
	f.Add([]byte(`{"type":"message","message":{"role":"custom","customType":"openclaw.nested-tool.v1","details":{"toolCallId":"a:b","toolName":"exec","input":{"command":"x"},"result":{"details":[]}}}}`))
	f.Add([]byte(`{"type":"message","message":{"role":"assistant","content":[{"type":"toolCall","name":"tool_call","arguments":{"id":"a:b","args":{"args":null}}}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRow(b)
		if err != nil {
			return
		}
		for _, c := range r.calls {
			if len(c.Command) > maxCommand || len(c.Paths) > maxPaths {
				t.Errorf("not bounded: %d bytes, %d paths", len(c.Command), len(c.Paths))
			}
		}
		var s session
		s.see(r)
	})
}
