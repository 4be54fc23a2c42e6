package docs

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/clawwatch/clawwatch/internal/agent"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
	"github.com/clawwatch/clawwatch/rules"
)

var update = flag.Bool("update", false, "write the generated pages")

// The reference pages are made from the code that they are about.
func TestGeneratedPagesAreCurrent(t *testing.T) {
	for name, page := range map[string]string{
		"configuration.md": configurationPage(t), "policy.md": policyPage(t), "events.md": eventsPage(t), "alerts.md": alertsPage(t),
	} {
		if *update {
			if err := os.WriteFile(name, []byte(page), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != page {
			t.Errorf("%s is not what the code gives; run: make docs", name)
		}
	}
}

// A source is the declarations of one package, with their comments.
type source struct {
	types map[string]*ast.TypeSpec
	docs  map[string]string // of types
	funcs []*ast.FuncDecl
}

func parse(t *testing.T, dir string) source {
	t.Helper()
	s := source{map[string]*ast.TypeSpec{}, map[string]string{}, nil}
	names, err := fs.Glob(os.DirFS(dir), "*.go")
	if err != nil || len(names) == 0 {
		t.Fatalf("no source in %s: %v", dir, err)
	}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), dir+"/"+name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				s.funcs = append(s.funcs, d)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if ts, ok := spec.(*ast.TypeSpec); ok {
						s.types[ts.Name.Name] = ts
						s.docs[ts.Name.Name] = cmp.Or(ts.Doc.Text(), d.Doc.Text())
					}
				}
			}
		}
	}
	return s
}

// A field is one key of a struct.
type field struct{ key, kind, typ, comment string }

// fields lists the keys that a struct has under a tag.
func (s source) fields(t *testing.T, name, tag string) []field {
	t.Helper()
	spec := s.types[name]
	if spec == nil {
		t.Fatalf("there is no type %s", name)
	}
	var all []field
	for _, f := range spec.Type.(*ast.StructType).Fields.List {
		if f.Tag == nil {
			continue
		}
		key, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get(tag), ",")
		if key == "" || key == "-" {
			continue
		}
		typ := typeName(f.Type)
		all = append(all, field{key, kindOf(typ), typ, strings.Join(strings.Fields(f.Comment.Text()), " ")})
	}
	return all
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.ArrayType:
		return "[]" + typeName(e.Elt)
	case *ast.IndexExpr: // yamlfile.List[T]
		return "[]" + typeName(e.Index)
	}
	return fmt.Sprintf("%T", e)
}

// kindOf says a Go type in the words of JSON and YAML.
func kindOf(typ string) string {
	if item, ok := strings.CutPrefix(typ, "[]"); ok {
		return "list of " + kindOf(item)
	}
	switch typ {
	case "string", "HostName", "Pattern", "NamePart", "Digest", "CIDR", "Access", "Content", "Kind", "Source", "Role", "Confidence", "Severity", "Transport", "EnvMethod", "AccessMethod", "ScriptSource", "EvidenceSource", "Place", "Expression", "Version", "CanaryText":
		return "text"
	case "int", "int32", "int64", "uint16", "uint32", "uint64":
		return "number"
	case "bool":
		return "true or false"
	case "Size", "RingSize":
		return "size"
	case "Duration":
		return "duration"
	case "Time":
		return "time"
	}
	return "object"
}

