package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/store"
)

var epoch = time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)

// id makes a ULID-like ID that grows with n.
func id(n int) string { return fmt.Sprintf("01J%023d", n) }

// number is the n of an ID.
func number(id string) string {
	n, err := strconv.Atoi(strings.TrimPrefix(id, "01J"))
	if err != nil {
		return id
	}
	return strconv.Itoa(n)
}

// open opens a store at the given clock; it is closed with the test.
func open(t testing.TB, path string, limits store.Limits) *store.Store {
	t.Helper()
	if limits.Now == nil {
		limits.Now = func() time.Time { return epoch.Add(time.Hour) }
	}
	s, err := store.Open(path, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // some tests close earlier
	return s
}

func add(t testing.TB, s *store.Store, records []event.Record, alerts ...event.Alert) {
	t.Helper()
	if err := s.Append(records, alerts); err != nil {
		t.Fatal(err)
	}
}

// open at second n by process pid of a skill.
func fileOpen(n int, skill string, pid int32) event.Record {
	return event.Record{
		ID: id(n), Time: epoch.Add(time.Duration(n) * time.Second), Kind: event.KindFileOpen, Source: event.SourceEBPF,
		Process:     &event.Process{PID: pid, StartTime: uint64(pid) * 10, Ancestors: []event.Ancestor{{PID: 7}}},
		File:        &event.File{Path: fmt.Sprintf("/data/%d", n), Operation: "read"},
		Attribution: &event.Attribution{Gateway: "/home/dev/.openclaw", Session: "ses-" + skill, SessionKey: "agent:main", Skill: &event.SkillID{Name: skill}, Confidence: event.Strong},
	}
}

func kind(r event.Record, k event.Kind) event.Record { r.Kind = k; return r }

func alert(n int, rule, skill string, events ...string) event.Alert {
	return event.Alert{
		ID: id(n), Time: epoch.Add(time.Duration(n) * time.Second), Rule: event.RuleRef{Name: rule, Severity: event.High}, Events: events, Count: len(events),
		Attribution: &event.Attribution{Gateway: "/home/dev/.openclaw", Session: "ses-" + skill, Skill: &event.SkillID{Name: skill}},
		Process:     &event.Process{PID: 41},
	}
}

func ids(t testing.TB, s *store.Store, q store.Query) string {
	t.Helper()
	var got []string
	for r, err := range s.Events(context.Background(), q) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, number(r.ID))
	}
	return strings.Join(got, " ")
}

func alertIDs(t testing.TB, s *store.Store, q store.Query) string {
	t.Helper()
	var got []string
	for a, err := range s.Alerts(context.Background(), q) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, number(a.ID))
	}
	return strings.Join(got, " ")
}

