# SPDX-License-Identifier: Apache-2.0
"""Choice: which devices a profile is for, by address, by name, or by their numbers on a terminal."""

import sys
from typing import TYPE_CHECKING

import typer

from iommuctl.app.host import Host
from iommuctl.cli.session import is_interactive, session, wants_colour
from iommuctl.errors import ProfileError, UsageError
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.app.change.devices import Chosen as Named
    from iommuctl.profile.profile import Input


class Chosen(NamedTuple):
    """The inputs of a profile, those that follow from devices included, and the addresses of the devices."""

    inputs: dict[str, str]
    addresses: tuple[str, ...] = ()


def chosen_devices(
    context: typer.Context,
    host: Host,
    profile: str | None,
    inputs: dict[str, str],
    wanted: list[str] | None,
    *,
    with_group: bool,
    command: str = "apply",
    backend: str | None = None,
) -> Chosen:
    """Return the inputs with the ids of the devices that were named, or that somebody chooses on the terminal.

    Raises UsageError for devices that the profile does not take, or takes in two ways; ProfileError where a profile
    wants devices, none is named and nobody can be asked.
    """
    if profile is None:
        if wanted or with_group:
            raise UsageError("--device goes with a profile: a plan has its devices", hint="iommuctl profile list")
        return Chosen(inputs)
    if with_group and not wanted:
        raise UsageError("--with-group goes with --device", hint="iommuctl devices")
    taken = _input_of(host, profile)
    if taken is None:
        if wanted:
            raise UsageError(f"profile {profile!r} takes no devices", hint=_hint(command))
        return Chosen(inputs)
    if wanted:
        if given := next((name for name in (taken.name, taken.alternative) if name in inputs), None):
            raise UsageError(f"either --device or --set {given}, not both", hint="iommuctl devices")
        from iommuctl.app.change.devices import choose

        found = choose(host, wanted, with_group=with_group, backend=backend)
        return Chosen({**inputs, **_filled(taken, found)}, found.addresses)
    is_open = not inputs.keys() & {taken.name, taken.alternative} and taken.required and taken.default is None
    return _asked(context, host, taken, inputs, command, backend) if is_open and host.is_system else Chosen(inputs)


def _filled(taken: "Input", found: "Named") -> dict[str, str]:
    """Return the input that means the devices: each by its address, where profile and host know how, else all ids."""
    if found.by_address and taken.alternative is not None:
        return {taken.alternative: found.choice}
    return {taken.name: found.ids}


def _input_of(host: Host, profile: str) -> "Input | None":
    """Return the input of a profile that takes the ids of devices; None where it has none."""
    from iommuctl.app.look.profiles import find_profile
    from iommuctl.profile.profile import InputType

    return next((one for one in find_profile(host, profile).inputs if one.type is InputType.PCI_IDS), None)


def _hint(command: str) -> str:
    return f"iommuctl {command} vfio-bind --device ADDRESS"


def _asked(
    context: typer.Context, host: Host, taken: "Input", inputs: dict[str, str], command: str, backend: str | None
) -> Chosen:
    """Show the cards and ask for numbers. Raises ProfileError where nobody can be asked, or nothing can be chosen."""
    from iommuctl.app.look.devices import read_host_devices
    from iommuctl.devices.cards import card_name

    found = read_host_devices(host, command)
    usable = [one for one in found.cards if one.is_usable]
    if session(context).json or not is_interactive() or not usable:
        raise ProfileError(
            "no device is named" if usable else "no device of this host can go to a guest",
            details=tuple(f"{' '.join(one.card.addresses)}  {card_name(one.card, found.names)}" for one in usable),
            hint=_hint(command) if usable else "iommuctl devices",
        )
    from iommuctl.app.change.devices import choose_cards
    from iommuctl.cli.output.devices import card_lines
    from iommuctl.cli.question import answered

    for number, one in enumerate(found.cards, 1):
        first, *others = card_lines(one, found.names, colour=wants_colour(sys.stdout))
        mark = f"{number:>3}" if one.is_usable else "  -"
        typer.echo("\n".join((f"{mark}  {first}", *(f"     {line}" for line in others))))
    numbers = answered("which? numbers with blanks between, none to stop", range(1, len(usable) + 1))
    if not numbers:
        typer.echo("nothing was written", err=True)
        raise typer.Exit(1)
    picked = choose_cards(host, found, [number - 1 for number in numbers], backend)
    return Chosen({**inputs, **_filled(taken, picked)}, picked.addresses)
