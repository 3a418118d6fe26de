#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Plan, apply, verify or roll back on many hosts, one row for each, by exit codes and JSON alone.
#
# usage: fleet.sh plan|apply|rollback|verify [ARGUMENT...] <HOSTS
#
# HOSTS has one target a line: the name of a host for ssh, or the absolute path of a tree on this machine, such as an
# image; blank lines and lines that begin with # do not count. ARGUMENTs go to iommuctl: the profile first, then options.
# Every JSON document is kept in $FLEET_REPORTS (default: ./fleet-reports). A host that says that it is busy is asked
# three times, $FLEET_PAUSE seconds apart (default: 10). apply and rollback stop at the first host
# that fails; the others go on. Exit code: 0 all is well, 1 some host is not, 2 usage.
set -u

reports=${FLEET_REPORTS:-fleet-reports}
tries=3
pause=${FLEET_PAUSE:-10}

on_target() {
    case $target in
    /*) iommuctl "$@" --root "$target" </dev/null ;;
    *) ssh -n -o BatchMode=yes "$target" sudo -n iommuctl "$@" ;; # words without blanks or quotes: see below
    esac
}

# Print a key of the report; nothing where there is none.
value_of() {
    python3 -c '
import json, sys
value = json.load(open(sys.argv[1])).get(sys.argv[2])
print(value if isinstance(value, str) else json.dumps(value))' "$report" "$1" 2>/dev/null
}

# Print a key of an error: the last line of stderr is one JSON object; the whole line where iommuctl was not even started.
complaint() {
    tail -n 1 "$error" 2>/dev/null | python3 -c '
import json, sys
text = "".join(sys.stdin).strip(" \n")
try:
    print(json.loads(text)["error"][sys.argv[1]])
except (ValueError, KeyError, TypeError):
    print(text)' "$1"
}

row() {
    printf '%-12s  %s%s\n' "$1" "$target" "${2:+  $2}"
}

usage() {
    sed -n 's/^# usage: /usage: /p' "$0" >&2
    exit 2
}

[ $# -ge 1 ] || usage
action=$1
shift
case $action in
plan) set -- apply "$@" --dry-run --exit-code --json ;;
apply | rollback) set -- "$action" "$@" --yes --json ;;
verify) set -- verify "$@" --json ;;
*) usage ;;
esac
# What goes through ssh is read by a shell over there.
for word in "$@"; do
    case $word in
    *[!A-Za-z0-9_.:,=@/+-]*)
        echo "fleet.sh: not passed on to a shell: $word" >&2
        exit 2
        ;;
    esac
done
mkdir -p "$reports" || exit 2

worst=0
while read -r target; do
    case $target in
    '' | '#'*) continue ;;
    *[!A-Za-z0-9_.:@/-]* | -*)
        echo "fleet.sh: neither a host nor a plain path: $target" >&2
        exit 2
        ;;
    esac
    name=$(printf %s "${target#/}" | tr / -)
    report=$reports/$name.$action.json
    error=$reports/$name.$action.error.json
    try=1
    while :; do
        code=0
        on_target "$@" >"$report" 2>"$error" || code=$?
        if [ "$code" -ne 75 ] || [ "$try" -ge "$tries" ] || [ "$(complaint kind)" != locked ]; then break; fi
        try=$((try + 1))
        sleep "$pause"
    done
    [ -s "$error" ] || rm -f "$error"
    # Without a report it was not iommuctl that gave the code: sudo and ssh have a 1 of their own.
    if [ ! -s "$report" ]; then
        rm -f "$report"
        [ "$code" -gt 1 ] || code="$code without a report"
    fi
    case $action,$code in
    plan,0) row unchanged '' ;;
    plan,1) row 'would change' "plan $(value_of fingerprint | cut -c 1-12)" ;;
    verify,0 | verify,1) row "$(value_of verdict)" "$(value_of profile)" ;;
    apply,0 | rollback,0)
        case $(value_of changed) in
        true) row changed "snapshot $(value_of snapshot)" ;;
        *) row unchanged '' ;;
        esac
        ;;
    *) row "error $code" "$(complaint brief)" ;;
    esac
    case $action,$code in
    *,0 | plan,1) ;;
    apply,* | rollback,*)
        worst=1
        break
        ;;
    *) worst=1 ;;
    esac
done
exit "$worst"
