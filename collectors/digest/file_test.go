package digest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/clawwatch/clawwatch/collectors/procfs"
)

func TestAFileIsOpenedByItsOwnPathOnly(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Mkdir(dir+"/real", 0o755), os.Symlink("real", dir+"/link"), os.WriteFile(dir+"/real/x", []byte("0123456789"), 0o600),
		os.Symlink("x", dir+"/real/y"), unix.Mkfifo(dir+"/real/pipe", 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := fileID(t, dir+"/real/x")
	f, file, err := Open(dir+"/real/x", 10)
	if err != nil || file != want {
		t.Fatalf("%+v, %v, want %+v", file, err, want)
	}
	defer f.Close()
	if sum, file, err := Sum(f); err != nil || sum != sumOf(t, dir+"/real/x") || file != want {
		t.Errorf("%s, %+v, %v", sum, file, err)
	}
	for path, limit := range map[string]int64{"/real/x": 9, "/link/x": 10, "/real/y": 10, "/real/pipe": 10, "/real": 10, "/none": 10} {
		if f, _, err := Open(dir+path, limit); err == nil {
			t.Errorf("%s is open", path)
			f.Close()
		}
	}
	if f, _, err := Open("/proc/cpuinfo", 10); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a file of /proc: %v, %v", f, err)
	}
}

func TestAFileThatDoesNotRestHasNoDigest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	fileID(t, path) // skips where the file system is not one that is read
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // whatever Sum gives, it is no lie
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_ = os.Chmod(path, 0o600+os.FileMode(i%2)*0o100)
			}
		}
	}()
	for range 200 {
		if sum, _, err := Sum(f); err != nil && !errors.Is(err, procfs.ErrOther) || err == nil && sum != sumOf(t, path) {
			t.Errorf("%s, %v", sum, err)
		}
	}
	close(stop)
	<-stopped
}
