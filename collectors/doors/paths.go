package doors

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// here is the absolute path of a name in the current directory.
func here(name string) string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return filepath.Join(dir, name)
}

// create makes a file in the current directory.
func create(say say, name string) error {
	say("create", here(name))
	return os.WriteFile(name, []byte("x"), 0o644)
}

func read(name string) error {
	_, err := os.ReadFile(name)
	return err
}

func files(names ...string) []string { return names }

// prepare makes what a door needs.
func (d Door) prepare() error {
	for _, name := range d.with {
		var err error
		if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(name, 0o755)
		} else {
			err = os.WriteFile(name, []byte("x"), 0o755)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func pathDoors() []Door {
	return []Door{
		{Name: "a symbolic link to a file", act: func(say say) error {
			say("read", here("secret"))
			return errors.Join(os.Symlink("secret", "innocent"), read("innocent"))
		}, with: files("secret")},
		{Name: "a symbolic link to a directory, and back up from it", act: func(say say) error {
			say("delete", here("real/victim"))
			// Looked at once, so that the kernel has it in memory.
			return errors.Join(os.Symlink("real/sub", "link"), later("link"), read("link/../victim"), unix.Unlink("link/../victim"))
		}, with: files("real/sub/", "real/victim")},
		{Name: "a hard link", act: func(say say) error {
			say("read", here("innocent")) // the name that was used: both are true
			return errors.Join(os.Link("secret", "innocent"), read("innocent"))
		}, with: files("secret")},
		{Name: "read by /proc/self/root, cwd and fd", act: func(say say) error {
			for range 3 {
				say("read", here("secret"))
			}
			f, err := os.OpenFile("secret", unix.O_PATH, 0)
			if err != nil {
				return err
			}
			return errors.Join(read("/proc/self/root"+here("secret")), read("/proc/self/cwd/secret"), read(fmt.Sprint("/proc/self/fd/", f.Fd())), f.Close())
		}, with: files("secret")},
		{Name: "removed by /proc/self/root and cwd", act: func(say say) error {
			say("delete", here("one"))
			say("delete", here("two"))
			return errors.Join(unix.Unlink("/proc/self/root"+here("one")), unix.Unlink("/proc/self/cwd/two"))
		}, with: files("one", "two")},
		{Name: "a chroot", act: func(say say) error {
			say("read", here("jail/secret"))
			return errors.Join(unix.Chroot("jail"), read("/secret"))
		}, with: files("jail/", "jail/secret")},
		{Name: "a bind mount in a mount namespace of its own", act: func(say say) error {
			say("read", here("to/secret"))
			return errors.Join(ownMounts(), unix.Mount("from", "to", "", unix.MS_BIND, ""), read("to/secret"))
		}, with: files("from/", "from/secret", "to/")},
		{Name: "a mount that hangs nowhere", act: func(say say) error {
			say("read", here("from/secret"))
			tree, err := unix.OpenTree(unix.AT_FDCWD, "from", unix.OPEN_TREE_CLONE)
			if err != nil {
				return err
			}
			fd, err := unix.Openat(tree, "secret", unix.O_RDONLY, 0)
			return errors.Join(err, unix.Close(fd))
		}, with: files("from/", "from/secret"), Except: same(Documented), Limit: "The path of a file on a mount that was never attached"},
		{Name: "900 directories deep", act: deepDoor(900)},
		{Name: "1100 directories deep", act: deepDoor(1100), Except: same(Reported)},
		{Name: "a name with a line break and other bytes", act: func(say say) error {
			return create(say, "a\nb\x01\x1b[31m\xff\"")
		}},
		{Name: "written elsewhere and moved in", act: func(say say) error {
			say("rename", here("tmp"), here("SKILL.md"))
			return errors.Join(create(say, "tmp"), os.Rename("tmp", "SKILL.md"))
		}},
	}
}

// same is one result for every back end.
func same(r Result) map[string]Result {
	all := map[string]Result{}
	for _, b := range Backends {
		all[b] = r
	}
	return all
}

// later sets the access time of a link to one that needs no writing when it is
// followed.
func later(link string) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, link, []unix.Timespec{{Sec: 1 << 32}, {Sec: 1}}, unix.AT_SYMLINK_NOFOLLOW)
}

func ownMounts() error {
	return errors.Join(unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
}

// deepDoor makes directories one in the other, by steps that are no deeper
// than a path may be long.
func deepDoor(n int) func(say) error {
	return func(say say) error {
		say("create", here(strings.Repeat("d/", n)+"leaf"))
		for range n {
			if err := errors.Join(os.Mkdir("d", 0o755), unix.Chdir("d")); err != nil {
				return err
			}
		}
		return os.WriteFile("leaf", nil, 0o644)
	}
}
