# SPDX-License-Identifier: Apache-2.0
"""Apply: from a profile's name to a plan, and from a plan to a changed host."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from iommuctl.app.change.basis import Item, asked_items, basis, device_items, fingerprint
from iommuctl.app.change.interrupted import Settled, settle_view
from iommuctl.app.change.plan import ApplyPlan, Steps
from iommuctl.app.change.planning import (
    Choices,
    lagging,
    obstacles,
    pending,
    require_known,
    runs_commands,
    stop_on_errors,
)
from iommuctl.app.host import Host, Survey, installed_kernels, kernel_findings, survey_host
from iommuctl.app.look.profiles import find_profile
from iommuctl.backends.base import BootConfig
from iommuctl.errors import IommuctlError, UnavailableError
from iommuctl.facts import Facts
from iommuctl.findings import FORCED_FOR_DEVICES, Finding, Rule, Severity
from iommuctl.kernel.choice import PARAMETER as CHOICE
from iommuctl.kernel.cmdline import Cmdline, canonical_name
from iommuctl.kernel.lines import Kernel, distinct, parse_kernels
from iommuctl.kernel.parameters import Catalogue
from iommuctl.lint.engine import Linter, Subject, lint_desired
from iommuctl.lint.host_rules import HOST_RULES
from iommuctl.lint.line_rules import RULES
from iommuctl.plan import STAGING, Ahead, Rendering
from iommuctl.profile.beside import Beside, critical_findings, merged, onto
from iommuctl.profile.desired import DesiredArguments
from iommuctl.profile.profile import Profile
from iommuctl.profile.resolve import resolve
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.running.environment import read_surroundings
from iommuctl.tree import Overlay

if TYPE_CHECKING:
    from iommuctl.app.change.devices import Taken
    from iommuctl.app.initramfs.groundwork import Groundwork
    from iommuctl.running.state import Device

_BINDS = "vfio-pci.ids"


def plan_apply(host: Host, profile_name: str, choices: Choices) -> ApplyPlan:
    """Plan to bring a host to a profile. Writes nothing and runs nothing.

    Raises ProfileError where a finding is an error that is not forced, and what reading the host raises.
    """
    plan = draft_apply(host, profile_name, choices)
    stop_on_errors(plan.steps.findings, choices.force)
    return plan


def draft_apply(host: Host, profile_name: str, choices: Choices) -> ApplyPlan:
    """Return the plan with every finding, errors included. Raises what reading the host raises."""
    named = find_profile(host, profile_name)
    require_known("apply", choices.force, _rules(named))
    settled = settle_view(host)
    was = _kept(host, settled, named.name)
    kept = was
    profile = named
    if was or choices.beside:
        kept = merged(was, choices.beside, shipped_catalogue())
        profile = onto(named, kept, choices.beside, choices.why)

    def resolved(catalogue: Catalogue, facts: Facts) -> DesiredArguments:
        return resolve(profile, catalogue, facts, choices.inputs)

    found = survey_host(host, platform=choices.platform, backend=choices.backend, files=settled.tree, asked=resolved)
    desired = resolved(found.catalogue, found.facts)
    runs = runs_commands(host, choices.regenerate)
    again = _again(host, profile_name, choices)
    ground = _groundwork(host, found, desired, runs=runs, again=again)

    def as_prepared(wanted: DesiredArguments) -> DesiredArguments:
        return wanted if ground is None or ground.is_ready else wanted.without(CHOICE)

    desired = as_prepared(desired)
    rendering, config = _render(found, desired)
    kernels = installed_kernels(found.facts, config)
    if kernels != found.facts.kernels:  # only the entries tell of some
        facts = found.facts._replace(kernels=kernels)
        asked = desired
        desired = as_prepared(resolved(found.catalogue, facts))
        if desired != asked:
            rendering, config = _render(found, desired)
    if not runs:
        _require_normal_entry(config)
        if rendering.unproven is not None:
            raise rendering.unproven
    lines = _lines(config, rendering)
    taken = _taken(host, lines, desired, frozenset(choices.devices))
    held = () if runs else pending(host, rendering.commands, again=again)
    ahead, images = (Ahead(), ()) if ground is None else (ground.ahead, ground.images)
    edits, commands = (*ahead.edits, *rendering.edits), (*ahead.commands, *rendering.commands)
    findings = (
        *settled.findings,
        *_assumed(found),
        *(kernel_findings(kernels) if desired.wanted else ()),
        *desired.findings,
        *critical_findings(desired),
        *_led(rendering.findings, held),
        *_lint(host, found, lines, rendering, desired, distinct(parse_kernels(kernels)), taken),
        *(() if ground is None else ground.findings),
        *held,
        *lagging(host, edits, rendering.commands, runs=runs),
        *obstacles(host, edits, commands, runs=runs),
    )
    # Which kernel runs decides in which order images are built, so the commands that build them do not count.
    built = (Item("asked", f"image {one.release}", str(one.path)) for one in images)
    asked_for = (*asked_items(desired), *built, *(() if taken is None else device_items(taken.devices)))
    rests_on = basis(found, asked_for, edits, rendering.commands, kernels=kernels, config=config, runs=runs)
    steps = Steps(
        survey=found,
        changes=rendering.changes,
        edits=edits,
        commands=commands,
        runs=runs,
        findings=findings,
        basis=rests_on,
        fingerprint=fingerprint(rests_on),
        entries=rendering.entries,
        kernels=kernels,
        ahead=ahead,
    )
    plan = ApplyPlan(steps, profile.name, desired, choices.inputs, kept, choices.why, records=kept != was)
    return plan if taken is None else plan._replace(devices=taken.devices, drivers=taken.drivers)


def _groundwork(host: Host, found: Survey, desired: DesiredArguments, *, runs: bool, again: str) -> "Groundwork | None":
    """Return what has to be in the images before the line chooses devices; None where it does not choose any."""
    if not any(one.name == CHOICE for one in desired.wanted):
        return None
    from iommuctl.app.initramfs.groundwork import lay_groundwork  # noqa: PLC0415 - few profiles choose devices

    return lay_groundwork(host, found, runs=runs, again=again)


def _kept(host: Host, settled: Settled, profile: str) -> Beside:
    """Return what is kept next to a profile; nothing where there is no history, or none that may be read."""
    try:
        if host.root.stat(STAGING.parent) is None:
            return Beside()
        listing = settled.states(host.store.list())
    except IommuctlError:  # who writes needs the right to read it, and meets the same error then
        return Beside()
    from iommuctl.app.look.history import kept_beside  # noqa: PLC0415 - a host without history needs none of it

    return kept_beside(listing, profile)


def _led(findings: tuple[Finding, ...], held: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return findings with the hint of what is held back where they are about the same, for a profile is chosen."""
    hint = held[0].hint if held else None
    return tuple(
        one._replace(hint=hint) if hint is not None and one.rule is Rule.SOURCES_DISAGREE else one for one in findings
    )


