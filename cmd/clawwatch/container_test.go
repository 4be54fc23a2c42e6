package main

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// recorder stands in for OpenClaw's gateway, as gateway does, and records what it
// does as OpenClaw would: when the file go is in its home, it reads the skill that
// SKILL names and runs its last argument. AS is the user that it becomes.
func recorder() {
	if as, err := strconv.Atoi(os.Getenv("AS")); err == nil {
		check(syscall.Setgroups(nil))
		check(syscall.Setgid(as))
		check(syscall.Setuid(as))
	}
	check(unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)) // as if that user had started it
	check(takeName())
	db := records(filepath.Join(os.Getenv("OPENCLAW_STATE_DIR"), "agents/main/agent"))
	for {
		if _, err := os.Stat(filepath.Join(os.Getenv("HOME"), "go")); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	command := os.Args[len(os.Args)-1]
	say := func(seq int, message string) {
		_, err := db.Exec(`INSERT INTO transcript_events (session_id, seq, event_json, created_at) VALUES ('one', ?, ?, ?)`,
			seq, fmt.Sprintf(`{"type":"message","id":"row-%d","message":%s}`, seq, message), time.Now().UnixMilli())
		check(err)
	}
	const call = `{"role":"assistant","stopReason":"toolUse","__openclaw":{"runId":"run"},"content":[{"type":"toolCall","id":%q,"name":%q,"arguments":{%q:%q}}]}`
	const result = `{"role":"toolResult","toolCallId":%q,"__openclaw":{"runId":"run"},"content":[{"type":"text","text":"done"}],"details":{},"isError":false}`
	say(1, fmt.Sprintf(call, "first", "read", "path", filepath.Join(os.Getenv("SKILL"), "SKILL.md")))
	say(2, fmt.Sprintf(result, "first"))
	say(3, fmt.Sprintf(call, "second", "exec", "command", command))
	cmd := exec.Command("/bin/sh", "-c", `echo 1000 > /proc/self/oom_score_adj 2>/dev/null; exec "$0" "$@"`, "/bin/bash", "--noprofile", "--norc", "-c",
		"eval 'unset OPENCLAW_PREPEND_PATH; "+command+"'")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	check(cmd.Run())
	say(4, fmt.Sprintf(result, "second"))
	time.Sleep(5 * time.Minute) // the script ends it
}

// records makes an agent's database and leaves it open.
func records(dir string) *sql.DB {
	check(os.MkdirAll(dir, 0o700))
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "openclaw-agent.sqlite")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)")
	check(err)
	db.SetMaxOpenConns(1)
	_, err = db.Exec(`
		CREATE TABLE transcript_events (session_id TEXT, seq INTEGER, event_json TEXT, created_at INTEGER, event_zstd BLOB, PRIMARY KEY (session_id, seq)) STRICT;
		CREATE TABLE session_windows (session_id TEXT PRIMARY KEY, session_key TEXT, updated_at INTEGER, created_at INTEGER) STRICT;
		PRAGMA user_version = 23`)
	check(err)
	return db
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// container ROOT ID HOST-UID PROGRAM…: run the program as root of a container: with
// mounts, processes, users and a network of its own, on an overlay of the directory
// ROOT, in a cgroup that is named as Docker names it. The program is one of this
// binary's, and is put there. Its number is in the file ROOT.pid.
func container() {
	root, id, program := os.Args[1], os.Args[2], os.Args[4:]
	uid, err := strconv.Atoi(os.Args[3])
	check(err)
	check(install(filepath.Join(root, "opt", program[0])))
	for _, dir := range []string{root, root + ".upper", root + ".work"} {
		check(os.MkdirAll(dir, 0o755))
		check(filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
			return errors.Join(err, os.Lchown(path, uid, uid))
		}))
	}
	runtime.LockOSThread() // and the mounts are this thread's, and what it starts
	check(unix.Unshare(unix.CLONE_NEWNS))
	check(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	check(unix.Mount("overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s.upper,workdir=%s.work", root, root, root)))
	group := cgroup("docker-" + id + ".scope")
	self := strconv.AppendInt(nil, int64(os.Getpid()), 10)
	check(os.WriteFile(filepath.Join(group, "cgroup.procs"), self, 0))
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{"container-inside", root, "/opt/" + program[0]}, program[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1000}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{}, Pdeathsig: syscall.SIGKILL,
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	check(cmd.Start())
	check(os.WriteFile(root+".pid", strconv.AppendInt(nil, int64(cmd.Process.Pid), 10), 0o644))
	<-stop
	check(cmd.Process.Kill()) // and with it all that is in there
	_ = cmd.Wait()            // it says that it was killed
	check(os.WriteFile(filepath.Join(filepath.Dir(group), "cgroup.procs"), self, 0))
	check(os.Remove(group))
}

func install(path string) error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// cgroup makes one in whichever hierarchy there is.
func cgroup(name string) string {
	for _, top := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(top, "cgroup.procs")); err == nil {
			dir := filepath.Join(top, name)
			check(os.MkdirAll(dir, 0o755))
			return dir
		}
	}
	panic("no cgroups")
}

// inside ROOT PROGRAM…: what a container's runtime does in it.
func inside() {
	root, program := os.Args[1], os.Args[2:]
	check(unix.Mount(root, root, "", unix.MS_BIND|unix.MS_REC, ""))
	for _, dir := range []string{"/usr", "/bin", "/lib", "/lib64", "/etc", "/dev"} {
		to, err := os.Readlink(dir)
		if err == nil {
			check(os.Symlink(to, root+dir))
			continue
		}
		check(os.MkdirAll(root+dir, 0o755))
		check(unix.Mount(dir, root+dir, "", unix.MS_BIND|unix.MS_REC, ""))
	}
	check(os.MkdirAll(root+"/proc", 0o755))
	check(unix.Mount("proc", root+"/proc", "proc", 0, ""))
	check(os.Chdir(root))
	check(unix.PivotRoot(".", "."))
	check(unix.Unmount(".", unix.MNT_DETACH))
	check(os.Chdir(os.Getenv("HOME")))
	check(unix.Exec(program[0], program, os.Environ()))
}
