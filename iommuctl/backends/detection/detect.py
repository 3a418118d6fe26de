# SPDX-License-Identifier: Apache-2.0
"""Detect: which bootloader boots this root, from evidence. Values in, a conclusion out; nothing is guessed."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath
from typing import NamedTuple

from iommuctl.backends.detection.bootmounts import MOUNT_POINTS, unmounted
from iommuctl.backends.detection.owners import refuse_owned
from iommuctl.backends.grub.menus import LINKED_MENUS, MENUS
from iommuctl.errors import NotPermittedError, UnavailableError, UsageError
from iommuctl.facts import Facts, Runtime
from iommuctl.tree import Tree

GRUB2 = "grub2"
BLS = "bls"
SYSTEMD_BOOT = "systemd-boot"
# What a piece of evidence says where it does not name a backend.
_GRUB = "GRUB"
_UNKNOWN = "unknown"
_UNSUPPORTED = "a bootloader that no backend knows"
_NOTHING = "nothing by itself"

_GRUB_DEFAULTS = PurePosixPath("/etc/default/grub")
_BLSCFG = re.compile(rb"^[ \t]*blscfg\b", re.MULTILINE)
_MENU_ENTRY = re.compile(rb"^[ \t]*menuentry\s", re.MULTILINE)
_ENABLE_BLSCFG = re.compile(rb"""^[ \t]*(?:export[ \t]+)?GRUB_ENABLE_BLSCFG=["']?(\w*)""", re.MULTILINE)
# 10_linux of these builds entries by blscfg unless it is switched off (rhboot/grub2, 10_linux.in).
_BLSCFG_BY_DEFAULT = frozenset({"fedora", "rhel"})
_BOOT = PurePosixPath("/boot")  # GRUB's menu is there, whatever the ESP holds
_GRUB_ENTRIES = _BOOT / "loader/entries"
_PROXMOX_ESPS = PurePosixPath("/etc/kernel/proxmox-boot-uuids")
_PROXMOX_TOOLS = (PurePosixPath("/usr/sbin"), PurePosixPath("/sbin"))
_GENERATORS = frozenset({"grub-mkconfig", "grub2-mkconfig"})
_PROGRAMS = (*_PROXMOX_TOOLS, PurePosixPath("/usr/bin"))
_SUSE_LOADER = PurePosixPath("/etc/sysconfig/bootloader")
_LOADER_TYPE = re.compile(r"""^[ \t]*LOADER_TYPE=["']?([\w-]*)""", re.MULTILINE)
# sdbootutil keeps the entries of both loaders that read them (openSUSE/sdbootutil).
_LOADER_TYPES = {
    "grub2": (GRUB2, _GRUB),
    "grub2-efi": (GRUB2, _GRUB),
    "grub2-bls": (SYSTEMD_BOOT, _GRUB),
    "systemd-boot": (SYSTEMD_BOOT, SYSTEMD_BOOT),
}
_KERNELSTUB = PurePosixPath("/etc/kernelstub/configuration")
_ZIPL = PurePosixPath("/etc/zipl.conf")
_INSTALL_CONF = PurePosixPath("/etc/kernel/install.conf")
_KERNEL_CMDLINE = PurePosixPath("/etc/kernel/cmdline")
_SYSTEMD_BOOT_PROGRAM = re.compile(r"systemd-boot[a-z0-9]+\.efi", re.IGNORECASE)
_SYSTEMD_BOOT_INFO = "systemd-boot "
_GRUB_INFO = "GRUB"
_NAME_IT = "name the one that boots with --backend grub2, --backend bls or --backend systemd-boot"
_KERNEL_PROGRAM = re.compile(r"(?:\A|\\)(?:vmlinuz|vmlinux|bzimage|image|linux)[^\\]*\Z", re.IGNORECASE)
_KERNEL_BY_EFI = re.compile(r"(?:^|\s)initrd=\\")


class Evidence(NamedTuple):
    """One thing that was looked at, what was found, and what that says."""

    probe: str
    found: str
    says: str


class Detection(NamedTuple):
    """The backend that boots this root, and why."""

    backend: str
    evidence: tuple[Evidence, ...]


