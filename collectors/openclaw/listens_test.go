package openclaw

import (
	"net"
	"os"
	"testing"
)

func TestWhoListensOnAPortIsKnownByItsOwnSocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port, proc := l.Addr().(*net.TCPAddr).Port, os.DirFS("/proc")
	if !listens(proc, int32(os.Getpid()), port) {
		t.Error("not seen to listen")
	}
	if listens(proc, int32(os.Getppid()), port) {
		t.Error("the parent does not listen there")
	}
	if l.Close(); listens(proc, int32(os.Getpid()), port) {
		t.Error("nobody listens any more")
	}
}
