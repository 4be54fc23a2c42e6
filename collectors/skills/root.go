package skills

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/clawwatch/clawwatch/collectors/rootfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds on one root.
const (
	levels     = 6     // below the root at which OpenClaw finds a skill
	maxSkills  = 1000  // of one root
	maxEntries = 20000 // of directories looked through in one root
)

// A root is a directory that gateways load skills from. It may not exist yet.
type root struct {
	path     string
	place    rootfs.Place // whose path it is
	gateways []string     // that load from it
	skills   map[string]*skill
	looked   bool // once: what comes from now on was installed
	dirty    bool
	since    time.Time // of being dirty
	err      string    // as last reported
}

// A skill is one directory with a SKILL.md in it.
type skill struct {
	dir       string
	links     []string // the symbolic links that led to it, if any did
	tree      tree     // as last read
	body      event.Skill
	installed bool // it came while its root was watched
	known     bool // read and reported
}

// key tells the roots of the host and of containers apart.
type key struct {
	mount uint32
	path  string
}

// found is what looking through a root gives.
type found struct {
	in     *rootfs.Root
	skills []*skill // dir and link; one directory once for each link
	dirs   []string // above and beside them: where new skills appear
	err    string   // why it is not all
}

// look goes through a root. A directory with a SKILL.md is a skill, and is not
// searched for others.
func look(in *rootfs.Root, path string) found {
	f := found{in: in}
	entries := maxEntries
	f.walk(path, 0, &entries)
	return f
}

func (f *found) walk(dir string, depth int, left *int) {
	if len(f.skills) == maxSkills {
		f.err = fmt.Sprintf("more than %d skills", maxSkills)
		return
	}
	if fi, err := f.in.Lstat(filepath.Join(dir, skillFile)); err == nil && !fi.IsDir() {
		f.skills = append(f.skills, &skill{dir: dir})
		return
	}
	entries, more, err := list(f.in, dir, *left)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && f.err == "" {
			f.err = err.Error()
		}
		return
	}
	*left -= len(entries)
	if more {
		f.err = fmt.Sprintf("more than %d directory entries", maxEntries)
	}
	f.dirs = append(f.dirs, dir)
	if depth == levels {
		return
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.Name() == ".git" || e.Name() == "node_modules":
		case e.IsDir():
			f.walk(path, depth+1, left)
		case e.Type() == fs.ModeSymlink:
			if target := linked(f.in, path); target != "" {
				f.skills = append(f.skills, &skill{dir: target, links: []string{path}})
			}
		}
	}
}

// linked gives the skill that a symbolic link leads to, as OpenClaw links the
// skills of its plugins. A link to another user's directory leads nowhere,
// unless the directory is root's, as packages are, or the link is.
func linked(in *rootfs.Root, path string) string {
	link, err := in.Lstat(path)
	if err != nil {
		return ""
	}
	target, err := in.Real(path)
	if err != nil {
		return ""
	}
	dir, err := in.Lstat(target)
	if err != nil || !dir.IsDir() {
		return ""
	}
	if o := owner(dir); o != 0 && o != owner(link) && owner(link) != 0 {
		return ""
	}
	if fi, err := in.Lstat(filepath.Join(target, skillFile)); err != nil || fi.IsDir() {
		return ""
	}
	return target
}

func owner(fi fs.FileInfo) uint32 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Uid
	}
	return ^uint32(0)
}

// lockFile gives where ClawHub keeps the versions of a workspace's skills.
func (r *root) lockFile() string {
	if filepath.Base(r.path) != "skills" {
		return ""
	}
	return filepath.Join(filepath.Dir(r.path), ".clawhub", "lock.json")
}

// bundled reports whether the root came with OpenClaw itself.
func (r *root) bundled() bool { return strings.Contains(r.path, "/node_modules/") }

// source says where a skill is from, as far as its metadata or its place tell.
func (r *root) source(a about) string {
	if a.installer == "" && r.bundled() {
		return "bundled"
	}
	return a.installer
}

// read reads a skill whose tree is already listed.
func (s *skill) read(in *rootfs.Root, r *root) event.Skill {
	c, a := s.tree.read(in, s.dir), readAbout(in, s.dir, r.lockFile())
	body := event.Skill{
		ID:        event.SkillID{Name: a.name, Version: a.version, SHA256: c.sha256, Root: r.path, Dir: s.dir, Source: r.source(a)},
		Installer: a.installer,
		Installed: a.installed,
		OwnerUID:  a.owner,
		Declares:  a.declares,
		EnvNames:  c.envNames,
		Links:     s.links,
		Scripts:   c.scripts,
	}
	var errs []string
	for _, e := range []string{a.err, c.err} {
		if e != "" {
			errs = append(errs, e)
		}
	}
	body.Err = strings.Join(errs, "; ")
	return body
}

// watchable gives the directory to watch for a root: itself, or while it does
// not exist the nearest parent that does.
func (r *root) watchable(in *rootfs.Root) string {
	for dir := r.path; ; dir = filepath.Dir(dir) {
		if fi, err := in.Lstat(dir); err == nil && fi.IsDir() {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return dir
		}
	}
}

func (r *root) sorted() []*skill {
	return slices.SortedFunc(maps.Values(r.skills), func(a, b *skill) int { return cmp.Compare(a.tree.bytes, b.tree.bytes) })
}

func (r *root) touch() {
	if !r.dirty {
		r.dirty, r.since = true, time.Now()
	}
}

// links reports whether the file is in a skill that a link of the root leads to.
func (r *root) links(name string) bool {
	for _, s := range r.skills {
		if len(s.links) > 0 && strings.HasPrefix(name, s.dir+"/") {
			return true
		}
	}
	return false
}
