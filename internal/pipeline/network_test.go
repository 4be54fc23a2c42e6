package pipeline

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
)

var (
	client   = netip.MustParseAddrPort("10.0.0.1:40000")
	server   = netip.MustParseAddrPort("192.0.2.1:443")
	resolver = netip.MustParseAddr("127.0.0.53")
)

// skill starts a pipeline with a skill's script that runs as process 101, and a
// policy that approves two names.
func skill(t *testing.T) *bench {
	b := newBench(t, 0)
	pol := policy.Default()
	for _, host := range []policy.HostName{"good.example", "fine.example"} {
		pol.Endpoints.Approved.Items = append(pol.Endpoints.Approved.Items, policy.Endpoint{Host: host})
	}
	b.Host.Resolvers = []netip.Addr{resolver}
	b.SetRules(b.Rules, pol)
	b.use(1, "bash "+script)
	b.run(2, "bash "+script)
	b.Tick(at(8))
	b.Tick(at(9)) // what is found again is told by then
	b.findings = newFindings()
	b.alerts, b.records = nil, nil
	return b
}

// An operator lets skills reach good.example. What counts is what the name
// server said and what the process says, together.
func TestANameApprovesOnlyWhatWasAskedFor(t *testing.T) {
	dns := func(name string) event.Body {
		return event.DNSAnswer{Server: resolver, Name: name, Addresses: []netip.Addr{server.Addr()}}
	}
	connect := event.Connect{Transport: event.TCP, Local: client, Peer: server, Socket: 7}
	tls := func(name string) event.Body {
		return event.TLSName{Transport: event.TCP, Local: client, Peer: server, Socket: 7, Name: name}
	}
	http := func(name string) event.Body {
		return event.HTTPExchange{Local: client, Peer: server, Socket: 7, Method: "GET", Host: name, Path: "/", Status: 200}
	}
	end := event.Close{Transport: event.TCP, Local: client, Peer: server, Socket: 7, Sent: 1}
	for _, tt := range []struct {
		what   string
		bodies []event.Body
		judged string // kinds of the records behind the alert
		last   string // host, source and other name of the last record
	}{
		{"asked for and said", []event.Body{dns("good.example"), connect, tls("good.example"), end}, "", "good.example dns "},
		{"asked for, nothing said", []event.Body{dns("good.example"), connect, tls(""), end}, "", "good.example dns "},
		{"only said", []event.Body{connect, tls("good.example"), end}, "network.connect tls.name", "good.example tls_sni "},
		{"only said, in the clear", []event.Body{connect, http("good.example"), end}, "network.connect http.exchange", "good.example http_host "},
		{"another one said", []event.Body{dns("good.example"), connect, tls("evil.example"), end}, "tls.name", "evil.example tls_sni good.example"},
		{"another one said inside", []event.Body{dns("good.example"), connect, tls("good.example"), http("evil.example"), end}, "http.exchange", "evil.example http_host good.example"},
		{"another approved one said", []event.Body{dns("good.example"), connect, tls("fine.example"), end}, "", "good.example dns fine.example"},
		{"another asked for, too", []event.Body{dns("good.example"), dns("evil.example"), connect, tls("good.example"), end}, "network.connect tls.name", "evil.example dns good.example"},
		{"a bad one asked for and said", []event.Body{dns("evil.example"), connect, tls("evil.example"), end}, "network.connect tls.name", "evil.example dns "},
		{"of another address", []event.Body{dns("good.example"), event.Connect{Transport: event.TCP, Peer: netip.MustParseAddrPort("192.0.2.9:443"), Socket: 8}}, "network.connect", "  "},
	} {
		b := skill(t)
		for i, body := range tt.bodies {
			b.push(9+float64(i)/10, proc(101), body)
		}
		b.Tick(at(20))
		b.Flush()
		last := b.records[len(b.records)-1].Network
		if got := last.Host + " " + last.HostSource + " " + last.HostAlso; got != tt.last {
			t.Errorf("%s: the last has %q, want %q", tt.what, got, tt.last)
		}
		var judged []string
		for _, a := range b.alerts {
			if a.Rule.Name != "unapproved-endpoint" || a.Amended && len(a.Events) < 2 {
				continue
			}
			judged = nil // the last count has them all
			for _, id := range a.Events {
				for _, r := range b.records {
					if r.ID == id {
						judged = append(judged, string(r.Kind))
					}
				}
			}
		}
		if got := strings.Join(judged, " "); got != tt.judged {
			t.Errorf("%s: judged %q, want %q", tt.what, got, tt.judged)
		}
	}
}

