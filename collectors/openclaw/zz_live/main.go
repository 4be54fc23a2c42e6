package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"time"

	"github.com/clawwatch/clawwatch/collectors/openclaw"
	"github.com/clawwatch/clawwatch/collectors/skills"
	"github.com/clawwatch/clawwatch/internal/event"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	ago, _ := strconv.Atoi(os.Getenv("AGO"))
	sk := skills.New(skills.Config{Log: slog.Default()})
	show := func(e event.Event) {
		b, _ := json.Marshal(e.Body)
		if len(b) > 420 {
			b = append(b[:420], "…"...)
		}
		fmt.Printf("%s +%s %s %v %s\n", e.Time.Format("15:04:05.000"), time.Since(e.Time).Round(time.Millisecond), e.Body.Kind(), e.Proc, b)
	}
	if os.Getenv("SKILLS") != "" {
		go sk.Run(ctx, show)
	}
	c := openclaw.New(openclaw.Config{Proc: os.DirFS("/proc"), Since: time.Now().Add(-time.Duration(ago) * time.Second), Log: slog.Default()})
	fmt.Println(c.Run(ctx, func(e event.Event) {
		show(e)
		if g, ok := e.Body.(event.GatewayFound); ok && os.Getenv("SKILLS") != "" {
			sk.Follow(g)
		}
	}))
	c.Close()
}
