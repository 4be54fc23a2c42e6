package doors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func execDoors() []Door {
	return []Door{
		{Name: "vfork", act: run("/bin/true", "by-vfork")},
		{Name: "a child of its parent (CLONE_PARENT)", act: func(say say) error {
			say("exec", "/bin/true sibling")
			cmd := exec.Command("/bin/true", "sibling")
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT}
			return cmd.Start() // and cannot wait for it
		}},
		{Name: "out of the session, with no environment, and orphaned", act: func(say say) error {
			say("exec", "/bin/true detached")
			return exec.Command("/bin/sh", "-c", `setsid sh -c 'env -i /bin/sh -c "(/bin/true detached &) &"'`).Run()
		}},
		{Name: "50 generations on", act: func(say say) error {
			say("exec", "/bin/true at-last")
			return exec.Command("/bin/sh", "-c", `f() { if [ $1 = 0 ]; then /bin/true at-last; else (f $(($1 - 1)); :); fi; }; f 50`).Run()
		}},
		{Name: "a file that is in memory only", act: func(say say) error {
			say("exec", "nameless program")
			return inner(innerMemfd, "x")
		}},
		{Name: "a program under another name", act: func(say say) error {
			b, err := os.ReadFile("/bin/true")
			if err != nil {
				return err
			}
			say("exec", here("innocent")+" x")
			if err := os.WriteFile("innocent", b, 0o755); err != nil {
				return err
			}
			return exec.Command(here("innocent"), "x").Run()
		}},
		{Name: "the dynamic loader given a program", act: func(say say) error {
			loaders, err := filepath.Glob("/lib*/ld-linux-*.so.*")
			if err != nil || len(loaders) == 0 {
				return fmt.Errorf("%w: a dynamic loader", errUnavailable)
			}
			return run(loaders[0], "/bin/true", "by-loader")(say)
		}},
		{Name: "a shell that is told at its standard input", act: func(say say) error {
			say("exec", "/bin/true by-input")
			sh := exec.Command("/bin/sh")
			sh.Stdin = strings.NewReader("/bin/true by-input\n:\n")
			return sh.Run()
		}},
		{Name: "a command put together when it runs", act: func(say say) error {
			say("exec", "/bin/true hidden")
			return exec.Command("/bin/sh", "-c", `$(printf /bin/tr%s ue) hidden; :`).Run()
		}},
		{Name: "300 KB of arguments", act: run("/bin/true", strings.Repeat("a", 100_000), strings.Repeat("b", 100_000), strings.Repeat("c", 100_000)), Except: same(Reported)},
	}
}

func run(name string, args ...string) func(say) error {
	return func(say say) error {
		say("exec", strings.Join(append([]string{name}, args...), " "))
		return exec.Command(name, args...).Run()
	}
}

// inners are what a program behind a door starts itself as.
func inners() []Door {
	return []Door{
		{Name: innerOverwrite, act: func(say) error {
			for _, arg := range os.Args {
				b := unsafe.Slice(unsafe.StringData(arg), len(arg))
				copy(b, bytes.Repeat([]byte("-"), len(b)))
			}
			return nil
		}},
		{Name: innerMemfd, act: func(say) error {
			fd, err := unix.MemfdCreate("x", 0)
			if err != nil {
				return err
			}
			program, err := os.ReadFile("/bin/true")
			if err != nil {
				return err
			}
			if _, err := unix.Write(fd, program); err != nil {
				return err
			}
			argv, err := syscall.SlicePtrFromStrings([]string{"nameless", "program"})
			if err != nil {
				return err
			}
			envp := []*byte{nil}
			empty := cstring("")
			_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), address(empty),
				uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envp[0])), unix.AT_EMPTY_PATH, 0)
			return errno
		}},
	}
}

const (
	innerOverwrite = "inner: overwrite arguments"
	innerMemfd     = "inner: execute memory"
)

// inner starts this program as one of the inners.
func inner(name string, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), variable+"="+name)
	cmd.Stdin = strings.NewReader("go\n")
	if out, err := cmd.Output(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// overwrite has its arguments overwritten by the program itself.
func overwrite(say say) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	say("exec", self+" --steal everything")
	return inner(innerOverwrite, "--steal", "everything")
}

// many is how many of something make a flood; fewer where tests are short.
func many(n int) int {
	if os.Args[1] == short {
		return n / 10
	}
	return n
}

// floodDoors hide one act behind many. What is lost there must be told.
func floodDoors() []Door {
	return []Door{
		{Name: "opens before one removal", act: func(say say) error {
			say("delete", here("victim"))
			for range many(50_000) {
				fd, err := unix.Open("decoy", unix.O_RDONLY, 0)
				if err := errors.Join(err, unix.Close(fd)); err != nil {
					return err
				}
			}
			return unix.Unlink("victim")
		}, with: files("decoy", "victim"), Except: same(Either)},
		{Name: "programs before one", act: func(say say) error {
			say("exec", "/bin/true hidden")
			for i := range many(500) {
				if err := exec.Command("/bin/true", strconv.Itoa(i)).Run(); err != nil {
					return err
				}
			}
			return exec.Command("/bin/true", "hidden").Run()
		}, Except: same(Either)},
		{Name: "large arguments before one removal", act: func(say say) error {
			say("delete", here("victim"))
			large := strings.Repeat("x", 120_000)
			for range many(50) {
				cmd := exec.Command("/bin/true", large, large)
				cmd.Stdout = io.Discard
				if err := cmd.Run(); err != nil {
					return err
				}
			}
			return unix.Unlink("victim")
		}, with: files("victim"), Except: same(Either)},
	}
}
