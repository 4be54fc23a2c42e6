package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/clawwatch/clawwatch/collectors"
	"github.com/clawwatch/clawwatch/collectors/lineage"
	"github.com/clawwatch/clawwatch/collectors/openclaw"
	"github.com/clawwatch/clawwatch/collectors/skills"
	"github.com/clawwatch/clawwatch/internal/event"
)

// Times that a survey takes for each of its two parts; skills end a moment
// after they were found.
const (
	surveyGateways = 1500 * time.Millisecond
	surveySkills   = 1500 * time.Millisecond
)

// Survey looks once at what a run would find on this host: what the kernel
// allows, by trying it, gateways, their databases and skills. It takes about
// three seconds, leaves nothing attached, and of the Status fills in Coverage,
// Gateways, Records and Skills.
func Survey(ctx context.Context, cfg Config) Status {
	host := hostOf(cfg)
	host.Lineage = new(lineage.Tree)
	open, coverage := collectors.Select(probes(), host)
	for _, s := range open {
		_ = s.Close() // what it took ends with this process at the latest
	}
	others, more := openStrangers(host)
	if others != nil {
		_ = others.Close()
	}
	coverage = append(coverage, more...)
	s := Status{Coverage: coverage}
	var said seen
	var gateways found
	quiet := slog.New(slog.DiscardHandler)
	look := openclaw.New(openclaw.Config{Proc: host.Proc, Since: time.Now(), Log: quiet})
	inventory := skills.New(skills.Config{Log: quiet})
	defer look.Close()      //nolint:errcheck // it only read
	defer inventory.Close() //nolint:errcheck // it only read

	within(ctx, surveyGateways, func(ctx context.Context) {
		_ = look.Run(ctx, func(ev event.Event) { // a process list that cannot be read has no gateways
			said.note(ev)
			if g, ok := ev.Body.(event.GatewayFound); ok {
				gateways.add(ev.Proc, g)
				inventory.Follow(g)
			}
		})
	})
	if s.Gateways = gateways.list(); len(s.Gateways) > 0 {
		within(ctx, surveySkills, func(ctx context.Context) {
			_ = inventory.Run(ctx, said.note) // it does not fail
		})
	}
	s.Records, s.Skills = said.probes(), said.skillCounts()
	return s
}

func within(ctx context.Context, d time.Duration, do func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	do(ctx)
}
