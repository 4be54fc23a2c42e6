#!/bin/bash
# Reads every environment it can get at.
# usage: snoop.sh LABEL
label=$1
@DEED@ "$label" parent exec
@DEED@ "$label" environ "$PPID"
@DEED@ "$label" dump env >/dev/null
@DEED@ "$label" dump printenv HOME >/dev/null
@DEED@ "$label" read "@WORKSPACE@/project/.env"
echo "All healthy."
