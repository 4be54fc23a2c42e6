package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

// DefaultSocket is where the agent listens unless it is told otherwise.
const DefaultSocket = "/run/clawwatch/clawwatch.sock"

// Errors that callers tell apart.
var (
	ErrNotRunning = errors.New("no agent answers")
	ErrNotAllowed = errors.New("not allowed to ask the agent")
	ErrBadRequest = errors.New("the agent does not understand the request")
)

// maxLine bounds a line of an answer; the store takes no record above 8 MiB.
const maxLine = 32 << 20

// A Client asks the agent behind a socket. Its methods connect each time; their
// errors wrap ErrNotRunning, ErrNotAllowed, ErrBadRequest, store.ErrNotFound or
// store.ErrAmbiguous where it is that.
type Client struct {
	path string
	http *http.Client
}

// Dial makes a client for the socket at path. It connects when asked something.
func Dial(path string) *Client {
	var d net.Dialer
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		},
	}}}
}

// Events yields records; with follow as store.Follow does.
func (c *Client) Events(ctx context.Context, q store.Query, follow bool) iter.Seq2[event.Record, error] {
	return ask[event.Record](ctx, c, "/v1/events", Values(q, follow))
}

// Alerts yields alerts; with follow as store.FollowAlerts does.
func (c *Client) Alerts(ctx context.Context, q store.Query, follow bool) iter.Seq2[event.Alert, error] {
	return ask[event.Alert](ctx, c, "/v1/alerts", Values(q, follow))
}

// LLM yields the records of model calls.
func (c *Client) LLM(ctx context.Context, q store.Query, follow bool) iter.Seq2[event.Record, error] {
	return ask[event.Record](ctx, c, "/v1/llm", Values(q, follow))
}

// Skills yields the inventory.
func (c *Client) Skills(ctx context.Context, q store.Query) iter.Seq2[store.Skill, error] {
	return ask[store.Skill](ctx, c, "/v1/skills", Values(q, false))
}

// Profiles yields skills with what they declare against what they were seen to
// use.
func (c *Client) Profiles(ctx context.Context, q store.Query) iter.Seq2[store.Profile, error] {
	return ask[store.Profile](ctx, c, "/v1/profiles", Values(q, false))
}

// Sessions yields sessions, newest first.
func (c *Client) Sessions(ctx context.Context, q store.Query) iter.Seq2[store.Session, error] {
	return ask[store.Session](ctx, c, "/v1/sessions", Values(q, false))
}

// Processes yields processes and what they did, oldest first.
func (c *Client) Processes(ctx context.Context, q store.Query) iter.Seq2[store.Activity, error] {
	return ask[store.Activity](ctx, c, "/v1/processes", Values(q, false))
}

// Tree is Processes in one piece, and whether that is all.
func (c *Client) Tree(ctx context.Context, q store.Query) (store.Activities, error) {
	return only(ask[store.Activities](ctx, c, "/v1/tree", Values(q, false)))
}

// Why gives all there is about the record or alert with this ID or unique
// prefix of one.
func (c *Client) Why(ctx context.Context, id string) (Why, error) {
	return only(ask[Why](ctx, c, "/v1/why/"+url.PathEscape(id), nil))
}

// Status gives what the agent says of itself, as JSON; with try set after a
// trial of its sensors, which takes about a second.
func (c *Client) Status(ctx context.Context, try bool) (json.RawMessage, error) {
	v := url.Values{}
	if try {
		v.Set("try", "1")
	}
	return only(ask[json.RawMessage](ctx, c, "/v1/status", v))
}

func only[T any](values iter.Seq2[T, error]) (T, error) {
	for v, err := range values {
		return v, err
	}
	var none T
	return none, io.ErrUnexpectedEOF
}

// ask yields the lines of an answer.
func ask[T any](ctx context.Context, c *Client, path string, v url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		body, err := c.get(ctx, path, v)
		if err != nil {
			yield(none, err)
			return
		}
		defer body.Close() //nolint:errcheck // all was read, or nobody wants it
		in := bufio.NewScanner(body)
		in.Buffer(make([]byte, 64<<10), maxLine)
		for in.Scan() {
			v, err := parseLine[T](in.Bytes())
			if !yield(v, err) || err != nil {
				return
			}
		}
		if err := in.Err(); err != nil && ctx.Err() == nil {
			yield(none, fmt.Errorf("read answer: %w", err))
		}
	}
}

func parseLine[T any](line []byte) (v T, err error) {
	if bytes.HasPrefix(line, []byte(`{"error":`)) {
		var f failure
		if err := json.Unmarshal(line, &f); err == nil {
			return v, fmt.Errorf("agent: %s", f.Error)
		}
	}
	if err := json.Unmarshal(line, &v); err != nil {
		return v, fmt.Errorf("parse answer: %w", err)
	}
	return v, nil
}

// get returns the body of an answer that is no error.
func (c *Client) get(ctx context.Context, path string, v url.Values) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://clawwatch"+path+"?"+v.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()                                //nolint:errcheck // the status says it
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // as far as it can be read
	message := strings.TrimSpace(string(text))
	switch resp.StatusCode {
	case http.StatusNotFound:
		return nil, said{message, store.ErrNotFound}
	case http.StatusConflict:
		return nil, said{message, store.ErrAmbiguous}
	case http.StatusBadRequest:
		return nil, said{message, ErrBadRequest}
	}
	return nil, fmt.Errorf("agent: %s", message)
}

// said is an error in the agent's words, and what it is.
type said struct {
	message string
	is      error
}

func (s said) Error() string { return s.message }
func (s said) Unwrap() error { return s.is }

// explain says what a connection that failed means.
func (c *Client) explain(err error) error {
	var cause *url.Error
	if errors.As(err, &cause) {
		err = cause.Err // without the made-up URL
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w at %s", ErrNotRunning, c.path)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		return fmt.Errorf("%w at %s", ErrNotAllowed, c.path)
	}
	return fmt.Errorf("ask agent at %s: %w", c.path, err)
}
