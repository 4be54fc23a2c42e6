package skills

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

func TestWhatLooksLikeCodeIsToldByItsContent(t *testing.T) {
	const body = "a line that is long enough to be nobody else's by chance\n"
	dir := t.TempDir()
	files := map[string]struct {
		text string
		mode os.FileMode
		told bool
	}{
		"scripts/run.sh":   {body, 0o644, true},
		"scripts/a.PY":     {body, 0o644, true},
		"notes.txt":        {"#!/bin/sh\n" + body, 0o644, true},
		"bin/tool":         {body, 0o755, true},
		"bin/elf":          {"\x7fELF" + body, 0o644, true},
		"SKILL.md":         {weather + body, 0o755, false},
		"data/table.csv":   {body, 0o755, false},
		"data/blob":        {body, 0o644, false},
		"scripts/short.sh": {"#!/bin/sh\nls\n", 0o755, false},
		"empty.py":         {"", 0o644, false},

		"scripts/node_modules/tsc/bin/tsc": {"#!/usr/bin/env node\n" + body, 0o755, false},

		strings.Repeat(strings.Repeat("long", 50)+"/", 3) + "run.sh": {body, 0o644, false},
	}
	for name, f := range files {
		write(t, dir+"/"+name, f.text)
		if err := os.Chmod(dir+"/"+name, f.mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/bin/sh", dir+"/scripts/link.sh"); err != nil {
		t.Fatal(err)
	}
	told := scriptsOf(t, dir)
	for name, f := range files {
		s, ok := told[name]
		var st syscall.Stat_t
		if err := syscall.Lstat(dir+"/"+name, &st); err != nil {
			t.Fatal(err)
		}
		want := event.SkillScript{Path: name, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(f.text))), Changed: st.Ctim.Nano()}
		if ok != f.told || ok && s != want {
			t.Errorf("%s: told %v as %+v, want %v %+v", name, ok, s, f.told, want)
		}
		delete(told, name)
	}
	if len(told) > 0 {
		t.Errorf("%+v is told, too", told)
	}
}

func TestOfOneSkillSoManyFilesAreToldByContent(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/SKILL.md", weather)
	for i := range maxScripts + 50 {
		write(t, fmt.Sprintf("%s/%d.sh", dir, i), strings.Repeat(fmt.Sprintln(i), minScript))
	}
	told := scriptsOf(t, dir)
	if len(told) != maxScripts {
		t.Errorf("%d are told", len(told))
	}
}

func scriptsOf(t *testing.T, dir string) map[string]event.SkillScript {
	t.Helper()
	tree, err := readTree(nil, dir)
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]event.SkillScript{}
	for _, s := range tree.read(nil, dir).scripts {
		told[s.Path] = s
	}
	return told
}
