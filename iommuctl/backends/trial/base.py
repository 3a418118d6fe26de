# SPDX-License-Identifier: Apache-2.0
"""What a loader's part of a trial boot takes and gives: an order in, an entry and what was looked at out. Values."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import PurePosixPath

from iommuctl.findings import Rule
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.parameters import Catalogue
from iommuctl.plan import FileEdit
from iommuctl.profile.conform import Conformer
from iommuctl.value import NamedTuple


class Volume(NamedTuple):
    """What a file is on: its final path, the type of the file system (None: not known), whether LVM, RAID or
    encryption is below it, and the number of the device.
    """

    path: PurePosixPath
    filesystem: str | None
    is_mapped: bool
    device: int | None


class Order(NamedTuple):
    """What is asked of a loader: the trial by its id, what its line is to have, and the facts that no tree shows."""

    trial: str
    profile: str
    conformer: Conformer
    catalogue: Catalogue
    watchdog: bool
    volume_of: Callable[[PurePosixPath], Volume]


class Condition(NamedTuple):
    """One thing that has to hold before a trial is armed: whether it does, what was found, and how that is known."""

    rule: Rule
    holds: bool
    found: str
    by: str
    hint: str | None = None


class OneShotKind(StrEnum):
    """How a loader is told to boot an entry once."""

    GRUBENV = "grubenv"
    EFI = "efi"


class OneShot(NamedTuple):
    """The file that names the entry for one boot (an environment block, or an EFI variable), and the name in it."""

    kind: OneShotKind
    path: PurePosixPath
    value: str


class TrialEntry(NamedTuple):
    """The entry that a trial boots: what is written, what arms it, its line, and the line of the entry it is a copy of.

    `block` is what is added to a file that may be somebody else's; None for a file of its own. `tokens` are those of
    the line that are certain to be on the running kernel's.
    """

    id: str
    edit: FileEdit
    block: bytes | None
    one_shot: OneShot
    cmdline: Cmdline
    basis: Cmdline
    tokens: tuple[str, ...]
    is_proven: bool


class Rendered(NamedTuple):
    """What a loader makes of an order. `entry` is None where a condition fails that it depends on."""

    entry: TrialEntry | None
    conditions: tuple[Condition, ...]


class Judge:
    """Collects conditions, one a rule; a failed one is never hidden by a later one of the same rule."""

    def __init__(self) -> None:
        self._conditions: dict[Rule, Condition] = {}

    def say(self, rule: Rule, holds: bool, found: str, by: str, hint: str | None = None) -> bool:  # noqa: FBT001 - what is said
        """Note a condition; give whether it holds."""
        known = self._conditions.get(rule)
        if known is None or known.holds:
            self._conditions[rule] = Condition(rule, holds, found, by, hint)
        return holds

    def hold(self, rule: Rule, found: str, by: str) -> None:
        """Note a condition that holds."""
        self.say(rule, True, found, by)  # noqa: FBT003

    def refuse(self, rule: Rule, found: str, by: str, hint: str | None = None) -> None:
        """Note a condition that fails."""
        self.say(rule, False, found, by, hint)  # noqa: FBT003

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What was noted, in its order."""
        return tuple(self._conditions.values())

    @property
    def all_hold(self) -> bool:
        """Whether nothing failed."""
        return all(one.holds for one in self._conditions.values())
