package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // the server's side
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/clawwatch/clawwatch/exporters"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/spool"
)

const secret = "s3cret-token"

func testConfig(t *testing.T, endpoint string) Config {
	return Config{
		Endpoint: endpoint, Dir: t.TempDir(), Headers: map[string]string{"authorization": "Bearer " + secret},
		Timeout: 5 * time.Second, RetryAfter: time.Millisecond, RetryAtMost: 5 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	}
}

func testSender(t *testing.T, cfg Config) sender {
	t.Helper()
	cfg.setDefaults()
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	s, err := newSender(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	return s
}

func request(t testing.TB, ids ...string) []byte {
	t.Helper()
	entries, err := encode(nil, len(ids), func(dst plog.LogRecord, i int) {
		putRecord(dst, &event.Record{ID: ids[i], Kind: event.KindExec}, time.Unix(0, 0))
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries[0].data
}

func reply(t *testing.T, rejected int64, message string) []byte {
	t.Helper()
	resp := plogotlp.NewExportResponse()
	resp.PartialSuccess().SetRejectedLogRecords(rejected)
	resp.PartialSuccess().SetErrorMessage(message)
	b, err := resp.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHTTPAnswers(t *testing.T) {
	refused, err := proto.Marshal(&spb.Status{Message: "bad token " + secret})
	if err != nil {
		t.Fatal(err)
	}
	const ok, again, never = "ok", "again", "never"
	tests := map[string]struct {
		status int
		kind   string
		body   []byte
		want   string
		after  time.Duration
		reject int64
	}{
		"200":                      {200, protobufType, reply(t, 0, ""), ok, 0, 0},
		"200 without a body":       {200, "", nil, ok, 0, 0},
		"202 in JSON":              {202, "application/json", []byte(`{"partialSuccess":{"rejectedLogRecords":"2"}}`), ok, 0, 2},
		"200 in plain words":       {200, "text/plain", []byte("OK"), ok, 0, 0},
		"partial success":          {200, protobufType, reply(t, 7, "no "+secret), ok, 0, 7},
		"200 with garbage":         {200, protobufType, []byte("\xff\xff\xff\xff garbage"), again, 0, 0},
		"200 with garbage JSON":    {200, "application/json", []byte(`{"partialSuccess":`), again, 0, 0},
		"200 with a login page":    {200, "text/html; charset=utf-8", []byte("<html>"), again, 0, 0},
		"302":                      {302, "", nil, again, 0, 0},
		"400":                      {400, protobufType, refused, never, 0, 0},
		"400 without a body":       {400, "", nil, never, 0, 0},
		"400 of a proxy":           {400, "text/html", []byte("<html>"), again, 0, 0},
		"413":                      {413, "text/html", []byte("<html>"), never, 0, 0},
		"401":                      {401, protobufType, refused, again, 0, 0},
		"403":                      {403, "", nil, again, 0, 0},
		"404":                      {404, "text/plain", []byte("404 page not found"), again, 0, 0},
		"429 with Retry-After":     {429, "", nil, again, 7 * time.Second, 0},
		"500":                      {500, "", nil, again, 0, 0},
		"503 with Retry-After":     {503, "", nil, again, 7 * time.Second, 0},
		"501":                      {501, protobufType, []byte("\xff garbage"), again, 0, 0},
		"an answer without an end": {200, protobufType, nil, again, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				checkRequest(t, r)
				if tt.status == 302 {
					w.Header().Set("Location", "http://192.0.2.1/steal")
				}
				if tt.after > 0 {
					w.Header().Set("Retry-After", "7")
				}
				w.Header()["Content-Type"] = nil // or it would be guessed
				if tt.kind != "" {
					w.Header().Set("Content-Type", tt.kind)
				}
				if strings.HasSuffix(name, "an end") {
					w.Header().Set("Content-Length", "10")
				}
				w.WriteHeader(tt.status)
				w.Write(tt.body)
			}))
			defer server.Close()
			rejected, message, err := testSender(t, testConfig(t, server.URL)).send(t.Context(), request(t, "a"))
			var no *refusal
			errors.As(err, &no)
			switch {
			case tt.want == ok && (err != nil || rejected != tt.reject),
				tt.want == again && (err == nil || no != nil && no.permanent),
				tt.want == never && (no == nil || !no.permanent),
				tt.after > 0 && (no == nil || no.after != tt.after):
				t.Errorf("want %s: rejected %d, refusal %+v, error %v", tt.want, rejected, no, err)
			}
			noSecret(t, message)
			noSecret(t, err)
		})
	}
}

func checkRequest(t *testing.T, r *http.Request) {
	zr, err := gzip.NewReader(r.Body)
	if err != nil {
		t.Error(err)
		return
	}
	body, err := io.ReadAll(zr)
	if err != nil || len(records(t, body)) != 1 {
		t.Errorf("body: %v", err)
	}
	if r.URL.Path != "/v1/logs" || r.Header.Get("Content-Type") != protobufType || r.Header.Get("Authorization") != "Bearer "+secret {
		t.Errorf("%s %s", r.URL, r.Header.Get("Content-Type"))
	}
}

