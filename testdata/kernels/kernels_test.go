// Package kernels runs the tests of the kernel sensor on other kernels than the
// host's: each boots in a virtual machine without acceleration, with the test
// binary in an initramfs and nothing else.
package kernels

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"
)

// longest is how long one kernel may take; on 2 cores it is a third of that.
const longest = 15 * time.Minute

var only = flag.String("only", ".", "run these `tests` of the sensor only, as -run")

const sensor = "../../collectors/ebpf"

// programs of the host are what the tests run.
var programs = []string{"/bin/sh", "/bin/sleep", "/bin/true", "/usr/bin/cut", "/usr/bin/env", "/usr/bin/setsid"}

// without are the tests that skip on a machine with nothing but that: they want
// perl, a bash with symbols, and vsock, which is a module; and the one with a
// million opens, which would take an hour.
var without = regexp.MustCompile("TestVariables|The_machine_around_this_one|TestAFloodHidesNothing")

func TestTheSensorWorksOn(t *testing.T) {
	for _, k := range []kernel{
		{"Linux 6.1", "amd64", "bookworm"},
		{"Linux 6.12", "amd64", "trixie"},
	} {
		t.Run(k.name, func(t *testing.T) {
			out := k.run(t, *only)
			skips := slices.DeleteFunc(skipped.FindAll(out, -1), without.Match)
			if len(skips) > 0 {
				t.Errorf("skipped:\n%s", bytes.Join(skips, []byte("\n")))
			}
		})
	}
}

// Before 5.12 a mark cannot be put on a task.
func TestTheSensorSaysWhyItCannotWorkOn(t *testing.T) {
	k := kernel{"Linux 5.10", "amd64", "bullseye"}
	t.Run(k.name, func(t *testing.T) {
		out := k.run(t, "TestWhatCannotBeOpenedSaysWhy")
		for _, probe := range []string{"ebpf-trampoline", "ebpf-tracepoint"} {
			if !bytes.Contains(out, []byte(probe+": not supported on this host: linux 5.10.")) {
				t.Errorf("%s does not say that the kernel is old", probe)
			}
		}
	})
}

// A kernel is a Debian release's for clouds.
type kernel struct{ name, arch, release string }

// run runs tests of the sensor, which must succeed, and returns their output.
func (k kernel) run(t *testing.T, tests string) []byte {
	t.Helper()
	cache := os.Getenv("CLAWWATCH_KERNELS")
	vmlinuz := filepath.Join(cache, k.arch, k.release, "vmlinuz")
	m := machines[k.arch]
	if _, err := exec.LookPath(m.qemu); err != nil || !exists(vmlinuz) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no %s, or no %s; run: make test-kernels", m.qemu, vmlinuz)
		}
		t.Skipf("no %s, or no %s; run: make test-kernels", m.qemu, vmlinuz)
	}
	t.Parallel()
	initramfs := filepath.Join(t.TempDir(), "initramfs")
	pack(t, k.arch, initramfs, "/test/ebpf.test", "-test.v", "-test.timeout", longest.String(), "-test.short", "-test.run", tests)
	out := m.boot(t, vmlinuz, initramfs, longest)
	t.Logf("%s", out)
	if status := exitStatus.FindSubmatch(out); status == nil || string(status[1]) != "0" {
		t.Errorf("the test binary failed, or never ended")
	}
	return out
}

var (
	exitStatus = regexp.MustCompile(`(?m)^the command ended with status (\d+)$`)
	skipped    = regexp.MustCompile(`(?m)^ *--- SKIP: .*$`)
)

// pack writes an initramfs that runs a command.
func pack(t *testing.T, arch, to string, command ...string) {
	t.Helper()
	dir := t.TempDir()
	build(t, arch, "build", "-o", dir+"/init", "./init")
	build(t, arch, "test", "-c", "-o", dir+"/ebpf.test", sensor)
	i := image{files: map[string][]byte{
		"etc/passwd":   []byte("root:x:0:0::/:/bin/sh\n"),
		"etc/hostname": []byte("kernels\n"),
		"command":      bytes.Join(words(command), []byte("\n")),
	}}
	for to, from := range map[string]string{
		"init": dir + "/init", "test/ebpf.test": dir + "/ebpf.test",
		"test/sensor_x86_bpfel.o":   sensor + "/sensor_x86_bpfel.o",
		"test/sensor_arm64_bpfel.o": sensor + "/sensor_arm64_bpfel.o",
	} {
		if err := i.add(to, from); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range programs {
		if err := i.addProgram(path); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := i.write(f); err != nil {
		t.Fatal(err)
	}
}

func words(s []string) [][]byte {
	var out [][]byte
	for _, w := range s {
		out = append(out, []byte(w))
	}
	return out
}

func build(t *testing.T, arch string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
}
