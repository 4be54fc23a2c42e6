package kernels

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// An image is an initramfs in the making: the content of regular files and the
// targets of symbolic links, by path without the first slash.
type image struct {
	files map[string][]byte
	links map[string]string
}

// add puts a file of this host in, under a path of the image.
func (i *image) add(to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	i.files[strings.TrimPrefix(to, "/")] = b
	return nil
}

var libraries = regexp.MustCompile(`(/\S+) \(0x`)

// addProgram puts a program of this host in at its own path, with the libraries
// that it is linked with.
func (i *image) addProgram(path string) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	out, err := exec.Command("ldd", real).CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("not a dynamic executable")) {
		return fmt.Errorf("ldd %s: %w: %s", real, err, out)
	}
	for _, m := range libraries.FindAllSubmatch(out, -1) {
		if err := i.add(string(m[1]), string(m[1])); err != nil {
			return err
		}
	}
	return i.add(path, real)
}

// write writes the image in the format that the kernel unpacks, "newc".
func (i *image) write(w io.Writer) error {
	out := &archive{w: bufio.NewWriterSize(w, 1<<20)}
	made := map[string]bool{}
	var mkdir func(string)
	mkdir = func(dir string) {
		if dir == "." || made[dir] {
			return
		}
		made[dir] = true
		mkdir(filepath.Dir(dir))
		out.entry(dir, 0o040755, nil)
	}
	for name, b := range i.files {
		mkdir(filepath.Dir(name))
		out.entry(name, 0o100755, b)
	}
	for name, target := range i.links {
		mkdir(filepath.Dir(name))
		out.entry(name, 0o120777, []byte(target))
	}
	out.entry("TRAILER!!!", 0, nil)
	return errors.Join(out.err, out.w.Flush())
}

type archive struct {
	w   *bufio.Writer
	err error
	n   int // entries; their inode numbers
}

func (a *archive) entry(name string, mode uint32, data []byte) {
	a.n++
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.n, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	for _, part := range [][]byte{[]byte(head), data} {
		pad := make([]byte, -len(part)&3)
		for _, b := range [][]byte{part, pad} {
			if _, err := a.w.Write(b); err != nil && a.err == nil {
				a.err = err
			}
		}
	}
}

// A machine is one architecture of virtual machine.
type machine struct {
	qemu    string
	options []string
	console string
}

var machines = map[string]machine{
	"amd64": {"qemu-system-x86_64", []string{"-machine", "pc", "-cpu", "max,la57=off"}, "ttyS0"},
	"arm64": {"qemu-system-aarch64", []string{"-machine", "virt", "-cpu", "cortex-a57"}, "ttyAMA0"},
}

// boot runs a kernel with an image until it switches itself off, or for the
// longest time, and returns what it wrote to its console.
func (m machine) boot(t *testing.T, kernel, initramfs string, longest time.Duration) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	args := append(m.options,
		// Two CPUs, one after the other: side by side, one can run into what the other
		// is just changing in the kernel's code, and QEMU then shows it half of that.
		"-accel", "tcg,thread=single", "-smp", "2", "-m", "1024", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-kernel", kernel, "-initrd", initramfs,
		// A panic ends the machine. Mitigations cost time and protect nothing here.
		"-append", "console="+m.console+" quiet panic=-1 mitigations=off")
	cmd := exec.CommandContext(ctx, m.qemu, args...)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("still running after %v:\n%s", longest, out)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", m.qemu, err, out)
	}
	return bytes.ReplaceAll(out, []byte("\r\n"), []byte("\n"))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
