package pipeline

import "github.com/clawwatch/clawwatch/internal/event"

// fileOf gives what was done to a file its lasting shape; nil for other facts.
func fileOf(body event.Body) *event.File {
	switch b := body.(type) {
	case event.FileOpen:
		return doubted(b.FileDoubt, &event.File{
			Path: b.Path, Requested: b.Requested, Operation: operation(b), Directory: b.Directory, Truncated: b.Truncated,
		})
	case event.FileRename:
		f := &event.File{Path: b.New, OldPath: b.Old, Operation: "rename", Truncated: b.Truncated}
		if b.Exchange {
			f.Operation = "exchange"
		}
		return doubted(b.FileDoubt, f)
	case event.FileDelete:
		return doubted(b.FileDoubt, &event.File{Path: b.Path, Operation: "delete", Directory: b.Directory, Truncated: b.Truncated})
	case event.FileLink:
		f := &event.File{Path: b.Path, OldPath: b.Old, Target: b.Target, Operation: "link", Truncated: b.Truncated}
		if b.Symbolic {
			f.Operation = "symlink"
		}
		return doubted(b.FileDoubt, f)
	case event.FileAttr:
		return doubted(b.FileDoubt, &event.File{
			Path: b.Path, Operation: "attribute", Attribute: string(b.Attribute), Value: b.Value, Truncated: b.Truncated,
		})
	case event.FileTruncate:
		return doubted(b.FileDoubt, &event.File{Path: b.Path, Operation: "truncate", Truncated: b.Truncated})
	case event.FileUse:
		return doubted(b.FileDoubt, used(b))
	}
	return nil
}

func doubted(d event.FileDoubt, f *event.File) *event.File {
	f.Unresolved, f.IOUring, f.Attempted = d.Unresolved, d.IOUring, d.Attempted
	return f
}

func operation(b event.FileOpen) string {
	switch {
	case b.Create:
		return "create"
	case b.Write || b.Emptied:
		return "write"
	case b.PathOnly:
		return "path"
	case b.Execute:
		return "execute"
	}
	return "read"
}

func used(b event.FileUse) *event.File {
	f := &event.File{Path: b.Path, Operation: "read", Opens: b.Opens, Opened: b.Opened, Truncated: b.Truncated}
	if b.Kind() == event.KindFileWrite {
		f.Operation = "write"
	}
	if b.BytesRead > 0 {
		f.BytesRead = &b.BytesRead
	}
	if b.BytesWritten > 0 {
		f.BytesWritten = &b.BytesWritten
	}
	for _, m := range []struct {
		set  bool
		name string
	}{{b.MappedRead, "read"}, {b.MappedWrite, "write"}, {b.MappedExec, "execute"}} {
		if m.set {
			f.Mapped = append(f.Mapped, m.name)
		}
	}
	return f
}
