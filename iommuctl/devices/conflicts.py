# SPDX-License-Identifier: Apache-2.0
"""Conflicts: other files and programs that bind devices, or keep their drivers off. Named and never edited. Reading
only.
"""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from iommuctl.devices.inventory import Function
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.kernel.cmdline import canonical_name
from iommuctl.pattern import pattern
from iommuctl.running.effect.binding import VFIO_PCI
from iommuctl.running.modprobe import read_lines
from iommuctl.tree import Tree, known_names, known_text

# driverctl(8): a file of each device, which holds the name of its driver.
_DRIVERCTL = PurePosixPath("/etc/driverctl.d")
# Proxmox: a line `hostpci0: 01:00.0,pcie=1` in the configuration of a guest (qm.conf(5)).
_PROXMOX = PurePosixPath("/etc/pve/qemu-server")
_HOSTPCI = pattern(r"^hostpci\d+:[ \t]*(?:host=)?([0-9a-fA-F:.;]+)")
# libvirt: <hostdev managed='yes'> with the <address> of its source (formatdomain).
_LIBVIRT = PurePosixPath("/etc/libvirt/qemu")
_HOSTDEV = pattern(r"<hostdev\b([^>]*)>(.*?)</hostdev>")
_SOURCE = pattern(
    r"<address\b[^>]*?domain='0x([0-9a-f]+)'[^>]*?bus='0x([0-9a-f]+)'[^>]*?slot='0x([0-9a-f]+)'[^>]*?function='0x(\d)'"
)
# Where modules are named that an initramfs or the start of the system loads.
_MODULE_LISTS = (
    *("/etc/modules", "/etc/initramfs-tools/modules", "/etc/mkinitcpio.conf", "/etc/dracut.conf"),
    *("/etc/modules-load.d", "/etc/mkinitcpio.conf.d", "/etc/dracut.conf.d"),
)
_VIRQFD = pattern(r"\bvfio_virqfd\b")
_FIRST_DOMAIN = "0000"


def conflicts(tree: Tree, functions: Iterable[Function]) -> tuple[Finding, ...]:
    """Return what else on a host decides about these functions, by the files that it leaves."""
    chosen = tuple(functions)
    if not chosen:
        return ()
    return (
        *_modprobe(tree, chosen),
        *_driverctl(tree, chosen),
        *_proxmox(tree, chosen),
        *_libvirt(tree, chosen),
        *_virqfd(tree),
    )


def _modprobe(tree: Tree, chosen: tuple[Function, ...]) -> Iterator[Finding]:
    drivers = {canonical_name(one.device.driver): one for one in chosen if one.device.driver}
    for path, words in read_lines(tree):
        match words:
            case ["blacklist", name] if function := drivers.get(canonical_name(name)):
                message = f"{path} keeps {name} off every device, not just {function.address}"
                yield _told(
                    Severity.WARNING, message, f"take the line out: a card that is bound needs no blacklist ({path})"
                )
            case ["softdep", name, *others] if VFIO_PCI in _before(others) and canonical_name(name) in drivers:
                yield _told(Severity.INFO, f"{path} has {VFIO_PCI} loaded before {name}")
            case ["install", name, *_] if canonical_name(name) in drivers or canonical_name(name) == "vfio_pci":
                yield _told(Severity.WARNING, f"{path} runs a command of its own where {name} is to be loaded")
            case _:
                pass


def _before(words: list[str]) -> set[str]:
    """Return the modules that a softdep loads first, written as the module of vfio is: `pre: a b post: c`."""
    found: set[str] = set()
    is_before = False
    for word in words:
        if word.endswith(":"):
            is_before = word == "pre:"
        elif is_before:
            found.add(word.replace("_", "-"))
    return found


def _driverctl(tree: Tree, chosen: tuple[Function, ...]) -> Iterator[Finding]:
    for function in chosen:
        path = _DRIVERCTL / f"pci-{function.address}"
        driver = known_text(tree, path).strip()
        if driver:
            severity = Severity.INFO if driver == VFIO_PCI else Severity.WARNING
            message = f"driverctl binds {function.address} to {driver} at each start, by its address alone ({path})"
            yield _told(severity, message, f"driverctl unset-override {function.address}", function.address)


def _proxmox(tree: Tree, chosen: tuple[Function, ...]) -> Iterator[Finding]:
    for name in known_names(tree, _PROXMOX):
        for line in known_text(tree, _PROXMOX / name).splitlines():
            said = _HOSTPCI.match(line)
            if line.startswith("["):  # a snapshot of the guest begins
                break
            for wanted in said[1].lower().split(";") if said else ():
                whole = wanted if wanted.count(":") > 1 else f"{_FIRST_DOMAIN}:{wanted}"
                for function in chosen:
                    if whole in {function.address, function.place}:
                        guest = name.removesuffix(".conf")
                        message = f"Proxmox binds {function.address} by itself when guest {guest} starts"
                        yield _told(Severity.INFO, f"{message} ({_PROXMOX / name})", address=function.address)


def _libvirt(tree: Tree, chosen: tuple[Function, ...]) -> Iterator[Finding]:
    known = {function.address for function in chosen}
    for name in known_names(tree, _LIBVIRT):
        if not name.endswith(".xml"):
            continue
        for attributes, inner in _HOSTDEV.findall(
            known_text(tree, _LIBVIRT / name).replace('"', "'").replace("\n", " ")
        ):
            if "managed='yes'" not in attributes or not (said := _SOURCE.search(inner)):
                continue
            domain, bus, slot, function = said.groups()
            address = f"{domain.zfill(4)}:{bus.zfill(2)}:{slot.zfill(2)}.{function}"
            if address in known:
                guest = name.removesuffix(".xml")
                message = f"libvirt binds {address} by itself when guest {guest} starts (managed)"
                yield _told(Severity.INFO, f"{message} ({_LIBVIRT / name})", address=address)


def _virqfd(tree: Tree) -> Iterator[Finding]:
    for top in map(PurePosixPath, _MODULE_LISTS):
        for path in (*(top / name for name in known_names(tree, top)), top):
            if any(_VIRQFD.search(line.partition("#")[0]) for line in known_text(tree, path).splitlines()):
                message = f"{path} names vfio_virqfd, which is no module from 6.2 on, and an initramfs may fail for it"
                yield _told(Severity.WARNING, message, f"take vfio_virqfd out of {path}")


def _told(severity: Severity, message: str, hint: str | None = None, address: str | None = None) -> Finding:
    return Finding(Rule.BOUND_ELSEWHERE, severity, message, None, hint, address)
