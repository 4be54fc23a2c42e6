package attribution

import (
	"net/netip"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

var peer = netip.MustParseAddrPort("192.0.2.1:443")

func (f *film) fetch(sec float64, session, run, id, url string) {
	f.push(sec, event.ProcID{}, event.ToolCall{
		Gateway: state, Agent: "main", Session: session, SessionKey: "agent:main:" + session, Run: run, ID: id, Name: "web_fetch", URL: url,
	})
}

func (f *film) ended(sec float64, session, id string) {
	f.push(sec, event.ProcID{}, event.ToolResult{Gateway: state, Session: session, ID: id})
}

func (f *film) answer(sec float64, pid int32, name string, addr netip.Addr) *Scope {
	return f.push(sec, proc(pid), event.DNSAnswer{Server: netip.MustParseAddr("127.0.0.53"), Name: name, Addresses: []netip.Addr{addr}})
}

func (f *film) connect(sec float64, pid int32, to netip.AddrPort, socket uint64) *Scope {
	return f.push(sec, proc(pid), event.Connect{Transport: event.TCP, Peer: to, Socket: socket})
}

func TestAFetchIsTheCallThatNamedTheHost(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.fetch(2, "alice", "r1", "c2", "https://api.example/forecast?q=Graz")
	f.want(3.5, f.answer(2.1, 10, "api.example", peer.Addr()), "weather strong", "alice", "c2")
	a := f.want(4, f.connect(2.2, 10, peer, 7), "weather strong", "alice", "c2")
	if !has(a, "tool_host") {
		t.Errorf("evidence %+v", a.Evidence)
	}
	f.want(5, f.push(2.3, proc(10), event.TLSName{Transport: event.TCP, Peer: peer, Socket: 7, Name: "api.example"}), "weather strong", "alice", "c2")
	f.ended(6, "alice", "c2")
	// The end of the connection is the call's, however late; a new one is not.
	f.want(92, f.push(90, proc(10), event.Close{Transport: event.TCP, Peer: peer, Socket: 7, Sent: 10}), "weather strong", "alice", "c2")
	f.want(95, f.connect(93, 10, peer, 8), "none", "", "")
}

func TestAFetchOfAnAddressNeedsNoName(t *testing.T) {
	f := newFilm(t)
	f.fetch(2, "alice", "r1", "c2", "http://192.0.2.1:8080/x")
	f.want(4, f.connect(2.2, 10, netip.MustParseAddrPort("[::ffff:192.0.2.1]:8080"), 7), "none", "alice", "c2")
	f.want(6, f.connect(4.2, 10, netip.MustParseAddrPort("192.0.2.1:443"), 8), "none", "", "") // another port
}

func TestWhatAnotherProcessWasToldNamesNothingHere(t *testing.T) {
	f := newFilm(t)
	f.fetch(2, "alice", "r1", "c2", "https://api.example/")
	f.answer(2.1, 99, "api.example", peer.Addr())
	f.root(2.1, 100, "date")
	f.answer(2.1, 100, "api.example", peer.Addr())
	f.want(4, f.connect(2.2, 10, peer, 7), "none", "", "")
}

func TestTwoFetchesOfOneHostAreAmbiguous(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.read(1, "bob", "r2", "d1", notes+"/SKILL.md")
	f.fetch(2, "alice", "r1", "c2", "https://api.example/a")
	f.fetch(2.1, "bob", "r2", "d2", "https://api.example/b")
	f.answer(2.2, 10, "api.example", peer.Addr())
	a := f.want(4, f.connect(2.3, 10, peer, 7), "ambiguous weather notes", "", "")
	if !has(a, "tool_host") {
		t.Errorf("evidence %+v", a.Evidence)
	}
}

func provided(t *testing.T) *film {
	f := newFilm(t)
	g := f.e.Gateway(state)
	g.Providers = []string{"llm.example:443", "127.0.0.1:11434"}
	f.push(0, proc(10), g)
	f.answer(0.5, 10, "llm.example", peer.Addr())
	return f
}

func TestAProviderIsAskedForTheSessionThatWaits(t *testing.T) {
	ask := func(f *film, sec float64, session string) {
		f.push(sec, event.ProcID{}, event.Prompt{Gateway: state, Agent: "main", Session: session, SessionKey: "agent:main:" + session})
	}
	f := provided(t)
	f.want(2, f.connect(0.6, 10, peer, 7), "none", "", "") // nobody waits
	f.read(3, "alice", "r1", "c1", weather+"/SKILL.md")
	ask(f, 4, "alice")
	a := f.want(6, f.connect(4.1, 10, peer, 8), "none", "alice", "")
	if !has(a, "model_provider") {
		t.Errorf("evidence %+v", a.Evidence)
	}
	f.want(8, f.connect(6.1, 10, netip.MustParseAddrPort("127.0.0.1:11434"), 9), "none", "alice", "")
	f.want(10, f.connect(8.1, 10, netip.MustParseAddrPort("198.51.100.1:443"), 10), "none", "", "") // no provider
	ask(f, 10, "bob")
	f.want(12, f.connect(10.1, 10, peer, 11), "none", "", "")
	f.push(12, event.ProcID{}, event.LLMCall{Gateway: state, Session: "alice"})
	f.want(14, f.connect(12.1, 10, peer, 12), "none", "bob", "")
	f.ended(15, "alice", "c1") // its result is sent to the model
	f.want(17, f.connect(15.1, 10, peer, 13), "none", "", "")
}

func TestAConnectionOfTheGatewayWaitsForTheRow(t *testing.T) {
	f := newFilm(t)
	s := f.connect(2, 10, peer, 7)
	if f.e.Settled(s, f.last, at(2)) {
		t.Error("settled before the row of its call can be there")
	}
}

func TestWhatIsRememberedOfConnectionsIsBounded(t *testing.T) {
	f := newFilm(t)
	for i := range uint64(5000) {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		f.fetch(2, "alice", "r1", time.Duration(i).String(), "http://"+addr.String()+"/")
		f.answer(2, 10, "x.example", addr)
		f.e.Attribute(f.connect(2, 10, netip.AddrPortFrom(addr, 80), i+1), f.last)
	}
	n := f.e.gateway(state).network
	if len(n.named) > maxNames || len(n.sockets) > maxSockets || len(n.fetches) > maxCommands {
		t.Errorf("%d names, %d sockets, %d calls", len(n.named), len(n.sockets), len(n.fetches))
	}
	f.e.Tick(at(2 + 3*keepNamed.Seconds()))
	if len(n.named)+len(n.sockets) > 0 || len(f.e.gateway(state).network.fetches) > 0 {
		t.Errorf("hours later: %d names, %d sockets", len(n.named), len(n.sockets))
	}
}
