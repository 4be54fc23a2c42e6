// Package openclawplugin_test runs the tests of the plugin, which are its own
// language's.
package openclawplugin_test

import (
	"os"
	"os/exec"
	"testing"
)

func TestThePlugin(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("needs node: %v", err)
	}
	if out, err := exec.CommandContext(t.Context(), node, "--test", "plugin.test.js").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
