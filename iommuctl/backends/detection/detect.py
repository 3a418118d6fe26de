# SPDX-License-Identifier: Apache-2.0
"""Detect: which bootloader boots this root, from evidence. Values in, a conclusion out; nothing is guessed.

An owner of the command line is refused first. Then the first rule that names a loader decides: what a distribution's
own tool declares, what the running system names, what several loaders leave on it, the program that the firmware
started, the files. A rule that names several decides nothing: the administrator is asked.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from iommuctl.backends.detection.bootmounts import MOUNT_POINTS, unmounted
from iommuctl.backends.detection.evidence import (
    BLS,
    GRUB,
    GRUB2,
    NOTHING,
    SYSTEMD_BOOT,
    UNKNOWN,
    Evidence,
    Weight,
    told,
)
from iommuctl.backends.detection.files import file_evidence, has_generator, kind_of_grub
from iommuctl.backends.detection.loaders import BY_NAME, LOADERS, Loader
from iommuctl.backends.detection.owners import find_owner
from iommuctl.backends.detection.runtime import contradicting, from_grub, marked, marks_of, running_evidence
from iommuctl.errors import NotPermittedError, UnavailableError, UsageError
from iommuctl.facts import Facts, Platform, Runtime
from iommuctl.kernel.spelling import meant
from iommuctl.pattern import pattern
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

_BOOT = PurePosixPath("/boot")  # GRUB's menu is there, whatever the ESP holds
_PROXMOX_ESPS = PurePosixPath("/etc/kernel/proxmox-boot-uuids")
_PROXMOX_TOOLS = (PurePosixPath("/usr/sbin"), PurePosixPath("/sbin"))
_SUSE_LOADER = PurePosixPath("/etc/sysconfig/bootloader")
_LOADER_TYPE = pattern(r"""^[ \t]*LOADER_TYPE=["']?([\w-]*)""", re.MULTILINE)
# sdbootutil keeps the entries of both loaders that read them (openSUSE/sdbootutil).
_LOADER_TYPES = {
    "grub2": (GRUB2, GRUB),
    "grub2-efi": (GRUB2, GRUB),
    "grub2-bls": (SYSTEMD_BOOT, GRUB),
    "systemd-boot": (SYSTEMD_BOOT, SYSTEMD_BOOT),
}
_KERNELSTUB = PurePosixPath("/etc/kernelstub/configuration")
_ZIPL = PurePosixPath("/etc/zipl.conf")
_INSTALL_CONF = PurePosixPath("/etc/kernel/install.conf")
_KERNEL_CMDLINE = PurePosixPath("/etc/kernel/cmdline")
_EFI_ONLY = frozenset(one.name for one in LOADERS if one.efi_only)
_KEXECS = frozenset(one.name for one in LOADERS if one.kexecs)

Names = frozenset[str]


class Detection(NamedTuple):
    """The backend that boots this root, and why."""

    backend: str
    evidence: tuple[Evidence, ...]


class Declared(NamedTuple):
    """What a distribution's own tool declares: it owns the files, and serves one of these loaders."""

    item: Evidence
    loaders: Names


class Sight(NamedTuple):
    """Everything that was looked at, by where it came from."""

    tree: Tree
    facts: Facts
    runtime: Runtime | None
    declared: tuple[Declared, ...]
    running: tuple[Evidence, ...]
    files: tuple[Evidence, ...]
    beside: tuple[Evidence, ...]

    @property
    def shown(self) -> Names:
        """The loaders whose files are there."""
        return frozenset(item.loader for item in self.files if item.weight is Weight.FILES)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """All of it, the weightiest first."""
        return (*(one.item for one in self.declared), *self.running, *self.files, *self.beside)


def detect(
    tree: Tree, facts: Facts, runtime: Runtime | None, *, wanted: str | None, known: tuple[str, ...]
) -> Detection:
    """Tell the backend of a root; `runtime` is None for a root that is not the running system.

    `wanted` is the administrator's word, which outranks evidence, but not an owner. Raises ByHandError where something
    else owns the command line, where a loader boots that no backend edits, and where it may be one; UnavailableError
    where no bootloader shows; UsageError for a backend that does not exist.
    """
    owned = find_owner(tree, facts, runtime)
    if owned is not None:
        from iommuctl.backends.detection.byhand import owner_error  # noqa: PLC0415 - most hosts have none

        raise owner_error(owned, facts, runtime)
    sight = _look(tree, facts, runtime)
    if wanted is not None:
        if wanted not in known:
            raise UsageError(
                f"no such backend: {wanted!r}",
                hint=f"choose one of {', '.join(known)}",
                correction=(wanted, meant(wanted, known)),
            )
        said = Evidence("--backend", wanted, f"{wanted}, because you say so")
        return Detection(wanted, (*sight.evidence, said))
    proven = by_name(sight) or by_mark(sight) or by_program(sight)
    if sight.declared:
        return _by_declaration(sight, proven)
    if not proven:
        _require_readable(sight)
    loaders = proven or by_files(sight)
    if not loaders:
        _require_mounted(sight, MOUNT_POINTS)
        raise UnavailableError("no supported bootloader found", details=told(sight.evidence), hint=_NOTHING_FOUND)
    return _decided(sight, loaders, proven=bool(proven))


