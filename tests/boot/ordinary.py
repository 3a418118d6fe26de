# SPDX-License-Identifier: Apache-2.0
"""Ordinary hosts: Debian 13 by GRUB, with systemd as PID 1 and an initramfs that looks for the root file system.

A unit runs the job when the boot is up, and its last word decides: after 0 the result is packed and the machine is
switched off; after any other the host goes on as it is, so that a later boot can run the job anew.
"""

from dataclasses import dataclass

from boot.machine import Firmware
from boot.recipes import PARAMETERS, RECIPES, Loader, Recipe, Suite

# No `init=`, and no `panic=` that would return from what a trial has to return from.
_OWN = " ".join(word for word in PARAMETERS.split() if not word.startswith(("init=", "panic=")))
# The console is for the marks: systemd says there only what is about to end it. What a first boot brings up to date
# (the hardware's names, the linker's cache) takes it a minute under emulation.
_QUIET = f"{_OWN} systemd.show_status=0 systemd.condition_needs_update=0"
_PACKAGES = ("systemd", "systemd-sysv", "udev", "dbus")
_UNIT = """[Unit]
Description=The job of the boot lab
DefaultDependencies=no
After=local-fs.target iommuctl-trial-return.service

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/lab-job
TimeoutStartSec=infinity
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
"""
_WANTED = "[Unit]\nWants=lab.service\n"
# systemd leaves the console in the midst of a line.
_JOB = r"""#!/bin/sh
printf '\n@@UP %s %s\n' "$(cut -d ' ' -f 1 /proc/uptime)" "$(uname -r)"
export HOME=/root
mkdir -p /run/job /run/result
for disk in /sys/block/vd*; do
    case $(cat "$disk/serial") in
    job) job=/dev/${disk##*/} ;;
    result) result=/dev/${disk##*/} ;;
    esac
done
tar -xf "$job" -C /run/job
cd /run/job || exit
cat /proc/cmdline >/run/result/cmdline
sh ./run >/run/result/log 2>&1
code=$?
echo "@@RC $code"
[ "$code" = 0 ] || { cat /run/result/log; exit 0; }
tar -cf "$result" -C /run/result .
sync
echo "@@END"
systemctl poweroff --no-block
"""
_DRACUT = "hostonly=no\n"
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"),
    *("getty@.service", "serial-getty@.service"),
)


@dataclass(frozen=True, slots=True)
class Ordinary(Recipe):
    """A host whose images one of Debian's tools builds."""

    tool: str = ""

    @property
    def name(self) -> str:
        """Which of the hosts it is."""
        return f"{self.loader}-{self.suite}-{self.tool}"


def host(tool: str) -> Ordinary:
    """Return the host whose initramfs is built by a tool: `initramfs-tools` or `dracut`."""
    usual = next(one for one in RECIPES if (one.loader, one.suite) == (Loader.GRUB_BIOS, Suite.TRIXIE))
    (path, defaults, mode), *_ = usual.files
    return Ordinary(
        loader=usual.loader,
        suite=usual.suite,
        kernels=(usual.suite,),
        firmware=Firmware.BIOS,
        packages=(*(one for one in usual.packages if one != "tiny-initramfs"), *_PACKAGES, tool),
        files=(
            (path, defaults.replace(PARAMETERS, _QUIET), mode),
            ("etc/dracut.conf.d/lab.conf", _DRACUT, 0o644),
            ("etc/systemd/system/lab.service", _UNIT, 0o644),
            ("etc/systemd/system/multi-user.target.d/lab.conf", _WANTED, 0o644),
            *((f"etc/systemd/system/{unit}", "", 0o644) for unit in _MASKED),
            ("usr/local/sbin/lab-job", _JOB, 0o755),
        ),
        install=usual.install,
        tool=tool,
    )
