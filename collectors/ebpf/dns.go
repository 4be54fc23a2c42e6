package ebpf

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/clawwatch/clawwatch/internal/event"
)

// maxAnswers bounds the addresses taken from one datagram.
const maxAnswers = 64

// decodeDNS reads what came from port 53. What is no answer with
// addresses gives no body: whatever a process lets itself be sent from there is
// no fact about a name.
func decodeDNS(raw []byte) (event.Body, error) {
	r, _, err := split[sensorDnsRec](raw)
	if err != nil {
		return nil, err
	}
	if int(r.Len) > len(r.Data) {
		return nil, errShort
	}
	data := r.Data[:r.Len]
	if r.H.Flags&sensorFlagsOVER_TCP != 0 {
		if len(data) < 2 {
			return nil, nil
		}
		data = data[2:] // its length; what is cut gives what came before
	}
	name, addresses, err := parseAnswer(data)
	if err != nil || len(addresses) == 0 {
		return nil, nil //nolint:nilerr // not an answer
	}
	return event.DNSAnswer{Server: netip.AddrFrom16(r.Peer).Unmap(), Name: name, Addresses: addresses, Socket: r.Cookie}, nil
}

// parseAnswer gives the name that was asked for and the addresses at the end of
// its chain of aliases. Records of names outside of that chain do not count:
// who answers for one name must not speak for another. A datagram that is cut
// short gives what came before.
func parseAnswer(b []byte) (string, []netip.Addr, error) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil {
		return "", nil, fmt.Errorf("parse answer: %w", err)
	}
	if !h.Response || h.RCode != dnsmessage.RCodeSuccess {
		return "", nil, nil
	}
	q, err := p.Question()
	if err != nil {
		return "", nil, fmt.Errorf("parse question: %w", err)
	}
	if err := p.SkipAllQuestions(); err != nil {
		return "", nil, fmt.Errorf("parse questions: %w", err)
	}
	asked := plainName(q.Name)
	alias := asked
	var addresses []netip.Addr
	for len(addresses) < maxAnswers {
		rr, err := p.Answer()
		if err != nil {
			break // the end, or cut
		}
		if plainName(rr.Header.Name) != alias {
			continue
		}
		switch body := rr.Body.(type) {
		case *dnsmessage.CNAMEResource:
			alias = plainName(body.CNAME)
		case *dnsmessage.AResource:
			addresses = append(addresses, netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			addresses = append(addresses, netip.AddrFrom16(body.AAAA))
		}
	}
	return asked, addresses, nil
}

func plainName(n dnsmessage.Name) string {
	return strings.ToLower(strings.TrimSuffix(n.String(), "."))
}
