package attribution

import (
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

// OpenClaw writes the model's command into its records without the secrets in it.
func TestACommandWithASecretIsKnownByWhatIsLeftOfItInTheRecords(t *testing.T) {
	const token = "sk-proj-abcdefghijklmnopqrstuvwxyz"
	for _, tt := range []struct{ name, recorded, ran, want, session, call string }{
		{"a token", "curl -H 'X-Key: sk-pro…wxyz' https://a.example", "curl -H 'X-Key: " + token + "' https://a.example", "weather strong", "alice", "c2"},
		{"a short one", "curl -u dev:*** https://a.example", "curl -u dev:hunter2 https://a.example", "weather strong", "alice", "c2"},
		{"two of them", "A=sk-pro…wxyz B=*** ./run", "A=" + token + " B=x1 ./run", "weather strong", "alice", "c2"},
		{"a key", "printf '-----BEGIN PRIVATE KEY-----\n…redacted…\n-----END PRIVATE KEY-----' > k", "printf '-----BEGIN PRIVATE KEY-----\nMIIEvQ\nIBADAN\n-----END PRIVATE KEY-----' > k", "weather strong", "alice", "c2"},
		{"another command", "curl -H 'X-Key: sk-pro…wxyz' https://a.example", "curl -H 'X-Key: " + token + "' https://b.example", "none", "", ""},
		{"more than a token", "curl -H 'X-Key: sk-pro…wxyz' x", "curl -H 'X-Key: sk-pro' ; rm -rf / ; echo 'wxyz' x", "none", "", ""},
		{"next to nothing is left", "*** ***", "rm -rf", "none", "", ""},
		{"a star of its own", "echo *** done", "echo *** done", "weather strong", "alice", "c2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFilm(t)
			f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
			f.call(2, "alice", "r1", "c2", tt.recorded)
			f.want(12, f.root(2.5, 100, tt.ran), tt.want, tt.session, tt.call)
		})
	}
}

func TestAMaskedRecordCountsOnlyWhereNoneHasTheWholeCommand(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.read(1, "mallory", "r2", "d1", notes+"/SKILL.md")
	f.call(2, "mallory", "r2", "d2", "cat /home/dev/***")
	f.call(2, "alice", "r1", "c2", "cat /home/dev/plan")
	f.want(4, f.root(2.5, 100, "cat /home/dev/plan"), "weather strong", "alice", "c2")
	f.want(6, f.root(4.5, 200, "cat /home/dev/***"), "notes strong", "mallory", "d2")

	f = newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.read(1, "mallory", "r2", "d1", notes+"/SKILL.md")
	f.call(2, "mallory", "r2", "d2", "cat /home/dev/***")
	f.root(2.5, 100, "cat /home/dev/plan")
	f.e.Tick(at(6))
	f.e.Observe(event.Event{Time: at(2.2), Body: event.ToolCall{ // which came late
		Gateway: state, Session: "alice", SessionKey: "agent:main:alice", Run: "r1", ID: "c2", Name: "exec", Command: "cat /home/dev/plan",
	}})
	f.want(16, f.open(3, 100, "/etc/hosts"), "ambiguous notes weather", "", "")
}

func TestAScriptWhosePathIsMaskedInTheCommandIsMentionedByIt(t *testing.T) {
	f := newFilm(t)
	f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
	f.read(1.2, "alice", "r1", "c2", notes+"/SKILL.md")
	f.call(2, "alice", "r1", "c3", "/home/dev/.opencl…ipts/run.sh now")
	f.want(12, f.root(2.5, 100, "/home/dev/.openclaw/workspace/skills/weather/scripts/run.sh now"), "weather strong", "alice", "c3")
}
