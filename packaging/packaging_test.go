package packaging_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/agent"
	"github.com/clawwatch/clawwatch/internal/policy"
)

// What is commented out in the packaged files is # and then the line, with no
// space between them or the line's own of two or more; prose has one.
var commented = regexp.MustCompile(`(?m)^#([^ #\n]|  )`)

func TestThePackagedConfigurationExplainsEveryKey(t *testing.T) {
	text := read(t, "clawwatch.yaml")
	for _, in := range []string{text, commented.ReplaceAllString(text, "$1")} {
		file := filepath.Join(t.TempDir(), "clawwatch.yaml")
		if err := os.WriteFile(file, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := agent.LoadConfig(file); err != nil {
			t.Error(err)
		}
	}
	mentions(t, text, reflect.TypeFor[agent.Config]())
}

func TestThePackagedPolicyExplainsEveryKey(t *testing.T) {
	text := read(t, "policy.yaml")
	for _, in := range []string{text, commented.ReplaceAllString(text, "$1")} {
		if _, err := policy.Load("policy.yaml", []byte(in)); err != nil {
			t.Error(err)
		}
	}
	mentions(t, text, reflect.TypeFor[policy.Policy]())
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// mentions looks for each key that a file of that type can have.
func mentions(t *testing.T, text string, typ reflect.Type) {
	t.Helper()
	switch typ.Kind() {
	case reflect.Slice, reflect.Pointer:
		mentions(t, text, typ.Elem())
	case reflect.Struct:
		for i := range typ.NumField() {
			f := typ.Field(i)
			key := f.Tag.Get("yaml")
			if key != "" && !strings.Contains(text, key+":") {
				t.Errorf("%s, of %s, is not mentioned", key, typ)
			}
			if key != "" || f.Name == "Items" {
				mentions(t, text, f.Type)
			}
		}
	}
}
