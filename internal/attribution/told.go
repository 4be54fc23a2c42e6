package attribution

import "github.com/clawwatch/clawwatch/internal/event"

// Told is the scope of a process of which no more is known than what a record of
// it says: its role, the root of its execution and its gateway. Nothing can be
// attributed by it.
func Told(role event.Role, root event.ProcID, g event.GatewayFound) *Scope {
	s := &Scope{role: role, origin: &origin{gateway: &gateway{found: g}}}
	if !root.IsZero() {
		s.exec = &execution{root: root, origin: s.origin}
	}
	return s
}
