package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Listen makes the socket at path and its directory where missing. With a gid
// of 0 or more the socket is root's and that group's (0660); with -1 it is the
// owner's alone (0600). A socket that nobody answers is replaced; anything else
// at path is an error, and stays.
//
// Besides the mode of the file, which the kernel checks, each peer must be
// root, the agent's own user or in the group: a mode that somebody loosened
// lets nobody in.
func Listen(path string, gid int) (net.Listener, error) {
	mode := fs.FileMode(0o600)
	if gid >= 0 {
		mode = 0o660
	}
	l, err := Bind(path, mode, gid)
	if err != nil {
		return nil, err
	}
	return &listener{UnixListener: l, gid: gid}, nil
}

// Bind makes a socket as Listen does, of that mode and, with a gid of 0 or more,
// that group. Whoever the mode lets in is let in.
func Bind(path string, mode fs.FileMode, gid int) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make socket directory: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if gid >= 0 {
		err = os.Chown(path, -1, gid)
	}
	if err = errors.Join(err, os.Chmod(path, mode)); err != nil {
		return nil, errors.Join(fmt.Errorf("protect socket: %w", err), l.Close())
	}
	return l, nil
}

// removeStale removes a socket whose owner is gone.
func removeStale(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file of another kind")
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		return errors.Join(errors.New("another agent answers there"), conn.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// A listener accepts only peers that may ask.
type listener struct {
	*net.UnixListener
	gid int
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if err := l.admit(c); err == nil {
			return c, nil
		}
		_ = c.Close() // the peer sees its end, and nothing else
	}
}

var errPeer = errors.New("peer is neither root, nor the agent's user, nor in its group")

func (l *listener) admit(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var groups []uint32
	var credErr, groupsErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		groups, groupsErr = peerGroups(fd)
	}); err != nil {
		return err
	}
	if credErr != nil {
		return fmt.Errorf("read peer's user: %w", credErr)
	}
	if cred.Uid == 0 || cred.Uid == uint32(os.Geteuid()) {
		return nil
	}
	if groupsErr != nil {
		return fmt.Errorf("read peer's groups: %w", groupsErr)
	}
	if l.gid >= 0 && slices.Contains(append(groups, cred.Gid), uint32(l.gid)) {
		return nil
	}
	return errPeer
}

// peerGroups returns the supplementary groups that the peer had when it
// connected. x/sys has no function for this option.
func peerGroups(fd uintptr) ([]uint32, error) {
	groups := make([]uint32, 1024)
	size := uint32(len(groups) * 4)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
		uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return nil, errno
	}
	return groups[:size/4], nil
}
