# SPDX-License-Identifier: Apache-2.0
"""Completion: the names that a shell offers, of the root that is typed. Each is looked up with as little as will do."""

# ruff: noqa: PLC0415 - a shell waits for every key: what a name does not need is not loaded

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, assert_never

from iommuctl.errors import IommuctlError
from iommuctl.host.root import Root

if TYPE_CHECKING:
    from iommuctl.profile.profile import Profile

_DEVICES = PurePosixPath("/sys/bus/pci/devices")
_MODULES = PurePosixPath("/lib/modules")


def backend_names() -> tuple[str, ...]:
    """Return the names of the backends."""
    from iommuctl.backends.table import BACKENDS

    return tuple(BACKENDS)


def profile_names(root: Path) -> tuple[str, ...]:
    """Return the names of the profiles that a root has; the package's where it cannot be read."""
    from iommuctl.profile.names import SHIPPED, names

    try:
        return names(Root(root))
    except IommuctlError:
        return SHIPPED


def snapshot_ids(root: Path) -> tuple[str, ...]:
    """Return the ids of a root's snapshots; none where they may not be read."""
    from iommuctl.transaction.store import LATEST_SNAPSHOT, Store

    try:
        found = Store(Root(root)).list().snapshots
        return (*(one.id for one in found), *((LATEST_SNAPSHOT,) if found else ()))
    except IommuctlError:
        return ()


def parameter_names(incomplete: str) -> tuple[str, ...]:
    """Return what a parameter that is being typed can become."""
    from iommuctl.kernel.explain import completions
    from iommuctl.profile.shipped import shipped_catalogue

    return completions(incomplete, shipped_catalogue())


def explained_names(incomplete: str) -> tuple[str, ...]:
    """Return what a parameter, or the rule of a finding, that is being typed can become."""
    from iommuctl.findings import Rule

    return (*parameter_names(incomplete), *(one.value for one in Rule if one.value.startswith(incomplete)))


def input_values(root: Path, profile: str) -> tuple[str, ...]:
    """Return each input of a profile as `NAME=`, followed by each value that can be told beforehand."""
    from iommuctl.profile.profile import InputType

    found = _profile(root, profile)
    offered: list[str] = []
    for one in () if found is None else found.inputs:
        match one.type:
            case InputType.BOOL:
                values: tuple[str, ...] = ("true", "false")
            case InputType.PCI_IDS:
                values = _device_ids()
            case InputType.DEVICES:
                values = ()  # --device completes them
            case InputType.STRING:
                values = () if one.default is None else (one.default,)
            case _:
                assert_never(one.type)
        offered += (f"{one.name}=", *(f"{one.name}={value}" for value in values))
    return tuple(offered)


def forcible_rules(root: Path, profile: str | None) -> tuple[str, ...]:
    """Return the rules of what can stop an apply of a profile; without one, a rollback."""
    if profile is None:
        return ("changed-since-snapshot", "snapshot-damaged")
    from iommuctl.findings import FORCED_FOR_DEVICES
    from iommuctl.lint.host_rules import HOST_RULES
    from iommuctl.lint.line_rules import RULES

    found = _profile(root, profile)
    own = () if found is None else (*(one.rule for one in found.notices), *(one.rule for one in found.warns))
    shipped = (*(rule.id for rule in (*RULES, *HOST_RULES)), *FORCED_FOR_DEVICES)
    return tuple(sorted({*map(str, shipped), *own}))


def device_names(root: Path) -> tuple[tuple[str, str], ...]:
    """Return what means one device of a root: each address with its name, then each name that no other has in it.

    Bridges and what else no guest can have are left out.
    """
    from iommuctl.devices.cards import device_name
    from iommuctl.running.sysfs import read_cards, read_names

    place = Root(root)
    devices = [one for one in read_cards(place) if not one.device_class.startswith("06")]
    if not devices:
        return ()
    known = read_names(place, devices)
    names = [device_name(one, known) for one in devices]
    alone = [one for one in names if sum(one.lower() in other.lower() for other in names) == 1]
    addresses = [(one.address, name) for one, name in zip(devices, names, strict=True)]
    return (*addresses, *((one, "") for one in alone))


def kernel_releases(root: Path) -> tuple[str, ...]:
    """Return the releases of the kernels that a root has modules for."""
    try:
        return Root(root).names(_MODULES)
    except IommuctlError:
        return ()


def _profile(root: Path, name: str) -> "Profile | None":
    from iommuctl.app.host import Host
    from iommuctl.app.look.profiles import find_profile

    try:
        return find_profile(Host.open(root), name)
    except IommuctlError:
        return None


def _device_ids() -> tuple[str, ...]:
    """The ids of the devices of the running system, each once."""
    system = Root(Path("/"))
    found: set[str] = set()
    try:
        for name in system.names(_DEVICES):
            words = [system.read(_DEVICES / name / key) or b"" for key in ("vendor", "device")]
            found.add(":".join(word.decode("ascii", "replace").strip().removeprefix("0x") for word in words))
    except IommuctlError:
        pass
    return tuple(sorted(found - {":"}))
