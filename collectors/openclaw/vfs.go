package openclaw

import (
	"fmt"
	"unsafe"

	"modernc.org/libc"
	sqlite "modernc.org/sqlite/lib"
)

// vfsName is what SQLite calls its own way to files, without one thing: that it
// follows the symbolic links in a path by itself. It would read that
// /proc/self/fd/9 leads to /home/node, and open that on the host.
const vfsName = "clawwatch"

// asIs makes SQLite open paths as they are, and gives the name for that. Two that
// come at once make two of the same, which does no harm.
func asIs() (string, error) {
	tls := libc.NewTLS()
	defer tls.Close()
	find := func(name string) (uintptr, error) {
		c, err := libc.CString(name)
		if err != nil {
			return 0, fmt.Errorf("find %s: %w", name, err)
		}
		defer libc.Xfree(tls, c)
		return sqlite.Xsqlite3_vfs_find(tls, c), nil
	}
	if known, err := find(vfsName); known != 0 || err != nil {
		return vfsName, err
	}
	unix, err := find("unix")
	if err != nil {
		return "", err
	}
	memory, err := find("memdb") // its names are no paths, and stay as they are
	if err != nil {
		return "", err
	}
	name, err := libc.CString(vfsName) // like the rest: for good
	if err != nil {
		return "", err
	}
	ours := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite.Tsqlite3_vfs{})))
	if unix == 0 || memory == 0 || ours == 0 {
		return "", fmt.Errorf("register %s: SQLite has no unix or memdb to make it of", vfsName)
	}
	*at(ours) = *at(unix)
	at(ours).FzName, at(ours).FpNext = name, 0
	at(ours).FxFullPathname = at(memory).FxFullPathname
	if rc := sqlite.Xsqlite3_vfs_register(tls, ours, 0); rc != sqlite.SQLITE_OK {
		return "", fmt.Errorf("register %s: SQLite says %d", vfsName, rc)
	}
	return vfsName, nil
}

// at is what lies at an address of C's memory.
func at(address uintptr) *sqlite.Tsqlite3_vfs {
	return *(**sqlite.Tsqlite3_vfs)(unsafe.Pointer(&address))
}