// Totals come again and again, late, and with the end; each byte counts once,
// and the limit is crossed when it is crossed.
func TestVolumeIsCountedWhileItMovesAndOnlyOnce(t *testing.T) {
	const mega = 1_000_000
	b := skill(t)
	send := func(sec float64, socket, sent uint64) {
		b.push(sec, proc(101), event.Send{Transport: event.TCP, Local: client, Peer: server, Socket: socket, Sent: sent})
	}
	end := func(sec float64, socket, sent uint64) {
		b.push(sec, proc(101), event.Close{Transport: event.TCP, Local: client, Peer: server, Socket: socket, Sent: sent})
	}
	volume := func() (n int) {
		for _, a := range b.alerts {
			if a.Rule.Name == "unusual-data-volume" {
				n++
			}
		}
		return n
	}
	send(10, 7, 4*mega)
	send(12, 7, 6*mega)
	end(13, 7, 6*mega)
	send(13.1, 7, 5*mega) // was on its way when the socket closed
	end(14, 8, 4*mega)    // ten in all: the limit itself is allowed
	b.Tick(at(15))
	if volume() != 0 {
		t.Fatalf("over the limit with 10 MB: %+v", b.alerts)
	}
	send(16, 9, 1)
	b.Tick(at(17))
	if volume() != 1 {
		t.Fatalf("%d alerts while the connection lasts", volume())
	}
	send(18, 9, 3*mega)
	end(19, 9, 4*mega)
	b.Tick(at(25))
	if volume() != 1 {
		t.Errorf("%d alerts of one run", volume())
	}
}

func TestAStrangerAtTheGatewayIsNamedWithIt(t *testing.T) {
	b := newBench(t, 0)
	b.push(1, proc(10), event.GatewayFound{ID: state, Role: event.RoleGateway, StateDir: state, Port: 18789})
	b.records = nil
	for _, body := range []event.Body{
		event.Exec{Path: "/usr/bin/curl", Args: []string{"curl"}, UID: 1000, Snapshot: true},
		event.Connect{Transport: event.TCP, Peer: netip.MustParseAddrPort("127.0.0.1:18789"), Socket: 5},
	} {
		b.Tick(at(2))
		b.Push(event.Event{Time: at(2), Proc: proc(900), Body: body, Stranger: true})
	}
	b.Flush()
	got := b.find(event.KindConnect, 900)
	if len(got) != 1 || !got[0].Stranger || got[0].Process.Executable.Path != "/usr/bin/curl" ||
		got[0].Attribution == nil || got[0].Attribution.Gateway != state || got[0].Attribution.Skill != nil || got[0].Attribution.Confidence != event.None {
		t.Fatalf("%+v", got)
	}
	b.wantFired("gateway-accessed-from-outside  1")
}

