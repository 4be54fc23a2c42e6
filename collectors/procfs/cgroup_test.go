package procfs

import "testing"

func TestContainersAreFoundInCgroups(t *testing.T) {
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	const other = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
	tests := map[string]struct{ text, want string }{
		"the host":                 {"0::/user.slice/user-1000.slice/session-3.scope\n", ""},
		"nothing":                  {"", ""},
		"systemd and Docker":       {"0::/system.slice/docker-" + id + ".scope\n", id},
		"cgroupfs and Docker":      {"12:memory:/docker/" + id + "\n0::/\n", id},
		"version 1, root first":    {"3:cpuset:/\n2:cpu:/docker/" + id + "\n", id},
		"containerd in Kubernetes": {"0::/kubepods.slice/kubepods-burstable.slice/kubepods-pod1_2.slice/cri-containerd-" + id + ".scope\n", id},
		"Kubernetes with cgroupfs": {"4:pids:/kubepods/besteffort/pod8cb1/" + id + "\n", id},
		"CRI-O":                    {"0::/kubepods.slice/crio-" + id + ".scope/container\n", id},
		"Podman of a user":         {"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope/container\n", id},
		"a container's own view":   {"0::/" + id + "\n", id},
		"one in another":           {"0::/docker/" + other + "/docker/" + id + "\n", id},
		"too short":                {"0::/docker/0123456789abcdef\n", ""},
		"a name of somebody's own": {"0::/mine/x/" + id + "\n", ""},
		"upper case is none":       {"0::/docker/" + "ABCDEF" + id[6:] + "\n", ""},
		"no colons":                {"docker/" + id + "\n", ""},
		"colons in the path":       {"0::/docker/a:b/" + id + "\n", id},
		"a line break in the path": {"0::/docker/" + id + "\\012\n", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := parseCgroup(test.text); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestUnitsAreFoundInCgroups(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/run-r1.service\n":                                      "run-r1.service",
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n": "x.service",
		"9:name=systemd:/system.slice/x.service\n8:pids:/y.service\n0::/\n":      "x.service",
		"0::/user.slice/session-1.scope\n":                                       "",
		"0::/\n":                                                                 "",
		"junk":                                                                   "",
	} {
		if got := parseUnit(text); got != want {
			t.Errorf("%q is in %q, want %q", text, got, want)
		}
	}
}

func FuzzParseCgroup(f *testing.F) {
	f.Add("0::/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope\n")
	f.Fuzz(func(t *testing.T, text string) {
		if id := parseCgroup(text); id != "" && len(id) != 64 {
			t.Errorf("%q", id)
		}
	})
}
