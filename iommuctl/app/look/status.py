# SPDX-License-Identifier: Apache-2.0
"""Status: which bootloader and why, what runs now, what boots next, and what has drifted from the applied profile."""

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from iommuctl.app.change.interrupted import interrupted_findings
from iommuctl.app.host import Host, Survey, installed_kernels, survey_host
from iommuctl.app.look.history import newest_applied, profile_in_force
from iommuctl.app.look.profiles import find_profile
from iommuctl.app.look.running import beside_now, desired_now, devices_around, observe_host
from iommuctl.backends.base import BootConfig
from iommuctl.backends.detection.evidence import Evidence
from iommuctl.errors import ConflictError, IommuctlError, NotPermittedError
from iommuctl.facts import Platform
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import STAGING
from iommuctl.profile.beside import NONE, Beside, onto
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments
from iommuctl.profile.resolve import resolve
from iommuctl.profile.segments import SegmentError
from iommuctl.running.state import Observed
from iommuctl.running.verdict import Verification
from iommuctl.running.verify import verify
from iommuctl.transaction.snapshot import Summary
from iommuctl.transaction.store import Listing
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.app.trial.state import TrialState

_TRIAL = STAGING.parent / "trial.json"


class Drift(NamedTuple):
    """One place that does not have what the applied profile asks for."""

    where: str
    expected: str
    found: str


class Effective(NamedTuple):
    """What the running kernel does, next to what is configured. `verification` is of the applied profile, if any."""

    observed: Observed
    verification: Verification | None

    @property
    def group_types(self) -> dict[str, int]:
        """How many groups have each default domain type, by its name."""
        return dict(sorted(Counter(group.type or "unknown" for group in self.observed.real_groups).items()))


class Status(NamedTuple):
    """One view of a host. `running_cmdline` and `effective` are None for a root that is not the running system.

    `way_in_step` is the command that shows what would end the drift. `trial` is the last trial boot; None
    where there was none, and where only root may read of it.
    """

    root: str
    platform: Platform
    backend: str
    evidence: tuple[Evidence, ...]
    running_cmdline: str | None
    config: BootConfig
    profile: str | None
    beside: Beside
    drift: tuple[Drift, ...]
    effective: Effective | None
    findings: tuple[Finding, ...]
    reboot_required: bool
    way_in_step: str
    trial: "TrialState | None"


def read_status(host: Host, *, platform: Platform | None, backend: str | None) -> Status:
    """Read everything that is known of a host's kernel command line. Writes nothing."""
    listing = _history(host)
    named, latest = profile_in_force(listing), newest_applied(listing)
    newest, beside = named or latest, latest.beside if latest else Beside()
    # Another root does not tell its vendor: the one that the profile was applied for is the one to compare with.
    found = survey_host(host, platform=platform or (newest.platform if newest else None), backend=backend)
    config = found.backend.read(found.tree, found.facts)
    running = found.running.cmdline if found.running else None
    desired, findings = (None, ()) if newest is None else _desired(host, found, config, newest, beside)
    conformer = None if desired is None else Conformer(desired, found.catalogue)
    drift = () if conformer is None else _drift(config, conformer)
    way = _way_in_step(host, newest, findings)
    told = (*interrupted_findings(host), *config.findings, *listing.findings, *findings)
    reboot = conformer is not None and running is not None and bool(conformer.shortcomings(Cmdline.parse(running)))
    return Status(
        root=str(host.path),
        platform=found.facts.platform,
        backend=found.backend.name,
        evidence=found.evidence,
        running_cmdline=running,
        config=config,
        profile=named.profile if named else None,
        beside=beside,
        drift=drift,
        effective=_effective(host, found, desired, named, beside),
        findings=told if newest is None else tuple(_with_way(one, way) for one in told),
        reboot_required=reboot,
        way_in_step=way,
        trial=_trial(host),
    )


def _trial(host: Host) -> "TrialState | None":
    """The last trial; what is wrong with its record is told by `trial status`."""
    with suppress(NotPermittedError, ConflictError):
        if host.is_system and host.root.stat(_TRIAL) is not None:
            from iommuctl.app.trial.state import read_state  # noqa: PLC0415 - few hosts had one

            return read_state(host)
    return None


def _way_in_step(host: Host, newest: Summary | None, findings: tuple[Finding, ...]) -> str:
    """The command that shows what would end the drift; of a profile that cannot be read again, what was changed."""
    if newest is not None and any(one.rule is Rule.PROFILE_NOT_COMPARED for one in findings):
        return host.root.command("history", "show", newest.id)
    return host.root.command("apply", newest.profile if newest else "PROFILE", "--dry-run")


