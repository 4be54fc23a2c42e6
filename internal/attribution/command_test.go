package attribution

import "testing"

func TestModelCommandIsTakenOutOfOpenClawsWrapper(t *testing.T) {
	const wrapper = "if [ -r '/s/cache/x.sh' ]; then . '/s/cache/x.sh'; fi\nexport PATH='/bin'\n"
	for _, c := range []struct {
		name, cmd, want string
		exec            bool
	}{
		{"prepended path", wrapper + `eval 'export PATH="${OPENCLAW_PREPEND_PATH}${PATH:+:$PATH}"; unset OPENCLAW_PREPEND_PATH; echo hi'`, "echo hi", true},
		{"quotes", wrapper + `eval 'unset OPENCLAW_PREPEND_PATH; echo '\''a b'\'''`, "echo 'a b'", true},
		{"older release", `eval 'echo hi'`, "echo hi", true},
		{"several lines", wrapper + "eval 'unset OPENCLAW_PREPEND_PATH; echo a\necho b'", "echo a\necho b", true},
		{"the model imitates the wrapper", wrapper + "eval 'unset OPENCLAW_PREPEND_PATH; x\neval '\\''unset OPENCLAW_PREPEND_PATH; date'\\'''", "x\neval 'unset OPENCLAW_PREPEND_PATH; date'", true},
		{"no snapshot of the shell", `export PATH="${OPENCLAW_PREPEND_PATH}${PATH:+:$PATH}"; unset OPENCLAW_PREPEND_PATH; eval 'echo hi'`, "eval 'echo hi'", true},
		{"none", "echo hi", "echo hi", false},
		{"unbalanced", "eval 'a'b'", "eval 'a'b'", false},
	} {
		if got, exec := modelCommand(c.cmd); got != c.want || exec != c.exec {
			t.Errorf("%s: got %q %v, want %q %v", c.name, got, exec, c.want, c.exec)
		}
	}
}

func TestScriptIsTheFileThatAnInterpreterRuns(t *testing.T) {
	for _, c := range []struct {
		exe  string
		args []string
		want string
	}{
		{"/usr/bin/python3.11", []string{"python3", "scripts/w.py", "x"}, "/skill/scripts/w.py"},
		{"/usr/bin/python3.11", []string{"python3", "-u", "-W", "ignore", "/a/w.py"}, "/a/w.py"},
		{"/usr/bin/python3.11", []string{"python3", "-c", "print()", "/a/w.py"}, ""},
		{"/usr/bin/python3.11", []string{"python3", "-m", "http.server"}, ""},
		{"/usr/bin/bash", []string{"/bin/bash", "/a/save.sh", "x"}, "/a/save.sh"},
		{"/usr/bin/bash", []string{"bash", "-lc", "/a/save.sh"}, ""},
		{"/usr/bin/bash", []string{"bash", "-e", "/a/save.sh"}, "/a/save.sh"},
		{"/usr/bin/node", []string{"node", "--require", "/x.js", "/a/m.mjs"}, "/a/m.mjs"},
		{"/usr/bin/node", []string{"node", "-e", "1", "/a/m.mjs"}, ""},
		{"/usr/bin/curl", []string{"curl", "/a/m.mjs"}, ""},
		{"/usr/bin/python3.11", []string{"python3", "../x/./w.py"}, "/x/w.py"},
		{"/usr/bin/python3.11", []string{"python3"}, ""},
	} {
		if got := script(c.exe, c.args, "/skill"); got != c.want {
			t.Errorf("%q: got %q, want %q", c.args, got, c.want)
		}
	}
}

func FuzzCommands(f *testing.F) {
	f.Add("eval 'unset OPENCLAW_PREPEND_PATH; ls'", "-c", "/x")
	f.Add("~/a 'b' $HOME/c ../../d", "-lc", "")
	f.Fuzz(func(t *testing.T, a, b, cwd string) {
		cmd, _, _ := shellCommand([]string{"bash", b, a})
		text, _ := modelCommand(cmd)
		for _, p := range mentionedPaths(text, "/home/x", cwd) {
			if p == "" {
				t.Error("empty path")
			}
		}
		script("/bin/bash", []string{"bash", b, a}, cwd)
	})
}
