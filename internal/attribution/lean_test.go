package attribution

import (
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

func TestOfSeveralCandidatesThoseWhoseManualNamesTheProgramComeFirst(t *testing.T) {
	for _, tt := range []struct {
		name           string
		weather, notes []string
		want           string
	}{
		{"the second one names it", nil, []string{"curl"}, "ambiguous notes weather"},
		{"the first one names it", []string{"curl"}, nil, "ambiguous weather notes"},
		{"both do", []string{"curl"}, []string{"curl"}, "ambiguous weather notes"},
		{"neither does", []string{"jq"}, []string{"wget"}, "ambiguous weather notes"},
		{"each names one of two", []string{"date"}, []string{"curl"}, "ambiguous weather notes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFilm(t)
			for dir, bins := range map[string][]string{weather: tt.weather, notes: tt.notes} {
				f.push(0, event.ProcID{}, event.Skill{
					Gateway: state, Change: event.Updated, ID: event.SkillID{Name: map[string]string{weather: "weather", notes: "notes"}[dir], Dir: dir}, Declares: event.Declared{Bins: bins},
				})
			}
			f.read(1, "alice", "r1", "c1", weather+"/SKILL.md")
			f.read(1.2, "alice", "r1", "c2", notes+"/SKILL.md")
			f.call(2, "alice", "r1", "c3", "date; curl x")
			f.root(2.5, 100, "date; curl x")
			f.fork(2.6, 101, 100)
			f.exec(2.6, 101, 100, workspace, "date")
			f.fork(2.7, 102, 100)
			f.exec(2.7, 102, 100, workspace, "curl", "x")
			a := f.want(6, f.open(2.8, 102, "/etc/hosts"), tt.want, "alice", "c3")
			told := false
			for _, e := range a.Evidence {
				told = told || e.Kind == "declared"
			}
			if told != (tt.want == "ambiguous notes weather" || tt.name == "the first one names it") {
				t.Errorf("evidence %+v", a.Evidence)
			}
		})
	}
}
