package doors

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/procfs"
	"github.com/clawwatch/clawwatch/internal/event"
)

const (
	variable = "CLAWWATCH_DOOR"
	patience = time.Minute // on a virtual machine without acceleration
	ended    = "done"
	// The argument of what goes through a door.
	long  = "long"
	short = "short"
)

// Main goes through the door that the environment names, if it names one, and
// does not return then.
func Main() {
	name := os.Getenv(variable)
	if name == "" {
		return
	}
	runtime.LockOSThread() // some doors are of threads; this is the first
	_ = os.Unsetenv(variable)
	i := slices.IndexFunc(all(), func(d Door) bool { return d.Name == name })
	if i < 0 {
		os.Exit(2)
	}
	if err := all()[i].prepare(); err != nil {
		fmt.Println("error", err)
		os.Exit(2)
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		os.Exit(3)
	}
	if err := all()[i].act(sayTo(os.Stdout)); err != nil {
		fmt.Println("error", err)
		os.Exit(4)
	}
	fmt.Println(ended)
	os.Exit(0)
}

// fence is no door: it is seen by all back ends, after what came before it.
var fence = Door{Name: "fence", act: func(say say) error { return create(say, "fence") }}

func all() []Door { return append(append(All(), inners()...), fence) }

// Test goes through every door while w watches. It runs w, and closes it.
func Test(t *testing.T, backend string, w collectors.Watcher) {
	events := make(chan event.Event, 1<<17)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, func(e event.Event) { events <- e }) }()
	t.Cleanup(func() {
		cancel()
		for {
			select {
			case <-events: // it may wait to hand one over
			case err := <-done:
				if err := errors.Join(err, w.Close()); err != nil {
					t.Errorf("end of collector: %v", err)
				}
				return
			}
		}
	})
	for _, d := range All() {
		t.Run(d.Family+"/"+d.Name, func(t *testing.T) {
			v := &visit{t: t, backend: backend, w: w, events: events, seen: map[string]int{}, ours: map[event.ProcID]bool{}}
			v.check(d, d.Want(backend))
		})
	}
}

// A visit is one way through a door, and what was seen of it.
type visit struct {
	t       *testing.T
	backend string
	w       collectors.Watcher
	events  chan event.Event
	seen    map[string]int        // by text
	ours    map[event.ProcID]bool // what went through the door, and what that started
	log     []string
	gaps    []string
	lost    []event.Kind
}

func (v *visit) check(d Door, want Result) {
	lines := v.enter(d)
	if want == Documented {
		v.until(v.enter(fence)[0])
		if len(v.missing(lines)) == 0 {
			v.t.Errorf("it is seen, and the table says that it is not")
		}
		return
	}
	late := time.After(patience)
	for len(v.missing(lines)) > 0 && (want == Seen || !v.told(lines)) {
		select {
		case e := <-v.events:
			v.note(e)
		case <-late:
			v.t.Fatalf("neither seen nor told: %s\nseen: %s\ngaps: %s", v.missing(lines), strings.Join(v.log[:min(40, len(v.log))], "\n"), v.gaps)
		}
	}
	if want == Reported && len(v.missing(lines)) == 0 && !v.told(lines) {
		v.t.Errorf("it is seen, and the table says that it is not")
	}
}

// enter has a process of its own go through a door, watched, and returns what
// that says is to be seen.
func (v *visit) enter(d Door) []string {
	v.t.Helper()
	self, err := os.Executable()
	if err != nil {
		v.t.Fatal(err)
	}
	size := long
	if testing.Short() {
		size = short
	}
	cmd := exec.Command(self, size)
	cmd.Env = append(os.Environ(), variable+"="+d.Name)
	cmd.Stderr = os.Stderr
	cmd.Dir = v.t.TempDir()
	in, err := cmd.StdinPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	out := bufio.NewScanner(pipe)
	out.Buffer(nil, 1<<20)
	if !out.Scan() || out.Text() != "ready" {
		v.t.Fatalf("the program behind the door said %q", out.Text())
	}
	id, err := procfs.Identify(os.DirFS("/proc"), int32(cmd.Process.Pid))
	if err != nil {
		v.t.Fatal(err)
	}
	v.ours[id] = true
	if err := v.w.Watch(id); err != nil {
		v.t.Fatal(err)
	}
	if v.backend == WithoutBPF {
		time.Sleep(300 * time.Millisecond) // to fanotify, making a file and opening it within a moment is one thing
	}
	if _, err := io.WriteString(in, "go\n"); err != nil {
		v.t.Fatal(err)
	}
	var lines []string
	for out.Scan() && out.Text() != ended {
		if text, bad := strings.CutPrefix(out.Text(), "error "); bad {
			if strings.Contains(text, errUnavailable.Error()) {
				v.t.Skip(text)
			}
			v.t.Fatal(text)
		}
		lines = append(lines, out.Text())
	}
	if len(lines) == 0 {
		v.t.Fatal("the program behind the door did nothing")
	}
	return lines
}

