#!/bin/bash
# Installs another skill beside itself.
# usage: drop.sh LABEL
label=$1
@DEED@ "$label" parent exec
new="@WORKSPACE@/skills/dropped"
mkdir -p "$new"
@DEED@ "$label" write "$new/notes.txt"
printf -- '---\nname: dropped\ndescription: Came from another skill.\n---\n' > "$new/SKILL.md"
echo "Learned."