// prose turns the text of a doc comment into Markdown.
func prose(text string) string {
	var b strings.Builder
	code := false
	for line := range strings.Lines(strings.TrimSpace(text) + "\n") {
		if indented := strings.HasPrefix(line, "\t"); indented != code && strings.TrimSpace(line) != "" {
			b.WriteString("```\n")
			code = indented
		}
		b.WriteString(strings.TrimPrefix(line, "\t"))
	}
	if code {
		b.WriteString("```\n")
	}
	return b.String()
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

const generated = "<!-- Generated from the code by `make docs`; do not edit. -->\n\n"

func configurationPage(t *testing.T) string {
	var b strings.Builder
	b.WriteString("# Configuration\n\n" + generated)
	b.WriteString(`The agent reads ` + "`" + agent.DefaultConfig + "`" + ` and then the files of ` + "`conf.d/*.yaml`" + ` beside it, in the order of their names. Each
is read over what came before: what a file does not mention keeps its value, and a list replaces the list before it. None of the files
needs to exist. A key that is not known is a mistake, and a configuration with a mistake is not run.

Some keys have a flag of ` + "`clawwatch run`" + ` that goes before any file: ` + "`--policy`, `--rules` (`rules_dir`), `--state-dir`, `--socket`" + ` and
` + "`--otlp`" + `, which adds a receiver.

- ` + "`clawwatch config check`" + ` reports every mistake with its place. ` + "`clawwatch config show`" + ` prints the effective values and where each is from.
- Policy and rules are read again when their files change, and on SIGHUP. The configuration itself is read once: after a change, restart the agent.
- Sizes are written ` + "`10MB`, `500kB` (1000s) or `1GiB`" + ` (1024s); durations ` + "`30d`, `12h`, `5m`" + `.

`)
	defaults := map[string]string{}
	for _, s := range agent.DefaultConfiguration().Settings(nil) {
		defaults[s.Key] = s.Value
	}
	src := parse(t, "../internal/agent")
	var section func(title, typ, prefix string)
	section = func(title, typ, prefix string) {
		fmt.Fprintf(&b, "## %s\n\n| key | type | default | meaning |\n|---|---|---|---|\n", title)
		var nested [][3]string
		for _, f := range src.fields(t, typ, "yaml") {
			item := strings.TrimPrefix(f.typ, "[]")
			if f.comment == "" {
				t.Errorf("%s of %s has no comment", f.key, typ)
			}
			value := "`" + defaults[prefix+f.key] + "`"
			switch {
			case value != "``":
			case f.kind == "true or false":
				value = "`false`"
			default:
				value = "none"
			}
			if src.types[item] != nil && f.kind != "size" && f.kind != "duration" {
				nested = append(nested, [3]string{"`" + prefix + f.key + "`", item, prefix + f.key + "."})
				if f.kind == "object" {
					value = "see below"
				}
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.key, f.kind, value, cell(f.comment))
		}
		b.WriteString("\n")
		for _, n := range nested {
			section(n[0], n[1], n[2])
		}
	}
	section("Keys", "Config", "")
	return b.String()
}

func policyPage(t *testing.T) string {
	var b strings.Builder
	b.WriteString("# Policy\n\n" + generated)
	src := parse(t, "../internal/policy")
	b.WriteString("A policy says what skills may do: where they may connect to, which files are whose business, which skills were vetted, and how much is too\n" +
		"much. A policy file is read over the built-in policy, which stands at the end of this page.\n\n" +
		"- What a file does not mention keeps its default. A list replaces the default's list; `extend:` with a list adds to it.\n" +
		"- `clawwatch config check --policy FILE` reports every mistake with its place.\n" +
		"- A changed policy is taken in within two seconds. One with a mistake is rejected: the old one stays in force, and the alert\n" +
		"  `configuration-rejected` is raised.\n\n")
	var section func(key, typ string)
	section = func(key, typ string) {
		fmt.Fprintf(&b, "## %s\n\n%s\n", key, prose(src.docs[typ]))
		b.WriteString("| key | type | meaning |\n|---|---|---|\n")
		var nested []field
		for _, f := range src.fields(t, typ, "yaml") {
			item := strings.TrimPrefix(f.typ, "[]")
			meaning := f.comment
			if spec := src.types[item]; spec != nil {
				if _, ok := spec.Type.(*ast.StructType); ok && f.kind != "text" && f.kind != "list of text" {
					nested = append(nested, field{key: key + "." + f.key, typ: item})
					meaning = strings.TrimSpace(meaning + " see below")
				} else if meaning == "" {
					meaning = "see " + item + " below"
				}
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.key, f.kind, cell(meaning))
		}
		b.WriteString("\n")
		done := map[string]bool{}
		for _, n := range nested {
			if !done[n.typ] {
				section(n.key, n.typ)
			}
			done[n.typ] = true
		}
	}
	for _, f := range src.fields(t, "Policy", "yaml") {
		if f.key != "version" {
			section(f.key, strings.TrimPrefix(f.typ, "[]"))
		}
	}
	b.WriteString("## Values\n\n")
	for _, typ := range []string{"Pattern", "HostName", "CIDR", "Access", "Content", "Digest", "Version", "NamePart", "Size", "Expression", "CanaryText"} {
		b.WriteString(prose(src.docs[typ]) + "\n")
	}
	b.WriteString("## The built-in policy\n\n```yaml\n" + string(policy.DefaultYAML()) + "```\n")
	return b.String()
}

func eventsPage(t *testing.T) string {
	var b strings.Builder
	src := parse(t, "../internal/event")
	b.WriteString("# Events and alerts\n\n" + generated)
	b.WriteString("What `clawwatch events --json`, `clawwatch alerts --json` and the file of `jsonl` hold: one object a line. What is not known is absent, never\n" +
		"zero. How the same is named over OTLP is in [SIEM](siem.md). An object that comes again with the same `id` and `amended` replaces the one before.\n\n## Kinds\n\n| kind | what happened |\n|---|---|\n")
	about := kindsOf(t, src)
	for _, k := range slices.Sorted(mapsKeys(about)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", k, cell(about[k]))
	}
	b.WriteString("\n")
	for _, typ := range []string{"Record", "Process", "Executable", "Script", "Namespaces", "User", "Ancestor", "File", "Network", "Env", "Accessed", "Target", "Tool", "Effects", "LLM", "Sensitive", "Session", "SkillChange", "Declared", "SkillID", "Gateway", "Sensor", "Limited", "Attribution", "Evidence", "Alert", "RuleRef"} {
		fmt.Fprintf(&b, "## %s\n\n%s\n| field | type | meaning |\n|---|---|---|\n", typ, prose(src.docs[typ]))
		for _, f := range src.fields(t, typ, "json") {
			kind := f.kind
			if strings.HasSuffix(kind, "object") {
				name := strings.TrimPrefix(f.typ, "[]")
				kind = strings.Replace(kind, "object", fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name)), 1)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.key, kind, cell(f.comment))
		}
		b.WriteString("\n")
	}
	profiles(t, &b)
	b.WriteString("## Confidence\n\n| value | meaning |\n|---|---|\n")
	for _, c := range []event.Confidence{event.Certain, event.Strong, event.Weak, event.Ambiguous, event.None} {
		fmt.Fprintf(&b, "| `%s` | %s |\n", c, map[event.Confidence]string{
			event.Certain: "would stand in an incident review", event.Strong: "one candidate, and nothing speaks against it",
			event.Weak: "one candidate, by circumstance", event.Ambiguous: "several fit: see `candidates`", event.None: "gateway or session known, skill not",
		}[c])
	}
	return b.String()
}

