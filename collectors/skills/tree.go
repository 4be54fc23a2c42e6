package skills

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/clawwatch/clawwatch/collectors/rootfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Bounds on one skill.
const (
	maxFiles     = 5000      // and directories
	maxDepth     = 32        // of directories below the skill's own
	maxTreeBytes = 256 << 20 // hashed
	maxTextFile  = 1 << 20   // searched for names, and parsed
	maxTextBytes = 16 << 20  // searched in all
)

// A tree is the content of a skill's directory by name and size, found without
// opening a file. It is sorted by path.
type tree struct {
	files []file
	dirs  []string // absolute, the skill's own first
	bytes int64    // of all regular files
	more  string   // which bound was met; empty: the tree is whole
	stamp string   // changes when any file does: from sizes, modes, inodes and change times
}

type file struct {
	path   string // relative, slash-separated
	mode   fs.FileMode
	size   int64
	target string // of a symbolic link, unresolved
	stamp  string // inode and change time
}

// metadata holds the files that installers write and rewrite. They are no part
// of what was installed, and the hash leaves them out; anything else beside them
// counts.
var metadata = []string{
	".clawhub/origin.json", ".clawhub/lock.json", ".clawdhub/origin.json", ".clawdhub/lock.json",
	".openclaw/source-origin.json",
}

// readTree lists a skill's files, up to the bounds. Links are named and not
// followed. The error is for the skill's own directory.
func readTree(in *rootfs.Root, dir string) (tree, error) {
	t := tree{}
	if err := t.walk(in, dir, "", 0); err != nil {
		return t, err
	}
	slices.SortFunc(t.files, func(a, b file) int { return strings.Compare(a.path, b.path) })
	stamp := sha256.New()
	for _, f := range t.files {
		stamp.Write(fmt.Appendf(nil, "%s\x00%v\x00%d\x00%s\n", f.path, f.mode, f.size, f.stamp))
	}
	t.stamp = hex.EncodeToString(stamp.Sum(nil))
	return t, nil
}

func (t *tree) walk(in *rootfs.Root, dir, rel string, depth int) error {
	entries, more, err := list(in, filepath.Join(dir, rel), maxFiles-len(t.files)-len(t.dirs))
	if err != nil {
		return err
	}
	t.dirs = append(t.dirs, filepath.Join(dir, rel))
	if more {
		t.more = fmt.Sprintf("more than %d files", maxFiles)
	}
	for _, d := range entries {
		path := filepath.Join(rel, d.Name())
		switch {
		case path == ".git":
		case d.IsDir() && depth == maxDepth:
			t.more = fmt.Sprintf("more than %d levels", maxDepth)
		case d.IsDir():
			if err := t.walk(in, dir, path, depth+1); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.more = "a directory could not be read"
			}
		case len(t.files)+len(t.dirs) >= maxFiles:
			t.more = fmt.Sprintf("more than %d files", maxFiles)
		default:
			t.add(in, dir, path)
		}
	}
	return nil
}

