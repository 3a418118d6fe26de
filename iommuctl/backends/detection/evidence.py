# SPDX-License-Identifier: Apache-2.0
"""Evidence: what was looked at to tell the bootloader, and how much it weighs. Values only."""

from enum import Enum, auto

from iommuctl.value import NamedTuple

# The backends.
GRUB2 = "grub2"
BLS = "bls"
SYSTEMD_BOOT = "systemd-boot"
# Both read by GRUB.
GRUB = "GRUB"
NOTHING = "nothing by itself"
UNKNOWN = "unknown"


class Weight(Enum):
    """How much a piece of evidence weighs, heaviest first.

    `NAMED`: the running system names the loader that started it. `MARK`: something that several loaders leave on a
    running system. `PROGRAM`: the program that the firmware started, which may have started another loader. `FILES`:
    what one loader alone reads at boot. `SETTINGS`: what the tools of one loader read, which counts where nothing else
    of any is there. `NONE`: what decides nothing, also where it names a loader.
    """

    NAMED = auto()
    MARK = auto()
    PROGRAM = auto()
    FILES = auto()
    SETTINGS = auto()
    NONE = auto()


class Evidence(NamedTuple):
    """One thing that was looked at, what was found, and what that says: a loader, a backend, or a word of its own."""

    probe: str
    found: str
    says: str
    weight: Weight = Weight.NONE

    @property
    def loader(self) -> str:
        """The loader that it speaks for, whichever of GRUB's backends it names."""
        return GRUB if self.says in (GRUB2, BLS) else self.says


def told(evidence: tuple[Evidence, ...]) -> tuple[str, ...]:
    """Return evidence as the facts of an error."""
    return tuple(f"{item.probe}: {item.found} ({item.says})" for item in evidence)
