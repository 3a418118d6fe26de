#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `grubby --update-kernel=ALL --args="$2"` costs on the host below $1: a benchmark's yardstick, not for use.
#
# On a host with BLS entries grubby is a bash script, which Debian does not carry; its time goes into starting processes.
# So this starts as many of each kind, and makes the same change. For each entry (grubby-bls of grubby 8.40):
#   - five keys are looked up, each by a substitution within another, around a pipe of two programs;
#   - to make the new line, each parameter costs two substitutions around a pipe of echo and one program, in one for all;
#   - the line is expanded, looked at for variables and escaped, a substitution each, the last around such a pipe;
#   - one program writes the file.
# /etc/default/grub, grubenv and /etc/kernel/cmdline cost it much the same, once. On 3 entries this starts 155 processes;
# grubby itself was seen to start 164.
set -u
root=$1
read -r -a parameters <<<"$2"

field() { # KEY FILE
    printf '%s\n' "$(awk -v key="$1" '$1 == key' "$2" | cut -d ' ' -f 2-)"
}

filtered() { # TEXT: one substitution's pipe
    echo "$1" | tr -s ' '
}

extended() { # LINE: what it is with every parameter at its end
    local line=$1 name
    for name in "${parameters[@]%%=*}"; do
        name=$(filtered "$name")
        line=$(echo "$line" | awk -v name="$name" '{ for (i = 1; i <= NF; i++) if (index($i, name "=") == 1) $i = ""; print }')
    done
    echo "$line ${parameters[*]}"
}

lines=() files=()
for file in "$root"/boot/loader/entries/*.conf; do
    for key in title version linux initrd options; do
        value=$(field "$key" "$file")
    done
    files+=("$file") lines+=("$value")
done

for source in "$root/etc/default/grub" "$root/etc/kernel/cmdline"; do
    line=$(extended "$(head -n 1 "$source")")
    line=$(filtered "$line")
done
line=$(grub-editenv "$root/boot/grub2/grubenv" list | grep kernelopts | cut -d = -f 2-)

for index in "${!files[@]}"; do
    line=$(echo "${lines[index]}")
    line=$(extended "$line")
    variables=$(echo "${line//[^$]/}")
    line=$(filtered "$line")
    sed -i -e "s|^options .*|options $line|" "${files[index]}"
done
