// Package api lets programs on this host ask the agent: HTTP over a unix
// socket, answers as one JSON object a line. The command line and osquery ask
// through Client; a person may with
//
//	curl --unix-socket /run/clawwatch/clawwatch.sock 'http://clawwatch/v1/alerts?since=1h'
//
// Paths, all GET; parameters as ParseQuery reads them:
//
//	/v1/events     records                    /v1/why/ID     one record or alert, whole: Why
//	/v1/alerts     alerts                     /v1/tree       processes and what they did, as one object
//	/v1/llm        records of model calls     /v1/processes  the same, one a line
//	/v1/skills     the inventory of skills    /v1/sessions   sessions
//	/v1/profiles   the same skills, each with what it declares against what it was seen to use
//	/v1/status     what the agent says of itself; with ?try, after it tried its sensors
//
// A wrong request is a 400 with the reason in one line of text. An answer that
// fails midway ends in a line {"error":"…"}.
//
// What it costs: nothing until asked; then what the store's query costs. At
// most 16 requests, and 8 that follow, are answered at once; others get 503. A
// reader that takes nothing for half a minute is cut off; none holds up the
// store. Nothing can be changed through it.
package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/net/netutil"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

const (
	maxConnections = 64
	maxRequests    = 16              // answered at once
	maxFollowers   = 8               // besides those
	readTimeout    = 5 * time.Second // for a request's head
	writeTimeout   = 30 * time.Second
	followOld      = 10_000 // most old records or alerts that a follower gets first
)

// A Server answers requests from a store.
type Server struct {
	store     *store.Store
	status    func(ctx context.Context, try bool) any
	requests  chan struct{} // full: no more are answered now
	followers chan struct{}
	now       func() time.Time
}

// New makes a server. status gives what /v1/status says, as encoding/json takes
// it, and with try set after a trial of the sensors; it is called from several
// goroutines.
func New(s *store.Store, status func(ctx context.Context, try bool) any) *Server {
	return &Server{store: s, status: status, requests: make(chan struct{}, maxRequests), followers: make(chan struct{}, maxFollowers), now: time.Now}
}

// Serve answers on l until ctx is done, and then returns nil with all
// connections closed. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: readTimeout, IdleTimeout: writeTimeout, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // those who follow would never end
	defer stop()
	if err := srv.Serve(netutil.LimitListener(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve socket: %w", err)
	}
	return nil
}

// Handler is the server as HTTP sees it.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, h := range map[string]func(http.ResponseWriter, *http.Request, store.Query, bool) error{
		"/v1/events":    s.events,
		"/v1/alerts":    s.alerts,
		"/v1/llm":       s.llm,
		"/v1/tree":      s.tree,
		"/v1/processes": s.processes,
		"/v1/skills":    s.skills,
		"/v1/profiles":  s.profiles,
		"/v1/sessions":  s.sessions,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			v, err := url.ParseQuery(r.URL.RawQuery)
			var q store.Query
			var follow bool
			if err == nil {
				q, follow, err = ParseQuery(v, s.now())
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			s.answer(w, h(w, r, q, follow))
		})
	}
	mux.HandleFunc("GET /v1/why/{id}", func(w http.ResponseWriter, r *http.Request) { s.answer(w, s.why(w, r)) })
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		s.answer(w, one(w, s.status(r.Context(), r.URL.Query().Has("try"))))
	})
	return s.limited(mux)
}

// limited answers so many requests at once and no more.
func (s *Server) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		slots := s.requests
		if r.URL.Query().Has("follow") {
			slots = s.followers // they stay: the others must not wait for them
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			next.ServeHTTP(w, r)
		default:
			http.Error(w, fmt.Sprintf("%d such requests are being answered; try again", cap(slots)), http.StatusServiceUnavailable)
		}
	})
}

