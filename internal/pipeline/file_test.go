package pipeline

import (
	"reflect"
	"testing"

	"github.com/clawwatch/clawwatch/internal/event"
)

func TestFilesKeepWhatIsKnownOfThem(t *testing.T) {
	number := func(n uint64) *uint64 { return &n }
	doubt := event.FileDoubt{Unresolved: true, IOUring: true, Attempted: true}
	tests := map[string]struct {
		body event.Body
		kind event.Kind
		want event.File
	}{
		"open": {
			event.FileOpen{Path: "/a", Requested: "link", Read: true, Truncated: true, FileDoubt: doubt},
			event.KindFileOpen,
			event.File{Path: "/a", Requested: "link", Operation: "read", Truncated: true, Unresolved: true, IOUring: true, Attempted: true},
		},
		"open that empties is a write": {
			event.FileOpen{Path: "/a", Read: true, Emptied: true}, event.KindFileOpen, event.File{Path: "/a", Operation: "write"},
		},
		"O_PATH is no read": {
			event.FileOpen{Path: "/a", PathOnly: true}, event.KindFileOpen, event.File{Path: "/a", Operation: "path"},
		},
		"open for execution": {
			event.FileOpen{Path: "/a", Execute: true}, event.KindFileOpen, event.File{Path: "/a", Operation: "execute"},
		},
		"exchange": {
			event.FileRename{Old: "/a", New: "/b", Exchange: true},
			event.KindFileRename,
			event.File{Path: "/b", OldPath: "/a", Operation: "exchange"},
		},
		"link": {
			event.FileLink{Path: "/b", Old: "/a"}, event.KindFileLink, event.File{Path: "/b", OldPath: "/a", Operation: "link"},
		},
		"symbolic link": {
			event.FileLink{Path: "/b", Target: "../a", Symbolic: true},
			event.KindFileLink,
			event.File{Path: "/b", Target: "../a", Operation: "symlink"},
		},
		"attribute": {
			event.FileAttr{Path: "/a", Attribute: event.AttrMode, Value: "0644"},
			event.KindFileAttr,
			event.File{Path: "/a", Operation: "attribute", Attribute: "mode", Value: "0644"},
		},
		"truncation": {
			event.FileTruncate{Path: "/a"}, event.KindFileWrite, event.File{Path: "/a", Operation: "truncate"},
		},
		"bytes read": {
			event.FileUse{Path: "/a", BytesRead: 5, Opened: true, MappedExec: true, MappedRead: true},
			event.KindFileRead,
			event.File{Path: "/a", Operation: "read", BytesRead: number(5), Opened: true, Mapped: []string{"read", "execute"}},
		},
		"bytes written": {
			event.FileUse{Path: "/a", BytesRead: 5, BytesWritten: 6, Opens: 7},
			event.KindFileWrite,
			event.File{Path: "/a", Operation: "write", BytesRead: number(5), BytesWritten: number(6), Opens: 7},
		},
		"mapped for writing": {
			event.FileUse{Path: "/a", MappedRead: true, MappedWrite: true},
			event.KindFileWrite,
			event.File{Path: "/a", Operation: "write", Mapped: []string{"read", "write"}},
		},
		"opened again and no more": {
			event.FileUse{Path: "/a", Opens: 1000, Opened: true},
			event.KindFileOpen,
			event.File{Path: "/a", Operation: "read", Opens: 1000, Opened: true},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.body.Kind(); got != test.kind {
				t.Errorf("kind %s, want %s", got, test.kind)
			}
			if got := fileOf(test.body); !reflect.DeepEqual(*got, test.want) {
				t.Errorf("got  %+v\nwant %+v", *got, test.want)
			}
		})
	}
}
