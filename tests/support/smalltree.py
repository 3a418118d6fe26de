# SPDX-License-Identifier: Apache-2.0
"""A host that is quick to copy: a shell is its only program, and shell scripts stand in for the tools of GRUB."""

import os
import shutil
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from grubtree import libraries
from lacking import lacks

from iommuctl.host.commands import SystemRunner

MENU = "boot/grub/grub.cfg"
SOURCE = "etc/default/grub"
KERNELS = ("6.1.0-49-amd64", "6.1.0-50-amd64")

_DEFAULT_GRUB = 'GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="console=ttyS0"\n'
_OS_RELEASE = 'ID=debian\nVERSION_ID="12"\n'
# It prints once, at its end, unless /hook has other plans.
_GENERATOR = """\
#!/bin/sh
set -e
. /etc/default/grub
for part in /etc/default/grub.d/*.cfg; do
  if [ -e "$part" ]; then . "$part"; fi
done
menu='### BEGIN /etc/grub.d/10_linux ###'
for kernel in /boot/vmlinuz-*; do
  version=${kernel#/boot/vmlinuz-}
  menu="$menu
menuentry 'Linux $version' --id 'gnulinux-$version-advanced' {
  linux $kernel root=/dev/vda1 ro $GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT
}
menuentry 'Linux $version (recovery mode)' --id 'gnulinux-$version-recovery' {
  linux $kernel root=/dev/vda1 ro single $GRUB_CMDLINE_LINUX
}"
done
if [ -e /hook ]; then . /hook; fi
printf '%s\\n### END /etc/grub.d/10_linux ###\\n' "$menu" >"$2"
"""
_SCRIPT_CHECK = '#!/bin/sh\n[ -s "$1" ]\n'


@dataclass(frozen=True, slots=True)
class SmallTree:
    """A host to change at will."""

    path: Path

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)
        return target

    def read(self, path: str = MENU) -> str:
        return (self.path / path).read_text()

    def generate(self) -> None:
        """Bring the menu up to date, as a kernel's installation does."""
        SystemRunner(self.path).run(("grub-mkconfig", "-o", f"/{MENU}"), timeout=60)

    def add_kernel(self, release: str) -> None:
        self.write(f"boot/vmlinuz-{release}", "no real kernel\n")


def make_small_tree(path: Path) -> SmallTree:
    """Make a host in a directory that is not there yet, its menu up to date."""
    shell = Path("/bin/sh").resolve()
    for target, source in {Path("/usr/bin/sh"): shell, **libraries([shell])}.items():
        (path / target.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, path / target.relative_to("/"))
    for name in ("bin", "sbin", "lib", "lib64"):
        (path / "usr" / name).mkdir(exist_ok=True)
        (path / name).symlink_to(f"usr/{name}")
    for name in ("proc", "dev", "boot/grub", "var/lib"):
        (path / name).mkdir(parents=True)
    os.mknod(path / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    tree = SmallTree(path)
    tree.write(SOURCE, _DEFAULT_GRUB)
    tree.write("etc/os-release", _OS_RELEASE)
    for release in KERNELS:
        tree.add_kernel(release)
    tree.write("usr/sbin/grub-mkconfig", _GENERATOR, 0o755)
    tree.write("usr/bin/grub-script-check", _SCRIPT_CHECK, 0o755)
    tree.generate()
    (path / MENU).chmod(0o600)
    return tree


def require_root() -> None:
    """Skip where nobody may run programs in another root; fail where CI=true."""
    if sys.platform == "linux" and os.geteuid() == 0:
        return
    reason = "programs of another root run in a chroot, for which one must be root"
    lacks(reason)


def processes_in(tree: Path) -> list[int]:
    """The processes whose root is a tree."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # By identity: the text of the link depends on how the process came to its root.
            if (process / "root").samefile(tree):
                found.append(int(process.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


@pytest.fixture
def small_host(tmp_path: Path) -> Iterator[SmallTree]:
    """A fresh small host; what a failed test leaves running in it is ended."""
    require_root()
    tree = make_small_tree(tmp_path / "small-host")
    yield tree
    for process in processes_in(tree.path):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
