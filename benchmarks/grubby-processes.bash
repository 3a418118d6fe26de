#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `grubby --update-kernel=ALL --args="$2"` costs on the host below $1: a benchmark's yardstick, not for use.
#
# On a host with BLS entries grubby is a bash script, which Debian does not carry; its time goes into starting processes.
# grubby-bls of grubby 8.40 was counted by strace on 3 entries: 194 processes, 88 of which run a program, growing with each
# entry and not with their square. So this starts exactly as many, and makes the same change: 20 and 10 once, 58 and 26 for
# each entry. The programs are those that it runs; a process that runs none is a substitution of a builtin.
set -u
root=$1 wanted=$2

builtins() { # COUNT: that many processes that run no program
    local number
    for ((number = 0; number < $1; number++)); do
        : "$(echo "$wanted")"
    done
}

programs() { # COUNT FILE: that many processes that run one
    local number
    for ((number = 0; number < $1; number++)); do
        case $((number % 5)) in
        0) : "$(awk '$1 == "options"' "$2")" ;;
        1) : "$(cut -d ' ' -f 2- "$2")" ;;
        2) : "$(sed -e 's/^options //' "$2")" ;;
        3) : "$(grep -m 1 options "$2")" ;;
        4) : "$(head -n 1 "$2")" ;;
        esac
    done
}

builtins 10
programs 8 "$root/etc/default/grub"
sed -i -e "s|^\(GRUB_CMDLINE_LINUX=\".*\)\"|\1 $wanted\"|" "$root/etc/default/grub"
sed -i -e "s|\$| $wanted|" "$root/etc/kernel/cmdline"

for file in "$root"/boot/loader/entries/*.conf; do
    builtins 32
    programs 25 "$file"
    sed -i -e "s|^options .*|& $wanted|" "$file"
done