def _again(host: Host, profile_name: str, choices: Choices) -> str:
    """The command that carries out the same with generators in it."""
    agreed = ("--yes",) if choices.agreed else ()
    return host.root.command("apply", profile_name, *choices.options, "--regenerate", "always", *agreed)


def _require_normal_entry(config: BootConfig) -> None:
    """Raise UnavailableError for a menu that starts no kernel of this system, which no generator will fix now."""
    has_entries = bool(config.entries) or config.menu is not None
    if has_entries and not any(entry.ours and not entry.rescue for entry in config.entries):
        raise UnavailableError(
            f"{config.menu or 'the boot menu'} has no normal entry of this system",
            details=tuple(f"{entry.title!r}: {entry.reason}" for entry in config.entries),
            hint="have the menu built anew with --regenerate always, or name the --backend that boots this host",
        )


def _render(found: Survey, desired: DesiredArguments) -> tuple[Rendering, BootConfig]:
    """Return what brings the host to what is desired, and what it boots with then."""
    rendering = found.backend.render(found.tree, found.facts, desired)
    after = Overlay(found.tree, {edit.path: edit.after for edit in rendering.edits})
    return rendering, found.backend.read(after, found.facts)


def _lint(
    host: Host,
    found: Survey,
    lines: tuple[Cmdline, ...],
    rendering: Rendering,
    desired: DesiredArguments,
    kernels: tuple[Kernel, ...],
    taken: "Taken | None",
) -> tuple[Finding, ...]:
    """Lint every line that the host would boot with, on that host, and the one that the profile makes by itself."""
    surroundings = read_surroundings(host.root, found.facts, host.root.read_device)
    if not rendering.edits and not rendering.commands:
        surroundings = surroundings._replace(seals=())  # what was measured stays as it is
    linter = Linter((*RULES, *HOST_RULES))
    findings: dict[Finding, None] = {}
    devices = _cards(host) if host.is_system else ()
    for line in lines:
        subject = Subject(line, found.catalogue, found.facts.platform, kernels, desired, surroundings, devices)
        findings.update((one, None) for one in linter.lint(subject) if one.severity is not Severity.INFO)
    findings.update((one, None) for one in (() if taken is None else taken.findings))
    own = lint_desired(desired, found.catalogue, kernels, RULES)
    findings.update((one, None) for one in own if one.severity is not Severity.INFO)
    return tuple(findings)


def _lines(config: BootConfig, rendering: Rendering) -> tuple[Cmdline, ...]:
    """Return each line that the host would boot with, once.

    Entries that are still to be made, of a menu or by a distribution's own tool, follow from the others.
    """
    stale = {command.output.target for command in rendering.commands if command.output} | {*rendering.rebuilt}
    entries = [one.cmdline for one in config.entries if one.ours and not one.rescue and one.path not in stale]
    coming = () if config.future.cmdline is None else (config.future.cmdline,)
    return tuple({str(line): line for line in (*coming, *entries)}.values())


def _taken(host: Host, lines: tuple[Cmdline, ...], desired: DesiredArguments, meant: frozenset[str]) -> "Taken | None":
    """Return which devices the lines take; None where none names any. `meant` are the addresses that were named."""
    if not any(True for line in lines for name in (_BINDS, CHOICE) for _ in line.named(name)):
        return None
    from iommuctl.app.change.devices import taken_devices  # noqa: PLC0415 - few lines name a device

    is_asked = any(canonical_name(one.name) in {canonical_name(_BINDS), CHOICE} for one in desired.wanted)
    return taken_devices(host, lines, is_asked=is_asked, meant=meant)


def _cards(host: Host) -> "tuple[Device, ...]":
    from iommuctl.running.sysfs import read_cards  # noqa: PLC0415 - a root that is not running has no devices

    return read_cards(host.root)


def _rules(profile: Profile) -> Iterator[str]:
    """The rules of every finding that can stop an apply of this profile: lint's, and its own."""
    yield from (rule.id for rule in (*RULES, *HOST_RULES))
    yield Rule.BOOT_CRITICAL
    yield from FORCED_FOR_DEVICES
    yield from (one.rule for one in profile.notices)
    yield from (one.rule for one in profile.warns)


def _assumed(found: Survey) -> tuple[Finding, ...]:
    if not found.facts.platform_assumed:
        return ()
    message = "nothing in this tree tells its platform, so both x86 vendors' parameters are used"
    hint = "name it with --platform intel, amd, x86 or arm64"
    return (Finding(Rule.PLATFORM_ASSUMED, Severity.WARNING, message, hint=hint),)
