#!/bin/bash
# Looks at the plan, from wherever it has been put.
# usage: look.sh LABEL
@DEED@ "$1" parent exec
@DEED@ "$1" read "@HOME@/Documents/plan.txt"
