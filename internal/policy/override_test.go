package policy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

const overridden = `
overrides:
  - name: builds
    users: [ci, "1500"]
    policy:
      limits: {bytes_per_run: 0}
  - name: power users
    groups: [developers, "2000"]
    policy:
      limits: {bytes_per_run: 100MB}
      endpoints: {approved: {extend: [{host: "*.corp.example"}]}}
      directories: {restricted: []}
  - name: one host
    gateways: [/srv/a/.openclaw, 0123456789ab:/srv/b/.openclaw]
    policy:
      endpoints: {resolvers: false}
limits: {bytes_per_run: 5MB}
endpoints: {approved: [{host: all.example}]}
`

func TestTheFirstOverrideThatFitsAGatewayIsItsPolicy(t *testing.T) {
	p, err := Load("p.yaml", []byte(overridden))
	if err != nil {
		t.Fatal(err)
	}
	host := testHost()
	host.UserName = func(uid uint32) string { return map[uint32]string{1000: "dev", 1200: "ci"}[uid] }
	host.GroupName = func(gid uint32) string { return map[uint32]string{100: "users", 300: "developers"}[gid] }
	for name, test := range map[string]struct {
		change func(g *event.GatewayFound)
		want   string
	}{
		"nobody in particular": {func(*event.GatewayFound) {}, ""},
		"a user by name":       {func(g *event.GatewayFound) { g.UID = 1200 }, "builds"},
		"a user by number":     {func(g *event.GatewayFound) { g.UID = 1500 }, "builds"},
		"a group by name":      {func(g *event.GatewayFound) { g.Groups = []uint32{100, 300} }, "power users"},
		"a group by number":    {func(g *event.GatewayFound) { g.Groups = []uint32{2000} }, "power users"},
		"the first of several": {func(g *event.GatewayFound) { g.UID, g.Groups = 1200, []uint32{300} }, "builds"},
		"a state directory":    {func(g *event.GatewayFound) { g.ID, g.StateDir = "/srv/a/.openclaw", "/srv/a/.openclaw" }, "one host"},
		"one in a container": {func(g *event.GatewayFound) {
			g.ID, g.StateDir, g.ContainerID = "0123456789ab:/srv/b/.openclaw", "/srv/b/.openclaw", "0123456789ab"
		}, "one host"},
		"a directory of that name in a container": {func(g *event.GatewayFound) {
			g.ID, g.StateDir, g.ContainerID = "ffff:/srv/a/.openclaw", "/srv/a/.openclaw", "ffff"
		}, ""},
		"that user's number in a container":          {func(g *event.GatewayFound) { g.UID, g.ContainerID = 1200, "ffff" }, ""},
		"a process that nothing is known of, as yet": {func(g *event.GatewayFound) { *g = event.GatewayFound{UID: 1200} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := testGateway()
			g.ID, g.UID, g.Groups = testState, 1000, []uint32{100}
			test.change(&g)
			if got := p.For(g, host).Override(); got != test.want {
				t.Errorf("it is under %q, want %q", got, test.want)
			}
		})
	}
}

// What an override does not mention is as in the rest of the file, also where that
// comes later, and nothing of it shows elsewhere.
func TestAnOverrideLiesOverTheRestOfTheFile(t *testing.T) {
	p, err := Load("p.yaml", []byte(overridden))
	if err != nil {
		t.Fatal(err)
	}
	of := func(uid uint32, groups ...uint32) *View {
		g := testGateway()
		g.ID, g.UID, g.Groups = testState, uid, groups
		return p.For(g, testHost())
	}
	addr := netip.MustParseAddrPort("192.0.2.7:443")
	all, builds, power := of(1000), of(1500), of(1000, 2000)
	if got := []Size{all.Limits().BytesPerRun, builds.Limits().BytesPerRun, power.Limits().BytesPerRun}; got[0] != 5e6 || got[1] != 0 || got[2] != 100e6 {
		t.Errorf("limits %v", got)
	}
	for _, v := range []*View{all, builds, power} {
		if v.Limits().BytesPerSkillDay != 100e6 || !v.Endpoint(addr, "all.example", "") || v.Endpoint(addr, "api.openai.com", "") {
			t.Errorf("under %q: %v; or the rest of the file does not count", v.Override(), v.Limits())
		}
		if got, want := v.Endpoint(addr, "git.corp.example", ""), v == power; got != want {
			t.Errorf("under %q: the addition counts: %v", v.Override(), got)
		}
		if got, want := v.Directory("/home/dev/.ssh/id_rsa", false, nil) == Restricted, v != power; got != want {
			t.Errorf("under %q: restricted: %v", v.Override(), got)
		}
	}
}

func TestMistakesInOverridesAreToldWithTheirPlace(t *testing.T) {
	_, err := Load("p.yaml", []byte(`limits: {bytes_per_run: 5 parsecs}
overrides:
  - {name: a, users: [x], policy: {limits: {bytes_per_run: 1 parsec}, llm: {content: none}}}
  - {name: b, users: [x]}
  - {users: [x], policy: {}}
  - {name: c, policy: {}}
`))
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{"p.yaml:1:25:", `p.yaml:3:60: "1 parsec"`, `p.yaml:3:71: unknown key "llm"`, "p.yaml:4:6: policy is missing", "p.yaml:5:6: name is missing", "p.yaml:6:6: an override is for"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is missing in\n%v", want, err)
		}
	}
}
