package redact

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/clawwatch/clawwatch/internal/sensitive"
)

var salted = New([]byte("a salt for tests"))

// secrets are templates of text with a secret at %s, and the secret: made up,
// of the right shape. They are put together here so that no scanner of source
// code takes them for real.
var secrets = map[string]struct{ text, secret, kind string }{
	"openai":             {"export X; curl %s", "sk-" + "proj-AbCd0123456789efghIJKL", "api-key"},
	"anthropic":          {"claude %s", "sk-ant-" + "api03-Zm9vYmFyMDEyMzQ1Njc4OQ", "anthropic-key"},
	"openrouter":         {"x %s y", "sk-or-v1-" + strings.Repeat("0a1b2c3d", 8), "api-key"},
	"github":             {"git clone %s", "gh" + "p_0123456789abcdefghijABCDEFGHIJ012345", "github-token"},
	"github server":      {"%s", "gh" + "s_0123456789abcdefghijABCDEFGHIJ012345", "github-token"},
	"github fine":        {"(%s)", "github_" + "pat_11ABCDEFG0123456789_abcdefghij", "github-token"},
	"gitlab":             {"x=%s", "gl" + "pat-0123456789abcdefXYZ_", "gitlab-token"},
	"slack bot":          {"post %s", "xox" + "b-123456789012-abcdefghijkl", "slack-token"},
	"slack user":         {"post %s", "xox" + "p-123456789012-abcdefghijkl", "slack-token"},
	"slack webhook":      {"curl https://hooks.slack.com/services/%s -d x", "T000/B000/" + "abcdefghij0123", "slack-webhook"},
	"discord webhook":    {"curl https://discord.com/api/webhooks/%s", "123456789/" + "abcDEF_0123", "discord-webhook"},
	"telegram":           {"curl https://api.telegram.org/bot%s/getMe", "1234567890:" + "AA" + strings.Repeat("x1_", 11), "telegram-token"},
	"discord bot":        {"run %s", "MTIzNDU2Nzg5MDEyMzQ1Njc4" + ".GabcdE." + strings.Repeat("aB3", 9), "discord-token"},
	"aws id":             {"aws %s", "AKIA" + "0123456789ABCDEF", "aws-key-id"},
	"aws secret":         {"AWS_SECRET_ACCESS_KEY=%s aws s3 ls", "abcd/EFGH+0123456789abcdefghijklmnopqrstuv", "value"},
	"google":             {"?q=%s", "AIza" + strings.Repeat("Sy0aB", 7), "google-key"},
	"jwt":                {"x: %s", "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJ-_", "jwt"},
	"hugging face":       {"%s", "hf" + "_abcdefghijklmnopqrstuvwxyzABCDEFGH", "huggingface-token"},
	"npm":                {"//registry/:_authToken=%s", "npm" + "_0123456789abcdefghijABCDEFGHIJ012345", "npm-token"},
	"pypi":               {"twine -p %s", "pypi" + "-AgEIcHlwaS5vcmcCJDAxMjM0NTY3ODk", "pypi-token"},
	"stripe":             {"%s", "sk_" + "live_0123456789abcdefABCDEF", "stripe-key"},
	"groq":               {"%s", "gsk" + "_0123456789abcdefABCDEF", "api-key"},
	"card":               {"pay %s", "4111" + " 1111 1111 1111", "payment-card"},
	"ssn":                {"he is %s.", "536-22-" + "1847", "us-ssn"},
	"iban":               {"to %s,", "GB82WEST" + "12345698765432", "iban"},
	"age":                {"%s", "AGE-SECRET-" + "KEY-1QQQQQQQQQQQQQQQQQQQQQQQQ", "age-key"},
	"private key":        {"echo '%s' > k", "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nb3BlbnNz\nAAAA\n-----END OPENSSH PRIVATE KEY-----", "private-key"},
	"cut private key":    {"echo %s", "-----BEGIN RSA " + "PRIVATE KEY-----\nb3BlbnNz\nAAAA", "private-key"},
	"url password":       {"psql postgres://bob:%s@db.example/x", "hunter2", "url-password"},
	"url password only":  {"redis-cli -u redis://:%s@r.example", "hunter2", "url-password"},
	"url user":           {"git clone https://%s@git.example/x", "abcdef0123456789abcdef", "url-user"},
	"query key":          {"curl 'https://x.example/a?b=1&key=%s&c=2'", "CANARY", "url-parameter"},
	"query token":        {"curl https://x.example/a?token=%s", "CANARY", "url-parameter"},
	"query signature":    {"curl https://x.example/a?X-Amz-Signature=%s", "0123abcd", "url-parameter"},
	"query sas":          {"curl https://x.example/a?sv=1&sig=%s", "ab%2Bcd", "url-parameter"},
	"bearer":             {`curl -H "Authorization: Bearer %s" x`, "CANARYVALUE", "authorization"},
	"basic":              {`curl -H 'Authorization: Basic %s' x`, "Ym9iOmh1bnRlcg==", "authorization"},
	"bare authorization": {`curl -H 'authorization: %s'`, "abc", "authorization"},
	"digest":             {`curl -H 'Authorization: Digest %s'`, `username="bob", response="0a1b"`, "authorization"},
	"json authorization": {`{\"Authorization\": \"Bearer %s\"}`, "CANARYVALUE", "authorization"},
	"x-api-key":          {`curl -H "x-api-key: %s"`, "abcdefgh", "value"},
	"private-token":      {`curl -H 'PRIVATE-TOKEN: %s'`, "abcdefgh", "value"},
	"cookie":             {`curl -H 'Cookie: %s'`, "sid=abc; b=c", "cookie"},
	"curl user":          {"curl -s -u bob:%s https://x.example", "hunter2", "password"},
	"curl proxy":         {"curl -U bob:%s https://x.example", "hunter2", "password"},
	"curl after a query": {"curl 'http://x.example/?a=1&b=2' -u bob:%s", "hunter2", "password"},
	"sshpass":            {"sshpass -p %s ssh x", "hunter2", "password"},
	"assignment":         {"NOTION_API_KEY=%s python3 x.py", "short1", "value"},
	"export":             {"export DB_PASSWORD=%s; x", "hunter2", "value"},
	"double quotes":      {`TOKEN="%s" x`, "two words", "value"},
	"single quotes":      {`TOKEN='%s' x`, "two words", "value"},
	"quotes in quotes":   {`eval 'TOKEN='\''%s'\'' x'`, "two words", "value"},
	"dollar quotes":      {`TOKEN=$'%s' x`, "two words", "value"},
	"a dollar literally": {`PASSWORD='%s' x`, "$ecret99", "value"},
	"no end of quotes":   {`TOKEN="%s`, "two words", "value"},
	"escaped blank":      {`TOKEN=%s x`, `two\ words`, "value"},
	"joined quotes":      {`TOKEN=%s x`, `abc"def"'ghi'`, "value"},
	"json":               {`{"user":"bob","password":"%s","x":1}`, "hunter2", "value"},
	"json in quotes":     {`curl -d "{\"client_secret\": \"%s\"}" x`, "hunter2", "value"},
	"json in single":     {`curl -d '{"api_key":"%s"}' x`, "hunter2", "value"},
	"camel case":         {`{"accessToken": "%s"}`, "hunter2", "value"},
	"yaml":               {"db:\n  password: %s\n", "hunter", "value"},
	"flag with equals":   {"x --token=%s y", "hunter2", "value"},
	"flag":               {"x --password %s y", "hunter2", "value"},
	"go flag":            {"x -api-key %s y", "hunter2", "value"},
	"quoted flag":        {`x --client-secret "%s" y`, "two words", "value"},
}

