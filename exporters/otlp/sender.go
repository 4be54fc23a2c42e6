package otlp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// newSender makes the sender for the endpoint's scheme.
func newSender(cfg Config) (sender, error) {
	u, err := parseEndpoint(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	var trust *tls.Config
	if u.Scheme == "https" || u.Scheme == "grpcs" {
		if trust, err = cfg.TLS.load(); err != nil {
			return nil, err
		}
	}
	if strings.HasPrefix(u.Scheme, "grpc") {
		return newGRPC(u, trust, cfg)
	}
	return newHTTP(u, trust, cfg), nil
}

// check refuses what would not work, or would give secrets away.
func (c *Config) check() error {
	if c.Dir == "" {
		return errors.New("otlp: no queue directory")
	}
	u, err := parseEndpoint(c.Endpoint)
	if err != nil {
		return err
	}
	clear := u.Scheme == "http" || u.Scheme == "grpc"
	if clear && len(c.Headers) > 0 && !c.TLS.Insecure && !loopback(u.Hostname()) {
		return fmt.Errorf("otlp endpoint %s: headers would cross the network in clear; use https or grpcs", c.Endpoint)
	}
	for name, value := range c.Headers {
		if !validHeader(name, value) {
			return fmt.Errorf("otlp header %q: name or value has a character that HTTP does not allow", name)
		}
	}
	return nil
}

// parseEndpoint never quotes an endpoint that may hold a password.
func parseEndpoint(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, errors.New("otlp endpoint: not a URL")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("otlp endpoint: user, password, query and fragment are not allowed; use headers")
	}
	switch u.Scheme {
	case "http", "https":
		if u.Path == "" || u.Path == "/" {
			u.Path = "/v1/logs"
		}
	case "grpc", "grpcs":
		if u.Path != "" && u.Path != "/" {
			return nil, fmt.Errorf("otlp endpoint %s: gRPC has no path", endpoint)
		}
	default:
		return nil, fmt.Errorf("otlp endpoint: scheme %q, want http, https, grpc or grpcs", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("otlp endpoint %s: no host", endpoint)
	}
	if u.Port() == "" {
		u.Host = fmt.Sprintf("%s:%d", u.Host, defaultPort(u.Scheme))
	}
	return u, nil
}

// defaultPort is OTLP's own, except that a bare https:// means a hosted
// service behind an ordinary web address.
func defaultPort(scheme string) int {
	switch scheme {
	case "http":
		return 4318
	case "https":
		return 443
	default:
		return 4317
	}
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func validHeader(name, value string) bool {
	ok := name != ""
	for _, r := range name {
		ok = ok && (r == '-' || r == '_' || r == '.' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	}
	for _, r := range value {
		ok = ok && r >= ' ' && r < 0x7f
	}
	return ok
}

// load reads the files and gives the configuration for a client.
func (t TLS) load() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.Insecure}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read certificate authorities: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read certificate authorities %s: no certificate in it", t.CAFile)
		}
	}
	if t.CertFile != "" || t.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// scrub takes the values of headers out of a server's words, which may quote
// them, and bounds the rest.
func scrub(text string, headers map[string]string) string {
	for _, value := range headers {
		for _, secret := range append(strings.Fields(value), value) {
			if len(secret) > 3 && !strings.EqualFold(secret, "bearer") && !strings.EqualFold(secret, "basic") {
				text = strings.ReplaceAll(text, secret, "[redacted]")
			}
		}
	}
	return clip(text, 300)
}
