# SPDX-License-Identifier: Apache-2.0
"""Detect: which bootloader boots this root, from evidence. Values in, a conclusion out; nothing is guessed."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from iommuctl.backends.base import Tree
from iommuctl.errors import NotPermittedError, UnavailableError, UsageError
from iommuctl.facts import Facts, Runtime

GRUB2 = "grub2"
_MENUS = (PurePosixPath("/boot/grub/grub.cfg"), PurePosixPath("/boot/grub2/grub.cfg"))
_GRUB_DEFAULTS = PurePosixPath("/etc/default/grub")
_BLSCFG = re.compile(rb"^\s*blscfg\b", re.MULTILINE)
_MENU_ENTRY = re.compile(rb"^\s*menuentry\s", re.MULTILINE)
_SYSTEMD_BOOT_ENTRIES = tuple(PurePosixPath(path) / "loader/entries" for path in ("/boot", "/efi", "/boot/efi"))
# Owners of the whole command line, each by a mark that only it leaves, with its own command.
_OWNERS = (
    ("ostree", PurePosixPath("/ostree"), "rpm-ostree kargs --append-if-missing=PARAMETER"),
    ("ostree", PurePosixPath("/run/ostree-booted"), "rpm-ostree kargs --append-if-missing=PARAMETER"),
    ("NixOS", PurePosixPath("/etc/NIXOS"), "set boot.kernelParams, then nixos-rebuild switch"),
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that was looked at, what was found, and what that says."""

    probe: str
    found: str
    says: str


@dataclass(frozen=True, slots=True)
class Detection:
    """The backend that boots this root, and why."""

    backend: str
    evidence: tuple[Evidence, ...]


def detect(tree: Tree, facts: Facts, runtime: Runtime | None, *, wanted: str | None, known: tuple[str, ...]) -> Detection:
    """Tell the backend of a root; `runtime` is None for a root that is not the running system.

    `wanted` is the administrator's word, which outranks files. Raises UnavailableError where something else owns the
    command line, where no supported bootloader shows, and where several do.
    """
    for owner, mark, command in _OWNERS:
        if tree.read(mark) is not None or tree.names(mark):
            raise UnavailableError(f"{owner} owns the kernel command line here", details=(f"{mark} exists",), hint=command)
    evidence = (*_runtime_evidence(runtime), *_file_evidence(tree))
    if wanted is not None:
        if wanted not in known:
            raise UsageError(f"no such backend: {wanted!r}", hint=f"choose one of {', '.join(known)}")
        return Detection(wanted, (*evidence, Evidence("--backend", wanted, f"{wanted}, because you say so")))
    conclusions = {item.says for item in evidence if item.says in ("systemd-boot", "bls")}
    if conclusions:
        raise UnavailableError(
            f"this host boots by {' and '.join(sorted(conclusions))}, which is not supported yet",
            details=tuple(f"{item.probe}: {item.found}" for item in evidence),
        )
    if any(item.says == GRUB2 for item in evidence):
        return Detection(GRUB2, evidence)
    raise UnavailableError(
        "no supported bootloader found",
        details=tuple(f"{item.probe}: {item.found}" for item in evidence),
        hint="name it with --backend grub2 if you know that GRUB boots this host",
    )


def _runtime_evidence(runtime: Runtime | None) -> tuple[Evidence, ...]:
    if runtime is None:
        return ()
    evidence: list[Evidence] = []
    loader = runtime.loader_info
    if loader is not None:
        # GRUB's bli module sets LoaderInfo too, so only its text tells (boot-formats: LoaderInfo of GRUB >= 2.12).
        says = "systemd-boot" if loader.startswith("systemd-boot ") else "GRUB" if loader.startswith("GRUB") else "unknown"
        evidence.append(Evidence("EFI variable LoaderInfo", loader, says))
    if "BOOT_IMAGE=" in runtime.cmdline:
        evidence.append(Evidence("/proc/cmdline", "has BOOT_IMAGE=", "GRUB"))
    return tuple(evidence)


def _file_evidence(tree: Tree) -> tuple[Evidence, ...]:
    evidence: list[Evidence] = []
    for menu in _MENUS:
        try:
            content = tree.read(menu)
        except NotPermittedError:
            evidence.append(Evidence(str(menu), "may not be read", "unknown"))
            continue
        if content is None:
            continue
        if _BLSCFG.search(content):
            evidence.append(Evidence(str(menu), "calls blscfg", "bls"))
        elif _MENU_ENTRY.search(content):
            evidence.append(Evidence(str(menu), "holds menu entries", GRUB2))
    if tree.read(_GRUB_DEFAULTS) is not None:
        evidence.append(Evidence(str(_GRUB_DEFAULTS), "exists", GRUB2))
    for entries in _SYSTEMD_BOOT_ENTRIES:
        count = sum(name.endswith(".conf") for name in tree.names(entries))
        if count:
            evidence.append(Evidence(str(entries), f"holds {count} entries", "boot loader specification"))
    return tuple(evidence)
