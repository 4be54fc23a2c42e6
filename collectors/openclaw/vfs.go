package openclaw

import (
	"fmt"
	"unsafe"

	"modernc.org/libc"
	sqlite "modernc.org/sqlite/lib"
)

// vfsName is what SQLite calls its own way to files, without three things. It
// follows the symbolic links in a path by itself: it would read that
// /proc/self/fd/9 leads to /home/node, and open that on the host. It opens a -wal
// file for writing, and makes it, whatever the mode is. And as root it sets the
// owner of -wal and -shm to what it is: that changes the file, and whoever watches
// it for changes, as we do, is told of one for each reading.
const vfsName = "clawwatch"

// opener is what opens a file for SQLite: one of its functions.
type opener = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, given uintptr) int32

// asIs makes SQLite open paths as they are, to read, and gives the name for that.
// Two that come at once make two of the same, which does no harm.
func asIs() (string, error) {
	tls := libc.NewTLS()
	defer tls.Close()
	if known, err := find(tls, vfsName); known != 0 || err != nil {
		return vfsName, err
	}
	unix, err := find(tls, "unix")
	if err != nil {
		return "", err
	}
	memory, err := find(tls, "memdb") // its names are no paths, and stay as they are
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
	open := opener(openToRead) // no closure: nothing that Go would free
	at(ours).FxOpen = *(*uintptr)(unsafe.Pointer(&open))
	if err := setNoOwner(tls, unix); err != nil {
		return "", err
	}
	if rc := sqlite.Xsqlite3_vfs_register(tls, ours, 0); rc != sqlite.SQLITE_OK {
		return "", fmt.Errorf("register %s: SQLite says %d", vfsName, rc)
	}
	return vfsName, nil
}

func find(tls *libc.TLS, name string) (uintptr, error) {
	c, err := libc.CString(name)
	if err != nil {
		return 0, fmt.Errorf("find %s: %w", name, err)
	}
	defer libc.Xfree(tls, c)
	return sqlite.Xsqlite3_vfs_find(tls, c), nil
}

// setNoOwner makes SQLite leave the owners of files alone, in the whole process:
// of databases of our own too, which are ours anyway.
func setNoOwner(tls *libc.TLS, unix uintptr) error {
	name, err := libc.CString("fchown")
	if err != nil {
		return err
	}
	defer libc.Xfree(tls, name)
	none := func(_ *libc.TLS, _ int32, _, _ uint32) int32 { return 0 }
	set := *(*func(tls *libc.TLS, vfs, name, call uintptr) int32)(unsafe.Pointer(&at(unix).FxSetSystemCall))
	if rc := set(tls, unix, name, *(*uintptr)(unsafe.Pointer(&none))); rc != sqlite.SQLITE_OK {
		return fmt.Errorf("replace fchown: SQLite says %d", rc)
	}
	return nil
}

// openToRead opens a file as SQLite's own way does, but a -wal file only to read
// it, if there is one.
func openToRead(tls *libc.TLS, vfs, name, file uintptr, flags int32, given uintptr) int32 {
	unix, err := find(tls, "unix")
	if unix == 0 || err != nil {
		return sqlite.SQLITE_CANTOPEN
	}
	if flags&sqlite.SQLITE_OPEN_WAL != 0 {
		flags = flags&^(sqlite.SQLITE_OPEN_READWRITE|sqlite.SQLITE_OPEN_CREATE) | sqlite.SQLITE_OPEN_READONLY
	}
	open := *(*opener)(unsafe.Pointer(&at(unix).FxOpen))
	return open(tls, vfs, name, file, flags, given)
}

// at is what lies at an address of C's memory.
func at(address uintptr) *sqlite.Tsqlite3_vfs {
	return *(**sqlite.Tsqlite3_vfs)(unsafe.Pointer(&address))
}
