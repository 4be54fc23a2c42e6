package redact

import (
	"regexp"
	"strings"
)

// tokens are keys and tokens that are known by what they look like, in the order
// in which they are looked for: what is surest first.
var tokens = []shape{
	{
		kind: "private-key", hints: []string{"private key"},
		re: regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|$)`),
	},
	{kind: "age-key", hints: []string{"age-secret-key-"}, re: regexp.MustCompile(`(?i)AGE-SECRET-KEY-1[A-Z0-9]{20,}`)},
	{kind: "anthropic-key", hints: []string{"sk-ant-"}, re: regexp.MustCompile(`sk-ant-[A-Za-z0-9_-]{8,}`)},
	{kind: "api-key", hints: []string{"sk-"}, re: regexp.MustCompile(`\bsk-[A-Za-z0-9_-]{16,}`), accept: hasDigit, words: true},
	{kind: "github-token", hints: []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"}, re: regexp.MustCompile(`\bgh[pousr]_[A-Za-z0-9]{16,}`)},
	{kind: "github-token", hints: []string{"github_pat_"}, re: regexp.MustCompile(`github_pat_[A-Za-z0-9_]{16,}`)},
	{kind: "gitlab-token", hints: []string{"glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glsoat-"}, re: regexp.MustCompile(`\bgl(?:pat|dt|rt|ptt|cbt|soat)-[A-Za-z0-9_.-]{16,}`)},
	{kind: "slack-token", hints: []string{"xox", "xapp-"}, re: regexp.MustCompile(`\b(?:xox[a-z](?:\.xox[a-z])?|xapp)-[A-Za-z0-9-]{10,}`)},
	{kind: "slack-webhook", hints: []string{"hooks.slack.com"}, group: 1, re: regexp.MustCompile(`(?i)hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_+-]+)`)},
	{kind: "discord-webhook", hints: []string{"/webhooks/"}, group: 1, re: regexp.MustCompile(`(?i)discord(?:app)?\.com/api/(?:v\d+/)?webhooks/(\d+/[A-Za-z0-9_-]+)`)},
	{kind: "teams-webhook", hints: []string{"webhook.office.com"}, group: 1, re: regexp.MustCompile(`(?i)webhook\.office\.com/(webhookb2/[A-Za-z0-9/@_-]+)`)},
	{kind: "telegram-token", hints: []string{":aa"}, re: regexp.MustCompile(`\d{8,10}:AA[A-Za-z0-9_-]{33}`)},
	{kind: "discord-token", hints: []string{"."}, run: 58, re: regexp.MustCompile(`\b[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}`)},
	{kind: "aws-key-id", hints: []string{"akia", "asia"}, re: regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`)},
	{kind: "google-key", hints: []string{"aiza", "gocspx-", "ya29."}, re: regexp.MustCompile(`\b(?:AIza[A-Za-z0-9_-]{30,}|GOCSPX-[A-Za-z0-9_-]{20,}|ya29\.[A-Za-z0-9_-]{20,})`)},
	{kind: "jwt", hints: []string{"eyj"}, re: regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*`)},
	{kind: "huggingface-token", hints: []string{"hf_"}, re: regexp.MustCompile(`\bhf_[A-Za-z0-9]{20,}`)},
	{kind: "npm-token", hints: []string{"npm_"}, re: regexp.MustCompile(`\bnpm_[A-Za-z0-9]{30,}`)},
	{kind: "pypi-token", hints: []string{"pypi-"}, re: regexp.MustCompile(`\bpypi-[A-Za-z0-9_-]{30,}`)},
	{kind: "stripe-key", hints: []string{"_live_", "_test_", "whsec_"}, re: regexp.MustCompile(`\b(?:[srp]k_(?:live|test)_|whsec_)[A-Za-z0-9]{16,}`)},
	{kind: "sendgrid-key", hints: []string{"sg."}, re: regexp.MustCompile(`\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`)},
	{
		kind: "api-key", hints: []string{"gsk_", "xai-", "r8_", "pplx-", "tvly-", "ntn_", "lin_api_", "dop_v1_", "shpat_", "shpss_", "secret_", "hvs.", "dp.pt.", "fw_"},
		re: regexp.MustCompile(`\b(?:gsk_|xai-|r8_|pplx-|tvly-|ntn_|lin_api_|dop_v1_|shpat_|shpss_|secret_|hvs\.|dp\.pt\.|fw_)[A-Za-z0-9_-]{20,}`), accept: hasDigit, words: true,
	},
}

// settings are what stands where a secret would, whatever it looks like. Secrets
// known by a name alone come after all of these; see named.go.
var settings = []shape{
	{kind: "url-password", hints: []string{"://"}, and: "@", group: 1, re: regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#:@"'<>\[]*:([^\s/?#"'<>]+)@`), accept: plainValue},
	{kind: "url-user", hints: []string{"://"}, and: "@", group: 1, re: regexp.MustCompile(`(?i)\bhttps?://([^\s/?#:@"'<>]{16,})@`), accept: plainValue},
	{
		kind: "url-parameter", hints: []string{"key", "token", "sig", "pass", "pwd", "secret", "auth", "code", "credential", "session"}, and: "=", group: 2,
		re:     regexp.MustCompile(`(?i)[?&;]([a-z0-9_.-]*(?:key|token|sig|signature|pass|passwd|password|pwd|secret|auth|code|credential|session|sessionid))=([^\s&#"'<>;|]+)`),
		accept: func(m []string) bool { return urlParameter(m[1]) && isValue(m[2], false) },
	},

	{
		kind: "authorization", hints: []string{"authorization"}, group: 1,
		re: regexp.MustCompile(`(?i)\bauthorization\\*["']?\s*[:=]\s*\\*["']?(?:digest|aws4-hmac-sha256)\s+([^'\r\n]+)`), accept: plainValue,
	},
	{
		kind: "authorization", hints: []string{"authorization"}, group: 1,
		re: regexp.MustCompile(`(?i)\b(?:proxy-)?authorization\\*["']?\s*[:=]\s*\\*["']?(?:(?:bearer|basic|token|negotiate|apikey|bot|digest|aws4-hmac-sha256)\s+)?([^\s"'\\]+)`), accept: plainValue,
	},
	{kind: "bearer", hints: []string{"bearer"}, group: 1, re: regexp.MustCompile(`(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{8,})`), accept: tokenLike},
	{kind: "cookie", hints: []string{"cookie"}, group: 1, re: regexp.MustCompile(`(?i)\b(?:set-)?cookie\\*["']?\s*:\s*([^"'\r\n\\]+)`), accept: plainValue},
	{kind: "password", hints: []string{" -u", " --user"}, and: "curl", group: 1, re: regexp.MustCompile(`\bcurl\b(?:[^\n;|&]|[;|&][^\s;|&])*?\s(?:-u|--user)[ =]?["']?[^\s:"']+:([^\s"']+)`), accept: plainValue},
	{kind: "password", hints: []string{" -u", " --proxy-user"}, and: "curl", group: 1, re: regexp.MustCompile(`\bcurl\b(?:[^\n;|&]|[;|&][^\s;|&])*?\s(?:-U|--proxy-user)[ =]?["']?[^\s:"']+:([^\s"']+)`), accept: plainValue},
	{kind: "password", hints: []string{"sshpass"}, group: 1, re: regexp.MustCompile(`\bsshpass\s+-p\s*["']?([^\s"']+)`), accept: plainValue},
}

func hasDigit(m []string) bool { return strings.ContainsAny(m[0], "0123456789") }

// tokenLike tells "bearer eyJh…" from "bearer bonds".
func tokenLike(m []string) bool { return len(m[1]) >= 20 || strings.ContainsAny(m[1], "0123456789") }

func plainValue(m []string) bool { return isValue(m[1], false) }

// urlParameter accepts a name for what it is as a whole: country_code=de and
// monkey=1 stay.
func urlParameter(name string) bool {
	name = strings.ToLower(name)
	if name == "code" || name == "sig" || name == "signature" || name == "session" || name == "sessionid" || name == "key" || name == "auth" {
		return true
	}
	if strings.HasSuffix(name, "-signature") || strings.HasSuffix(name, "-credential") {
		return true
	}
	return secretName(name) == yes
}
