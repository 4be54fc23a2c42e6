package packages

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// root makes a Debian root file system that can be written to and is thrown
// away: a layer over the one in the cache.
func root(t *testing.T) string {
	t.Helper()
	lower := os.Getenv("CLAWWATCH_ROOTFS")
	switch {
	case os.Geteuid() == 0 && lower != "":
	case os.Getenv("CI") == "true":
		t.Fatal("needs root and CLAWWATCH_ROOTFS; make test-packages has both")
	default:
		t.Skip("needs root and CLAWWATCH_ROOTFS; make test-packages has both")
	}
	work := t.TempDir()
	run(t, "mount", "-t", "tmpfs", "tmpfs", work)
	t.Cleanup(func() { run(t, "umount", work) })
	dirs := map[string]string{}
	for _, d := range []string{"upper", "work", "root"} {
		dirs[d] = filepath.Join(work, d)
		if err := os.Mkdir(dirs[d], 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "mount", "-t", "overlay", "overlay", "-o", "lowerdir="+lower+",upperdir="+dirs["upper"]+",workdir="+dirs["work"], dirs["root"])
	t.Cleanup(func() { run(t, "umount", dirs["root"]) })
	return dirs["root"]
}

// run runs a command on this host and gives its output.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// A machine is a container that systemd booted. It shares the kernel with this
// host, and nothing else.
type machine struct {
	*testing.T
	init int // its process 1, here
	end  chan error
}

// boot starts systemd on a root file system, and powers it off at the end of
// the test. What nspawn wants of this host, which may run no systemd itself: a
// /run that is a tmpfs, and not to be asked for a bus.
func boot(t *testing.T, root string) *machine {
	t.Helper()
	const script = `mount -t tmpfs tmpfs /run && mkdir -p /run/systemd && exec systemd-nspawn --quiet -b -D "$0" --machine=clawwatch-test \
		--register=no --keep-unit --console=pipe --private-network --capability=all \
		--system-call-filter="bpf perf_event_open fsopen fsconfig fsmount pidfd_open openat2 fanotify_init fanotify_mark open_by_handle_at"`
	var console bytes.Buffer
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script, root)
	cmd.Stdout, cmd.Stderr = &console, &console
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m := &machine{T: t, end: make(chan error, 1)}
	go func() { m.end <- cmd.Wait() }()
	t.Cleanup(func() { m.powerOff(cmd) })
	m.wait("process 1", func() bool {
		m.init = childNamed(cmd.Process.Pid, "systemd")
		return m.init > 0
	})
	m.wait("systemd to be up", func() bool {
		out, _ := m.try("systemctl is-system-running")
		return strings.Contains(out, "running") || strings.Contains(out, "degraded")
	})
	return m
}

// powerOff stops the machine as a person would. To kill nspawn would leave its
// processes alive, so that is done to process 1, and only if it hangs.
func (m *machine) powerOff(cmd *exec.Cmd) {
	if m.init == 0 {
		_ = cmd.Process.Kill()
		<-m.end
		return
	}
	_, _ = m.try("systemctl poweroff")
	select {
	case <-m.end:
	case <-time.After(time.Minute):
		m.Errorf("the machine did not power off within a minute")
		if p, err := os.FindProcess(m.init); err == nil {
			_ = p.Kill()
		}
		<-m.end
	}
}

// childNamed finds the child of a process that has that name; 0: there is none.
func childNamed(parent int, name string) int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
		fields := strings.Fields(string(b[end+1:]))
		if string(b[open+1:end]) == name && len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			return pid
		}
	}
	return 0
}

// try runs a shell command in the machine.
func (m *machine) try(command string) (string, error) {
	cmd := exec.Command("nsenter", "-t", strconv.Itoa(m.init), "-m", "-u", "-i", "-n", "-p", "-r", "-w",
		"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", command)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (m *machine) run(command string) string {
	m.Helper()
	out, err := m.try(command)
	if err != nil {
		journal, _ := m.try("journalctl -q --no-pager -u clawwatch | tail -n 40")
		m.Fatalf("%s: %v\n%s\n%s", command, err, out, journal)
	}
	return strings.TrimSpace(out)
}

// fails runs a command that has to fail.
func (m *machine) fails(command string) {
	m.Helper()
	if out, err := m.try(command); err == nil {
		m.Errorf("%s: succeeds\n%s", command, out)
	}
}

// until runs a command until its output matches.
func (m *machine) until(want, command string) string {
	m.Helper()
	re, out := regexp.MustCompile(want), ""
	m.wait(fmt.Sprintf("%q in %s", want, command), func() bool {
		out, _ = m.try(command)
		return re.MatchString(out)
	})
	return out
}

func (m *machine) wait(what string, there func() bool) {
	m.Helper()
	for end := time.Now().Add(time.Minute); !there(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			journal := ""
			if m.init > 0 {
				journal, _ = m.try("systemctl status clawwatch; journalctl -q --no-pager -u clawwatch -u openclaw | tail -n 40; clawwatch events --json | cut -c1-300 | tail -n 20")
			}
			m.Fatalf("waited a minute for %s\n%s", what, journal)
		}
	}
}