def detect(
    tree: Tree, facts: Facts, runtime: Runtime | None, *, wanted: str | None, known: tuple[str, ...]
) -> Detection:
    """Tell the backend of a root; `runtime` is None for a root that is not the running system.

    `wanted` is the administrator's word, which outranks evidence, but not an owner. What a distribution's own file
    declares comes first, then what the running system proves, then what the files show (boot-formats, section 4).
    Raises UnavailableError where something else owns the command line, where no supported bootloader shows, and where
    several do and none is proven; UsageError for a backend that does not exist.
    """
    refuse_owned(tree, facts, runtime)
    declared = tuple(_declared(tree))
    running = tuple(_running(runtime))
    menus = _menus(tree)
    loader = tuple(_systemd_boot(tree, facts, menus))
    grub = tuple(_grub(tree, menus, loader))
    evidence = (*(item for item, _ in declared), *running, *grub, *loader, *_beside(tree, runtime))
    if wanted is not None:
        if wanted not in known:
            raise UsageError(f"no such backend: {wanted!r}", hint=f"choose one of {', '.join(known)}")
        return Detection(wanted, (*evidence, Evidence("--backend", wanted, f"{wanted}, because you say so")))
    proven = _proven(running, evidence)
    if declared:
        item, loaders = declared[0]
        if not proven <= loaders:
            raise _ambiguous(proven | {item.says}, evidence)
        return Detection(item.says, evidence)
    if not proven:
        # What may not be read is unknown, not absent.
        for item in loader:
            if item.says == _UNKNOWN:
                raise NotPermittedError(PurePosixPath(item.probe), "read")
    shown = {_GRUB for item in grub} | {SYSTEMD_BOOT for item in loader if item.says == SYSTEMD_BOOT}
    if runtime is not None and not runtime.is_efi:
        shown -= {SYSTEMD_BOOT}
    bootloaders = proven or shown
    if len(bootloaders) > 1:
        raise _ambiguous(bootloaders, evidence)
    if not bootloaders:
        _require_mounted(tree, runtime, evidence, MOUNT_POINTS)
        raise UnavailableError("no supported bootloader found", details=_told(evidence), hint=_NAME_IT)
    if bootloaders == {_GRUB}:
        if not menus:
            is_grub = bool(proven) or any(_GENERATORS.intersection(tree.names(folder)) for folder in _PROGRAMS)
            _require_mounted(tree, runtime, evidence, (_BOOT,) if is_grub else MOUNT_POINTS)
        return Detection(_kind_of_grub(tree, facts, grub), evidence)
    left = (Evidence("GRUB's files", "exist beside it", "left over: not what booted"),) if proven and grub else ()
    return Detection(SYSTEMD_BOOT, (*evidence, *left))


def _proven(running: tuple[Evidence, ...], evidence: tuple[Evidence, ...]) -> set[str]:
    """What the running system proves. The firmware's boot option, the last piece, counts where nothing else speaks."""
    said = {item.says for item in running[:-1]} & {_GRUB, SYSTEMD_BOOT, _UNSUPPORTED}
    if not said and running and running[-1].says == _UNSUPPORTED:
        raise UnavailableError(
            f"{running[-1].found!r} is started by the firmware itself, with the parameters of its boot option",
            details=_told(evidence),
            hint=f"make a new boot option with efibootmgr --create --unicode; or {_NAME_IT}",
        )
    if said == {_UNSUPPORTED}:
        name = next(item.found for item in running if item.says == _UNSUPPORTED)
        raise UnavailableError(
            f"{name!r} boots this host, which no backend knows", details=_told(evidence), hint=_NAME_IT
        )
    return said - {_UNSUPPORTED} or {item.says for item in running[-1:]} & {_GRUB, SYSTEMD_BOOT}


def _ambiguous(bootloaders: set[str], evidence: tuple[Evidence, ...]) -> UnavailableError:
    return UnavailableError(
        f"{' and '.join(sorted(bootloaders))} may boot this host, and nothing proves which does",
        details=_told(evidence),
        hint=_NAME_IT,
    )


def _kind_of_grub(tree: Tree, facts: Facts, grub: tuple[Evidence, ...]) -> str:
    """Whether GRUB reads entries or its own menu: its menu tells; where that is not to be had, its settings do."""
    kinds = [item.says for item in grub if item.says in (BLS, GRUB2)]
    if kinds:
        return BLS if BLS in kinds else GRUB2
    switched = _ENABLE_BLSCFG.findall(tree.read(_GRUB_DEFAULTS) or b"")
    if switched and switched[-1]:
        return BLS if switched[-1] == b"true" else GRUB2
    by_default = bool(_BLSCFG_BY_DEFAULT.intersection(facts.distribution.names)) and bool(tree.names(_GRUB_ENTRIES))
    return BLS if by_default else GRUB2


