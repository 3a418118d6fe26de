# SPDX-License-Identifier: Apache-2.0
"""Beside: parameters that are asked for next to a profile, and kept with it. Pure."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from iommuctl.errors import ProfileError
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.kernel.cmdline import Parameter, canonical_name
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.kernel.parameters import Catalogue
    from iommuctl.profile.desired import DesiredArguments, Unwanted, Wanted
    from iommuctl.profile.profile import Profile

# The name that stands for no profile: what is asked for next to it is all.
NONE = "none"
KEPT = "kept next to the profile"

# What a host does not boot without, or boots something else by: kernel-command-line(7), dracut.cmdline(7), and
# init/do_mounts.c of the kernel.
_CRITICAL = frozenset(
    (
        *("root", "rootflags", "rootfstype", "rootwait", "ro", "rw", "init", "rdinit", "resume"),
        *("cryptdevice", "zfs", "ostree", "systemd.unit", "rd.break"),
    )
)
_CRITICAL_FAMILIES = ("rd.luks", "rd.lvm", "rd.md")


class Beside(NamedTuple):
    """The parameters that are kept next to a profile, as they were asked for: to have, and not to have."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    def __str__(self) -> str:
        return ", ".join((*self.added, *(f"without {one}" for one in self.removed)))


def asked_for(added: Iterable[str], removed: Iterable[str]) -> Beside:
    """Return what is asked for. Raises ProfileError for what no profile may hold either."""
    from iommuctl.profile.checks import check_parameter  # noqa: PLC0415 - most runs ask for nothing

    try:
        return Beside(
            _joined((), tuple(map(check_parameter, added))), tuple(dict.fromkeys(map(check_parameter, removed)))
        )
    except ValueError as error:
        raise ProfileError(str(error), hint="iommuctl apply --help") from error


def merged(kept: Beside, asked: Beside, catalogue: "Catalogue") -> Beside:
    """Return what is kept from now on: what was kept, as far as it is not taken back, and what is asked for.

    A removal takes an addition back and is no longer kept with it, and an addition a removal; a parameter of one value
    has the one that is asked for.
    """
    added = [
        one
        for one in kept.added
        if not any(_names(gone, one) for gone in asked.removed)
        and not any(_replaces(new, one, catalogue) for new in asked.added)
    ]
    removed = [one for one in kept.removed if not any(_names(one, new) for new in asked.added)]
    taken_back = [one for one in asked.removed if any(_names(one, old) for old in kept.added)]
    return Beside(
        _joined(added, asked.added),
        tuple(dict.fromkeys((*removed, *(one for one in asked.removed if one not in taken_back)))),
    )


def onto(profile: "Profile", kept: Beside, asked: Beside, why: str | None) -> "Profile":
    """Return a profile that asks for what is next to it as well: of `kept` and what is taken back by `asked`."""
    from iommuctl.profile.profile import Absence, Setting  # noqa: PLC0415

    def reason(text: str) -> str:
        return why if why and text in (*asked.added, *asked.removed) else KEPT

    absent = dict.fromkeys((*kept.removed, *asked.removed))
    return profile._replace(
        sets=(*profile.sets, *(Setting(Parameter.parse(one), reason(one)) for one in kept.added)),
        absent=(*profile.absent, *(Absence(Parameter.parse(one), reason(one)) for one in absent)),
    )


def critical_findings(desired: "DesiredArguments") -> tuple[Finding, ...]:
    """Return an error for each parameter that would change what the host boots from or into."""
    asked: tuple[Wanted | Unwanted, ...] = (*desired.wanted, *desired.unwanted)
    names = {one.name: str(one) for one in asked if _is_critical(one.name)}
    message = "the host may not boot with another one: it says where its system is, or what is started first"
    hint = "leave it to the installer, and have another way to boot at hand where it must be"
    return tuple(Finding(Rule.BOOT_CRITICAL, Severity.ERROR, message, text, hint) for text in names.values())


def _is_critical(name: str) -> bool:
    plain = canonical_name(name)
    return plain in _CRITICAL or any(plain == one or plain.startswith(f"{one}.") for one in _CRITICAL_FAMILIES)


def _names(removal: str, addition: str) -> bool:
    """Whether a removal is of what an addition brings."""
    one, other = Parameter.parse(removal), Parameter.parse(addition)
    return one.key == other.key and one.value in (None, other.value)


def _joined(kept: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """Put what is asked for after what is kept, each once; a sequence in which the same value counts again, whole."""
    of_kept, of_asked = ([one for one in texts if _repeats(one)] for texts in (kept, asked))
    starts = range(len(of_kept) - len(of_asked) + 1)
    is_there = any(of_kept[at : at + len(of_asked)] == of_asked for at in starts)
    found = list(kept)
    for one in asked:
        if (not is_there) if _repeats(one) else (one not in found):
            found.append(one)
    return tuple(found)


def _repeats(text: str) -> bool:
    from iommuctl.profile.desired import may_repeat  # noqa: PLC0415

    return may_repeat(Parameter.parse(text).key)


def _replaces(new: str, old: str, catalogue: "Catalogue") -> bool:
    from iommuctl.kernel.parameters import Grammar  # noqa: PLC0415

    one, other = Parameter.parse(new), Parameter.parse(old)
    single = catalogue.define(one.name).grammar in (Grammar.SCALAR, Grammar.BOOL, Grammar.FLAG)
    return one.key == other.key and single
