package rules

import (
	"net/netip"
	"slices"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
	"github.com/clawwatch/clawwatch/internal/policy"
)

// Run is what one skill execution did so far, this record included. The previous
// totals are those before it.
type Run struct {
	BytesSent, BytesReceived                 uint64 // over the network, of payload
	PreviousBytesSent, PreviousBytesReceived uint64

	Hosts         []string // at most MaxHosts
	Fired         []string // rules that gave an alert before this record, at most MaxFired
	Did, Previous Counts
	Duration      time.Duration
}

// MaxHosts is how many hosts of one run are known by name, and MaxFired how many rules.
const (
	MaxHosts = 64
	MaxFired = 64
)

// Counts of what a run did.
type Counts struct {
	Hosts           int
	RestrictedFiles int
	OutsideFiles    int
	InternalFiles   int
	Secrets         int
	Programs        int
}

// A Deed is what one record adds to its run.
type Deed struct {
	Counts        // but for hosts: who keeps the run knows which are new
	Host   string // that it connected to; empty: none
	Tier   string // of its file, where that was looked up
}

// DeedOf tells what a record adds to its run.
func DeedOf(r *event.Record, v *policy.View) Deed {
	var d Deed
	if !acting(r) {
		return d
	}
	switch r.Kind {
	case event.KindExec:
		d.Programs = 1
	case event.KindConnect:
		d.Host = otherHost(r.Network)
	case event.KindFileOpen, event.KindFileRead, event.KindFileWrite, event.KindFileRename, event.KindFileLink:
		if f := r.File; f != nil && !f.Opened && !f.Directory && slices.Contains([]string{"read", "write", "execute", "rename", "exchange", "link"}, f.Operation) {
			d.Tier = fileTier(r, v)
			d.touched(policy.Tier(d.Tier))
		}
	case event.KindEnvRead:
		if secretsRead(r, v) {
			d.Secrets = 1
		}
	}
	return d
}

func (d *Deed) touched(tier policy.Tier) {
	switch tier {
	case policy.Restricted:
		d.RestrictedFiles, d.Secrets = 1, 1
	case policy.Outside:
		d.OutsideFiles = 1
	case policy.Internal:
		d.InternalFiles = 1
	}
}

// otherHost is the name, or address, of the host that a connection goes to.
func otherHost(n *event.Network) string {
	if n == nil || n.Direction != "outbound" || n.Transport == event.Unix || n.Transport == event.VSock {
		return ""
	}
	if addr, err := netip.ParseAddr(n.PeerAddress); err == nil && addr.Unmap().IsLoopback() {
		return ""
	}
	if n.Host != "" {
		return n.Host[:min(len(n.Host), 253)]
	}
	return n.PeerAddress
}

// secretsRead reports whether variables were read that the policy calls secrets and
// does not approve. What a process was handed it need not have read; a file that
// holds variables counts as a file.
func secretsRead(r *event.Record, v *policy.View) bool {
	if r.Env == nil {
		return false
	}
	switch r.Env.Method {
	case event.EnvExec, event.EnvDotenv:
		return false
	case event.EnvProcEnviron:
		if r.File != nil && fileTier(r, v) == string(policy.Restricted) {
			return false
		}
	}
	skill := ""
	if a := r.Attribution; a != nil && a.Skill != nil {
		skill = a.Skill.Name
	}
	return len(r.Env.Names) == 0 || slices.ContainsFunc(r.Env.Names, func(name string) bool {
		return v.SecretName(name) && !v.EnvApproved(name, skill)
	})
}

// env is the run as conditions see it.
func (r *Run) env() RunEnv {
	return RunEnv{
		BytesSent: clamp(r.BytesSent), BytesReceived: clamp(r.BytesReceived),
		PreviousBytesSent: clamp(r.PreviousBytesSent), PreviousBytesReceived: clamp(r.PreviousBytesReceived),
		Hosts: r.Hosts, Fired: r.Fired, HostCount: r.Did.Hosts, PreviousHostCount: r.Previous.Hosts,
		RestrictedFiles: r.Did.RestrictedFiles, PreviousRestrictedFiles: r.Previous.RestrictedFiles,
		OutsideFiles: r.Did.OutsideFiles, PreviousOutsideFiles: r.Previous.OutsideFiles,
		InternalFiles: r.Did.InternalFiles, PreviousInternalFiles: r.Previous.InternalFiles,
		Secrets: r.Did.Secrets, PreviousSecrets: r.Previous.Secrets,
		Programs: r.Did.Programs, PreviousPrograms: r.Previous.Programs,
		Duration: int(max(0, r.Duration) / time.Second),
	}
}

// Add adds up counts.
func (c *Counts) Add(more Counts) {
	c.Hosts += more.Hosts
	c.RestrictedFiles += more.RestrictedFiles
	c.OutsideFiles += more.OutsideFiles
	c.InternalFiles += more.InternalFiles
	c.Secrets += more.Secrets
	c.Programs += more.Programs
}
