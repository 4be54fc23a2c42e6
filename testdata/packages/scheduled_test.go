package packages

import (
	"path/filepath"
	"testing"
)

// What a skill has cron and systemd start, later and outside of every tree, is
// that skill's; what else they start is nobody's. The service knows it with its
// own privileges, and after a restart.
func TestWhatASkillScheduledLeadsBack(t *testing.T) {
	at := root(t)
	goBuild(t, filepath.Join(at, "opt/node"), "./gateway")
	run(t, "cp", one(t, host(t)+"/*.deb"), at+"/opt/clawwatch.deb")
	m := boot(t, at)
	m.run("dpkg -i /opt/clawwatch.deb")
	m.until("agent +\\S+ runs since", "clawwatch doctor")
	m.run("useradd --create-home dev && loginctl enable-linger dev && mkdir -p /home/dev/.openclaw/agents/main/agent /home/dev/.openclaw/skills/weather/scripts")
	const skill = "/home/dev/.openclaw/skills/weather"
	m.run("printf -- '---\\nname: weather\\ndescription: d\\n---\\n' >" + skill + "/SKILL.md")
	m.run("cat >" + skill + `/scripts/w.sh <<'END'
#!/bin/bash
echo '* * * * * echo cron >> /home/dev/by-cron' | crontab -
printf '[Service]\nType=oneshot\nExecStart=/bin/sh -c "echo unit > /home/dev/by-unit"\n' > /etc/systemd/system/left.service
export XDG_RUNTIME_DIR=/run/user/$(id -u)
systemd-run --user sh -c 'sleep 2; echo $HOME > /home/dev/by-systemd-run; sleep 300; true'
systemd-run --user sh -c 'echo short > /home/dev/by-short'
systemd-run --user --on-active=5 --timer-property=AccuracySec=100ms sh -c 'echo later > /home/dev/by-timer'
busctl --user -- call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartTransientUnit \
	'ssa(sv)a(sa(sv))' called.service fail 1 ExecStart 'a(sasb)' 1 /bin/sh 3 /bin/sh -c 'sleep 2; echo called > /home/dev/by-call; sleep 300; true' false 0
echo 'echo at > /home/dev/by-at' | at now
END
chmod +x ` + skill + `/scripts/w.sh
chown -R dev: /home/dev && chmod 0700 /home/dev /home/dev/.openclaw && chown dev /etc/systemd/system
printf '[Service]\nType=oneshot\nExecStart=/bin/sh -c "echo mine > /var/tmp/mine"\n' > /etc/systemd/system/mine.service`)
	m.run("systemctl stop atd") // until it is seen what it is to do
	m.gateway("openclaw", skill+"/scripts/w.sh")
	m.until(`file\.(rename|open|create).*crontabs/dev.*"name":"weather"`, "clawwatch events --json --limit 0")
	m.until(`file\.(open|create).*left\.service.*"name":"weather"`, "clawwatch events --json --limit 0")

	// Handed over: to the user's systemd, and to at.
	alerts := "clawwatch alerts --json --limit 0"
	m.until(`work-handed-over.*handed work to at, with /var/spool/cron/atjobs/a\w+ by at, user dev`, alerts)
	m.run("systemctl start atd")
	files := "clawwatch events --json --limit 0 --kind file.create"
	for _, left := range []struct{ file, confidence string }{{"systemd-run", "strong"}, {"short", "(strong|weak)"}, {"call", "weak"}, {"at", "strong"}, {"timer", "strong"}} {
		m.until(`"kind":"file.create".*"role":"heir".*/home/dev/by-`+left.file+`".*"name":"weather".*"confidence":"`+left.confidence+`"`, files)
	}
	m.until(`handed_over.*systemd-run --user sh -c`, files)
	m.until(`work-handed-over.*handed work to systemd, at /run/user/\d+/systemd/private by systemd-run, user dev`, alerts)
	m.until(`work-handed-over.*handed work to a service, over the bus /run/user/\d+/bus by busctl, user dev`, alerts)
	m.until(`left-behind-file-used.*systemd/transient/run-r\w+\.service`, alerts)

	m.run("systemctl daemon-reload && systemctl start left mine && systemd-run sh -c 'echo mine > /var/tmp/mine-too'")
	m.until(`"kind":"file.create".*"role":"heir".*/home/dev/by-unit.*"name":"weather".*"confidence":"strong"`, "clawwatch events --json --limit 0 --kind file.create")
	m.run("timeout 150 sh -c 'until test -e /home/dev/by-cron; do sleep 1; done'")
	m.until(`"kind":"file.create".*"role":"heir".*/home/dev/by-cron.*"name":"weather".*"confidence":"strong"`, "clawwatch events --json --limit 0 --kind file.create")
	m.until(`left-behind-startup-file.*left\.service`, "clawwatch alerts --json --limit 0")
	m.until(`left-behind-startup-file.*crontabs/dev`, "clawwatch alerts --json --limit 0")
	m.run("test -e /var/tmp/mine && test -e /var/tmp/mine-too")
	m.fails("clawwatch events --json --limit 0 | grep /var/tmp/mine")

	// Cron has read its table long ago when the agent starts again.
	m.run("systemctl restart clawwatch")
	m.until("agent +\\S+ runs since", "clawwatch doctor")
	m.run("rm /home/dev/by-cron && timeout 150 sh -c 'until test -e /home/dev/by-cron; do sleep 1; done'")
	m.until(`(?s)"kind":"file.create".*"role":"heir".*/home/dev/by-cron.*"kind":"file.create".*"role":"heir".*/home/dev/by-cron`, "clawwatch events --json --limit 0 --kind file.create")
}
