package policy

import (
	"strings"
	"testing"
)

func TestCanariesAreFilesVariablesAndValues(t *testing.T) {
	p, err := Load("p.yaml", []byte(`
canaries:
  files: ["${home}/.aws/old", /srv/canary]
  variables: [LEFTOVER]
  values: [{name: backup, value: "bk(live)+4d1f0c9a77e2"}]
`))
	if err != nil {
		t.Fatal(err)
	}
	v := p.For(testGateway(), testHost())
	for file, want := range map[string]bool{
		"/home/dev/.aws/old": true, "/home/dev/.aws/old/x": true, "/home/dev/.aws/older": false, "/home/dev/.aws": false,
		"/srv/canary": true, "/srv/x/../canary/y": true, "srv/canary": false, "": false,
	} {
		if got := v.CanaryFile(file); got != want {
			t.Errorf("CanaryFile(%q) = %v", file, got)
		}
	}
	if !v.CanaryVariable("LEFTOVER") || !v.SecretName("LEFTOVER") || v.CanaryVariable("leftover") || v.CanaryVariable("HOME") {
		t.Error("variables")
	}
	own := p.Described()
	if len(own) != 1 || own[0].Name != "canary-backup" {
		t.Fatalf("%+v", own)
	}
	for text, want := range map[string]int{"x=bk(live)+4d1f0c9a77e2;": 1, "bkliveeee4d1f0c9a77e2": 0, "BK(LIVE)+4D1F0C9A77E2": 0} {
		if got := own[0].Find(text); len(got) != want {
			t.Errorf("in %q: %v", text, got)
		}
	}
}

func TestACanaryThatAnybodyCouldWriteIsRefused(t *testing.T) {
	_, err := Load("p.yaml", []byte(`canaries: {values: [{name: a, value: password}, {name: b}, {name: B c, value: bk_live_4d1f0c9a77e2}], files: [x]}`))
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{"12 to 1024 characters", "value is missing", "lower-case words", "a path begins with"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in\n%v", want, err)
		}
	}
}
