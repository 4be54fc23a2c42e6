package procfs

import (
	"io/fs"
	"regexp"
	"strings"
)

const maxCgroup = 64 << 10

// Container gives the ID of the container that a process is in, as Docker,
// containerd, CRI-O and Podman name its cgroup; "": none that is known.
func Container(proc fs.FS, pid int32) (string, error) {
	b, _, err := readFile(proc, pid, "cgroup", maxCgroup)
	if err != nil {
		return "", err
	}
	return parseCgroup(string(b)), nil
}

// Unit gives the unit of systemd that a process is in, by the last name in its cgroup;
// "": none.
func Unit(proc fs.FS, pid int32) (string, error) {
	b, _, err := readFile(proc, pid, "cgroup", maxCgroup)
	if err != nil {
		return "", err
	}
	return parseUnit(string(b)), nil
}

// parseUnit looks at the tree that systemd keeps: the one of version 2, or its own.
func parseUnit(text string) string {
	unit := ""
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 || parts[1] != "" && parts[1] != "name=systemd" {
			continue
		}
		if name := parts[2][strings.LastIndexByte(parts[2], '/')+1:]; strings.HasSuffix(name, ".service") {
			unit = name
		}
	}
	return unit
}

// containerID is the end of a cgroup's name: docker-ID.scope, cri-containerd-ID.scope,
// libpod-ID.scope, or ID alone.
var containerID = regexp.MustCompile(`^(?:[a-z-]+[-:])?([0-9a-f]{64})(?:\.scope)?$`)

// runtimes are the parts of a path under which a name of 64 digits is a container.
var runtimes = []string{"docker", "kubepods", "libpod", "crio", "containerd", "buildkit", "machine.slice", "user.slice", "system.slice", "garden"}

// parseCgroup reads /proc/PID/cgroup of either version: lines of
// ID:controllers:path. The innermost container counts; the path is the host's
// doing, but a process that may write to cgroups can choose its own.
func parseCgroup(text string) string {
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		names := strings.Split(parts[2], "/")
		for i := len(names) - 1; i > 0; i-- {
			m := containerID.FindStringSubmatch(names[i])
			if m != nil && (m[0] != m[1] || i == 1 || ofRuntime(names[:i])) {
				return m[1]
			}
		}
	}
	return ""
}

func ofRuntime(names []string) bool {
	for _, name := range names {
		for _, r := range runtimes {
			if strings.HasPrefix(name, r) {
				return true
			}
		}
	}
	return false
}
