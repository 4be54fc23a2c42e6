package openclaw_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/clawwatch/clawwatch/testdata/openclaw/model"
	"github.com/clawwatch/clawwatch/testdata/openclaw/truth"
)

// copiedOut is a script of a skill that a person has copied, under another name. A
// session that has read the skill runs the copy, and one that has read nothing. Nobody
// else makes anything in dir or on the way to it: else the script would have no digest.
func (s *stage) copiedOut(dir string) hardCase {
	const name = "copied out"
	known := s.sure(name, "copyread", "rambler")
	unread := s.doubted(truth.Unsure, "that a file is like a skill's does not say that the skill asked for it", name, "copynone", "rambler")
	file := filepath.Join(dir, "plan-tool")
	use := func(l string) model.Turn { return calls(run("bash %s %s", file, l)) }
	return hardCase{
		scenario: scenario{name: name, after: func(ctx context.Context) error {
			text, err := os.ReadFile(filepath.Join(s.skill("rambler"), "scripts", "look.sh"))
			if err != nil {
				return err
			}
			if err := os.WriteFile(file, text, 0o644); err != nil {
				return err
			}
			if err := s.hold(ctx, s.llm, known, talk{session: "copyread", turns: []model.Turn{calls(s.use("rambler")), use(known), say("Looked.")}}); err != nil {
				return err
			}
			return s.hold(ctx, s.llm, unread, talk{session: "copynone", turns: []model.Turn{use(unread), say("Looked.")}})
		}},
		check: func(w said) (faults []string) {
			told := map[string]bool{}
			for _, e := range w.events {
				a := e.Attribution
				if a == nil || !a.Has("content") {
					continue
				}
				told[a.Session] = true
				if a.Session == key("copynone") && judged(a, "rambler", key("copynone")) {
					faults = append(faults, fmt.Sprintf("%s is surer than a copy can make it: %s", e.ID, a))
				}
			}
			for _, session := range []string{"copyread", "copynone"} {
				if !told[key(session)] {
					faults = append(faults, fmt.Sprintf("nothing says that %s ran a copy", session))
				}
			}
			return faults
		},
	}
}
