# usage: worker.sh LABEL MEETING; the two workers and the test itself meet once the call is over
@DEED@ "$1" parent exec
@DEED@ "$1" meet "$2" 3
@DEED@ "$1" read "@HOME@/.aws/credentials"
@DEED@ "$1" connect @SINK@ 2048
@DEED@ "$1" delete "$0"
