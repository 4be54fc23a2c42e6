package openclaw

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// SQLite would open the -wal file for writing. The writer is another process, so
// all that is open of the database here is the reader's.
func TestWhatIsReadCannotBeWritten(t *testing.T) {
	_, r := agent(t, "")
	os.Remove(r.name())
	startWriter(t, "WRITER", r.name())
	var modes map[string]int
	for tries := 0; len(modes) < 3; tries++ { // it can be caught amid an update of the index
		if tries > 1000 {
			t.Fatalf("of database, -wal and -shm are open: %v", modes)
		}
		c, err := openDatabase(t.Context(), r.name())
		if err != nil {
			continue
		}
		_, _ = c.maxRowID(t.Context()) // which opens what is not open yet
		modes = openModes(t, r.agentDir())
		c.close()
	}
	for name, mode := range modes {
		if mode != unix.O_RDONLY {
			t.Errorf("%s is open with access mode %d", name, mode)
		}
	}
	if got := []string{databaseName, databaseName + "-shm", databaseName + "-wal"}; !slices.Equal(names(t, r.agentDir()), got) {
		t.Errorf("beside the writer's files: %v", names(t, r.agentDir()))
	}
}

// As root SQLite would set the owner of what it opens beside the database. The
// agent sees changes of these files, and would read again for each reading.
func TestReadingChangesNothingOfAFile(t *testing.T) {
	_, r := agent(t, "")
	os.Remove(r.name())
	writer, _, _ := startWriter(t, "WRITER", r.name())
	writer.Process.Kill() // a crash leaves -wal and -shm
	writer.Wait()
	of := func() (states []unix.Timespec) {
		for _, name := range names(t, r.agentDir()) {
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(r.agentDir(), name), &st); err != nil {
				t.Fatal(err)
			}
			states = append(states, st.Ctim)
		}
		return states
	}
	before := of()
	if seen := len(calls(r)); seen == 0 {
		t.Error("no row was read")
	}
	if after := of(); len(before) != 3 || !slices.Equal(before, after) {
		t.Errorf("the files were changed at %v, and by reading at %v", before, after)
	}
}

// openModes gives the widest access mode of the files in a directory that this
// process has open.
func openModes(t *testing.T, dir string) map[string]int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]int{}
	for _, fd := range fds {
		path, _ := os.Readlink("/proc/self/fd/" + fd.Name()) // none: that of ReadDir
		if filepath.Dir(path) != dir || strings.HasSuffix(path, "(deleted)") {
			continue
		}
		n, err := strconv.Atoi(fd.Name())
		if err != nil {
			t.Fatal(err)
		}
		flags, err := unix.FcntlInt(uintptr(n), unix.F_GETFL, 0)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		modes[name] = max(modes[name], flags&unix.O_ACCMODE)
	}
	return modes
}