func noSecret(t *testing.T, said any) {
	t.Helper()
	err, isError := said.(error)
	text, _ := said.(string)
	if isError {
		text = err.Error()
	}
	if strings.Contains(text, secret) {
		t.Error("the token is in what was said")
	}
}

func TestUnreachableServerIsTriedAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	for _, scheme := range []string{"http", "https", "grpc", "grpcs"} {
		_, _, err := testSender(t, testConfig(t, scheme+"://"+addr)).send(t.Context(), request(t, "a"))
		var no *refusal
		if err == nil || errors.As(err, &no) && no.permanent {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

func TestPlainHTTPToATLSServerIsTriedAgain(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.StartTLS()
	defer server.Close()
	_, _, err := testSender(t, testConfig(t, "http://"+server.Listener.Addr().String())).send(t.Context(), request(t, "a"))
	var no *refusal
	if err == nil || errors.As(err, &no) && no.permanent {
		t.Errorf("%v", err)
	}
	// And a server whose certificate nobody vouches for gets nothing.
	if _, _, err := testSender(t, testConfig(t, server.URL)).send(t.Context(), request(t, "a")); err == nil || errors.As(err, &no) {
		t.Errorf("unknown authority: %v", err)
	}
}

func TestSilentServerIsTriedAgain(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	f := testSender(t, testConfig(t, server.URL))
	q := testQueue(t, f, spool.Config{})
	q.timeout = 20 * time.Millisecond
	put(t, q, string(request(t, "a")))
	entries, err := q.spool.Read(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.deliver(t.Context(), entries); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if s := q.stats(); s.Retries != 1 || s.Items != 10 {
		t.Errorf("%+v", s)
	}
}

// logsServer is a gRPC server that answers as told, then with success.
type logsServer struct {
	*plogotlp.UnimplementedGRPCServer
	export func(context.Context, plogotlp.ExportRequest) (plogotlp.ExportResponse, error)
}

func (s logsServer) Export(ctx context.Context, r plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	return s.export(ctx, r)
}

// serve gives the endpoint of a gRPC server.
func serve(t *testing.T, export func(context.Context, plogotlp.ExportRequest) (plogotlp.ExportResponse, error)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	plogotlp.RegisterGRPCServer(server, logsServer{export: export})
	go server.Serve(l)
	t.Cleanup(server.Stop)
	return "grpc://" + l.Addr().String()
}

func TestGRPCAnswers(t *testing.T) {
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		t.Run(code.String(), func(t *testing.T) {
			endpoint := serve(t, func(ctx context.Context, r plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
				md, _ := metadata.FromIncomingContext(ctx)
				if got := md.Get("authorization"); len(got) != 1 || got[0] != "Bearer "+secret || r.Logs().LogRecordCount() != 1 {
					t.Errorf("request of %d records, %d tokens", r.Logs().LogRecordCount(), len(got))
				}
				resp := plogotlp.NewExportResponse()
				resp.PartialSuccess().SetRejectedLogRecords(4)
				st, err := status.New(code, "no: "+secret).WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(7 * time.Second)})
				if err != nil {
					return resp, nil // OK takes no details
				}
				return resp, st.Err()
			})
			rejected, _, err := testSender(t, testConfig(t, endpoint)).send(t.Context(), request(t, "a"))
			var no *refusal
			errors.As(err, &no)
			switch {
			case code == codes.OK && (err != nil || rejected != 4),
				code != codes.OK && (no == nil || no.permanent != (code == codes.InvalidArgument) || no.after != 7*time.Second):
				t.Errorf("rejected %d, refusal %+v", rejected, no)
			}
			noSecret(t, err)
		})
	}
}

// A server that is unwell in every way in turn gets everything in the end, also
// across a restart of ours.
func TestUnwellServerGetsEverythingAcrossReopening(t *testing.T) {
	statuses := []int{401, 403, 404, 429, 500, 503}
	seen := make(chan string, 100)
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests++; requests%(len(statuses)+1) != 0 {
			w.WriteHeader(statuses[requests%len(statuses)])
			return
		}
		zr, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		body, _ := io.ReadAll(zr)
		for _, r := range records(t, body) {
			seen <- id(r)
		}
	}))
	defer server.Close()
	cfg := testConfig(t, server.URL)
	x, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	export(t, x, "a", "b") // nobody delivers yet
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if x, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	export(t, x, "c")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- x.Loops()[1](ctx) }()
	for _, want := range []string{"a", "b", "c"} {
		if got := <-seen; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	export(t, x, "d")
	<-seen // so the answer for the others has arrived
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := x.Stats().Events; s.Delivered < 3 || s.Retries < 2*int64(len(statuses)) || s.Dropped() != 0 {
		t.Errorf("%+v", s)
	}
}

