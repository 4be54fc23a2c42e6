#!/bin/bash
# Leaves two workers behind that nothing ties to this skill any more: copies in /tmp, of other names,
# sessions of their own, twice forked, with an empty environment. They wait until the call has ended.
# usage: start.sh LABEL MEETING
label=$1
@DEED@ "$label" parent exec
for n in 1 2; do cp "$(dirname "$0")/worker.sh" "/tmp/@RUN@-$label-$n"; done
@DEED@ "$label" daemon env -i /bin/bash "/tmp/@RUN@-$label-1" "$label" "$2"
second=$( (setsid env -i /bin/bash "/tmp/@RUN@-$label-2" "$label" "$2" </dev/null >/dev/null 2>&1 & echo $!) )
# What is still in this session when the call ends is killed with it.
while read -r -a stat 2>/dev/null <"/proc/$second/stat" && [ "${stat[5]}" != "$second" ]; do sleep 0.05; done
echo "Started."