func TestSecretsAreReplaced(t *testing.T) {
	for name, tt := range secrets {
		t.Run(name, func(t *testing.T) {
			in := fmt.Sprintf(tt.text, tt.secret)
			got := salted.String(in)
			if strings.Contains(got, tt.secret) || !strings.Contains(got, "[redacted:"+tt.kind+":") {
				t.Errorf("got %s", got)
			}
			before, after, _ := strings.Cut(tt.text, "%s")
			if strings.Contains(before, "=") && tt.kind == "value" { // the name stays readable
				before = before[:strings.LastIndex(before, "=")]
			}
			if !strings.HasPrefix(got, strings.TrimRight(before, `"'\ $`)) || !strings.HasSuffix(got, strings.TrimLeft(after, `"'\`)) {
				t.Errorf("more than the secret is gone: %s", got)
			}
			if again := salted.String(got); again != got {
				t.Errorf("redacting twice changes\n%s\n%s", got, again)
			}
		})
	}
}

func TestOrdinaryTextStaysAsItIs(t *testing.T) {
	for _, s := range []string{
		"",
		"ls -la /etc/passwd",
		"cd /tmp && pwd; PWD=/tmp ls",
		"python3 scripts/weather.py Graz --units metric",
		"sort --key=2,2n -t: /etc/passwd",
		"sort --key 2 file",
		"curl -s 'https://wttr.in/London?format=3'",
		"curl -fsSL https://example.com/a/b.tar.gz -o /tmp/x.tgz",
		"git commit -m 'fix the token: refresh it when old'",
		"git clone https://github.com/openclaw/openclaw.git",
		"git clone git@github.com:openclaw/openclaw.git",
		"docker run -u 1000:1000 -v /etc/passwd:/etc/passwd:ro -e FOO=bar alpine:3.20",
		"docker pull corp/secret:latest",
		"curl -s http://x.example && docker run -u 1000:1000 x; docker run --user 1:1 y",
		"NOTION_KEY=$(cat ~/.config/notion/api_key); curl -H \"x-api-key: $NOTION_KEY\" https://api.notion.com",
		"export OPENAI_API_KEY=\"$KEY\"",
		"TOKEN=`cat t`",
		"SSH_AUTH_SOCK=/tmp/ssh-x/agent.1 ssh host",
		"ssh -i ~/.ssh/id_ed25519 -o IdentitiesOnly=yes host",
		"openssl req --private-key ./server.pem",
		"ffmpeg -i in.mp4 -pass 1 out.mp4",
		"jq -r '.key, .token' x.json",
		"node --max-tokens 100 --token-limit=5 a.js",
		"PRIMARY_KEY=id SORT_KEY=name x",
		"python3 -c \"import os; token = os.environ['TOKEN']\"",
		"node -e 'const apiKey = process.env.API_KEY'",
		"tar czf a.tgz --exclude=.git src",
		"for i in 1 2 3; do echo $i; done",
		"find . -name '*.go' -newer go.mod -exec grep -l TODO {} +",
		"echo 'a: b, c: d' | awk -F: '{print $2}'",
		"the bearer bonds were redeemed",
		"https://example.com/search?country_code=de&monkey=1&author=bob",
		"psql -h localhost -U bob -d shop -c 'select primary_key from t where id=3'",
		"[redacted:api-key:0a1b2c3d]",
		"export PATH='/usr/local/bin:/usr/bin:/bin'",
		"if [ -r '/home/dev/.openclaw/cache/shell-snapshots/ab12.sh' ]; then . '/home/dev/.openclaw/cache/shell-snapshots/ab12.sh'; fi",
		"class=sk-toggleable__content-arrow sk-estimator-doc-link",
		"password=**** token=<your token> secret=xxx",
		"TOKEN_FILE=/run/secrets/t SECRET_NAME=db",
		"grüße, 世界 🎉",
		"\x00\xff binary",
	} {
		if got := salted.String(s); got != s {
			t.Errorf("changed\n%s\n%s", s, got)
		}
	}
}

func TestArgsSeeTheFlagBefore(t *testing.T) {
	tests := []struct{ in, clear []string }{
		{[]string{"x", "--password", "hunter2", "y"}, []string{"x", "--password", "", "y"}},
		{[]string{"x", "--token", "two words", "y"}, []string{"x", "--token", "", "y"}},
		{[]string{"x", "--api-key=hunter2"}, []string{"x", "--api-key="}},
		{[]string{"/usr/bin/curl", "-u", "bob:hunter2", "http://x"}, []string{"/usr/bin/curl", "-u", "bob:", "http://x"}},
		{[]string{"bash", "-c", "curl -H 'Authorization: Bearer hunter2hunter2'"}, []string{"bash", "-c", "curl -H 'Authorization: Bearer "}},
		{[]string{"docker", "run", "-u", "1000:1000", "x"}, []string{"docker", "run", "-u", "1000:1000", "x"}},
		{[]string{"x", "--key", "a.pem", "--token", "$TOKEN"}, []string{"x", "--key", "a.pem", "--token", "$TOKEN"}},
		{nil, nil},
	}
	for _, tt := range tests {
		in := slices.Clone(tt.in)
		got := salted.Args(in)
		if !slices.Equal(in, tt.in) {
			t.Error("the arguments given were changed")
		}
		for i := range tt.clear {
			if strings.Contains(got[i], "hunter") || strings.Contains(got[i], "two") || !strings.HasPrefix(got[i], tt.clear[i]) {
				t.Errorf("%q: got %q", tt.in, got)
			}
		}
		if len(got) != len(tt.in) {
			t.Errorf("%q: got %d arguments", tt.in, len(got))
		}
	}
}

func TestADigestDependsOnTheSalt(t *testing.T) {
	const s = "--password hunter2"
	if salted.String(s) != New([]byte("a salt for tests")).String(s) {
		t.Error("the same salt gives two digests")
	}
	if salted.String(s) == New([]byte("another")).String(s) {
		t.Error("two salts give the same digest")
	}
	salt := []byte("changed later")
	r := New(salt)
	before := r.Digest("x")
	if salt[0] = 'C'; r.Digest("x") != before {
		t.Error("the redactor shares the salt with its caller")
	}
}

func TestWhatIsFoundHasTheDigestOfItsMark(t *testing.T) {
	for name, tt := range secrets {
		in := fmt.Sprintf(tt.text, tt.secret)
		out, byLook := salted.String(in), false
		salted.Find(in, func(kind, digest string) {
			byLook = true
			if !strings.Contains(out, "[redacted:"+kind+":"+digest+"]") {
				t.Errorf("%s: found %s %s, and %s", name, kind, digest, out)
			}
		})
		named := slices.Contains([]string{"value", "password", "authorization", "cookie"}, tt.kind) || strings.HasPrefix(tt.kind, "url-")
		if byLook == named {
			t.Errorf("%s (%s): found %v", name, tt.kind, byLook)
		}
	}
	for _, name := range []string{"secret_manager_client_version_2_beta", "fw_update_handler_v2_final_release", "sk-mock-secret-1234567890"} {
		salted.Find("x "+name+" y", func(kind, _ string) { t.Errorf("the name %s is told of as %s", name, kind) })
	}
	var digests []string
	salted.Find("4111 1111 1111 1111, 4111"+"111111111111", func(_, digest string) { digests = append(digests, digest) })
	if len(digests) != 2 || digests[0] != digests[1] {
		t.Errorf("one card, written in two ways, gives %v", digests)
	}
}

func TestWhatTheOperatorDescribesIsTakenOut(t *testing.T) {
	r := New([]byte("a salt for tests"))
	describe := func(name, text string) sensitive.Pattern {
		re, err := sensitive.Expression(text)
		if err != nil {
			t.Fatal(err)
		}
		return sensitive.NewPattern(name, re)
	}
	const in = "EMP-123456 works on Falcon, not on falconry"
	if got := r.String(in); got != in {
		t.Errorf("before: %s", got)
	}
	r.Describe([]sensitive.Pattern{describe("employee", `\bEMP-\d{6}\b`), describe("project-1", `(?i)\bfalcon\b`), describe("hex", `[0-9a-f]{8}`)})
	got := r.String(in)
	if strings.Contains(got, "123456") || strings.Contains(got, "Falcon,") || !strings.Contains(got, "falconry") || strings.Count(got, "[redacted:") != 2 {
		t.Errorf("got %s", got)
	}
	if again := r.String(got); again != got {
		t.Errorf("redacting twice changes\n%s\n%s", got, again)
	}
	if got := fmt.Sprint(r.Args([]string{"curl", "EMP-123456", "-u", "EMP-123456:pass"})); strings.Contains(got, "123456") {
		t.Errorf("got %q", got)
	}
	r.Describe(nil)
	if got := r.String(in); got != in {
		t.Errorf("after: %s", got)
	}
}

func TestSanitize(t *testing.T) {
	tests := []struct {
		in    string
		limit int
		want  string
	}{
		{"plain text", 100, "plain text"},
		{"grüße, 世界", 100, "grüße, 世界"},
		{"a\nb\tc\r", 100, `a\nb\tc\r`},
		{"\x1b[31mred\x1b]0;title\x07", 100, `\x1b[31mred\x1b]0;title\a`},
		{"\u202egpj.exe", 100, `\u202egpj.exe`},
		{"a\u200bb\ufeff\u2028", 100, `a\u200bb\ufeff\u2028`},
		{"bad \xff\xc3 utf", 100, `bad \xff\xc3 utf`},
		{"\u0085\u009b31m\x7f\x00", 100, `\u0085\u009b31m\x7f\x00`},
		{"\U000e0041", 100, `\U000e0041`},
		{`back\slash`, 100, `back\slash`},
		{"exactly", 7, "exactly"},
		{"too long by far", 10, "too lon…"},
		{"äöüäöü", 8, "äö…"},
		{"\n\n\n", 6, `\n\n\n`},
		{"\n\n\n", 5, `\n…`},
		{"abc", 2, ""},
		{"abc", 0, ""},
	}
	for _, tt := range tests {
		if got := Sanitize(tt.in, tt.limit); got != tt.want {
			t.Errorf("Sanitize(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

func FuzzNoPlantedSecretGetsThrough(f *testing.F) {
	f.Add("ls -l;", "| cat")
	f.Add("x='", "' y")
	f.Add(`{"a": "`, `"}`)
	f.Add("token=", "&b=c")
	f.Add("curl -u a:", "@x")
	f.Fuzz(func(t *testing.T, before, after string) {
		for name, tt := range secrets {
			if tt.kind == "private-key" && strings.Contains(tt.secret+after, "END") != strings.Contains(tt.secret, "END") {
				continue // the text around it ends the key early
			}
			in := before + "\n" + fmt.Sprintf(tt.text, tt.secret) + "\n" + after
			if got := salted.String(in); strings.Contains(got, tt.secret) && !strings.Contains(before+after, tt.secret) {
				t.Errorf("%s: %q gives %q", name, in, got)
			}
		}
	})
}

func FuzzSanitize(f *testing.F) {
	f.Add("a\x1b[0m\u202e\xff", 9)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		got := Sanitize(s, limit)
		if !utf8.ValidString(got) || len(got) > max(limit, 0) {
			t.Errorf("%q", got)
		}
		for _, r := range got {
			if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				t.Errorf("%q has %U", got, r)
			}
		}
	})
}

func BenchmarkString(b *testing.B) {
	wrapper := "if [ -r '/home/dev/.openclaw/cache/shell-snapshots/0123456789abcdef.sh' ]; then . '/home/dev/.openclaw/cache/shell-snapshots/0123456789abcdef.sh'; fi\n" +
		"export PATH='" + strings.Repeat("/usr/local/bin:/home/dev/.local/bin:", 15) + "/usr/bin'\neval 'export PATH=\"${OPENCLAW_PREPEND_PATH}${PATH:+:$PATH}\"; unset OPENCLAW_PREPEND_PATH; python3 scripts/weather.py Graz'"
	for name, s := range map[string]string{
		"path":    "/usr/lib/x86_64-linux-gnu/libc.so.6",
		"command": "curl -s 'https://wttr.in/London?format=3' -o /tmp/x",
		"wrapper": wrapper,
		"secret":  "curl -s -H 'Authorization: Bearer hunter2hunter2' https://api.notion.com/v1/search?key=abcdef",
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			b.ReportAllocs()
			for b.Loop() {
				salted.String(s)
			}
		})
	}
}