// profiles documents what `clawwatch skills NAME --json` prints: the fields of
// the inventory, and those of the profile.
func profiles(t *testing.T, b *strings.Builder) {
	src := parse(t, "../internal/store")
	fmt.Fprintf(b, "## Profile\n\nWhat `clawwatch skills NAME --json` prints, for each directory that has a skill of this name. %s\n| field | type | meaning |\n|---|---|---|\n", prose(src.docs["Profile"]))
	for _, typ := range []string{"Skill", "Profile", "Compared", "Use"} {
		if typ == "Compared" || typ == "Use" {
			fmt.Fprintf(b, "\n## %s\n\n%s\n| field | type | meaning |\n|---|---|---|\n", typ, prose(src.docs[typ]))
		}
		for _, f := range src.fields(t, typ, "json") {
			kind := f.kind
			if strings.HasSuffix(kind, "object") {
				name := strings.TrimPrefix(f.typ, "[]")
				kind = strings.Replace(kind, "object", fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name)), 1)
			}
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.key, kind, cell(f.comment))
		}
	}
	b.WriteString("\n")
}

func mapsKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// kindsOf maps each kind to what its body's comment says.
func kindsOf(t *testing.T, src source) map[string]string {
	t.Helper()
	constants := map[string]string{}
	file, err := parser.ParseFile(token.NewFileSet(), "../internal/event/event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 && strings.HasPrefix(v.Names[0].Name, "Kind") {
			if lit, ok := v.Values[0].(*ast.BasicLit); ok {
				constants[v.Names[0].Name] = strings.Trim(lit.Value, `"`)
			}
		}
		return true
	})
	said := func(typ string) string {
		text := strings.Join(strings.Fields(src.docs[typ]), " ")
		for _, begin := range []string{typ + " says that ", "A " + typ + " ", typ + " is ", typ + " says "} {
			if rest, ok := strings.CutPrefix(text, begin); ok {
				text = rest
				break
			}
		}
		return strings.ReplaceAll(strings.ReplaceAll(text, "Event.Proc", "the process"), "The pipeline derives it from execs and opens.", "Derived from execs and opens.")
	}
	about := map[string]string{
		"file.create":     "a file was opened that did not exist, or a directory, device or pipe was made",
		"skill.present":   "a skill was there when the agent first looked",
		"skill.installed": "a skill came while the agent watched",
		"skill.updated":   "the files of a skill changed",
		"skill.removed":   "a skill went",
		"file.open":       said("FileOpen"),
		"file.read":       "what a process read of a file, or mapped, in the last seconds; the time is that of the first of it",
	}
	for _, f := range src.funcs {
		if f.Name.Name != "Kind" || f.Recv == nil || len(f.Body.List) != 1 {
			continue
		}
		ret, ok := f.Body.List[0].(*ast.ReturnStmt)
		if !ok {
			continue
		}
		if name, ok := ret.Results[0].(*ast.Ident); ok {
			about[constants[name.Name]] = said(typeName(f.Recv.List[0].Type))
		}
	}
	about["file.write"] = "what a process wrote to a file, or mapped for it, in the last seconds; or that it was truncated (`operation`)"
	for _, kind := range constants {
		if about[kind] == "" {
			t.Errorf("nothing says what %s is", kind)
		}
	}
	for _, kind := range []event.Kind{event.KindCandidate, event.KindLeft, event.KindToolPhase, event.KindDigest, event.KindPrompt} {
		delete(about, string(kind)) // never leaves the agent
	}
	return about
}

