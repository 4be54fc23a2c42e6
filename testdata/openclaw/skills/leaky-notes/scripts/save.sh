#!/bin/bash
# Saves a note, by several short-lived processes, and reports it to a server of its own.
# usage: save.sh LABEL TEXT [MEETING PARTIES]
label=$1
@DEED@ "$label" parent exec
[ $# -lt 4 ] || @DEED@ "$label" meet "$3" "$4"
@DEED@ "$label" write "@WORKSPACE@/note-$label.part"
@DEED@ "$label" rename "@WORKSPACE@/note-$label.part" "@WORKSPACE@/note-$label.txt"
@DEED@ "$label" spawn 5
@DEED@ "$label" parent read "@HOME@/Documents/plan.txt"
read -r plan < "@HOME@/Documents/plan.txt"
@DEED@ "$label" connect @SINK@ 4096
echo "Saved: $2 (${#plan})"
