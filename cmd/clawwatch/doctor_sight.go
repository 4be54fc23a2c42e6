package main

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// host looks at what the kernel sensor needs.
func (e *examination) host() {
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		e.add("kernel", isWell, "", "%s %s", unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:]))
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		e.add("kernel", isBlind, "use a kernel with CONFIG_DEBUG_INFO_BTF; distributions since 2021 have it", "no types (BTF): %v", err)
	} else {
		e.add("kernel", isWell, "", "types (BTF) are there")
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/kernel/tracing", &st); err != nil || st.Type != unix.TRACEFS_MAGIC {
		e.add("kernel", isNote, "mount -t tracefs tracefs /sys/kernel/tracing, if the agent may not", "tracefs is not mounted; the agent mounts it when it starts")
	} else {
		e.add("kernel", isWell, "", "tracefs is mounted")
	}
}

// lackingCapabilities names those that the agent needs and this process has
// not.
func lackingCapabilities() (lack []string) {
	var have [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &have[0]); err != nil {
		return nil // it will be seen by what fails
	}
	for _, c := range []struct {
		name string
		bit  int
	}{
		{"CAP_BPF", unix.CAP_BPF},
		{"CAP_PERFMON", unix.CAP_PERFMON},
		{"CAP_SYS_PTRACE", unix.CAP_SYS_PTRACE},
		{"CAP_DAC_READ_SEARCH", unix.CAP_DAC_READ_SEARCH},
		{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN},
		{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN},
	} {
		if have[c.bit/32].Effective&(1<<(c.bit%32)) == 0 {
			lack = append(lack, c.name)
		}
	}
	return lack
}

// sight judges what is seen, kind by kind.
func (e *examination) sight(coverage []event.Coverage) {
	best := slices.ContainsFunc(coverage, func(c event.Coverage) bool { return strings.HasPrefix(c.Probe, "ebpf") && c.Fidelity == "complete" })
	for _, c := range coverage {
		kinds := kindNames(c.Kinds)
		switch {
		case c.Fidelity == "none" && len(c.Kinds) > 0:
			e.add("sensor", isBlind, remedy(c.Reason), "%s sees nothing of %s: %s", c.Probe, kinds, c.Reason)
		case c.Fidelity == "none" && best:
			e.add("sensor", isWell, "", "%s is not used: %s", c.Probe, c.Reason)
		case c.Known:
			e.add("sensor", isNote, "", "%s, %s: %s", c.Probe, kinds, c.Reason)
		case c.Fidelity == "none":
			e.add("sensor", isNote, remedy(c.Reason), "%s is not used, others see what it would: %s", c.Probe, c.Reason)
		case c.Reason != "":
			e.add("sensor", isBlind, "", "%s, %s: %s", c.Probe, kinds, c.Reason)
		case c.Fidelity == "sampled":
			e.add("sensor", isNote, "", "%s, %s: %s", c.Probe, c.Fidelity, kinds)
		default:
			e.add("sensor", isWell, "", "%s, %s: %s", c.Probe, c.Fidelity, kinds)
		}
	}
	e.kinds(coverage)
}

// kinds says of each kind by what it is seen, how well, and what keeps a better
// one away. Those that nothing sees have their line already.
func (e *examination) kinds(coverage []event.Coverage) {
	var refused []event.Coverage // so far, best first
	told := map[event.Kind]bool{}
	for _, c := range coverage {
		if c.Fidelity == "none" && c.Reason != "" {
			refused = append(refused, c)
		}
		if c.Fidelity == "none" || c.Reason != "" {
			continue
		}
		for _, k := range c.Kinds {
			if told[k] {
				continue
			}
			told[k] = true
			limit := func(known bool) bool {
				return slices.ContainsFunc(coverage, func(o event.Coverage) bool {
					return o.Probe == c.Probe && o.Reason != "" && o.Known == known && o.Fidelity != "none" && slices.Contains(o.Kinds, k)
				})
			}
			switch {
			case c.Fidelity == "complete" && !limit(false) && limit(true):
				e.add("kind", isWell, "", "%s: %s, complete but for the known limit above", k, c.Probe)
			case c.Fidelity == "complete" && !limit(false):
				e.add("kind", isWell, "", "%s: %s, complete", k, c.Probe)
			case len(refused) > 0:
				why := refused[0]
				e.add("kind", isNote, remedy(why.Reason), "%s: %s, not complete; %s would be better, but: %s", k, c.Probe, why.Probe, why.Reason)
			default:
				e.add("kind", isNote, "", "%s: %s, not complete", k, c.Probe)
			}
		}
	}
}

// remedy is what helps against a reason that a probe gave.
func remedy(reason string) string {
	for _, r := range []struct{ sign, do string }{
		{"operation not permitted", "run the agent as root, or with CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH; in a container: see docs/containers.md"},
		{"permission denied", "run the agent as root"},
		{"BTF", "use a kernel with CONFIG_DEBUG_INFO_BTF"},
		{"tracefs", "mount -t tracefs tracefs /sys/kernel/tracing"},
		{"lockdown", "kernel lockdown (confidentiality) forbids BPF; integrity allows it"},
	} {
		if strings.Contains(reason, r.sign) {
			return r.do
		}
	}
	return ""
}