func (t *tree) add(in *rootfs.Root, dir, path string) {
	fi, err := in.Lstat(filepath.Join(dir, path))
	if err != nil {
		return // gone
	}
	f := file{path: path, mode: fi.Mode(), size: fi.Size()}
	if f.mode.Type() == fs.ModeSymlink {
		f.target, _ = in.Readlink(filepath.Join(dir, path))
	}
	if f.mode.IsRegular() {
		t.bytes += f.size
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok { // the change time: nobody can set it back
		f.stamp = fmt.Sprintf("%d %v", st.Ino, st.Ctim)
	}
	t.files = append(t.files, f)
}

// list reads up to limit entries of a directory, and says whether there are
// more. They are in no order: sorting a directory of a million would read it all.
func list(in *rootfs.Root, dir string, limit int) (entries []fs.DirEntry, more bool, err error) {
	f, err := in.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	entries, err = f.ReadDir(limit + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if len(entries) > limit {
		return entries[:limit], true, err
	}
	return entries, false, err
}

// content is what reading a tree's files gives.
type content struct {
	sha256   string // hex; prefixed "partial:" where not everything was read
	envNames []string
	scripts  []event.SkillScript
	err      string
}

// read hashes the tree as the package documentation says, and looks for names
// of variables on the way.
func (t tree) read(in *rootfs.Root, dir string) content {
	sum := sha256.New()
	names := envNames{}
	var scripts []event.SkillScript
	left, text, problem := int64(maxTreeBytes), int64(maxTextBytes), t.more
	for _, f := range t.files {
		if slices.Contains(metadata, f.path) {
			continue
		}
		switch {
		case f.mode.Type() == fs.ModeSymlink:
			sum.Write(fmt.Appendf(nil, "%s\x00l\x00%d\x00%s\n", f.path, len(f.target), f.target))
		case !f.mode.IsRegular():
			sum.Write(fmt.Appendf(nil, "%s\x00s\x000\x00\n", f.path))
		case f.size > left:
			problem = fmt.Sprintf("more than %d MiB of files", maxTreeBytes>>20)
		default:
			r, err := readContent(in, filepath.Join(dir, f.path), left, func(b []byte) {
				if text -= int64(len(b)); text >= 0 {
					names.find(b)
				}
			})
			if errors.Is(err, fs.ErrNotExist) {
				continue // gone: the next look tells
			}
			if err != nil {
				problem = err.Error()
				continue
			}
			left -= r.size
			x := '-'
			if f.mode&0o111 != 0 {
				x = 'x'
			}
			sum.Write(fmt.Appendf(nil, "%s\x00%c\x00%d\x00%s\n", f.path, x, r.size, r.digest))
			if isScript(f, r) && len(scripts) < maxScripts {
				scripts = append(scripts, event.SkillScript{Path: f.path, SHA256: r.digest, Changed: r.changed})
			}
		}
	}
	c := content{sha256: hex.EncodeToString(sum.Sum(nil)), envNames: names.sorted(), scripts: scripts, err: problem}
	if problem != "" {
		c.sha256 = "partial:" + c.sha256
		c.err = "hash tree: " + problem
	}
	return c
}

// A reading is what reading one file gives.
type reading struct {
	size    int64
	digest  string
	program bool  // it begins as a script or a program does
	changed int64 // when it last was, ns since 1970, asked after it was read: it had that content then
}

// readContent hashes one file of up to limit bytes. Text of up to maxTextFile
// bytes is also shown to look.
func readContent(in *rootfs.Root, path string, limit int64, look func([]byte)) (reading, error) {
	f, err := openPlain(in, path)
	if err != nil {
		return reading{}, err
	}
	defer f.Close()
	sum := sha256.New()
	head, err := io.ReadAll(io.LimitReader(f, min(limit, maxTextFile)+1))
	if err != nil {
		return reading{}, err
	}
	sum.Write(head)
	if len(head) <= maxTextFile && isText(head) {
		look(head)
	}
	rest, err := copyTo(sum, f, limit-int64(len(head)))
	if err != nil {
		return reading{}, err
	}
	r := reading{size: int64(len(head)) + rest, digest: hex.EncodeToString(sum.Sum(nil)), program: isProgram(head)}
	fi, err := f.Stat()
	if err != nil {
		return reading{}, err
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		r.changed = st.Ctim.Nano()
	}
	return r, nil
}

// copyTo copies up to limit bytes; more is an error: the file grows as it is read.
func copyTo(sum hash.Hash, f io.Reader, limit int64) (int64, error) {
	n, err := io.Copy(sum, io.LimitReader(f, limit+1))
	if err == nil && n > limit {
		return n, fmt.Errorf("more than %d MiB of files", maxTreeBytes>>20)
	}
	return n, err
}

func isText(b []byte) bool { return bytes.IndexByte(b[:min(len(b), 8<<10)], 0) < 0 }

// openPlain opens a regular file: no link in its last place is followed, and a
// pipe put there in its stead does not block.
func openPlain(in *rootfs.Root, path string) (*os.File, error) {
	f, err := in.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("open %s: %s, want a plain file", path, fi.Mode().Type())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readPlain reads up to limit bytes of a regular file, and says whether there
// were more.
func readPlain(in *rootfs.Root, path string, limit int64) (b []byte, more bool, err error) {
	f, err := openPlain(in, path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	b, err = io.ReadAll(io.LimitReader(f, limit+1))
	if int64(len(b)) > limit {
		return b[:limit], true, err
	}
	return b, false, err
}
