package skills

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/clawwatch/clawwatch/collectors/rootfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	skillFile   = "SKILL.md"
	maxFront    = 64 << 10  // bytes of frontmatter parsed
	maxNesting  = 64        // brackets open at once in it
	maxMetadata = 256 << 10 // bytes of an installer's file
	maxWord     = 256       // bytes of a name or version
)

// about is what a skill's files say of it. Its author wrote all of it, but for
// what an installer's files say.
type about struct {
	name, version string
	installer     string
	installed     time.Time
	owner         uint32
	declares      event.Declared
	err           string
}

// readAbout reads SKILL.md and what installers left. lock is the workspace's
// .clawhub/lock.json, or empty.
func readAbout(in *rootfs.Root, dir, lock string) about {
	a := about{name: clip(filepath.Base(dir)), owner: ^uint32(0)}
	path := filepath.Join(dir, skillFile)
	if fi, err := in.Lstat(path); err == nil {
		a.installed = fi.ModTime()
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			a.owner = st.Uid
		}
	}
	b, more, err := readPlain(in, path, maxTextFile)
	switch {
	case err != nil:
		a.err = fmt.Sprintf("read %s: %v", skillFile, err)
	case more:
		a.err = fmt.Sprintf("read %s: more than %d MiB", skillFile, maxTextFile>>20)
	case !isText(b):
		a.err = fmt.Sprintf("read %s: binary", skillFile)
	}
	if err == nil && isText(b) {
		front, err := parseFrontmatter(b)
		if err != nil && a.err == "" {
			a.err = err.Error()
		}
		if front.name != "" {
			a.name = front.name
		}
		a.version = front.version
		a.declares = parseDeclares(b)
	}
	a.readOrigin(in, dir, lock)
	return a
}

type frontmatter struct{ name, version string }

// parseFrontmatter reads name and version from between the two lines of dashes
// at the head of SKILL.md. Where the YAML is wrong, as hand-written YAML often
// is, the plain lines are taken and the error says so. No frontmatter at all
// is no error.
func parseFrontmatter(b []byte) (f frontmatter, err error) {
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	first, rest, _ := bytes.Cut(b, []byte{'\n'})
	if string(bytes.TrimSpace(first)) != "---" {
		return frontmatter{}, nil
	}
	var head []byte
	for line := range bytes.Lines(rest) {
		if string(bytes.TrimSpace(line)) == "---" {
			break
		}
		if head = append(head, line...); len(head) > maxFront {
			return plainLines(head[:maxFront]), fmt.Errorf("parse frontmatter: more than %d KiB", maxFront>>10)
		}
	}
	defer func() { // a parser of a stranger's text: its panic is an answer, too
		if recover() != nil {
			f, err = plainLines(head), errors.New("parse frontmatter: no YAML")
		}
	}()
	if nesting(head) > maxNesting {
		return plainLines(head), errors.New("parse frontmatter: nested too deep")
	}
	var doc struct {
		Name    any `yaml:"name"`
		Version any `yaml:"version"`
	}
	if err := yaml.Unmarshal(head, &doc); err != nil {
		return plainLines(head), errors.New("parse frontmatter: no YAML") // its message would quote the text
	}
	return frontmatter{name: scalar(doc.Name), version: scalar(doc.Version)}, nil
}

// plainLines reads "name: x" and "version: x" at the start of a line.
func plainLines(head []byte) frontmatter {
	var f frontmatter
	for line := range bytes.Lines(head) {
		key, value, _ := strings.Cut(string(line), ":")
		value = clip(strings.Trim(strings.TrimSpace(value), `"'`))
		switch key {
		case "name":
			f.name = value
		case "version":
			f.version = value
		}
	}
	return f
}

func nesting(b []byte) int {
	open, deepest := 0, 0
	for _, c := range b {
		switch c {
		case '[', '{':
			open++
		case ']', '}':
			open--
		}
		deepest = max(deepest, open)
	}
	return deepest
}

func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return clip(strings.TrimSpace(v))
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case uint64, int64, int:
		return fmt.Sprint(v)
	}
	return ""
}

// clip bounds a stranger's word and keeps control characters out of it.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return -1
		}
		return r
	}, s[:min(len(s), maxWord)])
	return strings.ToValidUTF8(s, "")
}

// An origin is what an installer wrote about an installation; the fields of
// several formats, none of which names them all.
type origin struct {
	Source           string  `json:"source"`           // source-origin.json: path, git
	InstalledVersion string  `json:"installedVersion"` // origin.json
	InstalledAt      float64 `json:"installedAt"`      // milliseconds
	Skills           map[string]struct {
		Version     string  `json:"version"`
		InstalledAt float64 `json:"installedAt"`
	} `json:"skills"` // lock.json, by slug
}

// readOrigin takes in what installers left, the most exact last.
func (a *about) readOrigin(in *rootfs.Root, dir, lock string) {
	if lock != "" {
		if o, err := readOriginFile(in, lock); err == nil {
			if s, ok := o.Skills[filepath.Base(dir)]; ok {
				a.install("clawhub", s.Version, s.InstalledAt)
			}
		}
	}
	for _, f := range []struct{ path, installer string }{
		{".openclaw/source-origin.json", ""},
		{".clawdhub/origin.json", "clawhub"},
		{".clawhub/origin.json", "clawhub"},
	} {
		o, err := readOriginFile(in, filepath.Join(dir, f.path))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			if a.err == "" {
				a.err = fmt.Sprintf("read %s: %v", f.path, err)
			}
		case f.installer != "":
			a.install(f.installer, o.InstalledVersion, o.InstalledAt)
		default:
			a.install(clip(o.Source), "", o.InstalledAt)
		}
	}
}

func (a *about) install(installer, version string, ms float64) {
	a.installer = installer
	if version != "" {
		a.version = clip(version)
	}
	if ms > 0 && ms < 1e14 {
		a.installed = time.UnixMilli(int64(ms))
	}
}

func readOriginFile(in *rootfs.Root, path string) (origin, error) {
	b, more, err := readPlain(in, path, maxMetadata)
	if err != nil {
		return origin{}, err
	}
	if more {
		return origin{}, fmt.Errorf("more than %d KiB", maxMetadata>>10)
	}
	return parseOrigin(b)
}

// parseOrigin reads any of the installers' files. A field of an unexpected type
// is passed over; the error quotes nothing.
func parseOrigin(b []byte) (origin, error) {
	var o origin
	err := json.Unmarshal(b, &o)
	var wrong *json.UnmarshalTypeError
	if err != nil && !errors.As(err, &wrong) {
		return origin{}, errors.New("no JSON")
	}
	return o, nil
}