def by_name(sight: Sight) -> Names:
    """Return what the running system names as its loader, with what contradicts it.

    LoaderInfo beats the program that the firmware started, which may have started another. A supported loader is in
    doubt where a mark speaks for another one, or where something that it starts by kexec is there and its own mark is
    not.
    """
    named = [item for item in sight.running if item.weight is Weight.NAMED]
    if not named or sight.runtime is None:
        return frozenset()
    loader = named[0].loader
    row = BY_NAME.get(loader)
    if row is None or not row.supported:
        return frozenset({loader})
    return frozenset({loader}) | contradicting(sight.runtime, row, sight.shown) | _by_kexec(sight, row)


def by_mark(sight: Sight) -> Names:
    """Return the loaders that the marks on the running system speak for; GRUB only where something of it is there."""
    marks = [marked(item) for item in sight.running if item.weight is Weight.MARK]
    names = frozenset(name for each in marks for name in each)
    if names == {GRUB} and not _has_grub(sight):
        return frozenset()
    return names


def by_program(sight: Sight) -> Names:
    """Return the supported loader whose program the firmware started, with what it may have started in turn."""
    names = frozenset(item.loader for item in sight.running if item.weight is Weight.PROGRAM)
    return names.union(*(_by_kexec(sight, BY_NAME[name]) for name in names))


def by_files(sight: Sight) -> Names:
    """Return the loaders whose files are there; where there are none, those whose settings are."""
    for weight in (Weight.FILES, Weight.SETTINGS):
        names = frozenset(item.loader for item in (*sight.files, *sight.running) if item.weight is weight)
        if sight.runtime is not None and not sight.runtime.is_efi:
            names -= _EFI_ONLY
            if sight.facts.platform is Platform.ARM64:
                names = names - {GRUB} or names  # GRUB has no other port to it (grub-core/Makefile.core.def)
        if names:
            return names
    return frozenset()


def _by_kexec(sight: Sight, started: Loader) -> Names:
    """What the loader may have started in turn: whose files are there, while it left no mark of its own."""
    if sight.runtime is None:
        return frozenset()
    own = marks_of(sight.runtime).intersection(started.marks)
    return frozenset(name for name in sight.shown & _KEXECS if not own.difference(BY_NAME[name].marks))


def _has_grub(sight: Sight) -> bool:
    return any(item.loader == GRUB for item in sight.files) or has_generator(sight.tree)


def _by_declaration(sight: Sight, proven: Names) -> Detection:
    """What the distribution's own tool declares holds, unless something else is proven or has its files next to it."""
    item, loaders = sight.declared[0]
    others = frozenset(name for name in by_files(sight) if not BY_NAME[name].supported)
    if proven - loaders or (not proven and others):
        raise _ambiguous(sight, (proven or others) | {item.says})
    return Detection(item.says, sight.evidence)


def _decided(sight: Sight, loaders: Names, *, proven: bool) -> Detection:
    if len(loaders) > 1:
        raise _ambiguous(sight, loaders)
    name = next(iter(loaders))
    if name not in BY_NAME or not BY_NAME[name].supported:
        from iommuctl.backends.detection.byhand import loader_error  # noqa: PLC0415 - most hosts boot by one of ours

        also = kind_of_grub(sight.tree, sight.facts, sight.files) if _may_have_started_grub(sight) else None
        raise loader_error(sight.tree, sight.runtime, name, sight.evidence, proven=proven, also=also)
    grub = tuple(item for item in sight.files if item.loader == GRUB)
    if name == GRUB:
        if not any(item.weight is Weight.FILES for item in grub):
            is_grub = proven or has_generator(sight.tree)
            _require_mounted(sight, (_BOOT,) if is_grub else MOUNT_POINTS)
        return Detection(kind_of_grub(sight.tree, sight.facts, grub), sight.evidence)
    left = (Evidence("GRUB's files", "exist beside it", "left over: not what booted"),) if proven and grub else ()
    return Detection(SYSTEMD_BOOT, (*sight.evidence, *left))


