package rules_test

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/rules"
)

// words of conditions and records, so that they meet.
var (
	programs = []string{"curl", "wget", "bash", "nc", "ncat", "socat", "python3", "perl", "ssh", "scp", "base64", "xxd", "crontab", "systemctl", "iptables", "tar", "git", "node", "docker", "kubectl", "chmod", "chattr", "dd", "find"}
	options  = []string{" -e /bin/", "--upload-file", " -d @", "/dev/tcp/", "base64 -d", "bash -i", " -o /tmp/", "authorized_keys", "--post-file", "import socket", "exec(", "pty.spawn", "/etc/shadow", "LD_PRELOAD=", " | sh", "chmod +x", "-perm -4000", "xmrig", "stratum+tcp://", "ngrok", ".onion", "docker.sock", " run -v /:/", "history -c"}
	folders  = []string{"/etc/cron.d/", "/etc/sudoers", "/usr/lib/systemd/system/", "/home/dev/.ssh/", "/home/dev/.aws/", "/root/", "/var/www/", "/tmp/", "/dev/shm/", "/home/dev/.openclaw/workspace/", "/opt/app/", "/srv/data/"}
	suffixes = []string{".pem", ".key", "id_rsa", ".kdbx", "credentials", ".env", "wallet.dat", ".bash_history", "Cookies", "Login Data", ".tfstate", "token.json"}
	hosts    = []string{"pastebin.com", "transfer.sh", "api.telegram.org", "discord.com", "ngrok.io", "example.org", "githubusercontent.com", "webhook.site", "api.openai.com", "Über.example"}
	secrets  = []string{"AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "GITHUB_TOKEN", "DATABASE_URL", "NPM_TOKEN", "SLACK_TOKEN"}
)

// A maker makes rules as operators and the import of Sigma write them.
type maker struct{ *rand.Rand }

func newMaker(seed uint64) maker { return maker{rand.New(rand.NewPCG(seed, 1))} }

// word makes every third word one that no record has.
func (m maker) word(of []string) string {
	s := of[m.IntN(len(of))]
	if m.IntN(3) > 0 {
		s += fmt.Sprint(m.IntN(1000))
	}
	return s
}

func (m maker) list(of []string, n int) string {
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprintf("%q", m.word(of))
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func (m maker) condition() string {
	word := func(of []string) string { return fmt.Sprintf("%q", m.word(of)) }
	shapes := []func() string{
		func() string {
			return `kind == "process.exec" and acting and process.name == ` + word(programs) + ` and process.command_line contains ` + word(options)
		},
		func() string {
			return `kind == "process.exec" and process.name in ` + m.list(programs, 5) + ` and any(process.args, # startsWith ` + word(options) + `)`
		},
		func() string {
			return `kind == "process.exec" and (process.command_line contains ` + word(options) + ` or process.command_line contains ` + word(options) + `) and not ("cron" in process.ancestors)`
		},
		func() string {
			return `kind == "process.exec" and process.executable startsWith ` + word(folders) + ` and process.parent_executable endsWith ` + word(programs)
		},
		func() string {
			return `kind in ["file.open", "file.create", "file.write"] and acting and file.operation in ["write", "create"] and file.path startsWith ` + word(folders)
		},
		func() string {
			return `kind == "file.open" and acting and (file.path endsWith ` + word(suffixes) + ` or file.path contains ` + word(folders) + `) and process.name != ` + word(programs)
		},
		func() string {
			return `kind in ["file.open", "file.create"] and file.tier in ["restricted", "outside"] and file.name == ` + word(suffixes)
		},
		func() string {
			return fmt.Sprintf(`kind == "network.connect" and acting and cidr(network.peer_address, "10.%d.0.0/16", "192.0.%d.0/24")`, m.IntN(256), m.IntN(256))
		},
		func() string {
			return `kind == "network.connect" and network.transport == "tcp" and network.host endsWith ` + word(hosts)
		},
		func() string {
			return fmt.Sprintf(`kind == "network.connect" and network.peer_port in [%d, %d, %d] and not network.loopback`, m.IntN(2000), m.IntN(2000), m.IntN(2000))
		},
		func() string {
			return `kind == "env.read" and acting and ` + word(secrets) + ` in env.names and skill.name != ` + word(programs)
		},
		func() string {
			return `acting and skill.name == ` + word(programs) + ` and network.host contains ` + word(hosts)
		},
		func() string { // from here on as the import of Sigma writes them
			return `kind == "process.exec" and lower(process.name) in ` + strings.ToLower(m.list(programs, 2)) + ` and any(` + strings.ToLower(m.list(options, 2+m.IntN(8))) + `, lower(process.command_line) contains #)`
		},
		func() string {
			return `kind == "process.exec" and lower(process.executable) endsWith ` + strings.ToLower(word(programs)) + ` and all(` + strings.ToLower(m.list(options, 2)) + `, lower(process.command_line) contains #) and not (lower(process.parent_executable) startsWith ` + strings.ToLower(word(folders)) + `)`
		},
		func() string {
			return `kind == "process.exec" and process.command_line matches "(?is)` + []string{"nc", "curl", "python3", "perl"}[m.IntN(4)] + `.*` + strings.Trim(word([]string{"socket", "upload", "shadow", "/dev/tcp"}), `"`) + `"`
		},
		func() string {
			return `kind in ["file.create", "file.write"] and (any(` + strings.ToLower(m.list(folders, 4)) + `, lower(file.path) startsWith #) or any(` + strings.ToLower(m.list(suffixes, 4)) + `, lower(file.path) endsWith #))`
		},
		func() string {
			return `kind == "network.connect" and network.transport in ["tcp", "udp"] and any(` + strings.ToLower(m.list(hosts, 6)) + `, lower(network.host) endsWith #)`
		},
	}
	return shapes[m.IntN(len(shapes))]()
}

// odd is a condition as nobody would write it, of all that the language has.
func (m maker) odd(depth int) string {
	if depth == 0 {
		field := []string{"process.name", "process.command_line", "file.path", "network.host", "network.transport", "skill.name", "kind"}[m.IntN(7)]
		if field == "kind" {
			return []string{`kind == "file.open"`, `kind != "process.exec"`, `kind in ["network.connect", "env.read"]`, `not (kind in ["file.open"])`}[m.IntN(4)]
		}
		text := fmt.Sprintf("%q", []string{"", "c", "cu", "curl", "CURL", "über", "/home/dev/", "tcp", "pem", "ss", "k"}[m.IntN(11)])
		return []string{
			"acting", "stranger", "not network.approved", "network.peer_port > 80", "network.peer_port <= 443", "network.peer_port == 443", "443 == network.peer_port", "network.errno != 0",
			field + " == " + text, field + " != " + text, text + " == " + field, field + " in [" + text + `, "x"]`, field + " not in [" + text + "]", field + " in []",
			field + " contains " + text, field + " startsWith " + text, field + " endsWith " + text, "not (" + field + " contains " + text + ")",
			"lower(" + field + ") contains " + text, "lower(" + field + ") == " + text, "lower(lower(" + field + ")) endsWith " + text, "upper(" + field + ") contains " + text,
			field + ` matches "(?i)` + strings.Trim(text, `"`) + `+\\s?|x{2,3}"`, field + ` matches "(?i)ſ|K"`, field + ` matches "^[a-k]ur(l|s)"`, "hasPrefix(" + field + ", " + text + ")", "hasSuffix(" + field + ", " + text + ")",
			"any(process.args, # contains " + text + ")", "all(process.args, # != " + text + ")", "none(process.args, lower(#) == " + text + ")", "one(process.args, # == " + text + ")",
			"count(process.args, # contains " + text + ") > 0", "count(process.args, # == " + text + ") >= 2", text + " in process.args", "process.args[1] == " + text, "len(process.args) > 1",
			"any([" + text + `, "curl"], ` + field + " contains #)", "all([" + text + `, "c"], ` + field + " contains #)", "any([" + text + "], # == " + field + ")", "any([], " + field + " == #)",
			`cidr(network.peer_address, "192.0.2.0/24", "::/0")`, "any(process.args, acting and # == " + text + ")", field + " + " + text + " == " + text, field + " == process.cwd",
			"under(" + field + `, "/home/dev", "/etc")`, "not under(" + field + `, process.cwd)`, "glob(" + field + `, "/home/*/.*/**", "/tmp/**")`, "domain(" + field + `, "example.org", "xn--ber-goa.example")`,
			"any(process.args, under(#, process.cwd))", "any(process.args, not domain(#, \"com\"))",
		}[m.IntN(50)]
	}
	a, b := m.odd(depth-1), m.odd(depth-1)
	return []string{
		"(" + a + " and " + b + ")", "(" + a + " or " + b + ")", "not (" + a + ")", "(" + a + " ? " + b + " : " + m.odd(depth-1) + ")",
		"((" + a + ") == (" + b + "))", "(" + a + " && !(" + b + "))", "(" + a + " || " + b + ")", "(" + a + " and true)",
	}[m.IntN(8)]
}

// set loads the built-in rules and n of the maker's.
func (m maker) set(n int, condition func() string) (*rules.Set, error) {
	var b strings.Builder
	b.WriteString("rules:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {name: made-%d, description: d, severity: low, message: '{who}', condition: '%s'}\n", i, strings.ReplaceAll(condition(), "'", "''"))
	}
	return rules.Load(append(rules.BuiltinFiles(), rules.Source{Name: "made.yaml", Data: []byte(b.String())})...)
}

// record makes one as the sensors give them.
func (m maker) record() *event.Record {
	pick := func(of []string) string { return of[m.IntN(len(of))] }
	name := pick(programs)
	r := &event.Record{ID: "1", Process: &event.Process{
		PID: 7, Role: []event.Role{event.RoleTool, event.RoleGateway, event.RoleHelper}[m.IntN(3)], Cwd: "/home/dev/.openclaw/workspace",
		Executable:  &event.Executable{Path: []string{"/usr/bin/", "/tmp/", "/opt/app/bin/"}[m.IntN(3)] + name},
		CommandArgs: []string{name, "-s", "--max-time", "10", pick(options), "https://" + pick(hosts) + "/v1/items?id=12345&format=json", "-H", "Accept: application/json", pick(suffixes)},
		Ancestors:   []event.Ancestor{{PID: 6, Executable: "/usr/bin/bash", Args: []string{"bash", "-c", name + " -s"}}, {PID: 5, Executable: "/usr/bin/node"}},
	}}
	r.Attribution = &event.Attribution{Session: "s", ToolCall: "c", Skill: &event.SkillID{Name: pick(programs), Dir: "/home/dev/.openclaw/workspace/skills/x"}, Confidence: event.Certain}
	if m.IntN(4) == 0 {
		r.Process.CommandArgs[1], r.Stranger, r.Attribution = strings.ToUpper(name)+" KÜ\xff"+pick([]string{"", "ſ"}), true, nil
	}
	switch m.IntN(8) {
	case 0, 1:
		r.Kind = event.KindExec
	case 2, 3, 4:
		r.Kind = []event.Kind{event.KindFileOpen, event.KindFileOpen, event.KindFileCreate, event.KindFileWrite}[m.IntN(4)]
		r.File = &event.File{Path: pick(append(folders, "/usr/lib/x86_64-linux-gnu/", "/home/dev/.openclaw/workspace/src/")) + pick(append(suffixes, "libc.so.6", "index.ts")), Operation: pick([]string{"read", "read", "write", "create"})}
	case 5:
		r.Kind = event.KindConnect
		r.Network = &event.Network{Transport: event.TCP, Direction: "outbound", PeerAddress: fmt.Sprintf("192.0.%d.7", m.IntN(8)), PeerPort: uint16(m.IntN(2000)), Host: pick(hosts), HostSource: "dns"}
	case 6:
		r.Kind, r.Env = event.KindEnvRead, &event.Env{Method: event.EnvGetenv, Names: []string{pick(secrets), "PATH"}}
	case 7:
		r.Kind = []event.Kind{event.KindExit, event.KindFork, event.KindClose}[m.IntN(3)]
	}
	return r
}