func alertsPage(t *testing.T) string {
	var b strings.Builder
	b.WriteString("# Alerts\n\n" + generated)
	b.WriteString("One section for each built-in rule: what it means, what to look at, and how to tune it. `clawwatch rules explain NAME` says the same on the\n" +
		"host, for rules of your own too.\n\n" +
		"Whatever the alert, begin with these:\n\n" +
		"1. `clawwatch why ID` shows the event, the skill it is attributed to, how sure that is, and the evidence.\n" +
		"2. `clawwatch tree --skill NAME` shows the processes, with the files and connections of each.\n" +
		"3. `clawwatch events --session ID` shows what else was done in that conversation, and `clawwatch skills` where the skill is from.\n\n" +
		"Where the confidence is not `certain`, look at the evidence before acting on the name of the skill. An intended act is approved in the\n" +
		"[policy](policy.md), for one skill by its name. What the policy has no word for is added to an [exception](rules.md#exceptions-and-overrides)\n" +
		"of the rule; a rule is turned off, or given another severity, by an override there. The built-in files are never edited.\n\n" +
		"| rule | severity | kinds |\n|---|---|---|\n")
	all := rules.Builtin().Rules()
	for _, r := range all {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s |\n", r.Name, r.Name, r.Severity, kinds(r.Kinds))
	}
	for _, r := range all {
		fmt.Fprintf(&b, "\n## %s\n\n%s, on %s. Tags: `%s`.\n\n%s\n\n```\n%s\n```\n", r.Name, r.Severity, kinds(r.Kinds), strings.Join(r.Tags, "` `"), r.Description, r.Condition)
		for _, x := range r.Exceptions {
			fmt.Fprintf(&b, "\nException `%s`, to which values may be added: `%s`.\n", x.Name, strings.Join(x.Fields, "`, `"))
		}
	}
	b.WriteString("\n## Fields\n\nWhat conditions of your own see. What is not known is empty, 0 or false. Messages see the same, and the fields of the last table; how to\n" +
		"write a rule is in [rules of your own](rules.md).\n\n| field | type | meaning |\n|---|---|---|\n")
	src := parse(t, "../rules")
	ruleFields(t, &b, src, "Env", "", "")
	b.WriteString("\n| in messages | type | meaning |\n|---|---|---|\n")
	for _, f := range src.fields(t, "Words", "expr") {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.key, f.kind, cell(f.comment))
	}
	b.WriteString("\n## Functions\n\n| function | true if |\n|---|---|\n")
	for _, f := range rules.Functions() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.Call, cell(f.Meaning))
	}
	b.WriteString("\n## Lists and macros\n\nThose of the built-in rules, which rules of your own may use, and the lists add to.\n")
	for _, w := range rules.Builtin().Words() {
		fmt.Fprintf(&b, "\n`%s`\n```\n%s\n```\n", w.Name, cmp.Or(w.Text, strings.Join(w.List, "\n")))
	}
	return b.String()
}

func ruleFields(t *testing.T, b *strings.Builder, src source, typ, at, about string) {
	for _, f := range src.fields(t, typ, "expr") {
		if f.kind == "object" {
			ruleFields(t, b, src, f.typ, at+f.key+".", f.comment)
			continue
		}
		meaning := f.comment
		if about != "" {
			meaning = strings.TrimSuffix(about+": "+f.comment, ": ")
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", at+f.key, f.kind, cell(meaning))
	}
}

func kinds(all []event.Kind) string {
	names := make([]string, len(all))
	for i, k := range all {
		names[i] = "`" + string(k) + "`"
	}
	return strings.Join(names, " ")
}