func TestQueryFindsWhatItAsksForAndNothingElse(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{})
	other := fileOpen(6, "news", 45)
	other.Attribution.Gateway = "/srv/other"
	add(t, s, []event.Record{
		fileOpen(1, "weather", 41),
		kind(fileOpen(2, "weather", 42), event.KindFileCreate),
		kind(fileOpen(3, "news", 43), event.KindExec),
		{ID: id(4), Time: epoch.Add(4 * time.Second), Kind: event.KindLost},
		{ID: id(5), Time: epoch.Add(5 * time.Second), Kind: event.KindSkillInstalled, Skill: &event.SkillChange{ID: event.SkillID{Name: "weather", Dir: "/s/weather"}}},
		other,
	}, alert(9, "exfil", "news", id(3)))
	for name, c := range map[string]struct {
		q    store.Query
		want string
	}{
		"everything, newest first":       {store.Query{}, "6 5 4 3 2 1"},
		"oldest first":                   {store.Query{Oldest: true}, "1 2 3 4 5 6"},
		"limit takes the newest":         {store.Query{Limit: 2}, "6 5"},
		"limit takes the oldest":         {store.Query{Limit: 2, Oldest: true}, "1 2"},
		"since is inclusive":             {store.Query{Since: epoch.Add(5 * time.Second)}, "6 5"},
		"until is exclusive":             {store.Query{Until: epoch.Add(3 * time.Second)}, "2 1"},
		"skill, and changes of it":       {store.Query{Skill: "weather"}, "5 2 1"},
		"unknown skill":                  {store.Query{Skill: "weathe"}, ""},
		"session":                        {store.Query{Session: "ses-news"}, "6 3"},
		"session key":                    {store.Query{Session: "agent:main"}, "6 3 2 1"},
		"gateway":                        {store.Query{Gateway: "/srv/other"}, "6"},
		"kind":                           {store.Query{Kind: "file.open"}, "6 1"},
		"family with star":               {store.Query{Kind: "file.*"}, "6 2 1"},
		"family without star":            {store.Query{Kind: "file"}, "6 2 1"},
		"no half words":                  {store.Query{Kind: "file.o"}, ""},
		"process":                        {store.Query{PID: 42}, "2"},
		"ancestor does not count":        {store.Query{PID: 7}, ""},
		"ancestor counts in a tree":      {store.Query{PID: 7, Tree: true}, "6 3 2 1"},
		"rule: the records of its alert": {store.Query{Rule: "exfil"}, "3"},
		"rule and another kind":          {store.Query{Rule: "exfil", Kind: "file.*"}, ""},
		"all at once":                    {store.Query{Skill: "news", Session: "ses-news", Kind: "file", PID: 45, Since: epoch}, "6"},
		"after a cursor, as appended":    {store.Query{After: 4}, "5 6"},
		"SQL in a name is a name":        {store.Query{Skill: "x' OR 1=1 --"}, ""},
	} {
		if got := ids(t, s, c.q); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestAlertsAreFilteredAlike(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{})
	add(t, s, nil, alert(1, "a", "weather"), alert(2, "b", "news"), alert(3, "a", "news"))
	for name, c := range map[string]struct {
		q    store.Query
		want string
	}{
		"everything": {store.Query{}, "3 2 1"},
		"rule":       {store.Query{Rule: "a"}, "3 1"},
		"skill":      {store.Query{Skill: "news", Oldest: true}, "2 3"},
		"session":    {store.Query{Session: "ses-weather"}, "1"},
		"time":       {store.Query{Since: epoch.Add(2 * time.Second), Until: epoch.Add(3 * time.Second)}, "2"},
		"process":    {store.Query{PID: 42}, ""},
		"limit":      {store.Query{Limit: 1}, "3"},
		"after":      {store.Query{After: 1}, "2 3"},
	} {
		if got := alertIDs(t, s, c.q); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// Times that go back and forth between blocks, and pages of one block and many,
// must not show in the order.
func TestOrderIsThatOfTimeWhateverTheOrderOfArrival(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{})
	const n = 3000
	for i := 0; i < n; i += 100 {
		var batch []event.Record
		for j := range 100 {
			at := (i + j) * 1237 % n // every number once
			r := fileOpen(i+j, "weather", 41)
			r.Time = epoch.Add(time.Duration(at) * time.Second)
			batch = append(batch, r)
		}
		add(t, s, batch)
	}
	for _, oldest := range []bool{true, false} {
		var times []time.Time
		for r, err := range s.Events(context.Background(), store.Query{Oldest: oldest}) {
			if err != nil {
				t.Fatal(err)
			}
			times = append(times, r.Time)
		}
		if !oldest {
			slices.Reverse(times)
		}
		if len(times) != n || !slices.IsSortedFunc(times, time.Time.Compare) {
			t.Errorf("oldest %v: %d records, sorted %v", oldest, len(times), slices.IsSortedFunc(times, time.Time.Compare))
		}
	}
}

func TestAnAmendedRecordReplacesTheFormer(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "events.db"), store.Limits{})
	for i := range 600 { // the first is in a block that is full, the last in one that is not
		add(t, s, []event.Record{fileOpen(i, "unknown", 41)})
	}
	head := s.Head()
	amend := func(n int, skill string) event.Record {
		r := fileOpen(n, skill, 41)
		r.Amended = true
		return r
	}
	add(t, s, []event.Record{amend(599, "draft"), amend(0, "weather"), amend(599, "weather")}, alert(900, "a", "weather", id(0)))
	if got := ids(t, s, store.Query{Skill: "weather"}); got != "599 0" {
		t.Errorf("amended: got %q", got)
	}
	if got := ids(t, s, store.Query{After: head}); got != "599 0" {
		t.Errorf("followers see: got %q", got)
	}
	for _, q := range []store.Query{{Skill: "draft"}, {Skill: "unknown", PID: 41, Until: epoch.Add(time.Second)}} {
		if got := ids(t, s, q); got != "" {
			t.Errorf("%+v: former record still there: %q", q, got)
		}
	}
	if got := len(strings.Fields(ids(t, s, store.Query{Since: epoch.Add(time.Second)}))); got != 599 {
		t.Errorf("%d records, want 599", got)
	}
	add(t, s, []event.Record{amend(0, "newer")})
	found, err := s.Get(context.Background(), id(0))
	if err != nil || found.Record.Attribution.Skill.Name != "newer" {
		t.Errorf("kept copy of an amended record: %+v, %v", found.Record, err)
	}
	a := alert(900, "a", "weather", id(0), id(1))
	add(t, s, nil, a)
	if got := alertIDs(t, s, store.Query{}); got != "900" {
		t.Errorf("amended alert: got %q", got)
	}
}