def _require_mounted(
    tree: Tree, runtime: Runtime | None, evidence: tuple[Evidence, ...], points: tuple[PurePosixPath, ...]
) -> None:
    """Raise UnavailableError where one of the boot file systems is not mounted: what it holds would tell."""
    missing = next((point for point in unmounted(tree, runtime) if point in points), None)
    if missing is not None:
        what = f"the boot file system {str(missing)!r} is not mounted"
        hint = f"mount {missing}, then run the same command again; or {_NAME_IT}"
        raise UnavailableError(what, details=_told(evidence), hint=hint)


def _told(evidence: tuple[Evidence, ...]) -> tuple[str, ...]:
    return tuple(f"{item.probe}: {item.found} ({item.says})" for item in evidence)


def _declared(tree: Tree) -> Iterator[tuple[Evidence, set[str]]]:
    """What a distribution's own tool declares, with the bootloaders that it serves: it owns the files."""
    uuids = (tree.read(_PROXMOX_ESPS) or b"").split()
    if uuids and any("proxmox-boot-tool" in tree.names(folder) for folder in _PROXMOX_TOOLS):
        found = f"{len(uuids)} ESPs that proxmox-boot-tool keeps"
        yield Evidence(str(_PROXMOX_ESPS), found, SYSTEMD_BOOT), {_GRUB, SYSTEMD_BOOT}
    kinds = _LOADER_TYPE.findall((tree.read(_SUSE_LOADER) or b"").decode("utf-8", "replace"))
    if kinds and kinds[-1] in _LOADER_TYPES:
        backend, loader = _LOADER_TYPES[kinds[-1]]
        yield Evidence(str(_SUSE_LOADER), f"LOADER_TYPE={kinds[-1]}", backend), {loader}
    if tree.read(_KERNELSTUB) is not None:
        yield Evidence(str(_KERNELSTUB), "exists", SYSTEMD_BOOT), {SYSTEMD_BOOT}
    if tree.read(_ZIPL) is not None:
        yield Evidence(str(_ZIPL), "exists: zipl boots the entries", BLS), {_GRUB}


def _running(runtime: Runtime | None) -> Iterator[Evidence]:
    """What the running system says of its own boot; the last piece is the weakest."""
    if runtime is None:
        return
    yield Evidence("/sys/firmware/efi", *(("exists", "UEFI") if runtime.is_efi else ("missing", "no systemd-boot")))
    from_grub = any(word.startswith("BOOT_IMAGE=") for word in runtime.cmdline.split())
    if runtime.loader_info is not None:
        # GRUB's module bli sets LoaderInfo too, so only its text tells (GRUB 2.12 and newer).
        info = runtime.loader_info
        says = (
            SYSTEMD_BOOT
            if info.startswith(_SYSTEMD_BOOT_INFO)
            else _GRUB
            if info.startswith(_GRUB_INFO)
            else _UNSUPPORTED
        )
        if runtime.stub_info is not None and not from_grub:
            says = _NOTHING
        yield Evidence("EFI variable LoaderInfo", info, says)
    if runtime.stub_info is not None:
        says = _NOTHING if from_grub else SYSTEMD_BOOT
        yield Evidence("EFI variable StubInfo", f"{runtime.stub_info}: a unified kernel image was booted", says)
    if runtime.entry_selected is not None:
        yield Evidence("EFI variable LoaderEntrySelected", runtime.entry_selected, _NOTHING)
    if runtime.loader_partition is not None:
        yield Evidence("EFI variable LoaderDevicePartUUID", runtime.loader_partition, _NOTHING)
    if from_grub:
        yield Evidence("/proc/cmdline", "has BOOT_IMAGE=, which GRUB adds", _GRUB)
    elif _KERNEL_BY_EFI.search(runtime.cmdline):
        says = _NOTHING if _is_kernel(runtime) else SYSTEMD_BOOT
        yield Evidence("/proc/cmdline", "has initrd=\\, which the kernel's own EFI loader reads", says)
    program = runtime.boot_program
    if program is not None and not from_grub and _is_kernel(runtime):
        yield Evidence("EFI variable BootCurrent", program, _UNSUPPORTED)
    elif program is None:
        yield Evidence("EFI variable BootCurrent", "not set", _UNKNOWN)
    else:
        name = program.lower()
        says = SYSTEMD_BOOT if "systemd-boot" in name else _GRUB if "grub" in name or "shim" in name else _UNKNOWN
        yield Evidence("EFI variable BootCurrent", program, says)


