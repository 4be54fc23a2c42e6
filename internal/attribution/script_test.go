package attribution

import (
	"path"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

func TestScriptOf(t *testing.T) {
	const cwd = "/w"
	tests := []struct {
		exe  string
		args string
		want event.Script
	}{
		{"/usr/bin/python3.11", "python3 a.py -c x", event.Script{Path: "/w/a.py", Source: event.ScriptFile}},
		{"/usr/bin/python3.11", "python3 -u -c print(1)", event.Script{Source: event.ScriptArgument}},
		{"/usr/bin/python3.11", "python3 -m http.server", event.Script{Path: "http.server", Source: event.ScriptModule}},
		{"/usr/bin/python3.11", "python3 -", event.Script{Source: event.ScriptStdin}},
		{"/usr/bin/python3.11", "python3", event.Script{Source: event.ScriptStdin}},
		{"/usr/bin/python3.11", "python3 --version", event.Script{}},
		{"/usr/bin/node", "node --require x /s/b.js", event.Script{Path: "/s/b.js", Source: event.ScriptFile}},
		{"/usr/bin/node", "node -e 1", event.Script{Source: event.ScriptArgument}},
		{"/usr/bin/node", "node --eval=1", event.Script{Source: event.ScriptArgument}},
		{"/usr/bin/perl", "perl -ne print", event.Script{Source: event.ScriptArgument}},
		{"/usr/bin/php8.2", "php -r 1;", event.Script{Source: event.ScriptArgument}},
		{"/usr/bin/python3.11", "python3 -E a.py", event.Script{Path: "/w/a.py", Source: event.ScriptFile}},
		{"/usr/bin/python3.11", "python3 a.py -m b", event.Script{Path: "/w/a.py", Source: event.ScriptFile}},
		{"/usr/bin/node", "node -r x b.js -e 1", event.Script{Path: "/w/b.js", Source: event.ScriptFile}},
		{"/usr/bin/dash", "sh -c true", event.Script{Source: event.ScriptArgument}},
		{"/usr/bin/bash", "bash -lc true", event.Script{Source: event.ScriptArgument}},
		{"/usr/bin/bash", "bash -x s.sh", event.Script{Path: "/w/s.sh", Source: event.ScriptFile}},
		{"/usr/bin/bash", "bash -s", event.Script{Source: event.ScriptStdin}},
		{"/usr/bin/bash", "bash", event.Script{Source: event.ScriptStdin}},
		{"/usr/bin/curl", "curl -c x", event.Script{}},
		{"/usr/lib/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2 --preload x.so --argv0 ls ./evil a", event.Script{Path: "/w/evil", Source: event.ScriptLoader}},
		{"/usr/lib/ld-musl-x86_64.so.1", "ld /bin/evil", event.Script{Path: "/bin/evil", Source: event.ScriptLoader}},
		{"/usr/lib/ld-linux-x86-64.so.2", "ld.so --list-tunables", event.Script{}},
	}
	for _, test := range tests {
		got := ScriptOf(event.Exec{Path: test.exe, Args: strings.Fields(test.args), Cwd: cwd})
		if got != test.want {
			t.Errorf("%s: %+v, want %+v", test.args, got, test.want)
		}
	}
	// What the kernel says counts, whatever the interpreter is called.
	got := ScriptOf(event.Exec{Path: "/opt/own", Args: []string{"lies"}, Cwd: cwd, Name: "./s", Script: true})
	if want := (event.Script{Path: "/w/s", Source: event.ScriptFile}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func FuzzScriptOf(f *testing.F) {
	f.Add("/usr/bin/python3", "python3\x00-c\x00x", "/w")
	f.Add("/lib64/ld-linux-x86-64.so.2", "ld\x00--preload\x00--\x00x", "/")
	f.Fuzz(func(t *testing.T, exe, args, cwd string) {
		s := ScriptOf(event.Exec{Path: exe, Args: strings.Split(args, "\x00"), Cwd: cwd})
		if s.Path != "" && s.Source != event.ScriptModule && cwd != "" && cwd[0] == '/' && !path.IsAbs(s.Path) {
			t.Errorf("%q is not absolute", s.Path)
		}
	})
}
