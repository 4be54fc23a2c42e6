package skills

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

func TestWhatASkillSaysItNeedsIsRead(t *testing.T) {
	const notes = "---\nname: notes\nhomepage: https://notes.example.org/about\n" +
		`metadata: {"openclaw": {"requires": {"bins": ["memo", "/usr/bin/env"], "anyBins": ["rg", "grep"], "env": ["NOTES_TOKEN"], "config": ["x"]}, ` +
		`"primaryEnv": "NOTES_KEY", "install": [{"id": "brew", "kind": "brew", "bins": ["memo2"],},],},}` + "\n---\n" +
		"Set $NOTES_AUTH or ${NOTES_PASSWORD}, not $HOME or $CITY. Run `gh pr list --json x` but no `word`.\n\n" +
		"```bash\n# comment curl\n$ NOTES_X=1 sudo jq -r . <in | sort -u && if true; then tee out; fi\ncat > f <<'EOF'\nevil --not\nEOF\n" +
		"KEY=$(security find) {baseDir}/scripts/own.sh; ./own2.sh\nwget -q \\\n  https://API.Example.com:8443/v1?x=$(date +%s) 2>&1\necho \"a | b; c\" 'd | e'\n```\n" +
		"```python\nimport requests\nrequests.get('http://192.0.2.7/x')\n```\nSee [docs](https://docs.example.org./a). http://localhost:80 ftp://[2001:db8::1]/\n"
	got := parseDeclares([]byte(notes))
	want := event.Declared{
		Bins:  []string{"cat", "date", "env", "gh", "grep", "jq", "memo", "memo2", "rg", "security", "sort", "tee", "wget"},
		Envs:  []string{"NOTES_AUTH", "NOTES_KEY", "NOTES_PASSWORD", "NOTES_TOKEN"},
		Hosts: []string{"192.0.2.7", "api.example.com", "docs.example.org", "notes.example.org"},
	}
	for _, c := range []struct {
		what      string
		got, want []string
	}{{"bins", got.Bins, want.Bins}, {"envs", got.Envs, want.Envs}, {"hosts", got.Hosts, want.Hosts}} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: got %q, want %q", c.what, c.got, c.want)
		}
	}
}

func TestRequirementsAreReadInEveryForm(t *testing.T) {
	for name, front := range map[string]string{
		"flow":     `metadata: {openclaw: {requires: {bins: [gh]}}}`,
		"block":    "metadata:\n  openclaw:\n    requires:\n      bins:\n        - gh",
		"multi":    "metadata:\n  {\n    \"openclaw\":\n      {\n        \"requires\": { \"bins\": [\"gh\"] },\n      },\n  }",
		"string":   `metadata: '{"openclaw":{"requires":{"bins":["gh"]}}}'`,
		"clawdbot": `metadata: {"clawdbot":{"requires":{"bins":["gh"]}}}`,
		"one":      `metadata: {openclaw: {requires: {anyBins: gh}}}`,
	} {
		if got := parseDeclares([]byte("---\nname: x\n" + front + "\n---\n")); !slices.Equal(got.Bins, []string{"gh"}) {
			t.Errorf("%s: %q", name, got.Bins)
		}
	}
}

// An author who writes without end, or YAML that grows, costs little.
func TestDeclarationsAreBounded(t *testing.T) {
	var many, bomb strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&many, "Use `tool%d -x` with $VAR_%d_KEY at https://h%d.example/.\n", i, i, i)
	}
	bomb.WriteString("---\nmetadata:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 12 {
		fmt.Fprintf(&bomb, "  a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	bomb.WriteString("---\n")
	begin := time.Now()
	for _, text := range []string{many.String(), bomb.String(), strings.Repeat("`", 1<<20), strings.Repeat("` ", 1<<19), strings.Repeat("http://", 1<<17), "```\n" + strings.Repeat("$(", 1<<19)} {
		got := parseDeclares([]byte(text))
		if len(got.Bins) > maxDeclared || len(got.Envs) > maxDeclared || len(got.Hosts) > maxDeclared {
			t.Errorf("%.20q: %d, %d, %d names", text, len(got.Bins), len(got.Envs), len(got.Hosts))
		}
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestTheReportOfASkillSaysWhatItDeclares(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/weather/SKILL.md", weather+"`curl -s https://wttr.in/Graz`\n")
	_, next := running(t, root)
	s := skillOf(t, next(), event.Present)
	if d := s.Declares; !slices.Equal(d.Bins, []string{"curl"}) || !slices.Equal(d.Envs, []string{"WEATHER_API_KEY"}) || !slices.Equal(d.Hosts, []string{"wttr.in"}) {
		t.Errorf("%+v", d)
	}
}

func FuzzParseDeclares(f *testing.F) {
	f.Add([]byte(weather))
	f.Add([]byte("---\nmetadata: {openclaw: {requires: {bins: [a]}, install: [{bins: x}, 3]}}\n---\n```sh\na | b <<E\nE\n```\n`x y` https://a.b/"))
	f.Add([]byte("---\nmetadata: '{a: &a [*a]}'\n---\n$( ` ~~~\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := parseDeclares(b)
		for _, list := range [][]string{d.Bins, d.Envs, d.Hosts} {
			if len(list) > maxDeclared || !slices.IsSorted(list) {
				t.Errorf("%q", list)
			}
			for _, s := range list {
				if s == "" || len(s) > maxHost || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
					t.Errorf("%q", s)
				}
			}
		}
	})
}
