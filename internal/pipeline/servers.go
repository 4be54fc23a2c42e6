package pipeline

import "github.com/clawwatch/clawwatch/internal/event"

// maxServers bounds the sockets that are known to be served by followed processes.
const maxServers = 1024

// servers remember which followed process serves a unix socket, by its name: what it
// is asked to run is followed, and for whom is known.
type servers map[string]*item

// note keeps who listens, and forgets who ended.
func (s servers) note(it *item) {
	switch b := it.ev.Body.(type) {
	case event.Listen:
		if b.Transport == event.Unix && b.Name != "" && it.scope.Role().ByTool() && (s[b.Name] != nil || len(s) < maxServers) {
			s[b.Name] = it
		}
	case event.Exit:
		for name, x := range s {
			if x.ev.Proc == it.ev.Proc {
				delete(s, name)
			}
		}
	}
}

// servedBy is who listens at what a fact connects to, or nil.
func (s servers) servedBy(body event.Body) *item {
	if b, ok := body.(event.Connect); ok && b.Transport == event.Unix {
		return s[b.Name]
	}
	return nil
}

// served reports whether a connection leads to a server that the same tool call has
// started, or one for the same skill in the same session.
func (p *Pipeline) served(it *item, a *event.Attribution) bool {
	if it.server == nil {
		return false
	}
	if p.owns(it, it.server.ev.Proc) {
		return true
	}
	b := p.attribute(it.server)
	return a != nil && b != nil && a.Session != "" && a.Session == b.Session && a.Gateway == b.Gateway &&
		a.Skill != nil && b.Skill != nil && a.Skill.Dir == b.Skill.Dir
}
