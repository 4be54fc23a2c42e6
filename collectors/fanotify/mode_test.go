package fanotify

import "testing"

func TestFlagsOfAnOpenFile(t *testing.T) {
	for info, want := range map[string]bool{
		"pos:\t0\nflags:\t0100000\n": false, "pos:\t0\nflags:\t0100001\n": true, "flags:\t02": true, "flags:\tx": false, "": false,
	} {
		if writes(info) != want {
			t.Errorf("%q: %v", info, !want)
		}
	}
}
