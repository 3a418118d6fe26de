#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Written by iommuctl, which replaces it and takes it away: an edit of yours would be lost.
#
# Give to vfio-pci what iommuctl.vfio=ADDRESS@VENDOR:DEVICE[,...] on the kernel's line names, before udev loads the drivers
# of the host: exactly the function at that address, and only with these ids. Without the parameter it does nothing.
# For initramfs-tools, which asks for prereqs first, and for dracut, which reads it into its own shell. Shell alone, for
# such an image need not have more.

case ${1-} in
prereqs)
    echo
    exit 0
    ;;
esac

(
    set -f
    pci=/sys/bus/pci
    hex='[0-9a-f]'

    say() {
        { echo "iommuctl: $*" >/dev/kmsg; } 2>/dev/null
    }

    # Write a word to a file of sysfs.
    put() {
        { echo "$1" >"$2"; } 2>/dev/null
    }

    # The value of the last such parameter before --, outside of other parameters' quotes, as the kernel reads its line.
    chosen() {
        line='' choice='' quoted=''
        read -r line </proc/cmdline || [ -n "$line" ] || return
        for word in $line; do
            if [ -z "$quoted" ]; then
                case $word in
                --) break ;;
                iommuctl.vfio=* | \"iommuctl.vfio=*)
                    choice=${word#*=}
                    choice=${choice#\"}
                    choice=${choice%\"}
                    ;;
                esac
            fi
            while :; do
                case $word in
                *\"*) word=${word#*\"} ;;
                *) break ;;
                esac
                if [ -z "$quoted" ]; then quoted=1; else quoted=''; fi
            done
        done
    }

    # Whether a word is ADDRESS@VENDOR:DEVICE, as sysfs writes the numbers.
    is_device() {
        domain=${1%%:*}
        case $domain in
        *[!0-9a-f]* | '' | ? | ?? | ??? | 0????* | ?????????*) return 1 ;;
        esac
        # shellcheck disable=SC2254 # a digit, whichever
        case ${1#*:} in
        $hex$hex:[01]$hex.[0-7]@$hex$hex$hex$hex:$hex$hex$hex$hex) return 0 ;;
        esac
        return 1
    }

    # Whether the function at an address has these ids; says so where it has not.
    is_there() {
        vendor='' device=''
        { read -r vendor <"$pci/devices/$1/vendor" && read -r device <"$pci/devices/$1/device"; } 2>/dev/null
        found=${vendor#0x}:${device#0x}
        case $found in
        "$2") return 0 ;;
        :) say "$1 is not there: left alone" ;;
        *) say "$1 is $found, not $2: left alone" ;;
        esac
        return 1
    }

    # Bind one function. A driver that has it lets go of it; what vfio-pci refuses, the host has back.
    bind() {
        [ ! -e "$pci/drivers/vfio-pci/$1" ] || return 0
        if ! put vfio-pci "$pci/devices/$1/driver_override"; then
            say "$1 takes no driver by name: left alone"
            return
        fi
        [ ! -e "$pci/devices/$1/driver" ] || put "$1" "$pci/devices/$1/driver/unbind"
        put "$1" "$pci/drivers_probe"
        if [ -e "$pci/drivers/vfio-pci/$1" ]; then
            say "$1 is with vfio-pci"
        else
            put '' "$pci/devices/$1/driver_override"
            put "$1" "$pci/drivers_probe"
            say "vfio-pci does not take $1: left alone"
        fi
    }

    chosen
    [ -n "$choice" ] || exit 0
    fault=''
    case ,$choice, in
    *,,*) fault=1 ;;
    esac
    IFS=,
    seen=,
    for one in $choice; do
        is_device "$one" || fault=1
        case $seen in
        *",${one%@*},"*) fault=1 ;;
        esac
        seen=$seen${one%@*},
    done
    if [ -n "$fault" ]; then
        say "$choice names no device, or one twice: all left alone"
        exit 0
    fi
    ours=''
    for one in $choice; do
        ! is_there "${one%@*}" "${one#*@}" || ours=$ours${ours:+,}${one%@*}
    done
    [ -n "$ours" ] || exit 0
    # Before a function is told to wait for it: without its driver it would have none.
    [ -e "$pci/drivers/vfio-pci" ] || modprobe vfio-pci
    if [ ! -e "$pci/drivers/vfio-pci" ]; then
        say "vfio-pci cannot be loaded: $ours left alone"
        exit 0
    fi
    for one in $ours; do
        bind "$one"
    done
)
