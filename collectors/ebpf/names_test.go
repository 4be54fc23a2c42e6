package ebpf

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/clawwatch/clawwatch/internal/event"
)

// certificate is for the server's side alone: nobody checks it.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// A dribble writes what it is given in pieces, each a segment of its own.
type dribble struct {
	net.Conn
	first, rest int
}

func (d *dribble) Write(b []byte) (int, error) {
	sent := 0
	for n := d.first; len(b) > 0; n = d.rest {
		m, err := d.Conn.Write(b[:min(n, len(b))])
		sent += m
		if err != nil {
			return sent, err
		}
		b = b[m:]
	}
	return sent, nil
}

// actTLS speaks TLS to itself under several names: at once, in small pieces,
// through a proxy, over IPv6, after a greeting in the clear, and without a name.
func actTLS(io.Writer) error {
	cert, err := certificate()
	if err != nil {
		return err
	}
	for i, host := range []string{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "[::1]:0", "127.0.0.1:0", "127.0.0.1:0"} {
		l, err := net.Listen("tcp", host)
		if err != nil {
			return err
		}
		served := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				served <- err
				return
			}
			if i == 2 || i == 4 {
				_, err = bufio.NewReaderSize(c, 16).ReadString('\n')
				_, err2 := io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
				if err := errors.Join(err, err2); err != nil {
					served <- err
					return
				}
			}
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
			err = s.Handshake()
			_, err2 := io.Copy(io.Discard, s)
			served <- errors.Join(err, err2)
		}()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		d := &dribble{c, 1, 100}
		name := fmt.Sprintf("Name-%d.Example.COM", i)
		switch i {
		case 0, 3:
			d.first, d.rest = 1<<20, 1<<20
		case 2:
			_, err = io.WriteString(c, "CONNECT Name-2.example.com:443 HTTP/1.1\n")
		case 4:
			_, err = io.WriteString(c, "\x05\x01\x00\n")
		case 5:
			name = ""
		}
		if err != nil {
			return err
		}
		if i == 2 || i == 4 {
			if _, err := io.ReadFull(c, make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))); err != nil {
				return err
			}
			d.first, d.rest = 1<<20, 1<<20
		}
		s := tls.Client(d, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err := errors.Join(s.Handshake(), s.Close(), <-served, l.Close()); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return nil
}

func testTLS(b *bench) {
	c := b.run("tls")
	for i := range 5 {
		name := fmt.Sprintf("name-%d.example.com", i)
		got := untilBody(b, c.id, func(x event.TLSName) bool { return x.Name == name })
		connect := untilBody(b, c.id, func(x event.Connect) bool { return x.Socket == got.Socket })
		if got.Peer != connect.Peer || got.Truncated || got.ECH {
			b.t.Errorf("name %+v of %+v", got, connect)
		}
	}
	untilBody(b, c.id, func(x event.TLSName) bool { return x.Name == "" && !x.Truncated })
	untilBody(b, c.id, func(x event.HTTPExchange) bool {
		return x.Method == "CONNECT" && x.Host == "name-2.example.com" && x.Status == 200
	})
}

// actHTTP asks a server of its own three times on one connection, and once in
// small pieces.
func actHTTP(io.Writer) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		code, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/status/"))
		w.WriteHeader(max(code, 200))
	})}
	go func() { _ = s.Serve(l) }()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, code := range []string{"200", "404", "503"} {
		r, err := http.NewRequest("POST", "http://"+l.Addr().String()+"/status/"+code+"?key=secret", strings.NewReader(strings.Repeat("body", 2000)))
		if err != nil {
			return err
		}
		r.Host = "Cleartext.example:8080"
		a, err := client.Do(r)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, a.Body)
		a.Body.Close()
	}
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return err
	}
	if _, err := io.WriteString(&dribble{c, 1, 7}, "GET /pieces HTTP/1.1\r\nHost: pieces.example\r\n\r\n"); err != nil {
		return err
	}
	if _, err := c.Read(make([]byte, 100)); err != nil {
		return err
	}
	silent, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		return err
	}
	_, err = io.WriteString(silent, "PUT /never HTTP/1.1\r\nHost: silent.example\r\n")
	return errors.Join(err, silent.Close(), c.Close(), s.Close())
}

func testHTTP(b *bench) {
	c := b.run("http")
	for _, code := range []int{200, 404, 503} {
		got := untilBody(b, c.id, func(x event.HTTPExchange) bool { return x.Status == code && x.Host == "cleartext.example" })
		if got.Method != "POST" || got.Path != fmt.Sprintf("/status/%d", code) || got.Socket == 0 {
			b.t.Errorf("exchange %+v", got)
		}
	}
	got := untilBody(b, c.id, func(x event.HTTPExchange) bool { return x.Host == "pieces.example" })
	if got.Path != "/pieces" || got.Status != 200 {
		b.t.Errorf("exchange %+v", got)
	}
	untilBody(b, c.id, func(x event.HTTPExchange) bool {
		return x.Host == "silent.example" && (x.Status == 0 || x.Status == 400) // as the end of it finds the server
	})
	if seen := b.log(); strings.Contains(seen, "secret") {
		b.t.Errorf("a query was kept:\n%s", seen)
	}
}

// actNamesByTCP asks a name server over TCP.
func actNamesByTCP(io.Writer) error {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: dnsServer, Port: 53})
	if err != nil {
		return err
	}
	c, err := net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		return err
	}
	s, err := l.Accept()
	if err != nil {
		return err
	}
	reply := message(true, "tcp.example.", a("tcp.example.", [4]byte{192, 0, 2, 53}), dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: fqdn("tcp.example."), Class: dnsmessage.ClassINET}, Body: &dnsmessage.TXTResource{TXT: []string{"x"}},
	})
	if _, err := s.Write(append([]byte{byte(len(reply) >> 8), byte(len(reply))}, reply...)); err != nil {
		return err
	}
	if _, err := c.Read(make([]byte, 512)); err != nil {
		return err
	}
	return errors.Join(c.Close(), s.Close(), l.Close())
}

func testNamesByTCP(b *bench) {
	c := b.run("names-by-tcp")
	got := untilBody(b, c.id, func(x event.DNSAnswer) bool { return x.Name == "tcp.example" })
	if len(got.Addresses) != 1 || got.Server != netip.MustParseAddr("127.53.53.53") {
		b.t.Errorf("answer %+v", got)
	}
}
