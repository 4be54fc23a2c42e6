package openclaw

import (
	"encoding/json"
	"regexp"
	"strconv"

	"github.com/clawwatch/clawwatch/internal/event"
)

// llmCall reads an assistant's message as the model call that it answers.
func llmCall(run string, m *messageJSON) *event.LLMCall {
	call := &event.LLMCall{
		Run:              run,
		Provider:         clip(m.Provider, maxWord),
		API:              clip(m.API, maxWord),
		Model:            clip(m.Model, maxWord),
		ResponseID:       clip(m.ResponseID, maxWord),
		InputTokens:      tokens(m.Usage.Input),
		OutputTokens:     tokens(m.Usage.Output),
		CacheReadTokens:  tokens(m.Usage.CacheRead),
		CacheWriteTokens: tokens(m.Usage.CacheWrite),
		StopReason:       clip(m.StopReason, maxWord),
		Response:         text(m.Content),
	}
	if m.StopReason == "error" || m.ErrorMessage != "" {
		call.Error = clip(m.ErrorMessage, maxText)
		call.Status, call.ErrorType = failure(m)
	}
	return call
}

func tokens(n float64) int64 {
	if n > 0 && n < 1e15 {
		return int64(n)
	}
	return 0
}

// Where an error message states its HTTP status: at its start ("401 Incorrect
// API key…"), or named as one ("HTTP 429", "status code: 403", `"status":503`).
var statusIn = regexp.MustCompile(`(?i)(?:^\W*|\bhttp[ /:]{1,3}|\bstatus(?:[ _]?code)?"?[ :=]{1,4}"?)([45]\d\d)\b`)

// statusOf is what providers' error codes mean where the message gives no number.
func statusOf(code string) int {
	switch code {
	case "invalid_api_key", "authentication_error", "invalid_authentication", "token_expired":
		return 401
	case "billing_error":
		return 402
	case "permission_error", "permission_denied", "PERMISSION_DENIED":
		return 403
	case "not_found_error", "model_not_found":
		return 404
	case "rate_limit_error", "rate_limit_exceeded", "insufficient_quota", "RESOURCE_EXHAUSTED":
		return 429
	case "api_error", "server_error":
		return 500
	case "overloaded_error":
		return 529
	}
	return 0
}

// failure finds the HTTP status of a failed call, as far as the record tells,
// and the provider's code for it, the most telling one first.
func failure(m *messageJSON) (status int, kind string) {
	var body struct {
		Code  scalar `json:"code"`
		Type  scalar `json:"type"`
		Error struct {
			Code scalar `json:"code"`
			Type scalar `json:"type"`
		} `json:"error"`
	}
	_ = json.Unmarshal([]byte(m.ErrorBody), &body) // a body that is no JSON says nothing
	codes := []scalar{m.ErrorCode, body.Error.Code, body.Code, m.ErrorType, body.Error.Type, body.Type}
	for _, c := range codes {
		n, err := strconv.Atoi(string(c))
		switch {
		case err == nil && n >= 400 && n < 600 && status == 0:
			status = n
		case err != nil && c != "" && kind == "":
			kind = clip(string(c), maxWord)
		}
	}
	for _, s := range []string{m.ErrorMessage, m.ErrorBody} {
		if found := statusIn.FindStringSubmatch(s); found != nil && status == 0 {
			status, _ = strconv.Atoi(found[1])
		}
	}
	for _, c := range codes {
		if status == 0 {
			status = statusOf(string(c))
		}
	}
	return status, kind
}