// answer turns an error that came before the first line into a status.
func (s *Server) answer(w http.ResponseWriter, err error) {
	switch {
	case err == nil:
	case errors.Is(err, store.ErrNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, store.ErrAmbiguous):
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (s *Server) events(w http.ResponseWriter, r *http.Request, q store.Query, follow bool) error {
	if follow {
		q.Limit = min(q.Limit, followOld)
		return stream(w, true, s.store.Follow(r.Context(), q))
	}
	return stream(w, false, s.store.Events(r.Context(), q))
}

func (s *Server) alerts(w http.ResponseWriter, r *http.Request, q store.Query, follow bool) error {
	if follow {
		q.Limit = min(q.Limit, followOld)
		return stream(w, true, s.store.FollowAlerts(r.Context(), q))
	}
	return stream(w, false, s.store.Alerts(r.Context(), q))
}

func (s *Server) llm(w http.ResponseWriter, r *http.Request, q store.Query, follow bool) error {
	q.Kind = string(event.KindLLMCall)
	return s.events(w, r, q, follow)
}

func (s *Server) tree(w http.ResponseWriter, r *http.Request, q store.Query, _ bool) error {
	all, err := s.store.Processes(r.Context(), q)
	if err != nil {
		return err
	}
	return one(w, all)
}

func (s *Server) processes(w http.ResponseWriter, r *http.Request, q store.Query, _ bool) error {
	all, err := s.store.Processes(r.Context(), q)
	if err != nil {
		return err
	}
	return stream(w, false, each(all.Processes))
}

func (s *Server) skills(w http.ResponseWriter, r *http.Request, q store.Query, _ bool) error {
	all, err := s.store.Skills(r.Context(), q)
	if err != nil {
		return err
	}
	return stream(w, false, each(all))
}

func (s *Server) profiles(w http.ResponseWriter, r *http.Request, q store.Query, _ bool) error {
	all, err := s.store.Profiles(r.Context(), q)
	if err != nil {
		return err
	}
	return stream(w, false, each(all))
}

func (s *Server) sessions(w http.ResponseWriter, r *http.Request, q store.Query, _ bool) error {
	all, err := s.store.Sessions(r.Context(), q)
	if err != nil {
		return err
	}
	return stream(w, false, each(all))
}

// Why is all there is to say about one record or alert. One of Record and Alert
// is set.
type Why struct {
	Record  *event.Record  `json:"record,omitempty"`
	Alert   *event.Alert   `json:"alert,omitempty"`
	Events  []event.Record `json:"events,omitempty"`  // an alert's, as far as they are kept
	Missing []string       `json:"missing,omitempty"` // IDs of those that are not
	// Timeline is what else the same tool call did; nil: no call is known.
	Timeline *store.Timeline `json:"timeline,omitempty"`
}

func (s *Server) why(w http.ResponseWriter, r *http.Request) error {
	found, err := s.store.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	why := Why{Record: found.Record, Alert: found.Alert}
	if found.Alert != nil {
		if why.Events, why.Missing, err = s.store.Named(r.Context(), *found.Alert); err != nil {
			return err
		}
		why.Timeline, err = s.store.Timeline(r.Context(), found.Alert.Attribution, found.Alert.Time)
	} else {
		why.Timeline, err = s.store.Timeline(r.Context(), found.Record.Attribution, found.Record.Time)
	}
	if err != nil {
		return err
	}
	return one(w, why)
}

func each[T any](all []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range all {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// one answers with one object.
func one(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	begin(w)
	out := &deadlined{w, http.NewResponseController(w)}
	_, _ = out.Write(append(b, '\n')) // a peer that has gone needs no answer
	return nil
}

// stream answers with one line a value; one that follows gets each at once.
func stream[T any](w http.ResponseWriter, follow bool, values iter.Seq2[T, error]) error {
	rc := http.NewResponseController(w)
	out := &lines{w: bufio.NewWriterSize(&deadlined{w, rc}, 32<<10), rc: rc}
	begun := false
	if follow { // the peer learns that it is being served before anything happens
		begin(w)
		begun = true
		if err := out.flush(); err != nil {
			return nil
		}
	}
	for v, err := range values {
		if err != nil && !begun {
			return err
		}
		if !begun {
			begin(w)
			begun = true
		}
		var line any = v
		if err != nil {
			line = failure{err.Error()}
		}
		if out.put(line) != nil || err != nil {
			break // the peer has gone, or there is no more
		}
		if follow && out.flush() != nil {
			return nil
		}
	}
	if !begun {
		begin(w)
	}
	_ = out.flush() // a peer that has gone needs no answer
	return nil
}

func begin(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

// failure is the last line of an answer that could not be completed.
type failure struct {
	Error string `json:"error"`
}

// lines writes values as JSON lines.
type lines struct {
	w  *bufio.Writer
	rc *http.ResponseController
}

func (l *lines) put(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = l.w.Write(append(b, '\n'))
	return err
}

func (l *lines) flush() error { return errors.Join(l.w.Flush(), l.rc.Flush()) }

// deadlined gives each write its own time, so that an answer may take as long
// as its reader goes on reading.
type deadlined struct {
	w  io.Writer
	rc *http.ResponseController
}

func (d *deadlined) Write(b []byte) (int, error) {
	if err := d.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return d.w.Write(b)
}
