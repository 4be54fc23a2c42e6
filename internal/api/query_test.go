package api_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/internal/api"
)

func TestParseTimeReadsWhatPeopleWrite(t *testing.T) {
	for s, want := range map[string]time.Time{
		"10m": epoch.Add(-10 * time.Minute), "7d": epoch.AddDate(0, 0, -7), "2h30m": epoch.Add(-150 * time.Minute), "0s": epoch,
		"2026-11-22T06:00:00+01:00": epoch.Add(-2 * time.Hour), "2026-11-22": epoch.Add(-7 * time.Hour),
	} {
		if got, err := api.ParseTime(s, epoch); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "d", "-1d", "10", "-10m", "1.5d", "now", "99999999999999d", "2026-13-01", "10m\n"} {
		if got, err := api.ParseTime(s, epoch); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add("since=10m&kind=file.*&limit=5&follow=1")
	f.Add("skill=%00&pid=1&tree=1&order=oldest&until=2026-11-22T07:00:00Z")
	f.Add("since=9d&rule=a&session=b&gateway=c")
	f.Fuzz(func(t *testing.T, raw string) {
		v, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		q, follow, err := api.ParseQuery(v, epoch)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("error of more than a line: %q", err)
			}
			return
		}
		again, follow2, err := api.ParseQuery(api.Values(q, follow), epoch)
		if err != nil || follow != follow2 || !again.Since.Equal(q.Since) || !again.Until.Equal(q.Until) {
			t.Fatalf("%+v came back as %+v, %v", q, again, err)
		}
		again.Since, again.Until = q.Since, q.Until // equal, perhaps in another zone
		if again != q {
			t.Errorf("%+v came back as %+v", q, again)
		}
	})
}
