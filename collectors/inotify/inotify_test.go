package inotify

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/clawwatch/clawwatch/internal/event"
)

func TestAChangeIsSeenWithoutWhoMadeIt(t *testing.T) {
	state := t.TempDir()
	soul := filepath.Join(state, "workspace", "SOUL.md")
	if err := errors.Join(os.Mkdir(filepath.Dir(soul), 0o700), os.WriteFile(soul, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	c, err := Open()
	if err != nil {
		t.Skip(err)
	}
	c.Follow(event.GatewayFound{ID: state, StateDir: state, Workspaces: []string{filepath.Dir(soul)}})
	<-c.wake
	c.take() // before anything is done, and not some time after
	c.watch()
	events := make(chan event.Event, 64)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, func(ev event.Event) { events <- ev }) }()
	defer func() {
		cancel()
		if err := errors.Join(<-done, c.Close()); err != nil {
			t.Error(err)
		}
	}()
	next := func() event.Event {
		t.Helper()
		select {
		case ev := <-events:
			if !ev.Proc.IsZero() || ev.Stranger || ev.Gateway != state || ev.Source != event.SourceInotify {
				t.Errorf("%+v", ev)
			}
			return ev
		case <-time.After(20 * time.Second):
			t.Fatal("nothing is seen")
			return event.Event{}
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(state, "workspace", "main.c"), nil, 0o600), os.WriteFile(soul, []byte("evil"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if b, ok := next().Body.(event.FileOpen); !ok || b.Path != soul || !b.Write || b.Create {
		t.Errorf("%+v", b)
	}
	if err := os.WriteFile(filepath.Join(state, "openclaw.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, ok := next().Body.(event.FileOpen); !ok || filepath.Base(b.Path) != "openclaw.json" || !b.Create {
		t.Errorf("%+v", b)
	}
	if err := os.Remove(soul); err != nil {
		t.Fatal(err)
	}
	for {
		if b, ok := next().Body.(event.FileDelete); ok && b.Path == soul {
			return
		}
	}
}

func TestAFileInAContainerIsToldAsItIsCalledThere(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(root+"/state", 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := Open()
	if err != nil {
		t.Skip(err)
	}
	defer c.Close()
	follow := func(root string, role event.Role) {
		c.Follow(event.GatewayFound{ID: "box:/state", Role: role, StateDir: "/state", Root: root})
		<-c.wake
		c.take()
		c.watch()
	}
	follow(root, event.RoleCLI)
	if len(c.watched) != 0 {
		t.Errorf("watched for a command: %v", c.watched)
	}
	follow("/nowhere", event.RoleGateway)
	follow(root, event.RoleGateway)
	if len(c.places) != 6 || !c.watched[root+"/state"] {
		t.Errorf("places %v, watched %v", c.places, c.watched)
	}
	var told []event.Event
	c.tell(fsnotify.Event{Name: root + "/state/openclaw.json", Op: fsnotify.Write}, time.Now(), func(ev event.Event) { told = append(told, ev) })
	if len(told) != 1 || told[0].Gateway != "box:/state" || told[0].Body.(event.FileOpen).Path != "/state/openclaw.json" {
		t.Errorf("told %+v", told)
	}
}
