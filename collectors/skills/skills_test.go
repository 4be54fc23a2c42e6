package skills

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/clawwatch/clawwatch/internal/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// sparse makes a file of any size that takes no space.
func sparse(t *testing.T, path string, size int64) {
	t.Helper()
	write(t, path, "")
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

const weather = "---\nname: weather\ndescription: Tell the weather.\nversion: 1.2.0\n---\nNeeds $WEATHER_API_KEY.\n"

// running follows the roots for one gateway until the test ends. next gives the
// next report, and fails where there is none.
func running(t *testing.T, roots ...string) (c *Collector, next func() event.Body) {
	t.Helper()
	c = New(Config{Rest: 20 * time.Millisecond, Rescan: time.Hour})
	ctx, cancel := context.WithCancel(context.Background())
	events, done := make(chan event.Event, 1000), make(chan error, 1)
	go func() { done <- c.Run(ctx, func(e event.Event) { events <- e }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		c.Close()
	})
	c.Follow(event.GatewayFound{ID: "/state", SkillRoots: roots})
	return c, func() event.Body {
		t.Helper()
		select {
		case e := <-events:
			return e.Body
		case <-time.After(30 * time.Second):
			t.Fatal("nothing is reported")
			return nil
		}
	}
}

func skillOf(t *testing.T, b event.Body, change event.Change) event.Skill {
	t.Helper()
	s, ok := b.(event.Skill)
	if !ok || s.Change != change {
		t.Fatalf("got %s %+v, want change %d", b.Kind(), b, change)
	}
	return s
}

func TestASkillsLifeIsTold(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/weather/SKILL.md", weather)
	_, next := running(t, root)
	s := skillOf(t, next(), event.Present)
	if s.ID.Name != "weather" || s.ID.Version != "1.2.0" || s.ID.Root != root || s.ID.Dir != root+"/weather" || s.Gateway != "/state" {
		t.Errorf("present: %+v", s)
	}
	if !slices.Equal(s.EnvNames, []string{"WEATHER_API_KEY"}) || s.OwnerUID != uint32(os.Getuid()) || s.Installed.IsZero() || s.Err != "" {
		t.Errorf("present: %+v", s)
	}
	write(t, root+"/group/notes/SKILL.md", "no frontmatter")
	if n := skillOf(t, next(), event.Installed); n.ID.Name != "notes" {
		t.Errorf("installed: %+v", n)
	}
	write(t, root+"/weather/scripts/w.py", "print()")
	u := skillOf(t, next(), event.Updated)
	if u.Previous != s.ID.SHA256 || u.ID.SHA256 == s.ID.SHA256 {
		t.Errorf("updated: %+v", u)
	}
	if err := os.RemoveAll(root + "/group"); err != nil {
		t.Fatal(err)
	}
	if r := skillOf(t, next(), event.Removed); r.ID.Name != "notes" {
		t.Errorf("removed: %+v", r)
	}
}

func TestARootThatComesLaterIsWatched(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/there/first/SKILL.md", "x")
	_, next := running(t, dir+"/work/.agents/skills", dir+"/here", dir+"/there")
	skillOf(t, next(), event.Present) // the first look is over
	write(t, dir+"/here/a/SKILL.md", "x")
	if s := skillOf(t, next(), event.Installed); s.ID.Name != "a" {
		t.Errorf("%+v", s)
	}
	write(t, dir+"/work/.agents/skills/b/SKILL.md", "x")
	if s := skillOf(t, next(), event.Installed); s.ID.Name != "b" || s.ID.Root != dir+"/work/.agents/skills" {
		t.Errorf("%+v", s)
	}
}

func TestASharedRootIsToldToEachGateway(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/weather/SKILL.md", weather)
	c, next := running(t, root)
	first := skillOf(t, next(), event.Present)
	c.Follow(event.GatewayFound{ID: "/other", SkillRoots: []string{root, "/", "relative"}})
	second := skillOf(t, next(), event.Present)
	if first.Gateway != "/state" || second.Gateway != "/other" || first.ID != second.ID {
		t.Errorf("%+v then %+v", first, second)
	}
	if err := os.RemoveAll(root + "/weather"); err != nil {
		t.Fatal(err)
	}
	got := []string{skillOf(t, next(), event.Removed).Gateway, skillOf(t, next(), event.Removed).Gateway}
	if !slices.Equal(got, []string{"/state", "/other"}) {
		t.Errorf("removed for %v", got)
	}
}

func TestHostileSkillsGiveOneClearErrorAndTheRestWorks(t *testing.T) {
	root := t.TempDir()
	sparse(t, root+"/huge/SKILL.md", 100<<20)
	sparse(t, root+"/heavy/data.bin", maxTreeBytes+1)
	write(t, root+"/heavy/SKILL.md", weather)
	write(t, root+"/noise/SKILL.md", "---\nname: \x00\x01\xff\n")
	write(t, root+"/yaml/SKILL.md", "---\nname: fine\ndescription: a: b: c\n---\n")
	write(t, root+"/bomb/SKILL.md", "---\na: "+strings.Repeat("[", 30000)+"\n---\n")
	write(t, root+"/many/SKILL.md", weather)
	for i := range maxFiles {
		write(t, fmt.Sprintf("%s/many/%d", root, i), "")
	}
	write(t, root+"/pipe/SKILL.md", "")
	os.Remove(root + "/pipe/SKILL.md")
	if err := syscall.Mkfifo(root+"/pipe/SKILL.md", 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, root+"/link/readme", "")
	if err := os.Symlink("/etc/passwd", root+"/link/SKILL.md"); err != nil {
		t.Fatal(err)
	}
	write(t, root+"/good/SKILL.md", weather)
	want := map[string]struct {
		err     string
		partial bool
	}{
		"huge":  {"read SKILL.md: more than 1 MiB", false},
		"heavy": {"hash tree: more than 256 MiB of files", true},
		"noise": {"read SKILL.md: binary", false},
		"yaml":  {"parse frontmatter: no YAML", false},
		"bomb":  {"parse frontmatter: nested too deep", false},
		"many":  {"hash tree: more than 5000 files", true},
		"pipe":  {"want a plain file", false},
		"link":  {"read SKILL.md: ", false},
		"good":  {"", false},
	}
	_, next := running(t, root)
	for range want {
		s := skillOf(t, next(), event.Present)
		w := want[filepath.Base(s.ID.Dir)]
		if (w.err == "") != (s.Err == "") || !strings.Contains(s.Err, w.err) || strings.HasPrefix(s.ID.SHA256, "partial:") != w.partial {
			t.Errorf("%s: %q, %s", filepath.Base(s.ID.Dir), s.Err, s.ID.SHA256)
		}
	}
}

func TestTheHashIsThatOfTheDocumentation(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/SKILL.md", weather)
	write(t, dir+"/b/run.sh", "echo")
	if err := os.Chmod(dir+"/b/run.sh", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../x", dir+"/b.link"); err != nil {
		t.Fatal(err)
	}
	lines := fmt.Sprintf("SKILL.md\x00-\x00%d\x00%x\n", len(weather), sha256.Sum256([]byte(weather))) +
		"b.link\x00l\x004\x00../x\n" +
		fmt.Sprintf("b/run.sh\x00x\x004\x00%x\n", sha256.Sum256([]byte("echo")))
	want := fmt.Sprintf("%x", sha256.Sum256([]byte(lines)))
	hash := func() string {
		t.Helper()
		tree, err := readTree(nil, dir)
		if err != nil {
			t.Fatal(err)
		}
		return tree.read(nil, dir).sha256
	}
	if got := hash(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	write(t, dir+"/.clawhub/origin.json", "{}")
	write(t, dir+"/.git/HEAD", "x")
	if err := os.Chtimes(dir+"/SKILL.md", time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if got := hash(); got != want {
		t.Errorf("metadata or a time changed the hash")
	}
	for _, f := range []string{".clawhub/payload.sh", "b/.git/x", "b/SKILL.md", ".hidden"} {
		write(t, filepath.Join(dir, f), "x")
		if got := hash(); got == want {
			t.Errorf("%s did not change the hash", f)
		}
		if err := os.Remove(filepath.Join(dir, f)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAChangeThatHidesItsTimeIsSeen(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/SKILL.md", "one")
	was, err := os.Stat(dir + "/SKILL.md")
	if err != nil {
		t.Fatal(err)
	}
	before, err := readTree(nil, dir)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/SKILL.md", "two")
	if err := os.Chtimes(dir+"/SKILL.md", was.ModTime(), was.ModTime()); err != nil {
		t.Fatal(err)
	}
	after, err := readTree(nil, dir)
	if err != nil || after.stamp == before.stamp {
		t.Errorf("same stamp, %v", err)
	}
}

func TestSkillsAreFoundWhereOpenClawFindsThem(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/1/2/3/4/5/6/SKILL.md", "")
	write(t, root+"/a/2/3/4/5/6/7/SKILL.md", "")
	write(t, root+"/top/SKILL.md", "")
	write(t, root+"/top/inner/SKILL.md", "")
	write(t, root+"/node_modules/x/SKILL.md", "")
	pkg := t.TempDir()
	write(t, pkg+"/canvas/SKILL.md", "")
	if err := os.Symlink(pkg+"/canvas", root+"/canvas"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, root+"/loop"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range look(nil, root).skills {
		got = append(got, s.dir)
	}
	slices.Sort(got)
	want := []string{root + "/1/2/3/4/5/6", root + "/top", pkg + "/canvas"}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestALinkToAStrangersSkillIsNotFollowed(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("giving files to other users needs root")
		}
		t.Skip("giving files to other users needs root")
	}
	root, victim := t.TempDir(), t.TempDir()
	write(t, victim+"/private/SKILL.md", "")
	if err := os.Chown(victim+"/private", 4242, 4242); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim+"/private", root+"/x"); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(root+"/x", 4343, 4343); err != nil {
		t.Fatal(err)
	}
	if got := look(nil, root).skills; len(got) != 0 {
		t.Errorf("found %s", got[0].dir)
	}
}

func TestInstallersSayWhereASkillCameFrom(t *testing.T) {
	work := t.TempDir()
	at := time.UnixMilli(1795331395011)
	file := func(v any) string { b, _ := json.Marshal(v); return string(b) }
	write(t, work+"/.clawhub/lock.json", file(map[string]any{"version": 1, "skills": map[string]any{"locked": map[string]any{"version": "3.0.0", "installedAt": at.UnixMilli()}}}))
	for name, test := range map[string]struct {
		path, text, installer, version string
	}{
		"hub":    {".clawhub/origin.json", file(map[string]any{"installedVersion": "2.0.1", "installedAt": at.UnixMilli()}), "clawhub", "2.0.1"},
		"legacy": {".clawdhub/origin.json", file(map[string]any{"installedVersion": "0.9", "installedAt": at.UnixMilli()}), "clawhub", "0.9"},
		"local":  {".openclaw/source-origin.json", file(map[string]any{"version": 1, "source": "path", "installedAt": at.UnixMilli()}), "path", "1.2.0"},
		"locked": {"", "", "clawhub", "3.0.0"},
		"copied": {"", "", "", "1.2.0"},
	} {
		dir := filepath.Join(work, "skills", name)
		write(t, dir+"/SKILL.md", weather)
		if test.path != "" {
			write(t, filepath.Join(dir, test.path), test.text)
		}
		a := readAbout(nil, dir, work+"/.clawhub/lock.json")
		if a.installer != test.installer || a.version != test.version || a.err != "" || (a.installer != "") != a.installed.Equal(at) {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestFrontmatterNamesTheSkill(t *testing.T) {
	for in, want := range map[string]frontmatter{
		"---\nname: weather\n---\n":                                                        {name: "weather"},
		"\ufeff---\r\nname: \"a b\"\r\nversion: 1.5\r\n---\r\n":                            {name: "a b", version: "1.5"},
		"---\nname: x\nversion: '2'\nmetadata:\n  { \"a\": { \"b\": [1] } }\n---\nname: y": {name: "x", version: "2"},
		"name: no":                             {},
		"---\nname: [a]\nversion: {b: 1}\n---": {},
		"---\nname: \"a\\nb\\u001b[31m\"\n---": {name: "ab[31m"},
		"---\nname: never closed":              {name: "never closed"},
		"---\n  name: inner\nother: 1\n---":    {},
	} {
		if got, _ := parseFrontmatter([]byte(in)); got != want {
			t.Errorf("%q: %+v, want %+v", in, got, want)
		}
	}
}

func TestOnlyNamesLikeSecretsAreTaken(t *testing.T) {
	names := envNames{}
	names.find([]byte("$WEATHER_API_KEY ${GH_TOKEN} os.environ['DB_PASSWORD'] HOME PATH KEYBOARD MONKEY lower_KEY 9_KEY AUTH_URL " +
		"xAPI_KEYx PRIVATE_KEY= " + strings.Repeat("A", 70) + "_KEY"))
	want := []string{"AUTH_URL", "DB_PASSWORD", "GH_TOKEN", "PRIVATE_KEY", "WEATHER_API_KEY"}
	if got := names.sorted(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzParseFrontmatter(f *testing.F) {
	f.Add([]byte(weather))
	f.Add([]byte("---\na: &a [*a]\nname: *a\n---\n"))
	f.Add([]byte("---\n- name: x\n---\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseFrontmatter(b)
		for _, s := range []string{got.name, got.version} {
			if len(s) > maxWord || strings.ContainsAny(s, "\n\x00\x1b") {
				t.Errorf("%q, %v", s, err)
			}
		}
	})
}

func FuzzParseOrigin(f *testing.F) {
	f.Add([]byte(`{"version":1,"skills":{"a":{"version":"1","installedAt":5}},"installedAt":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseOrigin(b); err != nil && err.Error() != "no JSON" {
			t.Error(err)
		}
		envNames{}.find(b)
	})
}

// The same path in a container holds other skills. Its links lead to what they lead to
// there, and its end removes nothing.
func TestASkillInAContainerIsAnother(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/weather/SKILL.md", weather)
	proc, box := t.TempDir(), t.TempDir()
	write(t, proc+"/10/ns/mnt", "")
	write(t, box+root+"/boxed/SKILL.md", "x")
	write(t, box+"/elsewhere/plugin/SKILL.md", "x")
	for link, target := range map[string]string{
		proc + "/10/root": box, box + root + "/plugin": "/elsewhere/plugin", box + root + "/host": root + "/weather",
	} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	fi, err := os.Stat(proc + "/10/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	c, next := running(t, root)
	skillOf(t, next(), event.Present)
	mount := uint32(fi.Sys().(*syscall.Stat_t).Ino)
	c.Follow(event.GatewayFound{ID: "box:/state", SkillRoots: []string{root}, Root: proc + "/10/root", Mount: mount})
	dirs := map[string]string{}
	for range 2 {
		s := skillOf(t, next(), event.Present)
		dirs[s.ID.Dir] = s.Gateway + " " + s.ID.Root
	}
	for _, want := range []string{root + "/boxed", "/elsewhere/plugin"} {
		if dirs[want] != "box:/state "+root {
			t.Errorf("present: %q", dirs)
		}
	}
	write(t, box+root+"/boxed/more", "x")
	if s := skillOf(t, next(), event.Updated); s.Gateway != "box:/state" || s.ID.Dir != root+"/boxed" {
		t.Errorf("updated: %+v", s)
	}
	if err := os.RemoveAll(proc + "/10"); err != nil {
		t.Fatal(err)
	}
	write(t, box+root+"/boxed/still-more", "x")
	write(t, root+"/weather/more", "x")
	if s := skillOf(t, next(), event.Updated); s.Gateway != "/state" || s.ID.Dir != root+"/weather" {
		t.Errorf("after its end: %+v", s)
	}
}
