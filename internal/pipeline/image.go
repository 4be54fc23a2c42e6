package pipeline

import (
	"math/bits"

	"github.com/clawwatch/clawwatch/internal/attribution"
	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/proctab"
)

const (
	tmpfsMagic = 0x01021994
	maxDigests = 8192
)

// digests are the SHA-256 of programs, by file.
type digests map[event.FileID]string

// learn takes in a digest. One of a script belongs to the image that was given
// it.
func (p *Pipeline) learn(b event.Digest) {
	if b.Script != "" {
		proc := p.table.Get(b.Proc)
		if proc != nil && proc.Image != nil && attribution.ScriptOf(*proc.Image) == (event.Script{Path: b.Script, Source: event.ScriptFile}) {
			proc.ScriptSHA256 = b.SHA256
		}
		return
	}
	if len(p.digests) >= maxDigests {
		clear(p.digests)
	}
	p.digests[b.File] = b.SHA256
}

// identify adds to what is shown of a process who and what it is.
func (p *Pipeline) identify(out *event.Process, proc *proctab.Proc) {
	if x := proc.Image; x != nil {
		if out.Executable != nil {
			out.Executable.SHA256 = p.digests[x.File]
			out.Executable.Memory, out.Executable.Deleted = x.Memory, x.Deleted
			out.Executable.Tmpfs = x.File.Magic == tmpfsMagic
		}
		if s := attribution.ScriptOf(*x); s.Source != "" {
			s.Path, s.SHA256 = p.Redactor.String(s.Path), proc.ScriptSHA256
			out.Script = &s
		}
		out.ContainerID, out.SessionLeader, out.Terminal, out.Bits32 = x.ContainerID, x.Session, x.Terminal, x.Bits32
	}
	if n := proc.Namespaces; n != nil && *n != (event.Namespaces{}) {
		out.Namespaces = n
	}
	c := proc.Creds
	if c == nil {
		return
	}
	if c.EUID != c.UID {
		out.EffectiveUser = p.user(c.EUID)
	}
	if c.EUID != 0 {
		out.Capabilities = capabilities(c.Effective)
	}
}

// hashedSince reports whether a digest became known after the process was last
// shown.
func (p *Pipeline) hashedSince(proc *proctab.Proc) bool {
	exe, script := proc.Shown.Executable, proc.Shown.Script
	return proc.Image != nil && (exe != nil && exe.SHA256 == "" && p.digests[proc.Image.File] != "" ||
		script != nil && script.SHA256 == "" && proc.ScriptSHA256 != "")
}

// met shows who a process is that was only looked at after it had done
// something. What it might have run before that, and not since, it would have
// been seen to exec.
func (p *Pipeline) met(it *item) {
	if it.image != nil || it.process == nil || it.process.Executable != nil {
		return
	}
	if proc := p.table.Get(it.ev.Proc); proc != nil && proc.Image != nil && proc.Image.Snapshot {
		it.image, it.process = proc.Image, p.process(it.ev, it.scope)
	}
}

// hashed shows the digests of program and script that became known while the
// fact waited.
func (p *Pipeline) hashed(it *item) {
	if it.image == nil || it.process == nil {
		return
	}
	var program, script string
	if exe := it.process.Executable; exe != nil && exe.SHA256 == "" {
		program = p.digests[it.image.File]
	}
	if s := it.process.Script; s != nil && s.SHA256 == "" {
		if proc := p.table.Get(it.ev.Proc); proc != nil && proc.Image == it.image {
			script = proc.ScriptSHA256
		}
	}
	if program == "" && script == "" {
		return
	}
	shown := *it.process // others may be reading it, and what it points to
	if program != "" {
		exe := *shown.Executable
		exe.SHA256, shown.Executable = program, &exe
	}
	if script != "" {
		s := *shown.Script
		s.SHA256, shown.Script = script, &s
	}
	it.process = &shown
}

// capabilityNames are Linux's, by number.
var capabilityNames = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW",
	"CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
	"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD",
	"CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
	"CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
}

func capabilities(set uint64) []string {
	var names []string
	for set != 0 {
		n := bits.TrailingZeros64(set)
		set &^= 1 << n
		if n < len(capabilityNames) {
			names = append(names, capabilityNames[n])
		}
	}
	return names
}
