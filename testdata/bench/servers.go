package main

import (
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
	"strings"
	"sync/atomic"
	"time"
)

// Servers are what the workloads speak to, in this process, which nobody
// watches: sinks for TCP, a provider of models, and a receiver of OTLP.
type servers struct {
	addresses string // of the sinks, and of the provider last
	otlp      string // URL of the receiver
	received  atomic.Int64
}

// sinkAddresses are several, so that storms do not run out of local ports.
const sinkAddresses = 16

func newServers() (*servers, error) {
	s := &servers{}
	var all []string
	for i := range sinkAddresses {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:0", i+1))
		if err != nil {
			return nil, err
		}
		all = append(all, l.Addr().String())
		go accept(l)
	}
	provider, err := s.provider()
	if err != nil {
		return nil, err
	}
	s.addresses = strings.Join(append(all, provider), ",")
	s.otlp, err = s.receiver()
	return s, err
}

func accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(io.Discard, c) // until the other side closes
			_ = c.Close()
		}()
	}
}

// provider answers in 20 pieces, as a model does.
func (s *servers) provider() (string, error) {
	cert, err := certificate()
	if err != nil {
		return "", err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return "", err
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; i < 20 && err == nil; i++ {
			_, err = io.WriteString(w, "data: "+strings.Repeat("word ", 20)+"\n\n")
			err = errors.Join(err, http.NewResponseController(w).Flush())
		}
	}))
	return l.Addr().String(), nil
}

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	about := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, &about, &about, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// receiver takes OTLP and counts what comes over the wire, heads included.
func (s *servers) receiver() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go http.Serve(counting{l, &s.received}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // counted below
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	return "http://" + l.Addr().String(), nil
}

// counting counts what its connections read.
type counting struct {
	net.Listener
	n *atomic.Int64
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{c, l.n}, nil
}

type countedConn struct {
	net.Conn
	n *atomic.Int64
}

func (c countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}
