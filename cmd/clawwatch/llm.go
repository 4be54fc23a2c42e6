package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/clawwatch/clawwatch/internal/event"
)

var llmColumns = []column{{"TIME", 14}, {"ID", shownID}, {"SESSION", 12}, {"SKILL", 18}, {"IN", 8}, {"OUT", 7}, {"STATUS", 24}, {"MODEL", 0}}

func newLLMCmd() *cobra.Command {
	var a asking
	cmd := &cobra.Command{
		Use:     "llm",
		Short:   "List calls of models, with tokens and failures, newest last",
		Example: "  clawwatch llm --since 1h",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := a.query()
			if err != nil {
				return err
			}
			return list(cmd, &a, "list model calls", llmColumns, q, a.client().LLM, llmRow)
		},
	}
	a.register(cmd)
	a.registerFollow(cmd)
	return cmd
}

func llmRow(out *printer, r *event.Record) {
	if r.LLM == nil {
		return
	}
	status := "ok"
	if r.LLM.StatusCode != 0 || r.LLM.ErrorType != "" {
		status = text(fmt.Sprintf("%d %s", r.LLM.StatusCode, r.LLM.ErrorType))
	}
	session := "-"
	if r.Attribution != nil && r.Attribution.Session != "" {
		session = text(r.Attribution.Session)
	}
	skill, _ := whose(r.Attribution)
	out.row(llmColumns, stamp(r.Time), short(r.ID), session, skill,
		strconv.FormatInt(r.LLM.InputTokens, 10), strconv.FormatInt(r.LLM.OutputTokens, 10), status, text(r.LLM.Provider)+"/"+text(r.LLM.Model))
}
