package learn

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
)

const (
	state = "/home/dev/.openclaw"
	skill = state + "/skills/weather"
)

var begin = time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)

func view(p *policy.Policy) *policy.View {
	return p.For(event.GatewayFound{
		ID: state, StateDir: state, Home: "/home/dev", Workspaces: []string{state + "/workspace"}, SkillRoots: []string{state + "/skills"},
	}, policy.Host{})
}

// A class takes down what a skill does, an event a minute.
type class struct {
	*Learner
	view *policy.View
	n    int
}

func newClass() *class { return &class{New(), view(policy.Default()), 0} }

func (c *class) did(confidence event.Confidence, r event.Record) {
	c.n++
	r.ID, r.Time = fmt.Sprintf("ID%03d", c.n), begin.Add(time.Duration(c.n)*time.Minute)
	r.Attribution = &event.Attribution{
		Gateway: state, Session: fmt.Sprint("s", c.n%2), Confidence: confidence,
		Skill: &event.SkillID{Name: "weather", Version: "1.2.0", SHA256: strings.Repeat("ab", 32), Dir: skill},
	}
	c.Add(&r, c.view, 0, 0)
}

func connect(host, source, addr string, port uint16) event.Record {
	return event.Record{Kind: event.KindConnect, Network: &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: addr, PeerPort: port, Host: host, HostSource: source}}
}

func open(path, operation string) event.Record {
	return event.Record{Kind: event.KindFileOpen, File: &event.File{Path: path, Operation: operation}}
}

func env(method event.EnvMethod, names ...string) event.Record {
	return event.Record{Kind: event.KindEnvRead, Env: &event.Env{Method: method, Names: names, Referenced: names[:1]}}
}

