package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
)

// underManager says that a service manager started this process and takes what
// it writes to stderr into its journal.
func underManager() bool {
	return os.Getenv("JOURNAL_STREAM") != "" && os.Getenv("NOTIFY_SOCKET") != ""
}

// newLog writes one line an entry, as key=value. In a journal, which has the
// time and the level of each entry itself, a line begins with its priority as
// sd-daemon(3) has it, so that `journalctl -p warning` works.
func newLog(w io.Writer, journal bool) *slog.Logger {
	if !journal {
		return slog.New(slog.NewTextHandler(w, nil))
	}
	h := &journalHandler{out: &prioritised{w: w}}
	h.Handler = slog.NewTextHandler(h.out, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{}
		}
		return a
	}})
	return slog.New(h)
}

type journalHandler struct {
	slog.Handler
	out *prioritised
}

// A prioritised writer puts a priority before what is written. slog writes each
// entry at once.
type prioritised struct {
	w    io.Writer
	mu   sync.Mutex
	line bytes.Buffer
}

func (p *prioritised) Write(b []byte) (int, error) { return p.line.Write(b) }

func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.line.Reset()
	h.out.line.WriteString(priority(r.Level))
	if err := h.Handler.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.out.w.Write(h.out.line.Bytes())
	return err
}

func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journalHandler{h.Handler.WithAttrs(attrs), h.out}
}

func (h *journalHandler) WithGroup(name string) slog.Handler {
	return &journalHandler{h.Handler.WithGroup(name), h.out}
}

// priority is that of syslog(3).
func priority(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "<3>"
	case l >= slog.LevelWarn:
		return "<4>"
	case l >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}

// asPriority puts the priority of an error before each line of a message.
func asPriority(message string) string {
	return priority(slog.LevelError) + strings.ReplaceAll(message, "\n", "\n"+priority(slog.LevelError))
}
