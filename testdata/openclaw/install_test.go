package openclaw_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The releases of OpenClaw that the scenarios are played on.
const (
	newest = "2026.9.6"
	older  = "2026.6.11" // the last line that kept its records as JSON lines
)

// An install is the real OpenClaw and the node that runs it, from npm.
type install struct {
	release string
	node    string // directory of the node binary
	main    string // openclaw.mjs
}

// cacheDir is where OpenClaw is installed once, and where the runs live. It is
// not below /tmp, which a policy may well call public.
func cacheDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CLAWWATCH_OPENCLAW_DIR")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		dir = filepath.Join(base, "clawwatch-openclaw")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// installOpenClaw installs what is missing of a release and nothing else.
func installOpenClaw(ctx context.Context, t *testing.T, dir, version string) install {
	t.Helper()
	app := filepath.Join(dir, "app-"+version)
	in := install{
		release: version,
		node:    filepath.Join(dir, "node_modules", "node", "bin"),
		main:    filepath.Join(app, "node_modules", "openclaw", "openclaw.mjs"),
	}
	npm := func(where, what string) {
		t.Logf("installing %s into %s", what, where)
		if err := os.MkdirAll(where, 0o755); err != nil {
			t.Fatal(err)
		}
		manifest := filepath.Join(where, "package.json") // without one npm installs into a parent's
		if _, err := os.Stat(manifest); err != nil {
			if err := os.WriteFile(manifest, []byte(`{"private":true}`), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(ctx, "npm", "install", what, "--no-audit", "--no-fund")
		cmd.Dir = where
		cmd.Env = append(os.Environ(), "PATH="+in.node+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("npm install %s: %v\n%s", what, err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(in.node, "node")); err != nil {
		npm(dir, "node@26")
	}
	if _, err := os.Stat(in.main); err != nil {
		npm(app, "openclaw@"+version)
	}
	return in
}

// build compiles a command of this module without cgo.
func build(ctx context.Context, t *testing.T, pkg, out, ldflags string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, "-ldflags", ldflags, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, text)
	}
}

// needs skips where the host cannot run the test, and fails there in CI.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	var missing string
	if os.Geteuid() != 0 {
		missing = "root, for the kernel's view"
	}
	for _, p := range append(programs, "npm") {
		if _, err := exec.LookPath(p); err != nil {
			missing = fmt.Sprintf("%s: %v", p, err)
		}
	}
	if missing == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s", missing)
	}
	t.Skipf("needs %s", missing)
}