def _with_way(finding: Finding, way: str) -> Finding:
    """Return a finding with the hint that the drift has, where it is about the same: a profile is chosen already."""
    return finding._replace(hint=way) if finding.rule is Rule.SOURCES_DISAGREE else finding


def _effective(
    host: Host, found: Survey, desired: DesiredArguments | None, applied: Summary | None, beside: Beside
) -> Effective | None:
    """What `verify` says of the applied profile, or of what is kept next to none; of a profile that cannot be read
    again, what was changed is compared.
    """
    if not host.is_system:
        return None
    observed = observe_host(host, found.catalogue, "status")
    if desired is None or (applied is None and not beside):
        return Effective(observed, None)
    with suppress(IommuctlError):
        profile = find_profile(host, NONE if applied is None else applied.profile)
        inputs = {} if applied is None else applied.inputs
        desired = desired_now(profile, found.catalogue, found.facts, observed, inputs)
    next_to_it = beside_now(beside, found.catalogue, found.facts, observed)
    around = devices_around(host, desired, found.facts, observed, None if applied is None else applied.id)
    return Effective(observed, verify(observed, desired, found.catalogue, next_to_it, around))


def _history(host: Host) -> Listing:
    """The snapshots; a finding where only root may read them."""
    try:
        return host.store.list()
    except NotPermittedError:
        message = "the history may not be read, so it is not known which profile is applied"
        unreadable = Finding(
            Rule.HISTORY_UNREADABLE, Severity.WARNING, message, hint="run the same command as root (sudo)"
        )
        return Listing((), (unreadable,))


def _desired(
    host: Host, found: Survey, config: BootConfig, applied: Summary, beside: Beside
) -> tuple[DesiredArguments | None, tuple[Finding, ...]]:
    """Resolve the applied profile anew, with its inputs then and what is kept next to it.

    A finding where its file has gone or changed.
    """
    try:
        profile = onto(find_profile(host, applied.profile), beside, Beside(), None)
        facts = found.facts._replace(kernels=installed_kernels(found.facts, config))
        return resolve(profile, found.catalogue, facts, applied.inputs), ()
    except IommuctlError as error:
        return _as_changed(host, found, applied, error)


def _as_changed(
    host: Host, found: Survey, applied: Summary, error: IommuctlError
) -> tuple[DesiredArguments | None, tuple[Finding, ...]]:
    """What the snapshot changed, for a profile that was given by a path or has gone since."""
    from iommuctl.app.look.applied import arguments_of  # noqa: PLC0415 - only such a profile needs the whole manifest

    message = f"the applied profile {applied.profile!r} cannot be read again: {error.brief}"
    desired = None
    with suppress(IommuctlError):  # a damaged manifest is told by the history
        desired = arguments_of(host.store.load(applied.id), found.facts.platform)
        message += f"; compared with what snapshot {applied.id} changed"
    return desired, (Finding(Rule.PROFILE_NOT_COMPARED, Severity.INFO, message, hint=error.hint),)


def _drift(config: BootConfig, conformer: Conformer) -> tuple[Drift, ...]:
    """Compare every source and every entry; entries of one menu that differ alike are told once, with their number."""
    places = [(f"{config.future.source} (the next kernel)", config.future.cmdline)]
    places += [(str(source.source), source.cmdline) for source in config.beside]
    drift = [one for where, cmdline in places if cmdline is not None and (one := _differing(where, cmdline, conformer))]
    booted = [entry for entry in config.entries if entry.ours and not entry.rescue]
    alike = Counter(one for entry in booted if (one := _differing(str(entry.path), entry.cmdline, conformer)))
    drift += [
        one if count == 1 else one._replace(where=f"{one.where} ({count} entries)") for one, count in alike.items()
    ]
    return tuple(drift)


def _differing(where: str, cmdline: Cmdline, conformer: Conformer) -> Drift | None:
    """How one command line differs from what the profile asks for; None where it does not."""
    try:
        changes = conformer.shortfall(cmdline)
    except SegmentError as error:
        return Drift(where, f"what profile {conformer.desired.profile} asks for", error.message)
    if not changes:
        return None
    expected = [change.after or f"no {change.before}" for change in changes]
    return Drift(where, ", ".join(expected), ", ".join(change.before for change in changes if change.before) or "none")