func TestASuggestionSaysWhatHowOftenAndWhen(t *testing.T) {
	c := newClass()
	for range 3 {
		c.did(event.Certain, connect("wttr.in", "dns", "192.0.2.1", 443))
	}
	c.did(event.Strong, connect("", "", "2001:db8::1", 8443))
	c.did(event.Certain, connect("api.openai.com", "dns", "192.0.2.9", 443)) // approved already
	for i := range 4 {
		c.did(event.Certain, open(fmt.Sprint("/srv/maps/", i), "read"))
	}
	c.did(event.Certain, open("/srv/maps/1", "write"))
	c.did(event.Certain, open("/home/dev/notes.txt", "read"))
	c.did(event.Certain, event.Record{Kind: event.KindFileOpen, File: &event.File{Path: "/home/dev/photos", Operation: "read", Directory: true}})
	c.did(event.Certain, open("/usr/lib/x", "read"))
	c.did(event.Certain, env(event.EnvGetenv, "WEATHER_API_KEY"))
	c.did(event.Certain, env(event.EnvExec, "WEATHER_API_KEY", "OTHER_TOKEN"))
	got, err := Suggest(c.Profiles())
	if err != nil {
		t.Fatal(err)
	}
	const want = `# Suggested from what was observed. It says what skills did, and not that they should: review each line,
# and ask for what a skill would need it. Every line allows it to whatever is installed under that name.
version: 1

endpoints:
  approved:
    extend:
      # 1 time in 1 session, 2026-11-22 07:04, strong, such as ID004; no name server of the host gave it a name; weather 1.2.0 (abababababab)
      - {cidr: "2001:db8::1/128", ports: [8443], skills: ["weather"]}
      # 3 times in 2 sessions, 2026-11-22 07:01 to 2026-11-22 07:03, certain, such as ID001; weather 1.2.0 (abababababab)
      - {host: "wttr.in", ports: [443], skills: ["weather"]}

directories:
  internal:
    extend:
      # 1 time in 1 session, 2026-11-22 07:10, certain, such as ID010; weather 1.2.0 (abababababab)
      - {paths: ["/srv/maps/1"], access: read-write, skills: ["weather"]}
      # 1 time in 1 session, 2026-11-22 07:11, certain, such as ID011; weather 1.2.0 (abababababab)
      - {paths: ["/home/dev/notes.txt"], access: read, skills: ["weather"]}
      # 1 time in 1 session, 2026-11-22 07:12, certain, such as ID012; weather 1.2.0 (abababababab)
      - {paths: ["/home/dev/photos/."], access: read, skills: ["weather"]}
      # 3 files in it, 3 times in 1 session, 2026-11-22 07:06 to 2026-11-22 07:09, certain, such as ID006; weather 1.2.0 (abababababab)
      - {paths: ["/srv/maps"], access: read, skills: ["weather"]}

environment:
  approved:
    extend:
      # 2 times in 2 sessions, 2026-11-22 07:14 to 2026-11-22 07:15, certain, such as ID014; weather 1.2.0 (abababababab)
      - {names: ["WEATHER_API_KEY"], skills: ["weather"]}
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	after, err := policy.Load("x", []byte(got))
	if err != nil {
		t.Fatal(err)
	}
	v, id := view(after), &event.SkillID{Name: "weather", Dir: skill}
	if !v.Endpoint(netip.MustParseAddrPort("192.0.2.1:443"), "wttr.in", "weather") || v.Endpoint(netip.MustParseAddrPort("192.0.2.1:443"), "wttr.in", "news") ||
		v.Directory("/srv/maps/9", false, id) != policy.Internal || v.Directory("/srv/maps/9", true, id) != policy.Outside ||
		v.Directory("/srv/maps/1", true, id) != policy.Internal || !v.EnvApproved("WEATHER_API_KEY", "weather") ||
		v.Directory("/srv/maps/.env", false, id) != policy.Restricted {
		t.Error("the suggestion allows something else than what it says")
	}
}

// What no skill should do is listed, and nothing of it is allowed.
func TestWhatIsNotSuggested(t *testing.T) {
	pol, err := policy.Load("p", []byte("version: 1\ncanaries: {files: [/srv/bait], variables: [BAIT]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	c := newClass()
	c.view = view(pol)
	for _, r := range []event.Record{
		open("/srv/bait/x", "read"), env(event.EnvGetenv, "BAIT"),
		connect("", "", "127.0.0.1", 8080),
		connect("bank.example", "tls_sni", "192.0.2.1", 443),
		{Kind: event.KindConnect, Network: &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: "192.0.2.2", PeerPort: 443, Host: "a.example", HostSource: "dns", HostAlso: "b.example"}},
		connect("*.example", "dns", "192.0.2.3", 443),
		open("/home/dev/.ssh/id_ed25519", "read"), open("/home/dev/.bashrc", "write"), open("/usr/bin/ls", "write"),
		open(state+"/unknown/file", "read"), open("/srv/a*b", "write"), open("/srv/${home}", "read"), open("relative", "read"),
		{Kind: event.KindFileOpen, File: &event.File{Path: "/srv/x", Operation: "read", Attempted: true}},
		env(event.EnvDump, "WEATHER_API_KEY"), env(event.EnvProcEnviron, "OTHER_API_KEY"),
	} {
		c.did(event.Certain, r)
	}
	for _, confidence := range []event.Confidence{event.Weak, event.Ambiguous, event.None} {
		c.did(confidence, connect("weak.example", "dns", "192.0.2.7", 443))
	}
	stranger := connect("stranger.example", "dns", "192.0.2.7", 443)
	stranger.Stranger = true
	c.did(event.Certain, stranger)
	got, err := Suggest(c.Profiles())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got, "- {") || strings.Contains(got, "weak.example") || strings.Contains(got, "stranger.example") {
		t.Errorf("suggests\n%s", got)
	}
	for _, want := range []string{
		"read /srv/bait/x: it is a canary", "BAIT: it is a canary", "127.0.0.1 port 8080: loopback", "only the process itself called it by a name, bank.example", "by another name, too, b.example",
		"*.example port 443: it has a name", "read /home/dev/.ssh/id_ed25519: the policy restricts it", "changed /home/dev/.bashrc: ", "changed /usr/bin/ls: software",
		state + "/unknown/file: ", "changed /srv/a*b: it has a name", "read /srv/${home}: ", "read relative: ", "read /srv/x: where it is", "(dump)", "(proc_environ)", "3 events that may be this skill's",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not said to be left out:\n%s", want, got)
		}
	}
}

// Names are chosen by whoever wants to be allowed more.
func TestHostileNamesStayNames(t *testing.T) {
	for _, name := range []string{
		"x\"]}\n      - {host: \"*.example\"}", "x\n# y", "\x1b[2J", "\u202eevil", "\U000E0041tag", "a: b", "&anchor", "'", "\\", "x\xff", "🦞", "\u2028", "${skill}", strings.Repeat("n", 5000),
	} {
		c := newClass()
		r := open("/srv/a b/"+name, "read")
		r.Attribution = &event.Attribution{Gateway: state, Confidence: event.Certain, Skill: &event.SkillID{Name: name, Version: name, SHA256: name, Dir: skill}}
		r.Time, r.ID = begin, name
		c.Add(&r, c.view, 0, 0)
		r = env(event.EnvGetenv, "KEY_"+name+"_KEY")
		r.Attribution = &event.Attribution{Gateway: state, Confidence: event.Certain, Skill: &event.SkillID{Name: name, Version: name, SHA256: name, Dir: skill}}
		c.Add(&r, c.view, 0, 0)
		got, err := Suggest(c.Profiles())
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		p, err := policy.Load("x", []byte(got))
		if err != nil {
			t.Fatal(err)
		}
		was := policy.Default()
		more := slices.Clone(p.Directories.Internal.Items[len(was.Directories.Internal.Items):])
		if len(p.Endpoints.Approved.Items) != len(was.Endpoints.Approved.Items) || len(p.Directories.Public.Items) != len(was.Directories.Public.Items) || len(more) > 1 || len(p.Environment.Approved.Items) > 1 {
			t.Errorf("%q: allows more:\n%s", name, got)
		}
		for _, d := range more {
			if len(d.Paths) != 1 || len(d.Skills) != 1 || d.Skills[0] != strings.ToValidUTF8(name, "\ufffd") || d.Paths[0] != policy.Pattern("/srv/a b/"+d.Skills[0]) {
				t.Errorf("%q: another name: %+v", name, d)
			}
		}
		if strings.ContainsAny(got, "\x1b\u202e\u2028\U000E0041") {
			t.Errorf("%q: not safe to print: %q", name, got)
		}
	}
}

// Names without end make neither a profile nor a suggestion without one.
func TestWhatIsLearnedIsBounded(t *testing.T) {
	c := newClass()
	for i := range 3000 {
		c.did(event.Certain, connect(fmt.Sprintf("h%d.example", i), "dns", "192.0.2.1", 443))
		c.did(event.Certain, open(fmt.Sprintf("/srv/%d/x", i), "read"))
	}
	p := c.Profiles()
	if len(p[0].Hosts) != maxNames || len(p[0].Files) != maxNames || p[0].More != 2*(3000-maxNames) {
		t.Errorf("%d hosts, %d files, %d more", len(p[0].Hosts), len(p[0].Files), p[0].More)
	}
	got, err := Suggest(p)
	if err != nil || strings.Count(got, "- {host") != maxSuggested || strings.Count(got, "- {paths") != maxSuggested || !strings.Contains(got, "further names") {
		t.Errorf("%v, %d lines", err, strings.Count(got, "\n"))
	}
	for i := range 3000 {
		r := open("/srv/x", "read")
		r.Attribution = &event.Attribution{Gateway: state, Confidence: event.Certain, Skill: &event.SkillID{Name: fmt.Sprint("skill", i)}}
		c.Add(&r, c.view, 0, 0)
	}
	if n := len(c.Profiles()); n != maxProfiles {
		t.Errorf("%d profiles", n)
	}
}

// Two versions are two profiles; what both need is one line. Others of that name are told of.
func TestVersionsAreToldApart(t *testing.T) {
	c := newClass()
	for _, id := range []event.SkillID{{Name: "w", Version: "1", SHA256: "aa", Dir: "/a/w"}, {Name: "w", Version: "2", SHA256: "bb", Dir: "/a/w"}, {Name: "w", Version: "7", SHA256: "cc", Dir: "/b/w"}} {
		r := connect("wttr.in", "dns", "192.0.2.1", 443)
		r.Time, r.ID = begin, "ID"
		r.Attribution = &event.Attribution{Gateway: state, Confidence: event.Certain, Skill: &id}
		c.Add(&r, c.view, 20_000_000, 1)
	}
	p := c.Profiles()
	got, err := Suggest(p)
	if err != nil || len(p) != 3 || strings.Count(got, "- {host") != 1 || strings.Count(got, "      # ") != 3 || !strings.Contains(got, "w 2 (bb); 2 skills have this name") {
		t.Errorf("%v, %d profiles\n%s", err, len(p), got)
	}
	if !strings.Contains(got, "moved 20 MB in one run; limits.bytes_per_run is 10 MB") {
		t.Errorf("says nothing of the volume:\n%s", got)
	}
}