func TestFactsOfTheNetworkHaveTheirShape(t *testing.T) {
	b := skill(t)
	for i, body := range []event.Body{
		event.Connect{Transport: event.Unix, Name: "/run/docker.sock", Socket: 1},
		event.Connect{Transport: event.Unix, Name: "@abstract", Socket: 2},
		event.Listen{Transport: event.TCP, Local: netip.MustParseAddrPort("0.0.0.0:4444"), Socket: 3},
		event.Listen{Transport: event.Unix, Name: "/tmp/s", Socket: 4},
		event.Socket{Family: "packet", Type: "raw", Protocol: 768},
		event.HTTPExchange{Peer: server, Socket: 5, Method: "GET", Host: "a.example", Path: "/bot/sk-ant-REDACTED", Status: 200},
	} {
		b.push(9+float64(i), proc(101), body)
	}
	b.Flush()
	var got []string
	for _, r := range b.records {
		n := r.Network
		got = append(got, strings.Join([]string{string(r.Kind), string(n.Transport), n.Direction, n.LocalAddress, n.PeerAddress, n.Family, n.SocketType, n.Method}, ","))
		if strings.Contains(n.URLPath, "sk-ant") {
			t.Errorf("a secret in the path %q", n.URLPath)
		}
	}
	want := []string{
		"network.connect,unix,outbound,,/run/docker.sock,,,", "network.connect,unix,outbound,,@abstract,,,",
		"network.listen,tcp,inbound,0.0.0.0,,,,", "network.listen,unix,inbound,/tmp/s,,,,",
		"network.socket,,,,,packet,raw,", "http.exchange,tcp,outbound,,192.0.2.1,,,GET",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b.wantFired("container-runtime-access weather 1", "raw-socket weather 1", "unapproved-endpoint weather 1")
}

// A skill has the gateway itself fetch a page, which makes no process.
func TestAFetchOfTheGatewayIsJudgedAsTheSkillsThatAskedForIt(t *testing.T) {
	for name, fires := range map[string][]string{"evil.example": {"unapproved-endpoint weather 1"}, "good.example": nil} {
		b := skill(t)
		b.push(20, event.ProcID{}, event.ToolCall{Gateway: state, Session: "alice", Run: "r2", ID: "c1", Name: "read", Paths: []string{weather + "/SKILL.md"}})
		b.push(21, event.ProcID{}, event.ToolCall{Gateway: state, Session: "alice", Run: "r2", ID: "c2", Name: "web_fetch", URL: "https://" + name + "/?d=x"})
		b.push(21.1, proc(10), event.DNSAnswer{Server: resolver, Name: name, Addresses: []netip.Addr{server.Addr()}})
		b.push(21.2, proc(10), event.Connect{Transport: event.TCP, Local: client, Peer: server, Socket: 9})
		b.push(22, proc(10), event.Connect{Transport: event.TCP, Local: client, Peer: netip.MustParseAddrPort("192.0.2.77:443"), Socket: 10}) // its own
		b.Tick(at(30))
		b.Flush()
		got := b.find(event.KindConnect, 10)
		if len(got) != 2 || got[0].Attribution.ToolCall != "c2" || got[0].Network.Host != name || got[1].Attribution.ToolCall != "" {
			t.Errorf("%s: %+v", name, got)
		}
		b.wantFired(fires...)
	}
}

// A file that is read twice at once is no less read for a tool call.
func TestTwoReadsOfOneFileAtOnceAreJudged(t *testing.T) {
	b := newBench(t, 0)
	for _, id := range []string{"c1", "c2"} {
		b.push(1, event.ProcID{}, event.ToolCall{Gateway: state, Session: "alice", Run: "r1", ID: id, Name: "read", Paths: []string{"/home/dev/.ssh/id_ed25519"}})
	}
	b.push(1.2, proc(10), event.FileOpen{Path: "/home/dev/.ssh/id_ed25519", Read: true, TID: 12})
	b.Tick(at(5))
	b.wantFired("file-outside-approved-directories  1", "restricted-data-access  1")
}

func TestAPortOfAnotherNetworkIsNoDoorOfThisHost(t *testing.T) {
	b := newBench(t, 0)
	b.push(1, proc(10), event.GatewayFound{ID: "box:" + state, Role: event.RoleGateway, StateDir: state, Port: 18789, Network: 7})
	b.records = nil
	b.stranger(2, 2, proc(900), event.Connect{Transport: event.TCP, Peer: netip.MustParseAddrPort("127.0.0.1:18789"), Socket: 5})
	b.Flush()
	if got := b.find(event.KindConnect, 900); len(got) != 1 || got[0].Attribution != nil {
		t.Errorf("%+v", got)
	}
}
