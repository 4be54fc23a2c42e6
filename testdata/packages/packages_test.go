// Package packages tests the .deb and the .rpm: that they are made the same
// twice, that they are clean, and what they do to a system. See `make
// test-packages`.
package packages

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
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

func TestPackagesAreTheSameBytesWhenMadeTwice(t *testing.T) {
	var sums [2]map[string]string
	for i := range sums {
		dir := t.TempDir()
		build(t, dir)
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
	// Verify wants the program and the manual page to be there.
	text = []byte(strings.NewReplacer("/usr/bin/clawwatch", "/bin/true", "man:clawwatch(1) ", "").Replace(string(text)))
	if err := os.WriteFile(unit, text, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", "verify", unit).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	run(t, "systemd-analyze", "security", "--offline=true", "--threshold=35", unit)
}

func TestTheDebInstallsUpgradesAndGoes(t *testing.T) {
	at := root(t)
	deb := one(t, host(t)+"/*.deb")
	node := filepath.Join(at, "opt/node")
	run(t, "env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-o", node, "./gateway")
	run(t, "cp", deb, at+"/opt/first.deb")
	newer(t, deb, at+"/opt/second.deb")
	m := boot(t, at)

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

	beat := m.run("systemctl show --value -p WatchdogTimestampMonotonic clawwatch")

	// A gateway of an ordinary user, whose home is closed to others.
	m.run("useradd --create-home dev && mkdir -p /home/dev/.openclaw/agents/main/agent /home/dev/.ssh && echo key >/home/dev/.ssh/id_rsa")
	m.run("chown -R dev: /home/dev && chmod 0700 /home/dev /home/dev/.openclaw && usermod -a -G clawwatch dev && useradd other")
	m.run("systemd-run --unit=openclaw --uid=dev -E HOME=/home/dev -E OPENCLAW_STATE_DIR=/home/dev/.openclaw -- " +
		"/opt/node openclaw.mjs gateway run 'cat /home/dev/.ssh/id_rsa >/dev/null; exit 0'")
	const alerts = "clawwatch alerts --json --rule restricted-data-access"
	alert := m.until(`id_rsa`, alerts)
	m.run("setpriv --reuid=dev --regid=dev --init-groups " + alerts)
	m.fails("setpriv --reuid=other --regid=other --init-groups " + alerts)

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

	// What is left: what the operator put there, and nothing else.
	m.run("dpkg -P clawwatch")
	left := m.run("find / -xdev -iname '*clawwatch*' -not -path '/proc/*' -not -path '/sys/*' -not -path '/run/systemd/*'; find /etc/clawwatch -type f; getent group clawwatch || true")
	if left != "/etc/clawwatch\n/etc/clawwatch/conf.d/site.yaml" {
		t.Errorf("a purge leaves\n%s", left)
	}
	m.run("test -e /home/dev/.ssh/id_rsa && test -d /home/dev/.openclaw")
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

func TestTheRPMInstallsAndGoes(t *testing.T) {
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
	run(t, "rpm", "--root", at, "--erase", "--nodeps", "clawwatch")
	if _, err := os.Stat(at + "/usr/bin/clawwatch"); err == nil {
		t.Error("the program is still there")
	}
	run(t, "grep", "-q", "max_age: 12d", conf+".rpmsave")
	if out, err := exec.Command("chroot", at, "systemctl", "is-enabled", "clawwatch").CombinedOutput(); err == nil {
		t.Errorf("the service is still enabled: %s", out)
	}
}
