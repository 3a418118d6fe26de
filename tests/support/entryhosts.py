# SPDX-License-Identifier: Apache-2.0
"""Small hosts that boot entries, as values, and what a shipped profile asks of them."""

from collections.abc import Mapping

from trees import MemoryTree

from iommuctl.facts import Distribution, Facts, Platform, Runtime
from iommuctl.profile.desired import DesiredArguments
from iommuctl.profile.inheritance import load_profile
from iommuctl.profile.resolve import resolve
from iommuctl.profile.shipped import shipped_catalogue, shipped_profiles

CATALOGUE = shipped_catalogue()
MACHINE = "3f1c0d6a5b7e4f52a9d08c6b1e2d3f40"
ENTRIES = "/boot/loader/entries"
RELEASE = "6.14.5-300.fc42.x86_64"
ENTRY = f"{ENTRIES}/{MACHINE}-{RELEASE}.conf"
OPTIONS = "root=/dev/sda2 ro quiet"


def facts(runtime: Runtime | None = None, *, kernels: tuple[str, ...] = (RELEASE,), id: str = "fedora") -> Facts:  # noqa: A002 - the name in os-release
    return Facts(Platform.INTEL, False, Distribution(id), kernels, runtime)


def desired(profile: str = "passthrough-perf", host: Facts | None = None) -> DesiredArguments:
    return resolve(load_profile(profile, shipped_profiles()), CATALOGUE, host or facts(), {})


def entry(options: str = OPTIONS, *, more: str = "") -> str:
    return f"title Linux\nversion {RELEASE}\nlinux /vmlinuz-{RELEASE}\ninitrd /initrd.img\noptions {options}\n{more}"


def grubenv(**variables: str) -> bytes:
    lines = "".join(f"{name}={value}\n" for name, value in variables.items())
    return f"# GRUB Environment Block\n{lines}".encode().ljust(1024, b"#")


def fedora(files: Mapping[str, str | bytes | None] | None = None) -> MemoryTree:
    """A Fedora host with one kernel; a file that is None is left out."""
    host: dict[str, str | bytes | None] = {
        "/etc/machine-id": f"{MACHINE}\n",
        "/etc/default/grub": 'GRUB_CMDLINE_LINUX="quiet"\nGRUB_ENABLE_BLSCFG=true\n',
        "/etc/kernel/cmdline": f"{OPTIONS}\n",
        "/boot/grub2/grub.cfg": "insmod blscfg\nblscfg\n",
        "/boot/grub2/grubenv": grubenv(saved_entry=f"{MACHINE}-{RELEASE}"),
        ENTRY: entry(),
    }
    return MemoryTree.of({path: text for path, text in (host | dict(files or {})).items() if text is not None})


def arch(files: Mapping[str, str | bytes | None] | None = None) -> MemoryTree:
    """A host with systemd-boot and one hand-written entry; a file that is None is left out."""
    host: dict[str, str | bytes | None] = {
        "/etc/machine-id": f"{MACHINE}\n",
        "/boot/loader/loader.conf": "default arch.conf\n",
        f"{ENTRIES}/arch.conf": entry(),
    }
    return MemoryTree.of({path: text for path, text in (host | dict(files or {})).items() if text is not None})
