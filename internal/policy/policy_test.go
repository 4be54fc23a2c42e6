package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy/yamlfile"
)

const testState = "/home/dev/.openclaw"

func testGateway() event.GatewayFound {
	return event.GatewayFound{
		StateDir: testState, Home: "/home/dev",
		Workspaces: []string{testState + "/workspace"},
		SkillRoots: []string{testState + "/workspace/skills", testState + "/skills", "/usr/lib/node_modules/openclaw/skills"},
		Providers:  []string{"127.0.0.1:18999", "llm.corp.example:8443", "[2001:db8::5]:443"},
	}
}

func testHost() Host {
	return Host{Resolvers: []netip.Addr{netip.MustParseAddr("127.0.0.53"), netip.MustParseAddr("::ffff:192.0.2.53")}}
}

func load(t testing.TB, text string) *View {
	t.Helper()
	p, err := Load("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p.For(testGateway(), testHost())
}

func TestDefaultTiers(t *testing.T) {
	const ws = testState + "/workspace"
	weather := &event.SkillID{Name: "weather", Dir: ws + "/skills/weather"}
	tests := []struct {
		path  string
		write bool
		skill *event.SkillID
		want  Tier
	}{
		{path: "/", want: Public},
		{path: "/usr/bin/curl", want: Public},
		{path: "/usr/bin/curl", write: true, want: Outside},
		{path: "/usr", want: Public},
		{path: "/usrlocal", want: Outside},
		{path: "/etc/ssl/certs/ca-certificates.crt", want: Public},
		{path: "/etc/ssl/private/key.pem", want: Restricted},
		{path: "/etc/ssl-old/x", want: Outside},
		{path: "/etc/python3.11/sitecustomize.py", want: Public},
		{path: "/etc/passwd", want: Public},
		{path: "/etc/passwd", write: true, want: Outside},
		{path: "/etc/passwd-", want: Outside},
		{path: "/etc/shadow", want: Restricted},
		{path: "/etc/shadow-", want: Restricted},
		{path: "/usr/../etc/shadow", want: Restricted},
		{path: "/usr//lib/./../bin/ls", want: Public},
		{path: "/proc/meminfo", want: Public},
		{path: "/proc/self/maps", want: Public},
		{path: "/proc/4321/maps", want: Restricted},
		{path: "/proc/4321/environ", want: Restricted},
		{path: "/proc/4321/task/4322/environ", want: Restricted},
		{path: "/proc/4321/stat", want: Public},
		{path: "/dev/null", write: true, want: Public},
		{path: "/dev/sda1", want: Restricted},
		{path: "/tmp/x/y", write: true, want: Public},
		{path: "/var/tmp/x", write: true, want: Public},
		{path: "/root/x", want: Outside},
		{path: "/root/.ssh/id_rsa", want: Restricted},
		{path: "/home/dev", want: Public},
		{path: "/home/dev/Documents", want: Outside},
		{path: "/home/dev/Documents/q3.csv", want: Outside},
		{path: "/home/dev/.bashrc", want: Public},
		{path: "/home/dev/.bashrc", write: true, want: Outside},
		{path: "/home/dev/.bash_history", want: Restricted},
		{path: "/home/dev/.ssh", want: Restricted},
		{path: "/home/dev/.ssh/id_ed25519", want: Restricted},
		{path: "/home/dev/.ssh/known_hosts", want: Internal},
		{path: "/home/dev/.sshx", want: Outside},
		{path: "/home/dev/.aws/credentials", want: Restricted},
		{path: "/home/dev/.npmrc", want: Restricted},
		{path: "/home/dev/.config/gcloud/access_tokens.db", want: Restricted},
		{path: "/home/dev/.config/notion/api_key", want: Outside},
		{path: "/home/dev/.mozilla/firefox/x/logins.json", want: Restricted},
		{path: ws + "/notes.md", write: true, want: Internal},
		{path: ws + "/proj/.env", want: Restricted},
		{path: ws + "/proj/.env", write: true, want: Restricted},
		{path: ws + "/proj/.env.local", want: Restricted},
		{path: ws + "/proj/.env.example", want: Public},
		{path: ws + "/proj/.env/lib/python3.11/os.py", want: Public},
		{path: ws + "/proj/.envoy", want: Internal},
		{path: ws + "/proj/.npmrc", want: Internal},
		{path: ws + "/skills/weather/SKILL.md", want: Internal},
		{path: ws + "/skills/weather/data.json", skill: weather, write: true, want: Internal},
		{path: ws + "/skills/weather", skill: weather, write: true, want: Internal},
		{path: ws + "/skills/weather/SKILL.md", skill: weather, want: Internal},
		{path: ws + "/skills/weather/SKILL.md", skill: weather, write: true, want: Outside},
		{path: ws + "/skills/weather2/data.json", skill: weather, write: true, want: Outside},
		{path: ws + "/skills/notes/data.json", skill: weather, write: true, want: Outside},
		{path: ws + "/skills/notes/data.json", skill: weather, want: Internal},
		{path: ws + "/skills/notes/data.json", write: true, want: Outside},
		{path: ws + "/skills/notes/scripts/__pycache__/a.pyc", write: true, want: Public},
		{path: testState + "/skills/x/SKILL.md", want: Internal},
		{path: testState + "/openclaw.json", want: Restricted},
		{path: testState + "/openclaw.json.last-good", want: Restricted},
		{path: testState + "/.env", want: Restricted},
		{path: testState + "/cron/jobs.json", write: true, want: Restricted},
		{path: testState + "/cache/shell-snapshots/a.sh", want: Internal},
		{path: testState + "/agents/main/agent/openclaw-agent.sqlite-wal", want: Restricted},
		{path: testState + "/agents/main/sessions/s.jsonl", want: Restricted},
		{path: testState + "/state/openclaw.sqlite", want: Restricted},
		{path: "relative/path", want: Outside},
		{path: "", want: Outside},
		{path: "/var/lib/clawwatch/events.db", want: Restricted},
	}
	v := Default().For(testGateway(), testHost())
	for _, tt := range tests {
		if got := v.Directory(tt.path, tt.write, tt.skill); got != tt.want {
			t.Errorf("Directory(%q, write %v, %v) = %s, want %s", tt.path, tt.write, tt.skill, got, tt.want)
		}
	}
}

func TestWhatProgramsReadWhenTheyStartIsQuiet(t *testing.T) {
	v := Default().For(testGateway(), testHost())
	for _, path := range []string{
		"/etc/ld.so.cache", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/locale/C.utf8/LC_CTYPE", "/etc/locale.alias",
		"/dev/tty", "/proc/filesystems", "/proc/sys/kernel/ngroups_max", "/etc/nsswitch.conf", "/etc/passwd", "/etc/profile.d/x.sh",
		"/usr/lib/python3.11/encodings/__init__.py", "/usr/local/lib/python3.11/dist-packages/x.pth", "/etc/python3.11/sitecustomize.py",
		"/home/dev/.local/lib/python3.11/site-packages/a.py", "/usr/lib/ssl/openssl.cnf", "/etc/ssl/openssl.cnf",
		"/proc/self/cgroup", "/sys/fs/cgroup/memory.max", "/proc/self/maps", "/proc/version_signature", "/proc/meminfo",
		"/etc/host.conf", "/etc/resolv.conf", "/run/systemd/resolve/stub-resolv.conf", "/etc/hosts", "/etc/gai.conf", "/etc/localtime",
		"/usr/share/zoneinfo/UTC", "/usr/share/publicsuffix/public_suffix_list.dafsa", "/dev/urandom", "/dev/pts/3", "/home/dev/.curlrc",
	} {
		if got := v.Directory(path, false, nil); got != Public {
			t.Errorf("%s is %s", path, got)
		}
	}
}

func TestWhichEntryDecides(t *testing.T) {
	s3 := &event.SkillID{Name: "s3"}
	tests := map[string]struct {
		policy string
		path   string
		write  bool
		skill  *event.SkillID
		want   Tier
	}{
		"the deepest":                           {"internal: [/a], restricted: [/a/b]", "/a/b/c", false, nil, Restricted},
		"the deepest, also when less strict":    {"internal: [/a/b], restricted: [/a]", "/a/b/c", false, nil, Internal},
		"restricted among equals":               {"public: [/a], internal: [/a], restricted: [/a]", "/a/x", false, nil, Restricted},
		"a name before a wildcard":              {"internal: [/a/key], restricted: ['/a/*']", "/a/key", false, nil, Internal},
		"a name before any depth":               {"internal: [/a/.env], restricted: ['/**/.env']", "/a/.env", false, nil, Internal},
		"depth is where the match ends":         {"internal: [/a/b/c], restricted: ['/a/**/x']", "/a/b/c/d/x", false, nil, Restricted},
		"any depth is also none":                {"restricted: ['/a/**/x']", "/a/x/y", false, nil, Restricted},
		"one that names the skill among equals": {"internal: [{paths: [/a], skills: [s3]}], restricted: [/a]", "/a/x", false, s3, Internal},
		"but only for that skill":               {"internal: [{paths: [/a], skills: [s4]}], restricted: [/a]", "/a/x", false, s3, Restricted},
		"and never for nobody":                  {"internal: [{paths: [/a], skills: [s3]}], restricted: [/a]", "/a/x", false, nil, Restricted},
		"the later of two alike":                {"public: [{paths: [/a], access: read}, /a]", "/a/x", true, nil, Public},
		"reading where one may read only":       {"public: [{paths: [/a], access: read}]", "/a/x", false, nil, Public},
		"writing where one may read only":       {"public: [{paths: [/a], access: read}]", "/a/x", true, nil, Outside},
		"the directory itself":                  {"public: [/a/.]", "/a", false, nil, Public},
		"and nothing in it":                     {"public: [/a/.]", "/a/x", false, nil, Outside},
		"a trailing slash changes nothing":      {"public: [/a/.]", "/a/", false, nil, Public},
		"a question mark is one character":      {"public: ['/a?']", "/ab/x", false, nil, Public},
		"and not none":                          {"public: ['/a?']", "/a/x", false, nil, Outside},
		"a star stays in its component":         {"public: ['/a/*/c']", "/a/b/b/c", false, nil, Outside},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := Default()
			p.Directories = Directories{}
			if err := yamlfile.Decode("p.yaml", []byte("directories: {"+tt.policy+"}"), p); err != nil {
				t.Fatal(err)
			}
			v := p.For(testGateway(), testHost())
			if got := v.Directory(tt.path, tt.write, tt.skill); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAGatewayWithoutDirectoriesApprovesNothingMore(t *testing.T) {
	v := Default().For(event.GatewayFound{Home: "/", StateDir: "", Workspaces: []string{"relative"}, SkillRoots: []string{"/"}}, Host{})
	for _, path := range []string{"/secret", "/home/dev/x", "/relative/x", "/.cache/x"} {
		if got := v.Directory(path, false, &event.SkillID{Name: "x", Dir: ""}); got != Outside {
			t.Errorf("%s is %s", path, got)
		}
	}
}

func TestEndpoints(t *testing.T) {
	v := load(t, `
endpoints:
  providers: true
  approved:
    extend:
      - API.Notion.com.
      - 10.1.0.0/16
      - {host: "*.example.com", ports: [443]}
      - {host: only.example.net, skills: [one]}
      - {cidr: "2001:db8:1::/48", ports: [443]}
      - {cidr: 198.51.100.7}
`)
	tests := []struct {
		addr, host, skill string
		want              bool
	}{
		{"203.0.113.9:443", "", "", false},
		{"203.0.113.9:443", "api.openai.com", "", true},
		{"203.0.113.9:80", "api.openai.com", "", false},
		{"203.0.113.9:443", "API.OpenAI.com.", "", true},
		{"203.0.113.9:443", "api.openai.com.evil.example", "", false},
		{"203.0.113.9:443", "xapi.openai.com", "", false},
		{"203.0.113.9:8080", "api.notion.com", "", true},
		{"203.0.113.9:443", "a.example.com", "", true},
		{"203.0.113.9:443", "b.a.example.com", "", true},
		{"203.0.113.9:443", "example.com", "", false},
		{"203.0.113.9:443", "badexample.com", "", false},
		{"203.0.113.9:443", "only.example.net", "one", true},
		{"203.0.113.9:443", "only.example.net", "two", false},
		{"203.0.113.9:443", "only.example.net", "", false},
		{"10.1.2.3:5432", "", "", true},
		{"[::ffff:10.1.2.3]:5432", "", "", true},
		{"10.2.0.1:5432", "", "", false},
		{"[2001:db8:1::9]:443", "", "", true},
		{"[2001:db8:1::9]:80", "", "", false},
		{"198.51.100.7:1", "", "", true},
		{"127.0.0.53:53", "", "", true},
		{"127.0.0.53:80", "", "", false},
		{"192.0.2.53:53", "", "", true},
		{"[::ffff:192.0.2.53]:53", "", "", true},
		{"127.0.0.1:18999", "", "", true},
		{"127.0.0.1:18998", "", "", false},
		{"203.0.113.1:8443", "llm.corp.example", "", true},
		{"203.0.113.1:443", "llm.corp.example", "", false},
		{"[2001:db8::5]:443", "", "", true},
		{"[fe80::1%eth0]:443", "", "", false},
	}
	for _, tt := range tests {
		if got := v.Endpoint(netip.MustParseAddrPort(tt.addr), tt.host, tt.skill); got != tt.want {
			t.Errorf("Endpoint(%s, %q, %q) = %v", tt.addr, tt.host, tt.skill, got)
		}
	}
	if v.Endpoint(netip.AddrPort{}, "", "") {
		t.Error("no address at all is approved")
	}
}

func TestSecretNamesMatchWholeWords(t *testing.T) {
	v := load(t, "environment: {approved: [{names: [A_KEY], skills: [one]}, {names: [B_KEY]}]}")
	for name, want := range map[string]bool{
		"GITHUB_TOKEN": true, "OPENAI_API_KEY": true, "KEY": true, "AWS_SECRET_ACCESS_KEY": true, "token": true, "PGPASSWORD": true, "MYSQL_PWD": true,
		"DATABASE_URL": true, "PATH": false, "PWD": false, "OLDPWD": false, "KEYBOARD": false, "TOKENIZERS_PARALLELISM": false, "SSH_AUTH_SOCK": false,
		"MONKEY": false, "HOME": false, "XDG_SESSION_ID": false, "": false,
	} {
		if got := v.SecretName(name); got != want {
			t.Errorf("SecretName(%q) = %v", name, got)
		}
	}
	if !v.EnvApproved("A_KEY", "one") || v.EnvApproved("A_KEY", "two") || v.EnvApproved("A_KEY", "") || !v.EnvApproved("B_KEY", "") || v.EnvApproved("C", "one") {
		t.Error("grants of variables")
	}
}

func TestSkillsAreApprovedAsTheyAre(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	v := load(t, "skills: {approved: [{name: a}, {name: b, version: 1.2.0}, {name: c, sha256: "+strings.ToUpper(sum)+"}, {name: d, version: '>=1.2 <2 || 3.x'}, {name: f, source: git}, {name: '*', source: bundled}]}")
	for id, want := range map[event.SkillID]bool{
		{Name: "a", Version: "9"}: true, {Name: "b", Version: "1.2.0"}: true, {Name: "b", Version: "1.2.1"}: false, {Name: "b"}: false,
		{Name: "c", SHA256: sum}: true, {Name: "c"}: false, {Name: "e"}: false,
		{Name: "d", Version: "1.9.1"}: true, {Name: "d", Version: "v1.2"}: true, {Name: "d", Version: "3.4.5"}: true, {Name: "d", Version: "2.0.0"}: false,
		{Name: "d", Version: "1.1.9"}: false, {Name: "d", Version: "1.3.0-rc.1"}: false, {Name: "d"}: false, {Name: "d", Version: "newest"}: false,
		{Name: "f", Source: "git"}: true, {Name: "f", Source: "path"}: false, {Name: "f"}: false, {Name: "anything", Source: "bundled"}: true,
	} {
		if got := v.SkillApproved(id); got != want {
			t.Errorf("SkillApproved(%+v) = %v", id, got)
		}
	}
	if Default().For(testGateway(), testHost()).SkillApproved(event.SkillID{Name: "a"}) {
		t.Error("an empty list approves")
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]string{
		"10MB": "10 MB", "10000000": "10 MB", "1234": "1.2 kB", "500kB": "500 kB", "1GiB": "1.1 GB", "1.5 MB": "1.5 MB", "0": "0 B", "999B": "999 B", "999960": "1 MB",
	} {
		var z Size
		if err := z.UnmarshalText([]byte(text)); err != nil || z.String() != want {
			t.Errorf("%s is %s, want %s; %v", text, z, want, err)
		}
	}
	for _, text := range []string{"", "MB", "-1", "1e30", "NaN", "inf", "10 parsecs", "0x10p-2000MBB"} {
		var z Size
		if err := z.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken as %d", text, z)
		}
	}
	if got := Default().For(testGateway(), testHost()).Limits().BytesPerRun; got != 10_000_000 {
		t.Errorf("the default limit is %d", got)
	}
}

func TestMistakesInAPolicyAreAllReported(t *testing.T) {
	in := `version: 2
endpoints:
  aproved: []
  approved:
    - {host: bücher.example}
    - {host: 192.0.2.1}
    - {host: "example.com:443"}
    - {host: a.example, cidr: 10.0.0.0/8}
    - {ports: [443]}
    - 10.0.0.1/8
    - "::ffff:10.0.0.0/104"
directories:
  internal: [relative, "${hom}/x", "${home}x", /a/../b, /a/**, /a**b/c, /, "/x/${home}"]
  public:
    - {access: read}
    - {paths: [/a], access: write}
skills: {approved: [{version: 1}, {name: a, sha256: abc}]}
limits: {bytes_per_run: much}
environment: {secret_names: ["a b"], approved: [{skills: [a]}]}
llm: {content: everything}
sensitive_data:
  patterns:
    - {name: a, regexp: '('}
    - {name: b, regexp: ''}
    - name: c
      regexp: 'x*'
    - {name: D, regexp: x}
    - {name: e}
    - {name: f, regexp: ` + strings.Repeat("x", 1025) + `}
`
	_, err := Load("p.yaml", []byte(in))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`p.yaml:3:3: unknown key "aproved"`, `p.yaml:5:14: host "bücher.example": write international`, "p.yaml:6:14: host \"192.0.2.1\" is an address",
		"p.yaml:7:14:", "p.yaml:8:8: an endpoint has a host or a cidr", "p.yaml:9:8: an endpoint has", "p.yaml:10:7: cidr", "p.yaml:11:7: cidr",
		"p.yaml:13:14: a path begins with /", "unknown variable ${hom}", "a variable stands for whole", "write it without . .. and double slashes: /b",
		"a path stands for all that is below", "** stands alone", "/ stands for everything", "a variable stands only at the beginning",
		"p.yaml:15:8: paths is missing", "access is read or read-write", "p.yaml:17:22: name is missing", "64 hexadecimal digits",
		"p.yaml:18:25: \"much\": a size such as", "whole words of a variable's name", "names is missing", "content is redacted",
		"p.yaml:23:25: error parsing regexp: missing closing )", "p.yaml:24:25: the expression is empty", "p.yaml:26:15: the expression can match the empty text",
		"p.yaml:27:8: a name is lower-case words", "p.yaml:28:8: regexp is missing", "p.yaml:29:25: the expression has 1025 bytes",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
	if _, err := Load("p.yaml", []byte("version: 2\n")); err == nil || !strings.Contains(err.Error(), "p.yaml:1:1: version 2, this program reads 1") {
		t.Errorf("got %v", err)
	}
}

func TestPatternsOfSensitiveDataAreFewAndWork(t *testing.T) {
	p, err := Load("p.yaml", []byte(`sensitive_data: {patterns: [{name: employee-number, regexp: '\bEMP-\d{6}\b', comment: of ours}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if found := p.SensitiveData.Patterns.Items[0].Pattern().Find("of EMP-123456."); len(found) != 1 || found[0].Type != "employee-number" || found[0].From != 3 {
		t.Errorf("found %v", found)
	}
	many := "sensitive_data:\n  patterns:\n" + strings.Repeat("    - {name: a, regexp: x}\n", 33)
	if _, err := Load("p.yaml", []byte(many)); err == nil || !strings.Contains(err.Error(), "p.yaml:2:3: 33 patterns, at most 32 are allowed") {
		t.Errorf("got %v", err)
	}
}

func TestADeepPathIsJudgedWithoutAllocating(t *testing.T) {
	v := Default().For(testGateway(), testHost())
	deep := strings.Repeat("/a", 2000) + "/.env"
	if got := testing.AllocsPerRun(10, func() { v.Directory(deep, false, nil) }); got > 0 {
		t.Errorf("%v allocations", got)
	}
	if got := v.Directory(deep, false, nil); got != Restricted {
		t.Errorf("got %s", got)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(string(DefaultYAML()))
	f.Add("directories: {public: ['/a/**/b?', '${skill}/.']}")
	f.Add("endpoints: {approved: {extend: ['*.a.example', 10.0.0.0/8]}}")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Load("f", []byte(s))
		if err != nil {
			return
		}
		v := p.For(testGateway(), testHost())
		for _, path := range []string{"/", "/a/b/c", s, "/" + s} {
			v.Directory(path, true, &event.SkillID{Name: "a", Dir: "/" + s})
		}
		v.Endpoint(netip.MustParseAddrPort("192.0.2.1:1"), s, s)
		v.SecretName(s)
	})
}

func FuzzWildcard(f *testing.F) {
	f.Add("a*b?c", "aXXbYc")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if wildcard(pattern, s) != slowWildcard(pattern, s, 0) && len(pattern)+len(s) < 20 {
			t.Errorf("%q %q", pattern, s)
		}
	})
}

// slowWildcard says the same by trying everything.
func slowWildcard(p, s string, depth int) bool {
	if depth > 40 || p == "" {
		return s == "" && p == ""
	}
	if p[0] == '*' {
		return slowWildcard(p[1:], s, depth+1) || s != "" && slowWildcard(p, s[1:], depth+1)
	}
	return s != "" && (p[0] == '?' || p[0] == s[0]) && slowWildcard(p[1:], s[1:], depth+1)
}

func BenchmarkDirectory(b *testing.B) {
	v := Default().For(testGateway(), testHost())
	skill := &event.SkillID{Name: "weather", Dir: testState + "/workspace/skills/weather"}
	for _, path := range []string{
		"/usr/lib/x86_64-linux-gnu/libc.so.6",
		testState + "/workspace/skills/weather/scripts/weather.py",
		"/home/dev/.ssh/id_ed25519",
	} {
		b.Run(fmt.Sprint(strings.Count(path, "/")), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v.Directory(path, false, skill)
			}
		})
	}
}

func BenchmarkEndpoint(b *testing.B) {
	v := Default().For(testGateway(), testHost())
	addr := netip.MustParseAddrPort("203.0.113.9:443")
	b.ReportAllocs()
	for b.Loop() {
		v.Endpoint(addr, "files.slack.com", "weather")
	}
}
