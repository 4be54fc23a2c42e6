package openclaw_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// A sink is a TCP server that takes everything, counts it, and says goodbye
// when its peer has.
type sink struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu    sync.Mutex
	total int64
	err   error
}

func newSink(t *testing.T) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{listener: l}
	s.serving.Go(s.accept)
	t.Cleanup(func() {
		l.Close()
		s.serving.Wait()
	})
	return s
}

func (s *sink) addr() string { return s.listener.Addr().String() }

// received is the number of bytes of all connections that have ended.
func (s *sink) received() (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total, s.err
}

func (s *sink) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		s.serving.Go(func() {
			defer conn.Close()
			n, err := io.Copy(io.Discard, conn)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.total += n
			if err != nil {
				s.err = err
			}
		})
	}
}

// newEndpoint is the service that the policy approves.
func newEndpoint(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "sunny")
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}
