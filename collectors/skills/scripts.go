package skills

import (
	"bytes"
	"path"
	"slices"
	"strings"
)

const (
	maxScripts = 256 // of one skill, that are told; of more, the first by path
	maxPath    = 512 // bytes of its path
	minScript  = 48  // bytes: what is shorter, anybody may have written alike
)

// isScript reports whether a file is one that a copy of could be run: code by its
// extension, by its beginning, or by its mode where its extension does not say that
// it is something else. Packages that came with it are others' work, and are found
// wherever others use them.
func isScript(f file, r reading) bool {
	ext := strings.ToLower(path.Ext(f.path))
	switch {
	case r.size < minScript || r.changed == 0 || len(f.path) > maxPath:
		return false
	case slices.ContainsFunc(strings.Split(path.Dir(f.path), "/"), func(d string) bool { return slices.Contains(packageDirs, d) }):
		return false
	case r.program || slices.Contains(codeExts, ext):
		return true
	}
	return f.mode&0o111 != 0 && !slices.Contains(dataExts, ext)
}

// isProgram reports whether a file begins as a script or a program does.
func isProgram(head []byte) bool {
	return bytes.HasPrefix(head, []byte("#!")) || bytes.HasPrefix(head, []byte("\x7fELF"))
}

// packageDirs are where package managers put what they fetch.
var packageDirs = []string{"node_modules", "site-packages", "dist-packages", "venv", ".venv"}

// Extensions of code, and of what is none although a copy from another system may
// have set all files' execute bits.
var (
	codeExts = []string{
		".sh", ".bash", ".zsh", ".ksh", ".fish", ".py", ".pyz", ".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".rb", ".pl", ".lua", ".php", ".tcl", ".r",
	}
	dataExts = []string{
		".md", ".markdown", ".rst", ".txt", ".html", ".css", ".json", ".jsonl", ".json5", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".xml", ".csv", ".tsv",
		".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".ico", ".pdf", ".lock", ".license", ".zip", ".gz", ".xz", ".tar", ".woff", ".woff2", ".ttf",
	}
)
