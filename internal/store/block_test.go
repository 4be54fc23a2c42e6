package store

import (
	"bytes"
	"testing"
)

// What is read back from disk may be anything: it must neither panic nor move
// the lines whose numbers are cursors.
func FuzzBlock(f *testing.F) {
	c, err := newCodec()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.close)
	f.Add([]byte("{\"id\":\"01J\",\"kind\":\"file.open\"}\n\n{\"id\":\"01K\"}\n"), "01J")
	f.Add(bytes.Clone(c.pack([]byte("{\"id\":\"01J\"}\n"))), "")
	f.Add([]byte("{\"id\":\""), "")
	f.Fuzz(func(t *testing.T, b []byte, id string) {
		if raw, err := c.unpack(b); err == nil {
			without(raw, map[string]bool{id: true})
		}
		raw, err := c.unpack(c.pack(b))
		if err != nil || !bytes.Equal(raw, b) {
			t.Fatalf("unpacked to something else: %v", err)
		}
		if len(b) > 0 && b[len(b)-1] != '\n' {
			b = append(b, '\n')
		}
		less, emptied := without(b, map[string]bool{id: true})
		if bytes.Count(less, []byte("\n")) != bytes.Count(b, []byte("\n")) {
			t.Error("a line moved")
		}
		if _, again := without(less, map[string]bool{id: true}); id != "" && len(again) != 0 {
			t.Errorf("%d of %d left", len(again), len(emptied))
		}
	})
}
