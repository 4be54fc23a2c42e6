package rules_test

import (
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

// quote writes a condition as YAML.
func quote(condition string) string { return "'" + strings.ReplaceAll(condition, "'", "''") + "'" }

// holds tells whether a condition is true for a record with this file and host.
func holds(t *testing.T, condition, file, host, address string) bool {
	t.Helper()
	set, err := rules.Load(rule(quote(condition)))
	if err != nil {
		t.Fatalf("%s: %v", condition, err)
	}
	r := connect()
	r.File = &event.File{Path: file, Operation: "read"}
	r.Network.Host, r.Network.PeerAddress = host, address
	r.Process.Cwd = "/srv/work"
	found := set.Eval(rules.Input{Record: r})
	for _, s := range set.Stats() {
		if s.Errors > 0 {
			t.Errorf("%s: %s", condition, s.LastError)
		}
	}
	return len(found) == 1
}

func TestUnderGoesByWholeComponents(t *testing.T) {
	for call, paths := range map[string][2]string{
		`under(file.path, "/etc/ssl")`:                {"/etc/ssl /etc/ssl/a /etc//ssl/x /etc/x/../ssl /etc/ssl/../ssl/./y", "/etc/ssl-old /etc /etc/ssl/../shadow etc/ssl ./etc/ssl "},
		`under(file.path, "/etc/")`:                   {"/etc /etc/x", "/etcx /"},
		`under(file.path, "/")`:                       {"/ /x", "x "},
		`under(file.path, "/a", "/b")`:                {"/a/x /b", "/c /ab"},
		`under(file.path, ["/a", "/b"])`:              {"/b/x", "/c"},
		`under(file.path, process.cwd)`:               {"/srv/work/x /srv/work", "/srv/works /srv"},
		`under(file.path, process.cwd, "/opt")`:       {"/srv/work/x /opt/x", "/srv"},
		`under(file.path, network.host)`:              {"", "/srv "},
		`any([file.path], under(#, "/etc"))`:          {"/etc/x", "/x"},
		`not under(file.path, "/srv") and acting`:     {"/etc", "/srv/x"},
		`glob(file.path, "/home/*/.ssh/**")`:          {"/home/a/.ssh/x /home/a/.ssh /home/a/x/../.ssh/y/z", "/home/a/b/.ssh/x /home/.ssh/x home/a/.ssh/x "},
		`glob(file.path, "/**/*.p?m")`:                {"/a.pem /a/b/c.pem /c.p.pem", "/a.pem/x /a.pm /a.peem"},
		`glob(file.path, "/**/a/**/b")`:               {"/a/b /x/a/b /x/a/a/y/b /a/b/b", "/b /a/x /x/b/a"},
		`glob(file.path, "/tmp/*")`:                   {"/tmp/x /tmp/a/../x", "/tmp /tmp/a/b"},
		`glob(file.path, "/a", "/b/**")`:              {"/a /b/x", "/a/x /c"},
		`glob(file.path, "/")`:                        {"/", "/a"},
		`glob(file.path, "/**")`:                      {"/ /a /a/b", "a "},
		`under(lower(file.path), "/users/x/library")`: {"/Users/X/Library/y", "/x"},
	} {
		for i, want := range []bool{true, false} {
			for _, p := range strings.Split(paths[i], " ") {
				if i == 0 && p == "" {
					continue
				}
				if got := holds(t, call, p, "", "192.0.2.1"); got != want {
					t.Errorf("%s of %q is %v", call, p, got)
				}
			}
		}
	}
}

func TestDomainsMatchAtTheBordersOfLabels(t *testing.T) {
	for call, hosts := range map[string][2]string{
		`domain(network.host, "example.com")`:                 {"example.com EXAMPLE.com. a.b.Example.Com a.example。com ｅxample．com", "notexample.com example.com.evil.org example.co .example.com example.com:443 "},
		`domain(network.host, "Example.com.")`:                {"x.example.com", "x.example.org"},
		`domain(network.host, "exämple.com")`:                 {"exämple.com EXÄMPLE.COM xn--exmple-cua.com a.XN--EXMPLE-CUA.com.", "example.com xexämple.com"},
		`domain(network.host, "xn--exmple-cua.com", "b.org")`: {"www.exämple.com b.org", "c.org"},
		`domain(network.host, "local")`:                       {"printer.local local", "locals"},
		`domain(network.host, "com")`:                         {"_ü\xff.example.com", "1.2.3.4 ::1 [::1] 127.1"},
	} {
		for i, want := range []bool{true, false} {
			for _, h := range strings.Split(hosts[i], " ") {
				if got := holds(t, call, "/x", h, "192.0.2.1"); got != want {
					t.Errorf("%s of %q is %v", call, h, got)
				}
			}
		}
	}
}

func TestNetworksAreTheSameInBothFormsOfIPv4(t *testing.T) {
	for call, addresses := range map[string][2]string{
		`cidr(network.peer_address, "10.0.0.0/8")`:             {"10.1.2.3 ::ffff:10.1.2.3", "11.0.0.1 ::10.0.0.1 x "},
		`cidr(network.peer_address, "::ffff:10.0.0.0/104")`:    {"10.1.2.3 ::ffff:10.1.2.3", "11.0.0.1"},
		`cidr(network.peer_address, ["fe80::/10", "::1/128"])`: {"fe80::1%eth0 ::1", "192.0.2.1"},
	} {
		for i, want := range []bool{true, false} {
			for _, a := range strings.Split(addresses[i], " ") {
				if got := holds(t, call, "/x", "", a); got != want {
					t.Errorf("%s of %q is %v", call, a, got)
				}
			}
		}
	}
}

func TestPatternsAreLookedAtWhenTheyAreLoaded(t *testing.T) {
	for condition, want := range map[string]string{
		`acting and under(file.path, "etc")`:              `r.yaml:6:45: "etc" is no directory`,
		`acting and under(file.path, "/a/../b")`:          `"/a/../b" is no directory`,
		`under(file.path)`:                                "under wants a value and directories",
		`under()`:                                         "under wants a value and directories",
		`under(process.pid, "/etc")`:                      "cannot use int as argument (type string) to call under",
		`under(file.path, process.pid)`:                   "cannot use int as argument",
		`under(process.args, "/etc")`:                     "cannot use []string as argument",
		`glob(file.path, "/a/**b")`:                       `r.yaml:6:33: pattern "/a/**b": ** stands alone`,
		`glob(file.path, "*.pem")`:                        "it begins with /",
		`glob(file.path, "/a/[bc]")`:                      "mean nothing here",
		`glob(file.path, "/a/./b")`:                       "write it without . .. and double slashes: /a/b",
		`glob(file.path, process.cwd)`:                    "glob wants patterns that are written out",
		`domain(network.host, "*.example.com")`:           "leave the * out",
		`domain(network.host, "192.0.2.1")`:               "is an address: use cidr",
		`domain(network.host, "")`:                        "a name such as example.com is wanted",
		`domain(network.host, "a..b")`:                    "a name such as example.com is wanted",
		`domain(network.host, "https://a.org")`:           "is an address",
		`domain(network.host, network.host_also)`:         "domain wants domains that are written out",
		`cidr(network.peer_address, ["10.0.0.0/8", "x"])`: `"x" is no network`,
		`cidr(network.peer_address, "::ffff:1.2.3.4/8")`:  "at least 96 bits",
		`cidr(network.peer_address, [1, 2])`:              "cidr wants networks that are written out",
	} {
		_, err := rules.Load(rule(quote(condition)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", condition, err, want)
		}
	}
}

func TestAPatternTakesBoundedTime(t *testing.T) {
	pattern := strings.Repeat("/**/a*a*a*a", 40) + "/b"
	long := strings.Repeat("/"+strings.Repeat("a", 20), 190)
	start := time.Now()
	if holds(t, `glob(file.path, "`+pattern+`")`, long, "", "192.0.2.1") {
		t.Error("it matches")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// The pattern as a regular expression is what glob is held against.
func FuzzGlob(f *testing.F) {
	f.Add("/**/a/**/b?", "/x/a/y/b1")
	f.Add("/a*c/**", "/abc/d/../e")
	f.Fuzz(func(t *testing.T, pattern, p string) {
		if strings.ContainsAny(pattern, "\"\\\n\x00") || strings.Contains(p, "\n") || !asciiOnly(pattern+p) || path.Clean(p) == "/" {
			return
		}
		set, err := rules.Load(rule(quote(`glob(file.path, "` + pattern + `")`)))
		if err != nil || len(set.Rules()) != 1 {
			return
		}
		r := connect()
		r.File = &event.File{Path: p}
		got := len(set.Eval(rules.Input{Record: r})) == 1
		if want := path.IsAbs(p) && expression(pattern).MatchString(path.Clean(p)); got != want {
			t.Errorf("glob(%q, %q) is %v", p, pattern, got)
		}
	})
}

func expression(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString("^")
	for _, part := range strings.Split(pattern[1:], "/") {
		if part == "**" {
			b.WriteString("(/[^/]+)*")
			continue
		}
		b.WriteString("/" + strings.NewReplacer(`\*`, "[^/]*", `\?`, "[^/]").Replace(regexp.QuoteMeta(part)))
	}
	return regexp.MustCompile(b.String() + "$")
}

func asciiOnly(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}
