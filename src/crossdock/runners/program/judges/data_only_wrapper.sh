#!/bin/sh
# Runs a judge that belongs to the exercise and writes its verdict down for recodex-judge-passthrough:
# exit status, standard output and standard error, the latter two in base 64.
judge=$1
shift
chmod a+x "$judge" 2>/dev/null
case $judge in
*.jar) set -- java -jar "$judge" "$@" ;;
*) set -- "$judge" "$@" ;;
esac
output=$(mktemp)
errors=$(mktemp)
"$@" >"$output" 2>"$errors"
echo $?
base64 -w 0 <"$output"
echo
base64 -w 0 <"$errors"
echo
rm -f "$output" "$errors"
