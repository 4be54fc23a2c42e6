package ebpf

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/clawwatch/clawwatch/internal/event"
)

// dnsServer is a loopback address that nothing else serves names on.
var dnsServer = net.IPv4(127, 53, 53, 53)

func fqdn(s string) dnsmessage.Name { return dnsmessage.MustNewName(s) }

func a(owner string, ip [4]byte) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: fqdn(owner), Class: dnsmessage.ClassINET, TTL: 60}, Body: &dnsmessage.AResource{A: ip}}
}

func cname(owner, to string) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: fqdn(owner), Class: dnsmessage.ClassINET, TTL: 60}, Body: &dnsmessage.CNAMEResource{CNAME: fqdn(to)}}
}

func message(response bool, asked string, answers ...dnsmessage.Resource) []byte {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, Response: response},
		Questions: []dnsmessage.Question{{Name: fqdn(asked), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		Answers:   answers,
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

// actDNS asks a server of its own, over a connected socket and over one that is
// not.
func actDNS(out io.Writer) error {
	s, err := net.ListenUDP("udp4", &net.UDPAddr{IP: dnsServer, Port: 53})
	if err != nil {
		return err
	}
	c, err := net.DialUDP("udp4", nil, s.LocalAddr().(*net.UDPAddr))
	if err != nil {
		return err
	}
	u, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	for i, asker := range []*net.UDPConn{c, u} {
		query := message(false, "Api.Example.COM.")
		if i == 0 {
			_, err = asker.Write(query)
		} else {
			_, err = asker.WriteTo(query, s.LocalAddr())
		}
		if err != nil {
			return err
		}
		_, from, err := s.ReadFrom(make([]byte, 512))
		if err != nil {
			return err
		}
		reply := message(true, "Api.Example.COM.", cname("api.example.com.", "edge.example.net."), a("edge.example.net.", [4]byte{192, 0, 2, byte(i + 1)}), a("bank.example.", [4]byte{192, 0, 2, 99}))
		if _, err := s.WriteTo(reply, from); err != nil {
			return err
		}
		if _, _, err := asker.ReadFrom(make([]byte, 512)); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(out, "asked")
	return errors.Join(err, c.Close(), u.Close(), s.Close())
}

func testDNS(b *bench) {
	c := b.run("dns")
	c.line(b.t)
	for i := range 2 {
		want := netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
		got := untilBody(b, c.id, func(x event.DNSAnswer) bool { return slices.Contains(x.Addresses, want) })
		if got.Name != "api.example.com" || len(got.Addresses) != 1 || got.Server != netip.MustParseAddr("127.53.53.53") || got.Socket == 0 {
			b.t.Errorf("answer %+v", got)
		}
	}
}

func TestOnlyTheChainOfWhatWasAskedCounts(t *testing.T) {
	for _, tt := range []struct {
		what string
		raw  []byte
		want string
	}{
		{"plain", message(true, "a.example.", a("A.example.", [4]byte{1, 2, 3, 4})), "a.example [1.2.3.4]"},
		{"aliases", message(true, "a.example.", cname("a.example.", "b.example."), cname("b.example.", "c.example."), a("c.example.", [4]byte{1, 2, 3, 4})), "a.example [1.2.3.4]"},
		{"another's address", message(true, "evil.example.", a("bank.example.", [4]byte{1, 2, 3, 4})), "evil.example []"},
		{"a question", message(false, "a.example."), " []"},
		{"noise", []byte("HTTP/1.1 200 OK\r\n\r\n"), " []"},
		{"nothing", nil, " []"},
	} {
		asked, addresses, _ := parseAnswer(tt.raw)
		if got := fmt.Sprint(asked, " ", addresses); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(message(true, "a.example.", cname("a.example.", "b.example."), a("b.example.", [4]byte{1, 2, 3, 4})))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, addresses, _ := parseAnswer(b); len(addresses) > maxAnswers {
			t.Errorf("%d addresses", len(addresses))
		}
	})
}
