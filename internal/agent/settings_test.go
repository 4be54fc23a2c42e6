package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// setting gives "value (origin)" of each key.
func settings(t *testing.T, file string) map[string]string {
	t.Helper()
	cfg, err := LoadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	dir, got := filepath.Dir(file)+"/", map[string]string{}
	for _, s := range cfg.Settings(Origins(file)) {
		got[s.Key] = s.Value + " (" + strings.TrimPrefix(s.Origin, dir) + ")"
	}
	return got
}

func TestSettingsAreThoseOfTheLastFileThatGivesThem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clawwatch.yaml")
	write(t, file, "ring_size: 1MiB\nstore: {max_size: 2GiB, max_age: 36h}\notlp:\n  - endpoint: http://a:4318\n    ca_file: /a\n  - endpoint: http://b:4318\n")
	write(t, filepath.Join(filepath.Dir(file), "conf.d", "1.yaml"), "store:\n  max_age: 7d\notlp:\n  - endpoint: grpcs://c:4317\n    headers: [{name: n, value: secret}]\n    queue_size: 1500\n")
	got := settings(t, file)
	for key, want := range map[string]string{
		"ring_size": "1MiB (clawwatch.yaml:1)", "store.max_size": "2GiB (clawwatch.yaml:2)", "store.max_age": "7d (conf.d/1.yaml:2)",
		"otlp[0].endpoint": "grpcs://c:4317 (conf.d/1.yaml:4)", "otlp[0].ca_file": " (default)", "otlp[0].queue_size": "1500 (conf.d/1.yaml:6)",
		"otlp[0].headers[0].value": "******** (conf.d/1.yaml:5)", "otlp[0].headers[0].value_file": " (default)", "group": "clawwatch (default)",
	} {
		if got[key] != want {
			t.Errorf("%s: %s, want %s", key, got[key], want)
		}
	}
	if _, ok := got["otlp[1].endpoint"]; ok {
		t.Error("the list of the first file is there still")
	}
}

func TestWhatSettingsShowIsReadBackAsTheSame(t *testing.T) {
	want := DefaultConfiguration()
	want.RingSize, want.Store.MaxSize, want.Store.MaxAge = 4096, 1_234_567_891, Duration(90*time.Minute)
	var text strings.Builder
	for _, s := range want.Settings(nil) {
		switch section, key, nested := strings.Cut(s.Key, "."); {
		case s.Key == "otlp" || s.Value == "":
		case !nested:
			text.WriteString(s.Key + ": " + s.Value + "\n")
		default:
			text.WriteString(section + ": {" + key + ": " + s.Value + "}\n")
		}
	}
	joined := strings.Replace(text.String(), "}\nstore: {", ", ", 1)
	file := filepath.Join(t.TempDir(), "c.yaml")
	write(t, file, joined)
	got, err := LoadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.RingSize != want.RingSize || got.Store != want.Store || got.StateDir != want.StateDir || got.Socket != want.Socket {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAFileThatIsNamedAndMissingIsAMistake(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	write(t, file, "otlp:\n  - endpoint: https://a:4318\n    ca_file: /nowhere/ca.pem\n")
	cfg, err := LoadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Files(Origins(file)); err == nil || !strings.Contains(err.Error(), "c.yaml:3: otlp[0].ca_file: ") {
		t.Errorf("got %v", err)
	}
	if _, err := LoadPolicy("/nowhere/policy.yaml"); err == nil {
		t.Error("a policy that is missing is no mistake")
	}
	if _, err := LoadRules("/nowhere/rules.d"); err == nil {
		t.Error("a directory of rules that is missing is no mistake")
	}
}

func TestTheFirstMistakeIsSaidWithoutTheLineOfTheFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, name, "aproved: hunter2\nlimts: 3\n")
	_, err := LoadPolicy(name)
	if err == nil {
		t.Fatal("no mistake")
	}
	got := firstMistake(errors.Join(err, errors.New("another")))
	if !strings.Contains(got, `policy.yaml:1:1: unknown key "aproved"`) || !strings.HasSuffix(got, "(and 2 more)") || strings.Contains(got, "hunter2") {
		t.Errorf("got %s", got)
	}
}
