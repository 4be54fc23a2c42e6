package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clawwatch/clawwatch/internal/event"
)

// A Profile is a skill of the inventory with what it says that it needs against
// what it was seen to use. Seen counts only where the skill is certain or strong.
type Profile struct {
	Skill
	Versions  []Use     `json:"versions,omitempty"` // trees that were seen in its directory, by hash, newest last
	Calls     []Use     `json:"calls,omitempty"`    // tool calls made for it, by tool
	Programs  Compared  `json:"programs"`
	Variables Compared  `json:"variables"` // those that look like secrets
	Hosts     Compared  `json:"hosts"`
	LastUse   time.Time `json:"last_use,omitzero"`
}

// Compared is what a skill declares against what it was seen to use.
type Compared struct {
	Used       []Use    `json:"declared_and_used,omitempty"`
	Undeclared []Use    `json:"used_not_declared,omitempty"`
	Unseen     []string `json:"declared_never_seen,omitempty"`
	More       int      `json:"more,omitempty"` // uses of further names, which are not kept
}

// Profiles returns the skills of a name, or all; see Skills for what counts of
// the query. Uses are those since the skill was first seen, whatever the query
// says.
func (s *Store) Profiles(ctx context.Context, q Query) ([]Profile, error) {
	skills, err := s.Skills(ctx, q)
	if err != nil {
		return nil, err
	}
	var all []Profile
	for _, k := range skills {
		p, err := s.profile(ctx, k)
		if err != nil {
			return nil, fmt.Errorf("read uses of %s: %w", k.Skill.ID.Dir, err)
		}
		all = append(all, p)
	}
	return all, nil
}

func (s *Store) profile(ctx context.Context, k Skill) (Profile, error) {
	p := Profile{Skill: k}
	uses, err := s.uses(ctx, k.Gateway, k.Skill.ID.Dir)
	if err != nil {
		return p, err
	}
	for what, list := range uses {
		if what == useVersion {
			continue
		}
		for _, u := range list {
			if u.Last.After(p.LastUse) {
				p.LastUse = u.Last
			}
		}
	}
	var declared event.Declared
	if k.Skill.Declares != nil {
		declared = *k.Skill.Declares
	}
	servers := uses[string(event.TraitResolver)]
	hosts := slices.DeleteFunc(uses[string(event.TraitHost)], func(u Use) bool {
		return slices.ContainsFunc(servers, func(r Use) bool { return r.Name == u.Name })
	})
	p.Versions, p.Calls = uses[useVersion], uses[string(event.TraitCall)]
	slices.SortStableFunc(p.Versions, func(a, b Use) int { return a.First.Compare(b.First) })
	p.Programs = compare(declared.Bins, uses[string(event.TraitProgram)], sameProgram)
	p.Variables = compare(declared.Envs, uses[string(event.TraitVariable)], func(a, b string) bool { return a == b })
	p.Hosts = compare(declared.Hosts, hosts, sameHost)
	return p, nil
}

// uses returns what a skill was seen to use, by sort and then by name.
func (s *Store) uses(ctx context.Context, gateway, dir string) (map[string][]Use, error) {
	rows, err := s.r.QueryContext(ctx, `SELECT what, name, detail, count, first, last FROM uses WHERE gateway = ? AND dir = ? ORDER BY what, name`, gateway, dir)
	if err != nil {
		return nil, err
	}
	defer rows.Close() // its error is that of rows.Err
	all := map[string][]Use{}
	for rows.Next() {
		var what string
		var u Use
		var first, last int64
		if err := rows.Scan(&what, &u.Name, &u.Detail, &u.Count, &first, &last); err != nil {
			return nil, err
		}
		u.First, u.Last = time.Unix(0, first).UTC(), time.Unix(0, last).UTC()
		all[what] = append(all[what], u)
	}
	return all, rows.Err()
}

// Habits gives what all skills were seen to use until now, and in which trees.
func (s *Store) Habits(ctx context.Context) ([]event.Habit, error) {
	rows, err := s.r.QueryContext(ctx, `SELECT gateway, dir, what, name, count FROM uses ORDER BY gateway, dir`)
	if err != nil {
		return nil, err
	}
	defer rows.Close() // its error is that of rows.Err
	var all []event.Habit
	for rows.Next() {
		var gateway, dir, what, name string
		var count int
		if err := rows.Scan(&gateway, &dir, &what, &name, &count); err != nil {
			return nil, err
		}
		if n := len(all); n == 0 || all[n-1].Gateway != gateway || all[n-1].Dir != dir {
			all = append(all, event.Habit{Gateway: gateway, Dir: dir})
		}
		h := &all[len(all)-1]
		if what == useVersion {
			h.Trees = append(h.Trees, name)
			continue
		}
		if event.TraitSort(what) == event.TraitCall {
			h.Calls += count
		}
		h.Traits = append(h.Traits, event.Trait{What: event.TraitSort(what), Name: name})
	}
	return all, rows.Err()
}

// compare sorts uses by whether a declaration covers them. same takes what is
// declared and what was used.
func compare(declared []string, used []Use, same func(declared, used string) bool) Compared {
	var c Compared
	seen := map[string]bool{}
	for _, u := range used {
		if u.Name == "" {
			c.More = u.Count
			continue
		}
		covered := false
		for _, d := range declared {
			if same(d, u.Name) {
				covered, seen[d] = true, true
			}
		}
		if covered {
			c.Used = append(c.Used, u)
		} else {
			c.Undeclared = append(c.Undeclared, u)
		}
	}
	for _, d := range declared {
		if !seen[d] {
			c.Unseen = append(c.Unseen, d)
		}
	}
	return c
}

// sameHost: who names a domain names what is below it.
func sameHost(declared, used string) bool {
	return declared == used || strings.HasSuffix(used, "."+declared)
}

// alternatives are what the usual names of programs lead to: the kernel tells
// the file that runs, behind all links.
var alternatives = map[string][]string{
	"awk": {"mawk", "gawk", "original-awk"}, "nc": {"nc.openbsd", "nc.traditional", "ncat"}, "netcat": {"nc.openbsd", "nc.traditional", "ncat"},
	"vi": {"vim.basic", "vim.tiny", "vim", "nvi"}, "vim": {"vim.basic", "vim.tiny"}, "sh": {"dash", "bash"}, "python": {"python3"},
	"pip": {"pip3"}, "nodejs": {"node"}, "cc": {"gcc", "clang"}, "fd": {"fdfind"}, "bat": {"batcat"},
}

// sameProgram reports whether a program is the one that was named, or a version
// of it: python3.11 for python3 or python, gcc-12 for gcc.
func sameProgram(declared, used string) bool {
	if isVersion(declared, used) {
		return true
	}
	return slices.ContainsFunc(alternatives[declared], func(a string) bool { return isVersion(a, used) })
}

func isVersion(name, used string) bool {
	rest, ok := strings.CutPrefix(used, name)
	return ok && strings.Trim(rest, "0123456789.-") == ""
}
