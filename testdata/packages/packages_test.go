// Package packages tests the .deb and the .rpm: that they are made the same
// twice, that they are clean, and what they do to a system. See `make
// test-packages`.
package packages

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// project is its directory, from here.
const project = "../.."

// build makes the packages of one architecture, or of all, in dir.
func build(t *testing.T, dir string, args ...string) {
	t.Helper()
	run(t, "make", append([]string{"-C", project, "packages", "DIST=" + dir}, args...)...)
}

func one(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %v %v, want one", pattern, files, err)
	}
	return files[0]
}

var shared struct{ dir string }

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "clawwatch-packages")
	if err != nil {
		panic(err)
	}
	shared.dir = dir
	status := m.Run()
	os.RemoveAll(dir) //nolint:errcheck // of a test
	os.Exit(status)
}

// host builds the packages for this host once, and gives their directory.
func host(t *testing.T) string {
	t.Helper()
	if files, _ := filepath.Glob(shared.dir + "/*.deb"); len(files) == 0 {
		build(t, shared.dir, "ARCHES="+runtime.GOARCH)
	}
	return shared.dir
}

// Made again, from the same sources at another place, at another time.
func TestPackagesAreTheSameBytesWhenMadeTwice(t *testing.T) {
	elsewhere := t.TempDir()
	run(t, "sh", "-c", "cd "+project+" && git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- --ignore-failed-read -cf - | tar -C "+elsewhere+" -xf -")
	var sums [2]map[string]string
	for i, tree := range []string{project, elsewhere} {
		dir := t.TempDir()
		run(t, "make", "-C", tree, "packages", "DIST="+dir, "VERSION=v0.0.0", "PACKAGE_VERSION=0.0.0", "SOURCE_DATE_EPOCH=1795330800")
		sums[i] = map[string]string{}
		files, _ := filepath.Glob(dir + "/*.*")
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			sums[i][filepath.Base(f)] = fmt.Sprintf("%x", sha256.Sum256(data))
		}
	}
	if len(sums[0]) != 6 {
		t.Errorf("%d files, want two packages and an SBOM for each of two architectures: %v", len(sums[0]), sums[0])
	}
	for name, sum := range sums[0] {
		if sums[1][name] != sum {
			t.Errorf("%s: %s, and then %s", name, sum, sums[1][name])
		}
	}
}

// ownRoot runs its arguments where what they write below /usr, /etc and /var
// goes into memory: rpmlint unpacks absolute names where they say.
const ownRoot = `set -e
mount -t tmpfs tmpfs /mnt
for d in usr etc var; do
	mkdir -p /mnt/$d/up /mnt/$d/work
	mount -t overlay overlay -o lowerdir=/$d,upperdir=/mnt/$d/up,workdir=/mnt/$d/work /$d
done
exec "$@"`

