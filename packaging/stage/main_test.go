package main

import (
	"os"
	"testing"
)

func TestALicenceThatNobodyReadIsNotNamed(t *testing.T) {
	for text, want := range map[string]string{
		read(t, "../../LICENSE"):                                       "Apache-2.0",
		read(t, "../../LICENSES/BSD-2-Clause.txt"):                     "BSD-2-Clause",
		read(t, "../../LICENSES/GPL-2.0-only.txt"):                     "",
		"All rights reserved.":                                         "",
		"MIT\n\nPermission is hereby\ngranted, free of charge, to any": "MIT",
	} {
		if got := recognise(text); got != want {
			t.Errorf("recognise(%.40q…) = %q, want %q", text, got, want)
		}
	}
	p := part{name: "nobody's"}
	if err := p.readLicence(t.TempDir()); err == nil {
		t.Error("a module without a licence passes")
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
