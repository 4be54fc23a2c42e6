package ebpf

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

// maxLibrary is the largest file whose symbols are read: a C library has two
// megabytes, and a program may lie about what it is.
const maxLibrary = 16 << 20

const maxKnown = 256 // files

// libraries are where the C library of a dynamic loader's kind lies, most
// likely first.
var libraries = []string{
	"/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/usr/lib64/libc.so.6", "/usr/lib/libc.so.6",
}

// A probePlace is where a probe goes in.
type probePlace struct {
	path    string   // of an open descriptor, or the executable
	offsets []uint64 // in the file
	shell   bool
}

// known is what was learned of executables and libraries, and the descriptors
// that are open for the process at hand.
type known struct {
	programs  map[event.FileID]executable
	libraries map[event.FileID][]uint64
	open      []int
}

// executable is what matters of an executable.
type executable struct {
	loader  string   // its dynamic loader; "": it is static
	symbols []uint64 // of bash: where they are in the file
}

// places are where the probes of a process go in.
func (k *known) places(procPath string, root int, p tapped) []probePlace {
	exe := filepath.Join(procPath, strconv.Itoa(int(p.id.PID)), "exe")
	prog, ok := k.programs[p.file]
	if !ok {
		var err error
		if prog, err = readProgram(exe, p.file, path.Base(p.path) == "bash"); err != nil {
			return nil
		}
		if k.programs == nil || len(k.programs) >= maxKnown {
			k.programs = map[event.FileID]executable{}
		}
		k.programs[p.file] = prog
	}
	if len(prog.symbols) > 0 { // bash, which has a getenv of its own
		return []probePlace{{exe, prog.symbols, true}}
	}
	if prog.loader == "" {
		return nil
	}
	candidates := libraries
	if strings.HasPrefix(path.Base(prog.loader), "ld-musl-") {
		candidates = []string{prog.loader} // which is the library
	}
	for _, candidate := range candidates {
		file, symbols := k.library(root, candidate)
		if len(symbols) > 0 {
			return []probePlace{{file, symbols, false}}
		}
	}
	return nil
}

// library opens a library below a process's root, and gives where in it the
// functions are.
func (k *known) library(root int, name string) (file string, symbols []uint64) {
	fd, err := unix.Openat2(root, name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return "", nil
	}
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Fstat(fd, &st), unix.Fstatfs(fd, &fs)); err != nil ||
		st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > maxLibrary || !procfs.Answers(uint32(fs.Type)) {
		unix.Close(fd)
		return "", nil
	}
	k.open = append(k.open, fd)
	file = "/proc/self/fd/" + strconv.Itoa(fd)
	id := event.FileID{Dev: st.Dev, Inode: st.Ino, Size: uint64(st.Size), Modified: st.Mtim.Nano(), Changed: st.Ctim.Nano()}
	if symbols, ok := k.libraries[id]; ok {
		return file, symbols
	}
	if f, err := os.Open(file); err == nil {
		symbols, _ = symbolsOf(f, "getenv", "secure_getenv") // without them, what uses it is dark
		f.Close()
	}
	if k.libraries == nil || len(k.libraries) >= maxKnown {
		k.libraries = map[event.FileID][]uint64{}
	}
	k.libraries[id] = symbols
	return file, symbols
}

func (k *known) closeAll() {
	for _, fd := range k.open {
		unix.Close(fd)
	}
	k.open = k.open[:0]
}

// readProgram reads the head of an executable, if it is still that file.
func readProgram(file string, id event.FileID, shell bool) (p executable, err error) {
	f, err := procfs.OpenFile(file, id)
	if err != nil {
		return p, err
	}
	defer f.Close()
	if p.loader, err = loaderOf(f); err != nil || !shell || id.Size > maxLibrary {
		return p, nil // no program that can be read: dark
	}
	p.symbols, _ = symbolsOf(f, "find_variable") // without it, it is dark, too
	return p, nil
}

// loaderOf gives the dynamic loader that a program asks for; "": none.
func loaderOf(r io.ReaderAt) (loader string, err error) {
	defer recovered(&err)
	f, err := elf.NewFile(r)
	if err != nil {
		return "", fmt.Errorf("read program: %w", err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b := make([]byte, min(p.Filesz, unix.PathMax))
			n, err := p.ReadAt(b, 0)
			if err != nil && !errors.Is(err, io.EOF) {
				return "", fmt.Errorf("read loader: %w", err)
			}
			name, _, _ := strings.Cut(string(b[:n]), "\x00")
			return name, nil
		}
	}
	return "", nil
}

// symbolsOf gives the places in a file of those of its dynamic functions that
// are asked for.
func symbolsOf(r io.ReaderAt, names ...string) (offsets []uint64, err error) {
	defer recovered(&err)
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("read library: %w", err)
	}
	all, err := f.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("read symbols: %w", err)
	}
	for _, symbol := range all {
		for _, name := range names {
			if symbol.Name == name && symbol.Section != elf.SHN_UNDEF && elf.ST_TYPE(symbol.Info) == elf.STT_FUNC {
				if at, ok := offsetOf(f, symbol.Value); ok {
					offsets = append(offsets, at)
				}
			}
		}
	}
	return offsets, nil
}

// offsetOf turns an address into an offset in the file.
func offsetOf(f *elf.File, address uint64) (uint64, bool) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD && p.Flags&elf.PF_X != 0 && address >= p.Vaddr && address-p.Vaddr < p.Filesz {
			return address - p.Vaddr + p.Off, true
		}
	}
	return 0, false
}

// recovered turns a panic into an error: debug/elf is not made for files that
// were made to hurt it.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("read file: %v", r)
	}
}
