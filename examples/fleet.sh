#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Plan, apply, verify or roll back on many hosts, one row for each, by exit codes and JSON alone.
#
# usage: fleet.sh plan|apply|rollback|verify [ARGUMENT...] <HOSTS
#
# HOSTS has one target a line: the name of a host for ssh, or the absolute path of a tree on this machine, such as an
# image; blank lines and lines that begin with # do not count. ARGUMENTs go to iommuctl: the profile first, then options.
# Every JSON document is kept in $FLEET_REPORTS (default: ./fleet-reports), that of a change until there is another, a plan
# or a verdict until the next run, an error until the host succeeds. What is no report, such as one after the greeting of
# a login shell, takes no document's place: it stays in HOST.ACTION.stdout, and the host counts as one that failed.
# $FLEET_PARALLEL hosts are worked on at a time (default: 1). Where $FLEET_PLANS is set, apply carries out the plans that
# are kept there, and stops at a host that would change otherwise. A host that says that it is busy is asked $FLEET_TRIES
# times (default: 3), $FLEET_PAUSE seconds apart (default: 10). apply and rollback begin with no other host after one has
# failed; the others go on. Exit code: 0 all is well, 1 some host is not, 2 usage.
set -u

reports=${FLEET_REPORTS:-fleet-reports}
tries=${FLEET_TRIES:-3}
pause=${FLEET_PAUSE:-10}

on_target() {
    case $target in
    /*) iommuctl "$@" --root "$target" </dev/null ;;
    *) ssh -n -o BatchMode=yes "$target" sudo -n iommuctl "$@" ;; # words without blanks or quotes: see below
    esac
}

# What a host says is shown on one line, without what a terminal would obey.
reading='
import json, sys

def show(value):
    text = value if isinstance(value, str) else json.dumps(value)
    print("".join(one if one.isprintable() else ascii(one)[1:-1] for one in text[:500]))
'

# Print a key of a report; nothing where there is none.
value_of() {
    python3 -c "$reading"'
show(json.load(open(sys.argv[2], "rb")).get(sys.argv[1]))' "$1" "$2" 2>/dev/null
}

# Print true or false: whether something changes or did, of verify whether all is well. Nothing of what is no such report.
outcome_of() {
    python3 -c "$reading"'
action, path = sys.argv[1:]
report = json.load(open(path, "rb"))
outcome = report.get("ok" if action == "verify" else "changed")
ours = report.get("command") == ("apply" if action == "plan" else action)
if ours and report.get("dry_run", False) is (action == "plan") and isinstance(outcome, bool):
    show(outcome)' "$action" "$1" 2>/dev/null
}

# Print a key of an error: the last line of stderr is one JSON object; the whole line where iommuctl was not even started.
complaint() {
    tail -n 1 "$error" 2>/dev/null | python3 -c "$reading"'
text = sys.stdin.buffer.read().decode("utf-8", "backslashreplace").strip()
try:
    show(json.loads(text)["error"][sys.argv[1]])
except (ValueError, KeyError, TypeError, RecursionError):
    show(text)' "$1"
}

row() {
    printf '%-12s  %s%s\n' "$1" "$target" "${2:+  $2}"
}

usage() {
    sed -n 's/^# usage: /usage: /p' "$0" >&2
    exit 2
}

# Work on one host. Exit code 255 has xargs begin with no other.
work_on() {
    name=$(printf %s "${target#/}" | tr / -)
    kept=$reports/$name.$action.json
    report=$reports/$name.$action.stdout
    error=$reports/$name.$action.error.json
    if [ "$action" = apply ] && [ -n "${FLEET_PLANS:-}" ]; then
        fingerprint=$(value_of fingerprint "$FLEET_PLANS/$name.plan.json")
        # The plan came from a host, and what goes through ssh is read by a shell over there.
        case $fingerprint in *[!0-9a-f]*) fingerprint= ;; esac
        if [ "${#fingerprint}" -ne 64 ]; then
            row 'not planned'
            return 255
        fi
        set -- "$@" --expect "$fingerprint"
    fi
    try=1
    while :; do
        code=0
        on_target "$@" >"$report" 2>"$error" || code=$?
        if [ "$code" -ne 75 ] || [ "$try" -ge "$tries" ] || [ "$(complaint kind)" != locked ]; then break; fi
        try=$((try + 1))
        sleep "$pause"
    done
    outcome=$(outcome_of "$report")
    if [ -z "$outcome" ]; then
        # Without a report it was not iommuctl that gave the code: sudo and ssh have a 1 of their own.
        if [ "$code" -le 1 ]; then
            said=$({ head -n 1 "$report" | cut -c 1-200; tail -n 1 "$error"; } | tr '\n' ' ')
            printf '\nno report: %s\n' "$said" >>"$error"
        fi
        [ -s "$report" ] || rm -f "$report"
        case $action in plan | verify) rm -f "$kept" ;; esac
    elif [ "$action,$outcome" = apply,false ] && [ "$(outcome_of "$kept")" = true ] &&
        [ "$(value_of profile "$report")" = "$(value_of profile "$kept")" ]; then
        rm -f "$report"
    else
        mv "$report" "$kept"
    fi
    case $action,$code,$outcome in
    plan,[01],false | apply,0,false | rollback,0,false) row unchanged ;;
    plan,[01],true) row 'would change' "plan $(value_of fingerprint "$kept" | cut -c 1-12)" ;;
    apply,0,true | rollback,0,true) row changed "snapshot $(value_of snapshot "$kept")" ;;
    verify,[01],*e) row "$(value_of verdict "$kept")" "$(value_of profile "$kept")" ;;
    *)
        row "error $code" "$(complaint brief)"
        [ -s "$error" ] || rm -f "$error"
        case $action in apply | rollback) return 255 ;; esac
        return 1
        ;;
    esac
    # A host that succeeds is not stopped any more; but a verdict says nothing of a change that failed.
    case $action in
    verify) rm -f "$error" ;;
    *) for one in plan apply rollback verify; do rm -f "$reports/$name.$one.error.json"; done ;;
    esac
    [ "$action,$outcome" != verify,false ]
}

[ $# -ge 1 ] || usage
if [ "$1" = --on ]; then # by xargs, below
    target=$2
    action=$3
    shift 3
    work_on "$@"
    exit
fi
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
hosts=$(sed 's/^[[:blank:]]*//; s/[[:blank:]]*$//; /^#/d; /^$/d')
wrong=$(printf '%s\n' "$hosts" | LC_ALL=C grep -e '[^A-Za-z0-9_.:@/-]' -e '^-' | head -n 1)
if [ -n "$wrong" ]; then
    echo "fleet.sh: neither a host nor a plain path: $wrong" >&2
    exit 2
fi
# The documents of /a/b have the name of those of a-b.
twice=$(printf '%s\n' "$hosts" | awk '
    { name = $0; sub("^/", "", name); gsub("/", "-", name) }
    name in first { print first[name] " and " $0; exit }
    { first[name] = $0 }')
if [ -n "$twice" ]; then
    echo "fleet.sh: the documents of two would be one: $twice" >&2
    exit 2
fi
[ -n "$hosts" ] || exit 0
mkdir -p "$reports" || exit 2
printf '%s\n' "$hosts" | xargs -P "${FLEET_PARALLEL:-1}" -I '{}' sh "$0" --on '{}' "$action" "$@" || exit 1