func TestGetTakesAUniquePrefix(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{})
	r := fileOpen(1, "weather", 41)
	r.ID = "01JABCDEFGHJKMNPQRSTVWXY11"
	r2 := r
	r2.ID = "01JABCDEFGHJKMNPQRSTVWXY12"
	a := alert(1, "a", "weather", r.ID)
	a.ID = "01JZZZZZZZHJKMNPQRSTVWXY11"
	add(t, s, []event.Record{r, r2}, a)
	for name, c := range map[string]struct {
		id     string
		record string
		alert  string
		err    error
	}{
		"whole":              {id: r.ID, record: r.ID},
		"lower case":         {id: strings.ToLower(r2.ID), record: r2.ID},
		"unique prefix":      {id: "01JZZZZZ", alert: a.ID},
		"two begin so":       {id: "01JABCDE", err: store.ErrAmbiguous},
		"nobody's":           {id: "01JABCDX", err: store.ErrNotFound},
		"too short":          {id: "01JZZZZ", err: store.ErrNotFound},
		"a pattern is no ID": {id: "01JZZZ%%%", err: store.ErrNotFound},
	} {
		got, err := s.Get(context.Background(), c.id)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: error %v, want %v", name, err, c.err)
		}
		if c.record != "" && (got.Record == nil || got.Record.ID != c.record) || c.alert != "" && (got.Alert == nil || got.Alert.ID != c.alert) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestSkillsAnswersWhatIsThereNow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.db")
	s := open(t, path, store.Limits{})
	n := 0
	report := func(k event.Kind, name, hash string) {
		n++
		add(t, s, []event.Record{{
			ID: id(n), Time: epoch.Add(time.Duration(n) * time.Second), Kind: k,
			Skill:       &event.SkillChange{ID: event.SkillID{Name: name, Dir: "/s/" + name, SHA256: hash}},
			Attribution: &event.Attribution{Gateway: "/g"},
		}})
	}
	report(event.KindSkillPresent, "weather", "a") // 1
	report(event.KindSkillInstalled, "news", "a")  // 2
	report(event.KindSkillUpdated, "news", "b")    // 3
	report(event.KindSkillInstalled, "gone", "a")  // 4
	report(event.KindSkillRemoved, "gone", "a")    // 5
	report(event.KindSkillPresent, "weather", "a") // 6: a restart, no news
	report(event.KindSkillPresent, "news", "c")    // 7: changed while nobody watched
	add(t, s, nil, alert(8, "r", "news"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, store.Limits{})
	skills, err := s.Skills(context.Background(), store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range skills {
		got = append(got, fmt.Sprintf("%s %s removed=%v seen=%d alerts=%d", k.Skill.ID.Name, k.Skill.ID.SHA256, k.Removed, k.Seen.Sub(epoch)/time.Second, k.Alerts))
	}
	want := "news c removed=false seen=7 alerts=1\nweather a removed=false seen=6 alerts=0\ngone a removed=true seen=5 alerts=0"
	if g := strings.Join(got, "\n"); g != want {
		t.Errorf("got:\n%s\nwant:\n%s", g, want)
	}
	if got := ids(t, s, store.Query{Kind: "skill", Oldest: true}); got != "1 2 3 4 5 7" {
		t.Errorf("records: %q", got)
	}
}

func TestARecordThatCannotBeStoredDoesNotTakeTheOthersAlong(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "events.db"), store.Limits{})
	big := fileOpen(2, "weather", 41)
	big.File.Path = strings.Repeat("x", 9<<20)
	err := s.Append([]event.Record{fileOpen(1, "weather", 41), {}, big, fileOpen(3, "weather", 41)}, nil)
	if err == nil || !strings.Contains(err.Error(), big.ID) || !strings.Contains(err.Error(), "no ID") {
		t.Errorf("error %v", err)
	}
	if got := ids(t, s, store.Query{}); got != "3 1" {
		t.Errorf("got %q", got)
	}
}

func TestAnyPathIsAPath(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, path := range []string{"events.db", "relative/events.db", "./a b/100%?mode=ro#x.db"} {
		s := open(t, path, store.Limits{})
		add(t, s, []event.Record{fileOpen(1, "weather", 41)})
		if fi, err := os.Stat(path); err != nil || fi.Size() == 0 {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "events.db")
	s := open(t, path, store.Limits{})
	add(t, s, []event.Record{fileOpen(1, "weather", 41)})
	for name, want := range map[string]os.FileMode{filepath.Dir(path): 0o700, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600} {
		fi, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := fi.Mode().Perm(); got != want {
			t.Errorf("%s: mode %o, want %o", name, got, want)
		}
	}
}
