package otlp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	maxAnswer    = 64 << 10 // bytes of an answer that are read
	protobufType = "application/x-protobuf"
)

// httpSender sends OTLP over HTTP. It is for one goroutine.
type httpSender struct {
	url     string
	headers map[string]string
	client  *http.Client
	packed  bytes.Buffer
	packer  *gzip.Writer
}

func newHTTP(u *url.URL, trust *tls.Config, cfg Config) *httpSender {
	return &httpSender{
		url:     u.String(),
		headers: cfg.Headers,
		packer:  gzip.NewWriter(nil),
		client: &http.Client{
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				TLSClientConfig:     trust,
				TLSHandshakeTimeout: cfg.Timeout,
				IdleConnTimeout:     time.Minute,
				ForceAttemptHTTP2:   true,
			},
			// The headers are for this server and no other.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (s *httpSender) send(ctx context.Context, request []byte) (int64, string, error) {
	packed, err := s.pack(request)
	if err != nil {
		return 0, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(packed))
	if err != nil {
		return 0, "", fmt.Errorf("make request: %w", err)
	}
	for k, v := range s.headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Content-Type", protobufType)
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("User-Agent", "clawwatch")
	resp, err := s.client.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the URL, which the logger has
		}
		return 0, "", fmt.Errorf("send log records: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, "", fmt.Errorf("read answer: %w", err)
	}
	return s.judge(resp, body)
}

// pack compresses. What it returns is good until the next call.
func (s *httpSender) pack(request []byte) ([]byte, error) {
	s.packed.Reset()
	s.packer.Reset(&s.packed)
	if _, err := s.packer.Write(request); err != nil {
		return nil, fmt.Errorf("compress request: %w", err)
	}
	if err := s.packer.Close(); err != nil {
		return nil, fmt.Errorf("compress request: %w", err)
	}
	return s.packed.Bytes(), nil
}

// judge says what an answer means.
func (s *httpSender) judge(resp *http.Response, body []byte) (int64, string, error) {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode/100 != 2 {
		text := "server answered " + strconv.Itoa(resp.StatusCode)
		var st spb.Status
		if kind == protobufType && proto.Unmarshal(body, &st) == nil && st.GetMessage() != "" {
			text += ": " + scrub(st.GetMessage(), s.headers)
		}
		return 0, "", &refusal{
			text:      text,
			permanent: permanent(resp.StatusCode, kind, body),
			after:     retryAfter(resp.Header.Get("Retry-After"), time.Now()),
		}
	}
	answer := plogotlp.NewExportResponse()
	var err error
	switch kind {
	case protobufType:
		err = answer.UnmarshalProto(body)
	case "application/json":
		if len(body) > 0 {
			err = answer.UnmarshalJSON(body)
		}
	case "text/html":
		err = errors.New("a web page") // a portal or proxy on the way, not the server
	}
	if err != nil {
		return 0, "", &refusal{text: "server answered success, but not as OTLP does: " + scrub(err.Error(), s.headers)}
	}
	part := answer.PartialSuccess()
	return part.RejectedLogRecords(), scrub(part.ErrorMessage(), s.headers), nil
}

// permanent says whether an answer is the server's last word on a request. A 400
// that is a web page, or text of no type, is not the server's: a proxy speaks, or
// a TLS server that got plain HTTP.
func permanent(status int, kind string, body []byte) bool {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return true
	case http.StatusBadRequest:
		return kind != "text/html" && (kind != "" || len(body) == 0)
	default:
		return false
	}
}

// retryAfter parses the header: seconds, or a date. 0: no usable wish.
func retryAfter(value string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(value, 10, 32); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

func (s *httpSender) close() error {
	s.client.CloseIdleConnections()
	return nil
}