def _may_have_started_grub(sight: Sight) -> bool:
    return GRUB in sight.shown and sight.runtime is not None and from_grub(sight.runtime)


def _look(tree: Tree, facts: Facts, runtime: Runtime | None) -> Sight:
    files = tuple(file_evidence(tree, facts))
    shown = frozenset(item.loader for item in files if item.weight is Weight.FILES)
    return Sight(
        tree=tree,
        facts=facts,
        runtime=runtime,
        declared=tuple(_declared(tree)),
        running=tuple(running_evidence(runtime, shown)),
        files=files,
        beside=tuple(_beside(tree, runtime)),
    )


def _require_readable(sight: Sight) -> None:
    """Raise NotPermittedError for a boot file system that may not be read: what it holds is unknown, not absent."""
    for item in sight.files:
        if item.says == UNKNOWN:
            raise NotPermittedError(PurePosixPath(item.probe), "read")


def _require_mounted(sight: Sight, points: tuple[PurePosixPath, ...]) -> None:
    """Raise UnavailableError where one of the boot file systems is not mounted: what it holds would tell."""
    missing = next((point for point in unmounted(sight.tree, sight.runtime) if point in points), None)
    if missing is not None:
        what = f"the boot file system {str(missing)!r} is not mounted"
        hint = f"mount {missing}, then run the same command again"
        raise UnavailableError(what, details=told(sight.evidence), hint=hint)


_NOTHING_FOUND = (
    "mount the boot file systems of that system (/boot, /boot/efi), or name its root with --root, then run the same "
    "command again"
)


def _ambiguous(sight: Sight, loaders: Names) -> UnavailableError:
    """Return the error for several loaders of which none is proven: those of ours to choose from, others by hand."""
    from iommuctl.backends.detection.byhand import ByHandError  # noqa: PLC0415 - most hosts have one
    from iommuctl.backends.detection.places import loader_way  # noqa: PLC0415

    names = sorted(frozenset(GRUB if name in (GRUB2, BLS) else name for name in loaders))
    brief = f"{' and '.join(names)} may boot this host, and nothing proves which does"
    rows = [BY_NAME[name] for name in names if name in BY_NAME]
    ways = tuple(loader_way(sight.tree, row, sight.runtime) for row in rows if not row.supported)
    ours = [row.name for row in rows if row.supported]
    backends = [kind_of_grub(sight.tree, sight.facts, sight.files) if name == GRUB else name for name in ours]
    choice = f"name the one that boots with {' or '.join(f'--backend {one}' for one in backends)}"
    if backends and ways:
        choice += f"; where {' or '.join(way.name for way in ways)} boots, do what is told above"
    if not backends:
        choice = "remove the files of the one that does not boot, then run the same command again"
    return ByHandError(brief, told(sight.evidence), ways, sight.runtime, choice=choice)


def _declared(tree: Tree) -> Iterator[Declared]:
    """What a distribution's own tool declares, with the bootloaders that it serves."""
    uuids = (tree.read(_PROXMOX_ESPS) or b"").split()
    if uuids and any("proxmox-boot-tool" in tree.names(folder) for folder in _PROXMOX_TOOLS):
        found = f"{len(uuids)} ESPs that proxmox-boot-tool keeps"
        yield Declared(Evidence(str(_PROXMOX_ESPS), found, SYSTEMD_BOOT), frozenset({GRUB, SYSTEMD_BOOT}))
    suse = (tree.read(_SUSE_LOADER) or b"").decode("utf-8", "replace")
    kinds = _LOADER_TYPE.findall(suse) if suse else ()
    if kinds and kinds[-1] in _LOADER_TYPES:
        backend, loader = _LOADER_TYPES[kinds[-1]]
        item = Evidence(str(_SUSE_LOADER), f"LOADER_TYPE={kinds[-1]}", backend)
        yield Declared(item, frozenset({loader}))
    if tree.read(_KERNELSTUB) is not None:
        yield Declared(Evidence(str(_KERNELSTUB), "exists", SYSTEMD_BOOT), frozenset({SYSTEMD_BOOT}))
    if tree.read(_ZIPL) is not None:
        yield Declared(Evidence(str(_ZIPL), "exists: zipl boots the entries", BLS), frozenset({GRUB}))


def _beside(tree: Tree, runtime: Runtime | None) -> Iterator[Evidence]:
    """What decides nothing, and helps to understand the rest."""
    for path in (_INSTALL_CONF, _KERNEL_CMDLINE):
        if tree.read(path) is not None:
            yield Evidence(str(path), "exists", NOTHING)
    for point in unmounted(tree, runtime):
        yield Evidence(str(point), "is in /etc/fstab, and not mounted", UNKNOWN)
