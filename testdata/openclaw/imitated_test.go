package openclaw_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/testdata/openclaw/model"
	"github.com/clawwatch/clawwatch/testdata/openclaw/truth"
)

// imitated are skills and processes that pass for others.
func (s *stage) imitated(t *testing.T, h *house) []hardCase {
	t.Helper()
	return []hardCase{s.lookalike(), s.mimicked(), s.impostor(t, h, "another user's impostor", 65534), s.impostor(t, h, "a stranger's impostor", 0)}
}

// lookalike has another skill's name in its SKILL.md.
func (s *stage) lookalike() hardCase {
	const name = "another's name"
	dir := filepath.Join(s.workspace, "skills", "lookalike")
	l := s.in(s.sure(name, "looks", "lookalike"), dir)
	return hardCase{
		scenario: scenario{name: name, talks: []talk{{session: "looks", turns: []model.Turn{
			calls(read(dir + "/SKILL.md")), calls(run("%s/scripts/run.sh %s", dir, l)), say("Saved."),
		}}}},
		check: func(w said) []string {
			if w.dirs("leaky-notes")[dir] {
				return []string{"it is called by the name that it took"}
			}
			return nil
		},
	}
}

// mimicked are commands that mimic had the model run, near the files of another
// skill that was read, too.
func (s *stage) mimicked() hardCase {
	const name = "near another's files"
	l := s.doubted(truth.Ambiguous, "two skills were read, and the command of the one goes by files of the other", name, "mimic", "mimic")
	s.label(name, "mimic", "leaky-notes") // which was read as well
	victim, own := s.skill("leaky-notes"), s.skill("mimic")
	plan := filepath.Join(s.home, "Documents", "plan.txt")
	return hardCase{scenario: scenario{name: name, talks: []talk{{session: "mimic", turns: []model.Turn{
		calls(s.use("mimic"), s.use("leaky-notes")),
		calls(run("cd %s && %s %s read %s", victim, s.deed, l, plan)),
		calls(run("bash -c '%s %s read %s' %s/scripts/save.sh", s.deed, l, plan, victim)),
		calls(run("mkdir -p %[1]s/scripts && ln -f %[2]s/scripts/save.sh %[1]s/scripts/own.sh && %[1]s/scripts/own.sh %[3]s linked", own, victim, l)),
		calls(run("cp %[1]s %[2]s/scripts/helper && %[2]s/scripts/helper %[3]s read %[4]s", s.deed, victim, l, plan)),
		say("Helped."),
	}}}}}
}

// impostor is a process outside of OpenClaw that takes a gateway's name, points
// at its state and runs what a session runs at the same time.
func (s *stage) impostor(t *testing.T, h *house, name string, uid uint32) hardCase {
	t.Helper()
	session := fmt.Sprintf("victim%d", uid)
	l := s.sure(name, session, "trip-notes")
	token := fmt.Sprintf("%s/impostor-%d.txt", "/tmp", uid)
	var pid int32
	command := fmt.Sprintf("sleep 6; head -c 9 %s/Documents/plan.txt /dev/null %s; true", s.home, token)
	return hardCase{
		scenario: scenario{name: name, during: func(ctx context.Context) error {
			ready := func() error { return s.recorder.Await(time.Minute, 2, func(t truth.Line) bool { return t.Label == l }) }
			return runImpostor(ctx, h, s.state, command, uid, &pid, ready)
		}, talks: []talk{{session: session, turns: []model.Turn{
			calls(s.use("trip-notes")), calls(run("%s %s read %s/Documents/plan.txt; %s", s.deed, l, s.home, "true")), calls(run("%s", command)), say("Done."),
		}}}},
		check: func(w said) (faults []string) {
			for _, e := range w.events {
				a := e.Attribution
				if a == nil || !slices.ContainsFunc(append(e.Process.Ancestors, e.Process.Proc), func(p truth.Proc) bool { return p.PID == pid }) {
					continue
				}
				if a.Skill != nil || len(a.Candidates) > 0 || a.Session != "" || uid != 0 && a.Gateway == s.state {
					faults = append(faults, fmt.Sprintf("%s %s of the impostor is told of as %s of gateway %s", e.Kind, e.ID, a, a.Gateway))
				}
			}
			return faults
		},
	}
}

// runImpostor returns when the impostor has run its command, which it does once
// it is time.
func runImpostor(ctx context.Context, h *house, state, command string, uid uint32, pid *int32, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("/tmp", filepath.Base(h.dir)+"-") // which that user can reach
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	node := filepath.Join(dir, "node")
	for _, f := range [][2]string{{filepath.Join(h.install.node, "node"), node}, {filepath.Join("hard", "impostor.mjs"), filepath.Join(dir, "impostor.mjs")}} {
		if out, err := exec.CommandContext(ctx, "cp", "-L", f[0], f[1]).CombinedOutput(); err != nil {
			return fmt.Errorf("copy: %w: %s", err, out)
		}
	}
	if out, err := exec.CommandContext(ctx, "chmod", "-R", "a+rX", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("chmod: %w: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, node, filepath.Join(dir, "impostor.mjs"), command)
	cmd.Env = []string{"HOME=" + filepath.Dir(state), "OPENCLAW_STATE_DIR=" + state, "PATH=/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}, Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	*pid = int32(cmd.Process.Pid)
	err = ready()
	if _, werr := in.Write([]byte("go\n")); werr != nil {
		return fmt.Errorf("impostor: %w: %s", werr, out.String())
	}
	if werr := cmd.Wait(); werr != nil || !strings.Contains(out.String(), "ran") {
		return fmt.Errorf("impostor: %w: %s", werr, out.String())
	}
	return err
}
