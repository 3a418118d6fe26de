# SPDX-License-Identifier: Apache-2.0
"""Host: one root with the edges to work on it, and what was found there."""

# ruff: noqa: PLC0415 - a dry-run needs neither the store nor a runner, and pays for neither

import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from iommuctl.backends.base import Backend, BootConfig
from iommuctl.backends.detection.detect import detect
from iommuctl.backends.detection.evidence import Evidence
from iommuctl.backends.table import BACKENDS
from iommuctl.errors import UnavailableError
from iommuctl.facts import Facts, Platform, Runtime
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.host.probe import read_facts
from iommuctl.host.root import Root
from iommuctl.kernel.lines import Kernel
from iommuctl.kernel.parameters import Catalogue
from iommuctl.profile.desired import DesiredArguments
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.tree import RecordingTree, Tree
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.host.commands import SystemRunner
    from iommuctl.transaction.store import Store

# systemd's container interface, and the marker files of podman and docker.
_CONTAINER_MARKS = tuple(
    PurePosixPath(path)
    for path in ("/run/systemd/container", "/run/host/container-manager", "/run/.containerenv", "/.dockerenv")
)


class Host(NamedTuple):
    """A root and the seams through which it is reached: files, programs, the clock."""

    path: Path
    root: Root
    clock: Callable[[], datetime]

    @classmethod
    def open(cls, path: Path) -> "Host":
        """Open a root for work. Raises NotFoundError where there is none."""
        return cls(path, Root(path), lambda: datetime.now(UTC))

    @property
    def is_system(self) -> bool:
        """Whether this is the running system, whose /proc and firmware may be asked."""
        return self.root.is_running_system

    def typed(self, argv: tuple[str, ...]) -> str:
        """Return a command of this root as an administrator of this machine types it."""
        return shlex.join(argv if self.is_system else ("chroot", str(self.path), *argv))

    @property
    def runner(self) -> "SystemRunner":
        """What runs programs inside the root."""
        from iommuctl.host.commands import SystemRunner

        return SystemRunner(self.path)

    @property
    def store(self) -> "Store":
        """Where the snapshots are."""
        from iommuctl.transaction.store import Store

        return Store(self.root)


class Survey(NamedTuple):
    """What was found on a host: the facts, the bootloader with its evidence, and the files that were looked at."""

    tree: RecordingTree
    facts: Facts
    backend: Backend
    evidence: tuple[Evidence, ...]
    catalogue: Catalogue

    @property
    def running(self) -> Runtime | None:
        """What the running system says of its boot; None for a root that is not the running system."""
        return self.facts.runtime


def survey_host(
    host: Host,
    *,
    platform: Platform | None,
    backend: str | None,
    files: Tree | None = None,
    asked: Callable[[Catalogue, Facts], DesiredArguments] | None = None,
) -> Survey:
    """Look at a host, or at its files as they will be. Raises UnavailableError where no bootloader can be told and none
    is named.

    `asked` resolves what is to be changed, which an error then names where it has to be done by hand.
    """
    if host.is_system:
        _refuse_container(host.root)
    tree = RecordingTree(host.root.held() if files is None else files)
    facts = facts_of(host, platform)
    catalogue = shipped_catalogue()
    try:
        detection = detect(tree, facts, facts.runtime, wanted=backend, known=tuple(BACKENDS))
    except UnavailableError as error:
        from iommuctl.backends.detection.byhand import ByHandError

        if asked is None or not isinstance(error, ByHandError):
            raise
        raise error.naming(asked(catalogue, facts), catalogue) from error
    return Survey(tree, facts, BACKENDS[detection.backend](catalogue), detection.evidence, catalogue)


def facts_of(host: Host, platform: Platform | None) -> Facts:
    """Read a host's facts, past the record of what a plan rests on: they are compared as values."""
    return read_facts(host.root, is_system=host.is_system, platform=platform)


def installed_kernels(facts: Facts, config: BootConfig) -> tuple[str, ...]:
    """Return the releases of the kernels in /boot and in module directories, and of those that normal entries boot."""
    named = {one.kernel_release for one in config.entries if one.ours and not one.rescue and one.kernel_release}
    return tuple(sorted({*facts.kernels, *facts.modules, *named}))


def kernel_findings(kernels: tuple[str, ...]) -> tuple[Finding, ...]:
    """Say where no kernel was found: what the parameters do then rests on the newest kernels alone."""
    if any(Kernel.parse(one) for one in kernels):
        return ()
    message = (
        "no kernel was found in /boot, in /lib/modules or in a boot entry, so it is not known what its kernels read"
    )
    return (Finding(Rule.NO_KERNEL_FOUND, Severity.INFO, message, hint="run iommuctl lint --kernel RELEASE for one"),)


def _refuse_container(tree: Tree) -> None:
    for mark in _CONTAINER_MARKS:
        if tree.read(mark) is not None:
            raise UnavailableError(
                "this is a container: its kernel belongs to the host",
                details=(f"{mark} exists",),
                hint="run iommuctl on the host, or name an offline tree with --root DIR",
            )
