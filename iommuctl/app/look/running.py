# SPDX-License-Identifier: Apache-2.0
"""Running: what the running kernel shows, for the use cases that make sense on the running system alone."""

from collections.abc import Mapping
from contextlib import suppress

from iommuctl.app.host import Host
from iommuctl.errors import IommuctlError, UsageError
from iommuctl.facts import Facts
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.parameters import Catalogue
from iommuctl.profile.beside import NONE, Beside, onto
from iommuctl.profile.desired import DesiredArguments
from iommuctl.profile.profile import Profile
from iommuctl.profile.resolve import resolve
from iommuctl.running.effect.binding import is_held
from iommuctl.running.effect.devices import UNKNOWN, Around, Named
from iommuctl.running.state import Observed
from iommuctl.running.sysfs import read_observed


def observe_host(host: Host, catalogue: Catalogue, command: str) -> Observed:
    """Read what the running kernel shows. Raises UsageError for another root, whose kernel does not run."""
    if not host.is_system:
        raise UsageError(
            f"{command} needs the running system",
            details=(f"no kernel runs in {str(host.path)!r}",),
            hint=f"iommuctl {command}",
        )
    return read_observed(host.root, catalogue)


def desired_now(
    profile: Profile, catalogue: Catalogue, facts: Facts, observed: Observed, inputs: Mapping[str, str]
) -> DesiredArguments:
    """Resolve a profile for the running kernel too, which need not be installed any more."""
    kernels = tuple(sorted({*facts.kernels, *facts.modules, observed.release} - {""}))
    return resolve(profile, catalogue, facts._replace(kernels=kernels), inputs)


def devices_around(
    host: Host, desired: DesiredArguments, facts: Facts, observed: Observed, snapshot: str | None
) -> Around:
    """Return what is known of the devices that a profile does not give to guests: nothing where it gives none.

    `snapshot` is that of its apply; None, and one that may not be read, tells of no drivers.
    """
    named = Named.of(Cmdline.parse(" ".join(str(one) for one in desired.wanted)))
    if not named:
        return UNKNOWN
    from iommuctl.devices.conflicts import conflicts  # noqa: PLC0415 - few profiles name devices
    from iommuctl.devices.inventory import Function  # noqa: PLC0415
    from iommuctl.devices.reading.files import Files  # noqa: PLC0415
    from iommuctl.devices.reading.guests import read_guests  # noqa: PLC0415

    drivers: Mapping[str, str] = {}
    with suppress(IommuctlError):
        drivers = {} if snapshot is None else host.store.load(snapshot).drivers
    others = tuple(one for one in observed.devices if is_held(one) and not named.names(one))
    told = conflicts(host.root, map(Function, others))
    elsewhere = {one.address for one in told if one.address is not None}
    taken = frozenset((*elsewhere, *read_guests(Files(host.root), others)))
    images, build = _images(host, facts) if named.chosen else ({}, "")
    return Around(drivers, taken, images, build)


def _images(host: Host, facts: Facts) -> tuple[Mapping[str, bool], str]:
    """Return of each kernel whether its image was built since the script is there, and what builds images."""
    from iommuctl.app.initramfs.builder import builder_of, images_of  # noqa: PLC0415 - few profiles choose devices
    from iommuctl.app.initramfs.groundwork import is_older  # noqa: PLC0415

    with suppress(IommuctlError):
        builder = builder_of(host.root)
        if builder is not None:
            releases = {*facts.kernels, *facts.modules}
            images = images_of(host.root, builder, releases, None)
            return {one.release: not is_older(host, one, builder) for one in images}, " ".join(builder.every)
    return {}, ""


def beside_now(beside: Beside, catalogue: Catalogue, facts: Facts, observed: Observed) -> DesiredArguments | None:
    """Return what is kept next to a profile as arguments of their own; None where nothing is."""
    if not beside:
        return None
    alone = onto(Profile(NONE, "what is kept next to a profile"), beside, Beside(), None)
    return desired_now(alone, catalogue, facts, observed, {})
