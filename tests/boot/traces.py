# SPDX-License-Identifier: Apache-2.0
"""Traces: functions for a guest's sh that tell what a trial may not change, what of one is left, who has a device."""

TRACES = """
permanent() {
    for file in /etc/default/grub /etc/kernel/cmdline /boot/grub/grub.cfg /boot/loader/entries/*.conf \\
        /boot/efi/loader/entries/*.conf \\
        /boot/efi/EFI/Linux/*.efi; do
        case $file in *iommuctl-trial*) continue ;; esac
        [ ! -f "$file" ] || sha256sum "$file"
    done
}
left() {
    grep -r -l --exclude=lab.service 'iommuctl.trial' /boot /etc
    find /boot /etc -name '*iommuctl-trial*'
    [ ! -e /boot/grub/grubenv ] || grub-editenv /boot/grub/grubenv list | grep 'next_entry=.'
    ls /sys/firmware/efi/efivars/LoaderEntryOneShot-* 2>/dev/null
    return 0
}
"""

DRIVERS = """
drivers() {
    for address; do
        driver=$(readlink "/sys/bus/pci/devices/$address/driver") || driver=none
        echo "$address ${driver##*/}"
    done
}
"""