func TestPackagesAreClean(t *testing.T) {
	dir := host(t)
	for _, args := range [][]string{
		{"lintian", "--allow-root", "--fail-on", "error,warning", one(t, dir+"/*.deb")},
		{"unshare", "--mount", "--propagation", "private", "sh", "-c", ownRoot, "sh", "rpmlint", "-c", project + "/packaging/rpmlint.toml", one(t, dir+"/*.rpm")},
	} {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil || regexp.MustCompile(`(?m): [EW]: `).Match(out) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

func TestTheServiceExposesNoMoreThanStated(t *testing.T) {
	unit := filepath.Join(t.TempDir(), "clawwatch.service")
	text, err := os.ReadFile(project + "/packaging/clawwatch.service")
	if err != nil {
		t.Fatal(err)
	}
	timer := filepath.Join(filepath.Dir(unit), "clawwatch-retry.timer")
	run(t, "cp", project+"/packaging/clawwatch-retry.timer", timer)
	// Verify wants the program and the manual page to be there.
	text = []byte(strings.NewReplacer("/usr/bin/clawwatch", "/bin/true", "man:clawwatch(1) ", "").Replace(string(text)))
	if err := os.WriteFile(unit, text, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "verify", unit, timer).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	run(t, "systemd-analyze", "security", "--offline=true", "--threshold=36", unit) // 3.5 would take openat2 away (RestrictSUIDSGID=)
}

func TestTheDebInstallsUpgradesAndGoes(t *testing.T) {
	at := root(t)
	deb := one(t, host(t)+"/*.deb")
	goBuild(t, filepath.Join(at, "opt/node"), "./gateway")
	run(t, "cp", deb, at+"/opt/first.deb")
	newer(t, deb, at+"/opt/second.deb")
	m := boot(t, at)
	before := programs(t)

	m.run("dpkg -i /opt/first.deb")
	m.until(`^active`, "systemctl is-active clawwatch")
	m.run("systemctl is-enabled clawwatch")
	pid := m.run("systemctl show --value -p MainPID clawwatch")
	status := m.run("cat /proc/" + pid + "/status")
	for _, want := range []string{
		"CapInh:\t0000000000000000\n", "CapPrm:\t000000c000080004\n", "CapEff:\t000000c000080004\n", "CapAmb:\t0000000000000000\n",
		"CapBnd:\t000000c000281004\n", // and what the set-up needs: CAP_SYS_ADMIN and CAP_NET_ADMIN
		"NoNewPrivs:\t1\n", "Seccomp:\t2\n",
	} {
		if !strings.Contains(status, want) {
			t.Errorf("%q is not in the status of the service:\n%s", want, status)
		}
	}
	m.until(`(?m)^well +trial `, "clawwatch doctor")
	beat := m.run("systemctl show --value -p WatchdogTimestampMonotonic clawwatch")
	if len(newPrograms(t, before)) == 0 {
		t.Error("the kernel runs no program of the service")
	}

	// A gateway of an ordinary user, whose home is closed to others.
	m.run("useradd --create-home dev && mkdir -p /home/dev/.openclaw/agents/main/agent /home/dev/.ssh && echo key >/home/dev/.ssh/id_rsa")
	m.run("chown -R dev: /home/dev && chmod 0700 /home/dev /home/dev/.openclaw && usermod -a -G clawwatch dev && useradd other")
	m.gateway("openclaw", "cat /home/dev/.ssh/id_rsa >/dev/null; exit 0")
	const alerts = "clawwatch alerts --json --rule restricted-data-access"
	alert := m.until(`id_rsa`, alerts)
	m.run("setpriv --reuid=dev --regid=dev --init-groups " + alerts)
	m.fails("setpriv --reuid=other --regid=other --init-groups " + alerts)

	// Somebody else, as root, looks into the gateway.
	gateway := m.run("systemctl show --value -p MainPID openclaw")
	m.run("sh -c 'read -r x </proc/" + gateway + "/environ; sleep 1; :'")
	m.until(`read the environment of the gateway`, "clawwatch alerts --json --rule gateway-tampering")
	m.run("systemctl stop openclaw")

	m.wait("a beat for the watchdog", func() bool {
		return m.run("systemctl show --value -p WatchdogTimestampMonotonic clawwatch") != beat
	})
	m.run("kill -KILL " + pid)
	m.until(`^1\b`, "systemctl show --value -p NRestarts clawwatch")
	m.until(`^active`, "systemctl is-active clawwatch")
	m.until(`id_rsa`, alerts)
	pid = m.run("systemctl show --value -p MainPID clawwatch")

	// A newer version: the service runs it; configuration and store stay.
	m.run("echo 'store: {max_age: 12d}' >>/etc/clawwatch/clawwatch.yaml && echo 'jsonl: /var/log/clawwatch/all.jsonl' >/etc/clawwatch/conf.d/site.yaml")
	m.run("dpkg -i --force-confold /opt/second.deb")
	m.until(`^active`, "systemctl is-active clawwatch")
	if now := m.run("systemctl show --value -p MainPID clawwatch"); now == pid {
		t.Error("the old version still runs")
	}
	m.run("dpkg-query -W -f '${Version}' clawwatch | grep -q ^99")
	m.run("grep -q 'max_age: 12d' /etc/clawwatch/clawwatch.yaml && test -e /var/log/clawwatch/all.jsonl")
	if again := m.until(`id_rsa`, alerts); !strings.Contains(again, alert[:30]) {
		t.Errorf("after the upgrade the alert is\n%s, and was\n%s", again, alert)
	}

	m.run("dpkg -r clawwatch")
	m.fails("systemctl is-active clawwatch")
	m.fails("test -e /usr/bin/clawwatch")
	m.run("test -e /var/lib/clawwatch/events.db && grep -q 'max_age: 12d' /etc/clawwatch/clawwatch.yaml")
	if left := newPrograms(t, before); len(left) > 0 {
		t.Errorf("the kernel still runs %v", left)
	}

	// What is left: what the operator put there, and nothing else.
	m.run("dpkg -P clawwatch")
	left := m.run("find / -xdev -iname '*clawwatch*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/run/systemd/*'; find /etc/clawwatch -type f; getent group clawwatch || true")
	if left != "/etc/clawwatch\n/etc/clawwatch/conf.d/site.yaml" {
		t.Errorf("a purge leaves\n%s", left)
	}
	m.run("test -e /home/dev/.ssh/id_rsa && test -d /home/dev/.openclaw")
}

// programs are the BPF programs that the kernel has, by ID; those that systemd
// makes for its units are left out.
func programs(t *testing.T) map[ebpf.ProgramID]string {
	t.Helper()
	all := map[ebpf.ProgramID]string{}
	for id, err := ebpf.ProgramGetNextID(0); !errors.Is(err, fs.ErrNotExist); id, err = ebpf.ProgramGetNextID(id) {
		if err != nil {
			t.Fatal(err)
		}
		p, err := ebpf.NewProgramFromID(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := p.Info()
		p.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(info.Name, "sd_") && info.Type != ebpf.CGroupDevice {
			all[id] = info.Name
		}
	}
	return all
}

func newPrograms(t *testing.T, before map[ebpf.ProgramID]string) (names []string) {
	t.Helper()
	for id, name := range programs(t) {
		if _, old := before[id]; !old {
			names = append(names, name)
		}
	}
	return names
}

// gateway runs a command as an exec tool call of dev's gateway.
func (m *machine) gateway(unit, command string) {
	m.Helper()
	m.run("systemd-run --unit=" + unit + " --uid=dev -E HOME=/home/dev -E OPENCLAW_STATE_DIR=/home/dev/.openclaw -- /opt/node openclaw.mjs gateway run '" + command + "'")
}

// An agent with all of root's privileges runs beside the service, and both are
// asked what a gateway's tool call did.
func TestTheServiceSeesWhatRootSees(t *testing.T) {
	at := root(t)
	deb := one(t, host(t)+"/*.deb")
	goBuild(t, filepath.Join(at, "opt/node"), "./gateway")
	// Linked with C it cannot give up its privileges, and says so.
	run(t, "env", "CGO_ENABLED=1", "go", "build", "-trimpath", "-tags", "netgo,osusergo", "-ldflags", "-linkmode=external -extldflags=-static", "-o", filepath.Join(at, "opt/clawwatch"), project+"/cmd/clawwatch")
	run(t, "cp", deb, at+"/opt/first.deb")
	m := boot(t, at)
	m.run("dpkg -i /opt/first.deb")
	m.run("systemd-run --unit=root -- /opt/clawwatch run --state-dir /var/tmp/root --socket /run/root.sock")
	m.until("agent +\\S+ runs since", "clawwatch doctor")
	m.until("agent +\\S+ runs since", "clawwatch doctor --socket /run/root.sock")
	if caps := m.run("grep CapEff /proc/$(systemctl show --value -p MainPID root)/status"); strings.Contains(caps, "000000c000080004") {
		t.Errorf("the agent that is to have all privileges has %s", caps)
	}

	m.run("useradd --create-home dev && mkdir -p /home/dev/.openclaw/agents/main/agent /home/dev/.openclaw/skills/weather/scripts /home/dev/.ssh && echo key >/home/dev/.ssh/id_rsa")
	const skill = "/home/dev/.openclaw/skills/weather"
	m.run("printf -- '---\\nname: weather\\ndescription: d\\n---\\n' >" + skill + "/SKILL.md && printf '#!/bin/sh\\necho fine\\n' >" + skill + "/scripts/w.sh && chmod +x " + skill + "/scripts/w.sh")
	m.run("chown -R dev: /home/dev && chmod 0700 /home/dev /home/dev/.openclaw")
	m.gateway("openclaw", strings.Join([]string{
		"cat /home/dev/.ssh/id_rsa >/dev/null", "cd /home/dev", "echo x >note", "mv note other", "rm other", "mkdir d", "rmdir d",
		skill + "/scripts/w.sh", "env >/dev/null", "cat /proc/self/environ >/dev/null", "(setsid env -i /bin/sh -c :)",
		"echo hello >/dev/tcp/127.0.0.1/18789", "echo hello >/dev/tcp/127.0.0.1/1", "echo hello >/dev/udp/127.0.0.1/5353", "exit 7",
	}, "; "))
	var service, asRoot map[string]int
	defer func() {
		for _, of := range []struct {
			by      string
			it, not map[string]int
		}{{"the service", service, asRoot}, {"root", asRoot, service}} {
			for deed, n := range of.it {
				if t.Failed() && of.not[deed] != n {
					t.Logf("%s saw %d times, and the other %d: %s", of.by, n, of.not[deed], deed)
				}
			}
		}
	}()
	m.wait("both to have seen the end", func() bool {
		service, asRoot = m.deeds(""), m.deeds("--socket /run/root.sock")
		return len(service) > 20 && maps.Equal(service, asRoot)
	})
	t.Logf("%d different things seen by both", len(service))
	all := strings.Join(slices.Collect(maps.Keys(service)), "\n")
	for _, want := range []string{
		`process.exit .*exit_code:7`, `file.open .*id_rsa`, `file.rename .*/home/dev/other`, `file.delete .*/home/dev/other`, `process.exec .*weather/scripts/w.sh.* weather strong`,
		`network.connect .*18789`, `network.close .*18789`, `network.connect .*5353`, `env.read .*proc_environ`, `skill.present .*weather`,
	} {
		if !regexp.MustCompile(want).MatchString(all) {
			kind, _, _ := strings.Cut(want, " ")
			t.Errorf("neither saw %s, but\n%s", want, strings.Join(regexp.MustCompile(`(?m)^`+kind+` .*`).FindAllString(all, -1), "\n"))
		}
	}
}

// deeds are what an agent saw happen, each as one line with how often, without
// what two agents may word differently: totals of some seconds, digests that
// came too late, and what each sees of the other.
func (m *machine) deeds(flags string) map[string]int {
	m.Helper()
	out, err := m.try("clawwatch events --json --limit 0 " + flags)
	if err != nil {
		return nil
	}
	all := map[string]int{}
	for line := range strings.Lines(out) {
		var e struct {
			Kind                               string
			Stranger                           bool
			Process, File, Network, Env, Skill map[string]any
			Attribution                        struct {
				Skill      struct{ Name string }
				Confidence string
			}
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			m.Fatalf("%v: %s", err, line)
		}
		if strings.HasPrefix(e.Kind, "sensor.") || e.Stranger || slices.Contains([]string{"file.read", "file.write", "network.send"}, e.Kind) {
			continue
		}
		for _, file := range []string{"executable", "script"} {
			if f, ok := e.Process[file].(map[string]any); ok {
				delete(f, "sha256")
			}
		}
		deed := fmt.Sprint(e.Kind, " ", e.Process, e.File, e.Network, e.Env, e.Skill, " ", e.Attribution.Skill.Name, " ", e.Attribution.Confidence)
		switch {
		case e.File["opens"] != nil: // more of the same
		case e.Kind == "file.open":
			all[deed] = 1 // from the fifth on they are only counted
		default:
			all[deed]++
		}
	}
	return all
}

// The service keeps coming back: soon at first, and then ever again.
func TestTheServiceComesBack(t *testing.T) {
	at := root(t)
	run(t, "cp", one(t, host(t)+"/*.deb"), at+"/opt/first.deb")
	for file, text := range map[string]string{
		"clawwatch.service.d/soon.conf":     "[Unit]\nStartLimitIntervalSec=5s\nStartLimitBurst=2\n[Service]\nRestartSec=100ms\n",
		"clawwatch-retry.timer.d/soon.conf": "[Timer]\nOnActiveSec=\nOnActiveSec=6s\nOnUnitInactiveSec=\nOnUnitInactiveSec=6s\nAccuracySec=100ms\n",
	} {
		file = filepath.Join(at, "etc/systemd/system", file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := boot(t, at)
	m.run("dpkg -i /opt/first.deb")
	m.until(`^active`, "systemctl is-active clawwatch")
	lines := m.run("journalctl -q --no-pager -o cat -u clawwatch _COMM=clawwatch")
	for line := range strings.Lines(lines) {
		if !strings.HasPrefix(line, "msg=") {
			t.Errorf("in the journal: %s", line)
		}
	}
	if !strings.Contains(lines, `msg="agent is running"`) {
		t.Errorf("the journal does not say that the agent is running:\n%s", lines)
	}

	m.run("echo 'no_such_key: 1' >/etc/clawwatch/conf.d/bad.yaml && systemctl restart clawwatch || true")
	m.until(`^failed`, "systemctl is-failed clawwatch")
	m.until(`clawwatch.yaml|bad.yaml:1:1: unknown key`, "journalctl -q --no-pager -p err -u clawwatch")
	m.until(`^active`, "systemctl is-active clawwatch-retry.timer")
	failures := func() int { return strings.Count(m.run("journalctl -q --no-pager -o cat -u clawwatch"), "unknown key") }
	before := failures()
	m.wait("another try, which fails", func() bool { return failures() > before })
	m.until(`^failed`, "systemctl is-failed clawwatch")
	m.run("rm /etc/clawwatch/conf.d/bad.yaml")
	m.until(`^active`, "systemctl is-active clawwatch")
	m.run("systemctl reload clawwatch")
	m.until(`reload policy and rules: in force`, "journalctl -q --no-pager -o cat -u clawwatch")
	m.run("systemctl stop clawwatch")
	m.fails("systemctl is-active clawwatch-retry.timer")
}

// goBuild makes one of the programs that the tests put into the machine.
func goBuild(t *testing.T, to, pkg string) {
	t.Helper()
	run(t, "env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-o", to, pkg)
}

// newer makes a higher version of a package, with another default configuration.
func newer(t *testing.T, deb, to string) {
	t.Helper()
	dir := t.TempDir()
	run(t, "dpkg-deb", "-R", deb, dir)
	run(t, "sed", "-i", "s/^Version: .*/Version: 99.0-1/", dir+"/DEBIAN/control")
	run(t, "sed", "-i", "$ a # A new default.", dir+"/etc/clawwatch/clawwatch.yaml")
	run(t, "sed", "-i", "/clawwatch.yaml/d", dir+"/DEBIAN/md5sums")
	run(t, "dpkg-deb", "-b", dir, to)
}

// newerRPM makes a higher version, with another default configuration, of what
// is already staged.
func newerRPM(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	run(t, "sh", "-c", "(cat "+project+"/packaging/clawwatch.yaml; echo '# A new default.') >"+dir+"/clawwatch.yaml")
	stage := filepath.Join(host(t), "stage", runtime.GOARCH, "nfpm.yaml")
	run(t, "sh", "-c", "sed 's|packaging/clawwatch.yaml|"+dir+"/clawwatch.yaml|' "+stage+" >"+dir+"/nfpm.yaml")
	run(t, "env", "-C", project, "ARCH="+runtime.GOARCH, "PACKAGE_VERSION=99.0", os.Getenv("CLAWWATCH_NFPM"), "package", "-f", dir+"/nfpm.yaml", "-p", "rpm", "-t", dir)
	return one(t, dir+"/*.rpm")
}

func TestTheRPMInstallsUpgradesAndGoes(t *testing.T) {
	at := root(t)
	rpm := one(t, host(t)+"/*.rpm")
	if got := run(t, "rpm", "-qp", "--configfiles", rpm); got != "/etc/clawwatch/clawwatch.yaml\n/etc/clawwatch/policy.yaml\n" {
		t.Errorf("configuration files: %s", got)
	}
	flags := run(t, "rpm", "-qp", "--queryformat", "[%{FILENAMES} %{FILEFLAGS:fflags} %{FILEMODES:perms} %{FILEUSERNAME}\n]", rpm)
	for _, want := range []string{
		"/etc/clawwatch/clawwatch.yaml cn -rw-r--r-- root\n", "/etc/clawwatch/policy.yaml cn -rw-r--r-- root\n",
		"/usr/bin/clawwatch  -rwxr-xr-x root\n", "/usr/lib/systemd/system/clawwatch.service  -rw-r--r-- root\n",
		"/usr/share/man/man1/clawwatch-run.1.gz  -rw-r--r-- root\n", "/usr/share/clawwatch/extensions.load  -rw-r--r-- root\n",
		"/usr/share/clawwatch/openclaw-plugin/index.js  -rw-r--r-- root\n", "/usr/share/clawwatch/openclaw-plugin/openclaw.plugin.json  -rw-r--r-- root\n",
	} {
		if !strings.Contains(flags, want) {
			t.Errorf("%q is not in\n%s", want, flags)
		}
	}
	run(t, "rpm", "--root", at, "--initdb")
	run(t, "rpm", "--root", at, "--install", "--nodeps", rpm)
	run(t, "rpm", "--root", at, "--verify", "--nodeps", "clawwatch")
	run(t, "chroot", at, "getent", "group", "clawwatch")
	run(t, "chroot", at, "systemctl", "is-enabled", "clawwatch")
	run(t, "chroot", at, "clawwatch", "version")

	conf := at + "/etc/clawwatch/clawwatch.yaml"
	run(t, "sed", "-i", "$ a store: {max_age: 12d}", conf)
	run(t, "rpm", "--root", at, "--upgrade", "--nodeps", newerRPM(t))
	run(t, "grep", "-q", "max_age: 12d", conf)
	run(t, "grep", "-q", "A new default", conf+".rpmnew")
	run(t, "chroot", at, "systemctl", "is-enabled", "clawwatch")
	if got := run(t, "rpm", "--root", at, "--query", "--queryformat", "%{VERSION}", "clawwatch"); got != "99.0" {
		t.Errorf("after the upgrade there is version %s", got)
	}
	run(t, "rpm", "--root", at, "--erase", "--nodeps", "clawwatch")
	if _, err := os.Stat(at + "/usr/bin/clawwatch"); err == nil {
		t.Error("the program is still there")
	}
	run(t, "grep", "-q", "max_age: 12d", conf+".rpmsave")
	if out, err := exec.Command("chroot", at, "systemctl", "is-enabled", "clawwatch").CombinedOutput(); err == nil {
		t.Errorf("the service is still enabled: %s", out)
	}
}
