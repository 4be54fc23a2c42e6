package ebpf

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/internal/event"
)

// actHeirOn makes a file on a file system of its own, tells its numbers, and when it
// is told to go on reads it.
func actHeirOn(out io.Writer) error {
	dir, err := os.Getwd()
	if err == nil {
		err = ownTmpfs(dir)
	}
	if err == nil && os.Args[1] == "overlay" {
		err = errors.Join(os.Mkdir("lower", 0o755), os.Mkdir("upper", 0o755), os.Mkdir("work", 0o755), os.Mkdir("all", 0o755),
			os.WriteFile("lower/left", []byte("old\n"), 0o600),
			unix.Mount("overlay", "all", "overlay", 0, "lowerdir=lower,upperdir=upper,workdir=work"), os.Chdir("all"))
	}
	if err == nil {
		err = os.WriteFile("left", []byte("key\n"), 0o600)
	}
	var st unix.Stat_t
	if err := errors.Join(err, unix.Stat("left", &st)); err != nil {
		return err
	}
	fmt.Fprintln(out, st.Dev, st.Ino)
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	_, err = os.ReadFile("left")
	return err
}

// The kernel side has the numbers of stat, also where a file system makes them up.
func testHeirsOn(b *bench) {
	have, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, fs := range []string{"tmpfs", "overlay"} {
		if !bytes.Contains(have, []byte("\t"+fs+"\n")) {
			continue // it is a module
		}
		c := b.start("heir-on", fs)
		c.act(b.t)
		var f event.FileKey
		if _, err := fmt.Sscan(c.line(b.t), &f.Dev, &f.Inode); err != nil {
			b.t.Fatal(err)
		}
		if err := b.WatchFile(f); err != nil {
			b.t.Fatal(err)
		}
		if h := b.heir(c); h.File != f || filepath.Base(h.Path) != "left" {
			b.t.Errorf("on %s: heir %+v, want of %v", fs, h, f)
		}
		b.untilExit(c.id)
		if opens := bodies[event.FileOpen](b, c.id); len(opens) != 1 || opens[0].File != f {
			b.t.Errorf("on %s: opens %+v, want of %v", fs, opens, f)
		}
		if err := b.UnwatchFile(f); err != nil {
			b.t.Fatal(err)
		}
	}
}

// On a tmpfs of one's own the first files have these numbers, besides its root.
const firstNumber, secondNumber, thirdNumber = 2, 3, 4

// actNumbers makes files with numbers that are foreseen, and at last reads another one.
func actNumbers(out io.Writer) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	var st unix.Stat_t
	err = errors.Join(ownTmpfs(dir), unix.Stat(dir, &st))
	if err != nil {
		return err
	}
	fmt.Fprintln(out, st.Dev)
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	made, err := os.OpenFile("made", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer made.Close()
	unnamed, err := unix.Open(".", unix.O_TMPFILE|unix.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(unnamed)
	if err := os.Mkdir("dir", 0o700); err != nil {
		return err
	}
	for path, want := range map[string]uint64{"made": firstNumber, fmt.Sprintf("/proc/self/fd/%d", unnamed): secondNumber, "dir": thirdNumber} {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(unix.Fstat(fd, &st), unix.Close(fd)); err != nil || st.Ino != want {
			return fmt.Errorf("%s has number %d, want %d: %w", path, st.Ino, want, err)
		}
	}
	_, err = os.ReadFile(os.Args[1])
	return err
}

// testNumbers: a file is gone, and another one gets its number.
func testNumbers(b *bench) {
	path := filepath.Join(realPath(b.t, b.t.TempDir()), "left")
	f := b.leave(path, "key\n")
	c := b.start("numbers", path)
	c.act(b.t)
	var dev uint64
	if _, err := fmt.Sscan(c.line(b.t), &dev); err != nil {
		b.t.Fatal(err)
	}
	for _, number := range []uint64{firstNumber, secondNumber, thirdNumber} {
		if err := b.WatchFile(event.FileKey{Dev: dev, Inode: number}); err != nil {
			b.t.Fatal(err)
		}
	}
	if h := b.heir(c); h.File != f {
		b.t.Errorf("heir %+v, want of %v", h, f)
	}
	if exit := b.untilExit(c.id); exit != (event.Exit{}) {
		b.t.Errorf("it ended with %+v", exit)
	}
	for _, number := range []uint64{firstNumber, secondNumber, thirdNumber} {
		var one uint8
		key := leftKey(event.FileKey{Dev: dev, Inode: number})
		if err := b.maps[sensorMapLeft].Lookup(key, &one); !errors.Is(err, ebpf.ErrKeyNotExist) {
			b.t.Errorf("number %d is still watched for: %v", number, err)
		}
	}
}

// ownTmpfs mounts one, in a mount namespace of the calling thread.
func ownTmpfs(dir string) error {
	runtime.LockOSThread()
	return errors.Join(
		unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", dir, "tmpfs", 0, ""), os.Chdir(dir))
}
