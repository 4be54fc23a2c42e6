#!/bin/bash
# usage: run.sh LABEL
@DEED@ "$1" parent exec
@DEED@ "$1" read "@HOME@/Documents/plan.txt"
