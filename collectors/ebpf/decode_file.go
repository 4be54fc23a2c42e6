package ebpf

import (
	"path"
	"slices"
	"strings"

	"github.com/clawwatch/clawwatch/internal/event"
)

// decodeOpen reads a record that tells the path of a file: an open, or the
// first use of a file that has a descriptor already, which is no event yet.
func (f *fact) decodeOpen(raw []byte) error {
	r, rest, err := split[sensorOpenRec](raw)
	if err != nil {
		return err
	}
	text, rest, err := cut(rest, r.PathLen)
	if err != nil {
		return err
	}
	name, _, err := cut(rest, r.NameLen)
	if err != nil {
		return err
	}
	truncated := r.H.Flags&sensorFlagsPATH_TRUNCATED != 0
	f.file = &knownFile{
		key:  sensorUseKey{File: r.File, Start: r.H.Start, Pid: r.H.Pid},
		path: kernelPath(text), id: fileKey(r.Dev, r.File.Ino), truncated: truncated, opened: r.H.Kind == sensorKindKIND_OPEN,
	}
	if !f.file.opened {
		return nil
	}
	f.request = r.Request
	passed := r.H.Flags&sensorFlagsPASSED != 0
	f.body = event.FileOpen{
		Path:      f.file.path,
		File:      f.file.id,
		Requested: requested(strings.TrimSuffix(name, "\x00"), f.file.path),
		Read:      r.F_mode&fmodeRead != 0,
		Write:     r.F_mode&fmodeWrite != 0,
		Execute:   r.F_mode&fmodeExec != 0,
		PathOnly:  r.F_mode&fmodePath != 0,
		Create:    r.F_mode&fmodeCreated != 0 && !passed, // another process did
		Passed:    passed,
		Emptied:   r.H.Flags&sensorFlagsOPEN_TRUNCATES != 0,
		Directory: r.I_mode&modeType == modeDir,
		TID:       int32(r.H.Tid),
		Truncated: truncated,
		FileDoubt: event.FileDoubt{IOUring: r.H.Flags&sensorFlagsURING != 0},
	}
	return nil
}

// requested gives what a program asked for, where the path that it got says
// anything else: links, dots, /proc/self. A name that only leaves out the
// working directory says nothing more.
func requested(name, got string) string {
	if name == "" || name == got {
		return ""
	}
	plain := !slices.Contains(strings.Split(name, "/"), "..")
	clean := path.Clean(name)
	switch {
	case !plain:
		return name
	case strings.HasPrefix(name, "/"):
		if clean == got {
			return ""
		}
	case clean == "." || strings.HasSuffix(got, "/"+clean):
		return ""
	}
	return name
}

// decodeEnd reads how a request to io_uring ended.
func (f *fact) decodeEnd(raw []byte) error {
	r, _, err := split[sensorUringRec](raw)
	if err != nil {
		return err
	}
	f.request, f.result = r.Request, r.Result
	return nil
}

// magic cuts off a beginning of a name for which the kernel side has told what
// it stands for; the rest is relative to that.
func magic(name string) (rest string, ok bool) {
	for _, self := range []string{"/proc/self/", "/proc/thread-self/"} {
		tail, found := strings.CutPrefix(name, self)
		if !found {
			continue
		}
		first, rest, _ := strings.Cut(tail, "/")
		switch first {
		case "root", "cwd":
			return strings.Trim(rest, "/"), true
		case "fd":
			number, rest, _ := strings.Cut(rest, "/")
			if number != "" && len(number) < 7 && strings.Trim(number, "0123456789") == "" {
				return strings.Trim(rest, "/"), true
			}
		}
	}
	return "", false
}

func decodeChange(raw []byte) (*change, uint64, error) {
	r, rest, err := split[sensorChangeRec](raw)
	if err != nil {
		return nil, 0, err
	}
	c := &change{
		kind: r.H.Kind, mntNS: r.MntNs, tid: int32(r.H.Tid), attribute: r.Attribute, value: r.Value,
		exchange: r.H.Flags&sensorFlagsRENAME_EXCHANGES != 0, uring: r.H.Flags&sensorFlagsURING != 0,
		truncated: r.H.Flags&sensorFlagsPATH_TRUNCATED != 0,
	}
	for i := range c.names {
		var text, dir string
		if text, rest, err = cut(rest, r.NameLen[i]); err != nil {
			return nil, 0, err
		}
		if dir, rest, err = cut(rest, r.DirLen[i]); err != nil {
			return nil, 0, err
		}
		text = strings.TrimSuffix(text, "\x00")
		c.names[i] = place{text: text, dir: kernelPath(dir), written: text}
		if rest, ok := magic(text); ok && (i == 0 || c.kind == sensorKindKIND_RENAME || c.kind == sensorKindKIND_LINK) {
			c.names[i].text, c.names[i].object = rest, rest == ""
		}
	}
	c.names[0].follow = r.H.Flags&sensorFlagsNAME_FOLLOWED != 0
	c.names[0].object = c.names[0].object || r.H.Flags&sensorFlagsNAME_OBJECT != 0
	return c, r.Request, nil
}
