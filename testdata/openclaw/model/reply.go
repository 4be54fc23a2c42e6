package model

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

type object map[string]any

// A reply is one answer on the wire.
type reply struct {
	base   object
	text   string
	calls  []object
	finish string
}

// usage is constant: nothing here is about how much was said.
var usage = object{"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}

func newReply(model string, a Answer, t Turn) reply {
	r := reply{
		base:   object{"id": a.ID, "model": model, "created": time.Now().Unix()},
		text:   t.Text,
		finish: "stop",
	}
	for i, c := range t.Calls {
		args, err := json.Marshal(c.Args)
		if err != nil {
			panic(err) // the script is a literal of the test
		}
		r.calls = append(r.calls, object{
			"index": i, "id": a.Calls[i].ID, "type": "function",
			"function": object{"name": c.Tool, "arguments": string(args)},
		})
		r.finish = "tool_calls"
	}
	return r
}

func (r reply) with(kind string, more object) object {
	o := object{"object": kind}
	for k, v := range r.base {
		o[k] = v
	}
	for k, v := range more {
		o[k] = v
	}
	return o
}

func (r reply) whole(w http.ResponseWriter) {
	msg := object{"role": "assistant", "content": r.text}
	if r.calls != nil {
		msg["tool_calls"] = r.calls
	}
	choice := object{"index": 0, "message": msg, "finish_reason": r.finish}
	write(w, "", r.with("chat.completion", object{"choices": []object{choice}, "usage": usage}), "")
}

func (r reply) stream(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	chunk := func(delta object, finish any) {
		choice := object{"index": 0, "delta": delta, "finish_reason": finish}
		write(w, "data: ", r.with("chat.completion.chunk", object{"choices": []object{choice}}), "\n\n")
	}
	chunk(object{"role": "assistant", "content": ""}, nil)
	if r.text != "" {
		chunk(object{"content": r.text}, nil)
	}
	for _, c := range r.calls {
		chunk(object{"tool_calls": []object{c}}, nil)
	}
	chunk(object{}, r.finish)
	write(w, "data: ", r.with("chat.completion.chunk", object{"choices": []object{}, "usage": usage}), "\n\n")
	fmt.Fprint(w, "data: [DONE]\n\n")
}

// write drops errors: the client is gone, and will say so itself.
func write(w http.ResponseWriter, before string, o object, after string) {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings, numbers and maps of them
	}
	fmt.Fprintf(w, "%s%s%s", before, b, after)
}
