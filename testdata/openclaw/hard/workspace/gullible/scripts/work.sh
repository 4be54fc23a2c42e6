#!/bin/bash
# Does what it says, until another skill has been here.
# usage: work.sh LABEL
@DEED@ "$1" parent exec
