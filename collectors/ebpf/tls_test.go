package ebpf

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
)

// firstFlight is what a client of the standard library sends first.
func firstFlight(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	c := &recorder{}
	if err := tls.Client(c, cfg).Handshake(); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	return c.sent
}

var errStop = errors.New("stop")

type recorder struct {
	net.Conn
	sent []byte
}

func (r *recorder) Write(b []byte) (int, error) { r.sent = append(r.sent, b...); return len(b), nil }
func (r *recorder) Read([]byte) (int, error)    { return 0, errStop }
func (r *recorder) Close() error                { return nil }

// encryptedHello is the list of keys that a server with ECH would publish.
func encryptedHello(t testing.TB, public string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	config := []byte{1, 0, 0x20, 0, 32}
	config = append(config, key.PublicKey().Bytes()...)
	config = append(config, 0, 4, 0, 1, 0, 1, 64, byte(len(public)))
	config = append(append(config, public...), 0, 0)
	list := append([]byte{0xfe, 0x0d, 0, byte(len(config))}, config...)
	return append([]byte{0, byte(len(list))}, list...)
}

// inRecords splits a flight of one record into records of n bytes each.
func inRecords(flight []byte, n int) []byte {
	var out []byte
	for body := flight[5:]; len(body) > 0; {
		m := min(n, len(body))
		out = append(append(out, flight[0], flight[1], flight[2], byte(m>>8), byte(m)), body[:m]...)
		body = body[m:]
	}
	return out
}

func TestAClientHelloTellsItsName(t *testing.T) {
	plain := firstFlight(t, &tls.Config{ServerName: "Api.Example.COM"})
	for _, tt := range []struct {
		what string
		raw  []byte
		want hello
		look look
	}{
		{"plain", plain, hello{name: "api.example.com"}, whole},
		{"in records of one byte", inRecords(plain, 1), hello{name: "api.example.com"}, whole},
		{"in two records", inRecords(plain, len(plain)/2), hello{name: "api.example.com"}, whole},
		{"with what follows", append(bytes.Clone(plain), "more"...), hello{name: "api.example.com"}, whole},
		{"cut, behind the name", plain[:len(plain)-3], hello{name: "api.example.com"}, partial},
		{"cut, before it", plain[:60], hello{}, partial},
		{"one byte", plain[:1], hello{}, partial},
		{"nothing", nil, hello{}, partial},
		{"without a name", firstFlight(t, &tls.Config{InsecureSkipVerify: true}), hello{}, whole},
		{
			"with the name encrypted", firstFlight(t, &tls.Config{ServerName: "hidden.example", MinVersion: tls.VersionTLS13, EncryptedClientHelloConfigList: encryptedHello(t, "public.example")}),
			hello{name: "public.example", ech: true},
			whole,
		},
		{"an alert", []byte{21, 3, 3, 0, 2, 1, 0}, hello{}, foreign},
		{"another message", []byte{22, 3, 3, 0, 4, 2, 0, 0, 0}, hello{}, foreign},
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), hello{}, foreign},
		{"an empty record", []byte{22, 3, 3, 0, 0}, hello{}, foreign},
	} {
		if got, l := parseRecords(tt.raw); got != tt.want || l != tt.look {
			t.Errorf("%s: %+v, %d, want %+v, %d", tt.what, got, l, tt.want, tt.look)
		}
	}
}

func TestAHostNameIsOneOrNothing(t *testing.T) {
	for s, want := range map[string]string{
		"Example.COM.": "example.com", "a_b-c.example": "a_b-c.example", "192.0.2.1": "192.0.2.1", "[2001:db8::1]": "2001:db8::1",
		"": "", "evil\x1b[31m": "", "a b": "", "ünicode.example": "", strings.Repeat("a", 254): "", "::ffff:192.0.2.1": "192.0.2.1",
	} {
		if got := hostName(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func FuzzParseRecords(f *testing.F) {
	plain := firstFlight(f, &tls.Config{ServerName: "api.example.com"})
	f.Add(plain)
	f.Add(inRecords(plain, 7))
	f.Add(plain[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, _ := parseRecords(b)
		if h.name != hostName(h.name) {
			t.Errorf("name %q", h.name)
		}
	})
}
