package openclaw_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/clawwatch/clawwatch/testdata/openclaw/model"
)

// leftBehind are scripts that a skill's commands, and OpenClaw for it, write, and
// that a person runs, or another session, which knows nothing of the skill.
func (s *stage) leftBehind(await func(ctx context.Context, file string) error) hardCase {
	const name = "left behind"
	program := s.sure(name, "left", "trip-notes")
	script := s.sure(name, "left", "trip-notes")
	written := s.sure(name, "left", "trip-notes")
	reused := s.sure(name, "reuse", "trip-notes")
	file := func(l string) string { return filepath.Join(s.home, "Documents", "left-"+l+".sh") }
	body := func(l string) string { return fmt.Sprintf("%s %s read %s/Documents/plan.txt", s.deed, l, s.home) }
	save := func(l string) model.Call {
		return run("printf '#!/bin/sh\\n%s\\n' > %s && chmod +x %s", body(l), file(l), file(l))
	}
	return hardCase{scenario: scenario{name: name, talks: []talk{{session: "left", turns: []model.Turn{
		calls(s.use("trip-notes")), calls(save(program)), calls(save(script)), calls(save(reused)),
		calls(model.Call{Tool: "write", Args: map[string]any{"path": file(written), "content": body(written) + "\n"}}), say("Saved."),
	}}}, after: func(ctx context.Context) error {
		for _, l := range []string{program, script, reused, written} {
			if err := await(ctx, file(l)); err != nil {
				return err
			}
		}
		for _, args := range [][]string{{file(program)}, {"bash", file(script)}, {"sh", file(written)}} {
			if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
				return fmt.Errorf("run %v: %w: %s", args, err, out)
			}
		}
		return s.hold(ctx, s.llm, reused, talk{session: "reuse", turns: []model.Turn{calls(run("%s", file(reused))), say("Done.")}})
	}}}
}

// awaitFile returns when clawwatch has told who made a file.
func (p *production) awaitFile(ctx context.Context, file string) error {
	for began := time.Now(); ; time.Sleep(500 * time.Millisecond) {
		events, _, err := p.watch.told(ctx)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.Kind == "file.create" && e.File.Path == file {
				return nil
			}
		}
		if time.Since(began) > time.Minute {
			return fmt.Errorf("that %s was made is not told within a minute", file)
		}
	}
}
