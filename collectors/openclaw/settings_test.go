package openclaw

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJSON5IsReadAsPeopleWriteIt(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": 1}`:                                 `{"a":1}`,
		"{a: 1, // one\n b: 'x', /* two */ }":      `{"a":1,"b":"x"}`,
		`{url: "http://h/*no*/", 'k\'s': ["//",]}`: `{"url":"http://h/*no*/","k's":["//"]}`,
		`{a: 'say "hi"', b: 0x10, c: +3, d: -1.5}`: `{"a":"say \"hi\"","b":16,"c":3,"d":-1.5}`,
		"{a: 'one\\\ntwo', $b_1: null, c: true,}":  `{"a":"onetwo","$b_1":null,"c":true}`,
		`[1,2,[3,],{},]`:                           `[1,2,[3],{}]`,
		`{"u":"\u00e4\\"}`:                         `{"u":"ä\\"}`,
	} {
		var got, expected any
		if err := json.Unmarshal(toJSON([]byte(in)), &got); err != nil {
			t.Errorf("%s: %s: %v", in, toJSON([]byte(in)), err)
			continue
		}
		if err := json.Unmarshal([]byte(want), &expected); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

func TestSettingsKeepPlacesAndNoSecret(t *testing.T) {
	got, err := parseSettings([]byte(`{
		// hand-written
		gateway: { port: 19001, auth: { token: "secret-1" } },
		agents: {
			defaults: { workspace: "~/work" },
			list: [ { id: "ops", workspace: "/srv/ops" }, { id: "dev" } ],
			entries: { qa: { workspace: "qa-space" } },
		},
		models: { providers: {
			a: { baseUrl: "https://user:secret-2@API.example.com/v1?key=secret-3" },
			b: { baseUrl: "http://127.0.0.1:8080/v1", apiKey: "secret-4" },
			c: { baseUrl: 7 }, d: {}, e: { baseUrl: "https://[2001:db8::1]/" },
		} },
		skills: { load: { extraDirs: ["~/more", "/opt/skills"] } },
	}`))
	if err != nil {
		t.Fatal(err)
	}
	want := settings{
		Port: 19001, Workspace: "~/work",
		Workspaces: map[string]string{"ops": "/srv/ops", "dev": "", "qa": "qa-space"},
		ExtraDirs:  []string{"~/more", "/opt/skills"},
		Providers:  []string{"127.0.0.1:8080", "[2001:db8::1]:443", "api.example.com:443"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheEnvironmentPlacesThings(t *testing.T) {
	for name, test := range map[string]struct {
		env        string
		settings   settings
		state      string
		port       int
		workspaces []string // of agents main, ops
	}{
		"plain":      {"HOME=/home/dev", settings{}, "/home/dev/.openclaw", 18789, []string{"/s/workspace", "/s/workspace-ops"}},
		"own home":   {"HOME=/home/dev\x00OPENCLAW_HOME=~/claw", settings{}, "/home/dev/claw/.openclaw", 18789, []string{"/s/workspace", "/s/workspace-ops"}},
		"profile":    {"HOME=/home/dev\x00OPENCLAW_PROFILE=work", settings{}, "/home/dev/.openclaw-work", 20000 + int(fnv("work")%40000), []string{"/s/workspace", "/s/workspace-ops"}},
		"hostile":    {"HOME=/home/dev\x00OPENCLAW_PROFILE=../../etc", settings{}, "/home/dev/.openclaw", 18789, []string{"/s/workspace", "/s/workspace-ops"}},
		"state":      {"HOME=/home/dev\x00OPENCLAW_STATE_DIR=~/state", settings{Port: 7}, "/home/dev/state", 7, []string{"/s/workspace", "/s/workspace-ops"}},
		"relative":   {"HOME=/home/dev\x00OPENCLAW_STATE_DIR=state", settings{}, "/cwd/state", 18789, []string{"/s/workspace", "/s/workspace-ops"}},
		"workspace":  {"HOME=/home/dev\x00OPENCLAW_WORKSPACE_DIR=/w", settings{}, "/home/dev/.openclaw", 18789, []string{"/w", "/s/workspace-ops"}},
		"configured": {"HOME=/home/dev\x00OPENCLAW_GATEWAY_PORT=127.0.0.1:99", settings{Port: 7, Workspace: "~/w"}, "/home/dev/.openclaw", 99, []string{"/home/dev/w", "/home/dev/w/ops"}},
		"per agent":  {"HOME=/home/dev", settings{Workspaces: map[string]string{"ops": "~/o"}}, "/home/dev/.openclaw", 18789, []string{"/s/workspace", "/home/dev/o"}},
	} {
		t.Run(name, func(t *testing.T) {
			env := parseEnvironment([]byte(test.env + "\x00WEATHER_API_KEY=secret\x00"))
			if _, ok := env["WEATHER_API_KEY"]; ok {
				t.Error("a secret is kept")
			}
			if got := env.stateDirs("/cwd")[0]; got != test.state {
				t.Errorf("state directory %s, want %s", got, test.state)
			}
			if got := env.port(test.settings); got != test.port {
				t.Errorf("port %d, want %d", got, test.port)
			}
			if diff := cmp.Diff(test.workspaces, test.settings.workspaces(env, "/s", "/cwd", []string{"main", "ops"})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func fnv(s string) uint32 {
	h := uint32(2166136261)
	for _, b := range []byte(s) {
		h = (h ^ uint32(b)) * 16777619
	}
	return h
}

func FuzzJSON5LeavesJSONAsItIs(f *testing.F) {
	f.Add([]byte(`{"a": [1, -2.5e3, "x\"/*y*/", null, true]}`))
	f.Add([]byte("{a: 'b', // c\n}"))
	f.Add([]byte(`"\`))
	f.Fuzz(func(t *testing.T, b []byte) {
		out := toJSON(b)
		if len(out) > 8*len(b)+8 {
			t.Errorf("%d bytes became %d", len(b), len(out))
		}
		parseSettings(b)
		if !json.Valid(b) {
			return
		}
		var want, got bytes.Buffer
		if json.Compact(&want, b) != nil || json.Compact(&got, out) != nil || want.String() != got.String() {
			t.Errorf("%q became %q", b, out)
		}
	})
}