// until reads events up to one with that text.
func (v *visit) until(line string) {
	v.t.Helper()
	for late := time.After(patience); v.seen[line] == 0; {
		select {
		case e := <-v.events:
			v.note(e)
		case <-late:
			v.t.Fatalf("no %s among %s", line, strings.Join(v.log[:min(40, len(v.log))], "\n"))
		}
	}
}

func (v *visit) note(e event.Event) {
	if l, ok := e.Body.(event.Lost); ok {
		v.lost = append(v.lost, l.Of)
		v.gaps = append(v.gaps, fmt.Sprintf("%d %s: %s", l.Count, l.Of, l.Cause))
		return
	}
	if f, ok := e.Body.(event.Fork); ok && v.ours[f.Parent] {
		v.ours[e.Proc] = true
	}
	if u, ok := e.Body.(event.FileUse); ok {
		v.use(u)
		return
	}
	line, cut := text(e)
	if v.ours[e.Proc] {
		v.log = append(v.log, fmt.Sprintf("%.200s", line))
	}
	if cut {
		v.lost = append(v.lost, e.Body.Kind())
		v.gaps = append(v.gaps, "cut: "+line)
	}
	v.seen[line]++
}

// use notes what one event tells of many reads, writes and opens.
func (v *visit) use(u event.FileUse) {
	tell := func(verb string, times int) {
		var b strings.Builder
		sayTo(&b)(verb, u.Path)
		line := strings.TrimSuffix(b.String(), "\n")
		v.log, v.seen[line] = append(v.log, line), v.seen[line]+times
	}
	tell("read", u.Opens)
	if u.BytesWritten > 0 || u.MappedWrite {
		tell("written", 1)
	}
	if u.BytesRead > 0 || u.MappedRead {
		tell("got", 1)
	}
}

// missing are the lines that were not seen, each as often as it was said.
func (v *visit) missing(lines []string) []string {
	left := map[string]int{}
	var missing []string
	for _, line := range lines {
		if left[line]++; left[line] > v.seen[line] {
			missing = append(missing, line)
		}
	}
	return missing
}

// told reports whether a gap was told for each line that is missing.
func (v *visit) told(lines []string) bool {
	lost := v.lost
	if r, ok := v.w.(collectors.Reporter); ok {
		for _, c := range r.Coverage() {
			if !c.Known { // what is always so tells nothing of this
				lost = append(lost, c.Kinds...)
			}
		}
	}
	for _, line := range v.missing(lines) {
		verb, _, _ := strings.Cut(line, " ")
		if !slices.ContainsFunc(lost, func(k event.Kind) bool { return slices.Contains(kinds(verb), k) }) {
			return false
		}
	}
	return true
}

// text says what an event says in the words of a door; cut: and that it is not
// all of it.
func text(e event.Event) (line string, cut bool) {
	var b strings.Builder
	say := sayTo(&b)
	switch x := e.Body.(type) {
	case event.Exec:
		say("exec", strings.Join(x.Args, " "))
		cut = x.ArgsTruncated
	case event.FileOpen:
		verb := "read"
		switch {
		case x.Create && x.Directory:
			verb = "mkdir"
		case x.Create:
			verb = "create"
		case x.Emptied:
			verb = "empty"
		case x.Write:
			verb = "write"
		}
		say(verb, x.Path)
		cut = x.Truncated
	case event.FileRename:
		say("rename", x.Old, x.New)
		cut = x.Truncated
	case event.FileDelete:
		say("delete", x.Path)
		cut = x.Truncated
	case event.FileLink:
		if x.Symbolic {
			say("symlink", x.Path, x.Target)
		} else {
			say("link", x.Old, x.Path)
		}
		cut = x.Truncated
	case event.FileTruncate:
		say("truncate", x.Path)
		cut = x.Truncated
	case event.FileAttr:
		say("attribute", x.Path, x.Attribute)
		cut = x.Truncated
	case event.Connect:
		if x.Transport == event.Unix {
			say("connect", x.Transport, x.Name)
		} else {
			say("connect", x.Transport, x.Peer)
		}
	case event.Accept:
		say("accept", x.Transport, x.Peer)
	default:
		say(string(e.Body.Kind()))
	}
	return strings.TrimSuffix(b.String(), "\n"), cut
}

// kinds are those in which a loss may hide what a verb says.
func kinds(verb string) []event.Kind {
	switch verb {
	case "exec":
		return []event.Kind{event.KindExec}
	case "rename":
		return []event.Kind{event.KindFileRename}
	case "link", "symlink":
		return []event.Kind{event.KindFileLink}
	case "attribute":
		return []event.Kind{event.KindFileAttr}
	case "truncate", "written":
		return []event.Kind{event.KindFileWrite}
	case "got":
		return []event.Kind{event.KindFileRead}
	case "delete":
		return []event.Kind{event.KindFileDelete}
	case "connect":
		return []event.Kind{event.KindConnect}
	case "accept":
		return []event.Kind{event.KindAccept}
	case "mkdir":
		return []event.Kind{event.KindFileCreate}
	}
	return []event.Kind{event.KindFileOpen, event.KindFileCreate}
}