def _is_kernel(runtime: Runtime) -> bool:
    """Whether the firmware started a kernel, without a bootloader, which would have said so, and without a stub."""
    said = runtime.loader_info is not None or runtime.stub_info is not None
    return not said and bool(_KERNEL_PROGRAM.search(runtime.boot_program or ""))


def _grub(tree: Tree, menus: tuple[Evidence, ...], loader: tuple[Evidence, ...]) -> Iterator[Evidence]:
    """GRUB's files. What its settings say alone is weaker than its menu, and nothing next to another bootloader."""
    yield from menus
    others = any(item.says == SYSTEMD_BOOT for item in loader)
    if tree.read(_GRUB_DEFAULTS) is not None and (menus or not others):
        yield Evidence(str(_GRUB_DEFAULTS), "exists", _GRUB)


def _menus(tree: Tree) -> tuple[Evidence, ...]:
    """The menus of GRUB, of the links to one only the first: they may lead to the same."""
    found = tuple(evidence for menu in sorted(MENUS) if (evidence := _menu(tree, menu)) is not None)
    linked = (evidence for menu in LINKED_MENUS if (evidence := _menu(tree, menu)) is not None)
    return found or tuple(islice(linked, 1))


def _menu(tree: Tree, menu: PurePosixPath) -> Evidence | None:
    try:
        content = tree.read(menu)
    except NotPermittedError:
        return Evidence(str(menu), "may not be read", _GRUB)
    if content is None:
        return None
    if _BLSCFG.search(content):
        return Evidence(str(menu), "calls blscfg", BLS)
    if _MENU_ENTRY.search(content):
        return Evidence(str(menu), "holds menu entries", GRUB2)
    return Evidence(str(menu), "holds no menu entry and no blscfg", _GRUB)


def _systemd_boot(tree: Tree, facts: Facts, menus: tuple[Evidence, ...]) -> Iterator[Evidence]:
    """What lies on the boot file systems. Entries say nothing where a GRUB may read them, as Fedora's and RHEL's do."""
    has_grub = bool(menus) or (tree.read(_GRUB_DEFAULTS) is not None and _kind_of_grub(tree, facts, ()) == BLS)
    entries = _NOTHING if has_grub else SYSTEMD_BOOT
    for point in MOUNT_POINTS:
        try:
            yield from _on(tree, point, entries)
        except NotPermittedError:
            yield Evidence(str(point), "may not be read", _UNKNOWN)


def _on(tree: Tree, point: PurePosixPath, entries: str) -> Iterator[Evidence]:
    """What lies on one boot file system. Raises NotPermittedError."""
    programs = [name for name in tree.names(point / "EFI/systemd") if _SYSTEMD_BOOT_PROGRAM.fullmatch(name)]
    if programs:
        yield Evidence(str(point / "EFI/systemd"), f"holds {', '.join(programs)}", SYSTEMD_BOOT)
    if "loader.conf" in tree.names(point / "loader"):
        yield Evidence(str(point / "loader/loader.conf"), "exists", entries)
    if count := _count_of_entries(tree.names(point / "loader/entries")):
        yield Evidence(str(point / "loader/entries"), f"holds {_counted(count, 'entr', 'y', 'ies')}", entries)
    if images := sum(name.lower().endswith(".efi") for name in tree.names(point / "EFI/Linux")):
        yield Evidence(
            str(point / "EFI/Linux"), f"holds {_counted(images, 'unified kernel image', '', 's')}", SYSTEMD_BOOT
        )


def _counted(count: int, stem: str, one: str, many: str) -> str:
    return f"{count} {stem}{one if count == 1 else many}"


def _count_of_entries(names: tuple[str, ...]) -> int:
    if not names:
        return 0
    from iommuctl.formats.blsentry import is_entry_name  # noqa: PLC0415 - most hosts with a menu of GRUB's have no entries

    return sum(map(is_entry_name, names))


def _beside(tree: Tree, runtime: Runtime | None) -> Iterator[Evidence]:
    """What decides nothing, and helps to understand the rest."""
    for path in (_INSTALL_CONF, _KERNEL_CMDLINE):
        if tree.read(path) is not None:
            yield Evidence(str(path), "exists", _NOTHING)
    for point in unmounted(tree, runtime):
        yield Evidence(str(point), "is in /etc/fstab, and not mounted", _UNKNOWN)