func export(t *testing.T, x *Exporter, ids ...string) {
	t.Helper()
	var b exporters.Batch
	for _, id := range ids {
		b.Records = append(b.Records, event.Record{ID: id, Kind: event.KindExec})
	}
	if err := x.Export(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func TestFloodOfEventsTakesNoAlertsPlace(t *testing.T) {
	cfg := testConfig(t, "http://127.0.0.1:1")
	cfg.MaxEventItems = 2
	x, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	export(t, x, "a", "b")
	err = x.Export(t.Context(), exporters.Batch{
		Records: []event.Record{{ID: "c"}},
		Alerts:  []event.Alert{{ID: "d", Rule: event.RuleRef{Severity: event.High}}},
	})
	if err == nil {
		t.Error("the full queue was not reported")
	}
	if s := x.Stats(); s.Events.Items != 2 || s.Events.Full != 1 || s.Alerts.Items != 1 || s.Alerts.Dropped() != 0 {
		t.Errorf("%+v", s)
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	tests := map[string]func(*Config){
		"user and password": func(c *Config) { c.Endpoint = "https://u:" + secret + "@siem.example" },
		"token in query":    func(c *Config) { c.Endpoint = "https://siem.example?t=" + secret },
		"not a URL":         func(c *Config) { c.Endpoint = "http://" + secret + ":x" },
		"scheme":            func(c *Config) { c.Endpoint = "ftp://siem.example" },
		"no host":           func(c *Config) { c.Endpoint = "https:///v1/logs" },
		"gRPC with a path":  func(c *Config) { c.Endpoint = "grpc://siem.example/v1/logs" },
		"token in clear":    func(c *Config) { c.Endpoint = "http://siem.example" },
		"header":            func(c *Config) { c.Headers["x"] = secret + "\r\nHost: other" },
		"no directory":      func(c *Config) { c.Dir = "" },
		"no authorities":    func(c *Config) { c.Endpoint, c.TLS.CAFile = "https://siem.example", "/dev/null" },
		"no key":            func(c *Config) { c.Endpoint, c.TLS.CertFile = "grpcs://siem.example", "/dev/null" },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t, "http://127.0.0.1:4318")
			spoil(&cfg)
			x, err := New(cfg)
			if err == nil {
				x.Close()
				t.Fatal("accepted")
			}
			noSecret(t, err)
		})
	}
}

func TestEndpointDefaults(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://127.0.0.1":           "http://127.0.0.1:4318/v1/logs",
		"https://siem.example/":      "https://siem.example:443/v1/logs",
		"https://siem.example:1/a/b": "https://siem.example:1/a/b",
		"grpcs://siem.example":       "grpcs://siem.example:4317",
		"grpc://[::1]:99":            "grpc://[::1]:99",
	} {
		if u, err := parseEndpoint(endpoint); err != nil || u.String() != want {
			t.Errorf("%s: %v, %v", endpoint, u, err)
		}
	}
}

func TestLogsNeverHoldASecret(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := proto.Marshal(&spb.Status{Message: r.Header.Get("Authorization")})
		w.Header().Set("Content-Type", protobufType)
		w.WriteHeader(400)
		w.Write(b)
	}))
	defer server.Close()
	var log bytes.Buffer
	cfg := testConfig(t, server.URL)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	x, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	export(t, x, "a")
	entries, err := x.events.spool.Read(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.events.deliver(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	if s := x.Stats().Events; s.Rejected != 1 || !strings.Contains(log.String(), "rejected") {
		t.Errorf("%+v\n%d bytes of log", s, log.Len())
	}
	noSecret(t, log.String())
}

func FuzzJudge(f *testing.F) {
	f.Add(200, protobufType, []byte{0x0a, 0x02, 0x08, 0x01}, "7")
	f.Add(400, protobufType, []byte{0x12, 0x01, 'x'}, "Sun, 06 Nov 1994 08:49:37 GMT")
	f.Add(200, "application/json", []byte(`{"partialSuccess":{"rejectedLogRecords":1}}`), "-1")
	s := &httpSender{}
	f.Fuzz(func(t *testing.T, code int, kind string, body []byte, after string) {
		resp := &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {kind}, "Retry-After": {after}}}
		_, message, err := s.judge(resp, body)
		var no *refusal
		if errors.As(err, &no) && no.after < 0 || len(message) > 300 {
			t.Errorf("%+v, message of %d bytes", no, len(message))
		}
	})
}

func FuzzEndpoint(f *testing.F) {
	f.Add("https://siem.example/v1/logs")
	f.Add("grpc://[::1%25eth0]:4317")
	f.Fuzz(func(t *testing.T, endpoint string) {
		u, err := parseEndpoint(endpoint)
		if err == nil && (u.User != nil || u.Port() == "" || u.Hostname() == "") {
			t.Errorf("%q gives %v", endpoint, u)
		}
	})
}
