package doors

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"unsafe"

	"golang.org/x/sys/unix"
)

func socketDoors() []Door {
	return []Door{
		{Name: "connect and accept over IPv6, without waiting", act: func(say say) error {
			l, err := net.Listen("tcp6", "[::1]:0")
			if err != nil {
				return err
			}
			c, err := net.Dial("tcp6", l.Addr().String())
			if err != nil {
				return err
			}
			say("connect", "tcp", l.Addr())
			say("accept", "tcp", c.LocalAddr())
			_, err = l.Accept()
			return err
		}},
		{Name: "Multipath TCP", act: func(say say) error {
			return connectTo(say, unix.IPPROTO_MPTCP, func(fd int, sa []byte) error {
				_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), address(sa), uintptr(len(sa)))
				return errnoOrNil(errno)
			})
		}},
		{Name: "TCP Fast Open, which has no connect", act: func(say say) error {
			return connectTo(say, 0, func(fd int, sa []byte) error {
				_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), address([]byte("x")), 1, unix.MSG_FASTOPEN, address(sa), uintptr(len(sa)))
				return errnoOrNil(errno)
			})
		}},
		{Name: "io_uring connects and accepts", act: uringConnect},
		{Name: "a 32-bit system call connects", act: func(say say) error {
			return connectTo(say, 0, connect32)
		}, Except: map[string]Result{Tracepoint: Documented}, Limit: "32-bit system calls on files and connections"},
		{Name: "datagrams with sendto", act: datagram(func(c *net.UDPConn, to *net.UDPAddr) error {
			_, err := c.WriteTo([]byte("x"), to)
			return err
		})},
		{Name: "datagrams with sendmsg", act: datagram(func(c *net.UDPConn, to *net.UDPAddr) error {
			_, _, err := c.WriteMsgUDP([]byte("x"), nil, to)
			return err
		})},
		{Name: "datagrams with sendmmsg", act: datagram(sendmmsg)},
		{Name: "a connected datagram socket", act: func(say say) error {
			c, err := net.Dial("udp4", "127.0.0.1:9")
			if err != nil {
				return err
			}
			say("connect", "udp", "127.0.0.1:9")
			_, _ = c.Write([]byte("x")) // refused or not
			return nil
		}},
		{Name: "datagrams over IPv6, to an IPv4 address too", act: func(say say) error {
			c, err := net.ListenUDP("udp", &net.UDPAddr{})
			if err != nil {
				return err
			}
			for _, to := range []string{"127.0.0.1:9", "[::1]:9"} {
				addr, err := net.ResolveUDPAddr("udp", to)
				if err != nil {
					return err
				}
				say("connect", "udp", to)
				if _, err := c.WriteTo([]byte("x"), addr); err != nil {
					return err
				}
			}
			return nil
		}},
		{Name: "an abstract Unix socket", act: func(say say) error {
			l, err := net.Listen("unix", "@clawwatch-door-"+here("")[1:])
			if err != nil {
				return err
			}
			say("connect", "unix", l.Addr())
			_, err = net.Dial("unix", l.Addr().String())
			return err
		}},
		{Name: "a shell with a socket for a terminal", act: func(say say) error {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				return err
			}
			c, err := net.Dial("tcp4", l.Addr().String())
			if err != nil {
				return err
			}
			say("connect", "tcp", l.Addr())
			say("exec", "/bin/true from-afar")
			far, err := l.Accept()
			if err != nil {
				return err
			}
			f, err := c.(*net.TCPConn).File()
			if err != nil {
				return err
			}
			_, err = far.Write([]byte("/bin/true from-afar\nexit 0\n"))
			sh := exec.Command("/bin/sh")
			sh.Stdin, sh.Stdout = f, f
			return errors.Join(err, sh.Run())
		}},
	}
}

func errnoOrNil(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

// connectTo has connect reach a server of this process.
func connectTo(say say, protocol int, connect func(fd int, sa []byte) error) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	port := l.Addr().(*net.TCPAddr).Port
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, protocol)
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.ENOPROTOOPT) {
		return fmt.Errorf("%w: %w", errUnavailable, err)
	}
	if err != nil {
		return err
	}
	sa := []byte{0, 0, byte(port >> 8), byte(port), 127, 0, 0, 1, 15: 0}
	*(*uint16)(pointer(sa)) = unix.AF_INET
	say("connect", "tcp", l.Addr())
	return connect(fd, sa)
}

func datagram(send func(c *net.UDPConn, to *net.UDPAddr) error) func(say) error {
	return func(say say) error {
		to, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		say("connect", "udp", to.LocalAddr())
		return send(c, to.LocalAddr().(*net.UDPAddr))
	}
}

func sendmmsg(c *net.UDPConn, to *net.UDPAddr) error {
	type mmsghdr struct {
		unix.Msghdr
		len uint32
		_   [4]byte
	}
	sa := []byte{0, 0, byte(to.Port >> 8), byte(to.Port), 127, 0, 0, 1, 15: 0}
	*(*uint16)(pointer(sa)) = unix.AF_INET
	data := []byte("x")
	iov := unix.Iovec{Base: &data[0], Len: 1}
	var m mmsghdr
	m.Name, m.Namelen, m.Iov, m.Iovlen = &sa[0], 16, &iov, 1
	f, err := c.File()
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, f.Fd(), uintptr(unsafe.Pointer(&m)), 1, 0, 0, 0)
	return errnoOrNil(errno)
}
