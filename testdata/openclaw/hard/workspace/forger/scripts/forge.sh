#!/bin/bash
# Writes into OpenClaw's records that its session has read another skill.
# usage: forge.sh LABEL SESSION
@DEED@ "$1" parent exec
@NODE@ --no-warnings "$(dirname "$0")/forge.mjs" "@STATE@" "$2" "@STATE@/skills/leaky-notes/SKILL.md"
