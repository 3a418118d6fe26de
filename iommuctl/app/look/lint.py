# SPDX-License-Identifier: Apache-2.0
"""Lint: the command lines of a text, a profile or a host, and what the rules say of them."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from iommuctl.app.change.apply import draft_apply
from iommuctl.app.change.devices import taken_devices
from iommuctl.app.change.interrupted import interrupted_findings
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host, Survey, installed_kernels, kernel_findings, survey_host
from iommuctl.app.look.profiles import find_profile
from iommuctl.errors import BootConfigError, UnavailableError
from iommuctl.facts import Distribution, Facts, Platform
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.host.probe import read_runtime
from iommuctl.kernel.cmdline import Cmdline, join
from iommuctl.kernel.environment import Surroundings
from iommuctl.kernel.lines import Kernel, distinct, parse_kernels
from iommuctl.lint.engine import Subject, lint, lint_desired
from iommuctl.lint.host_rules import HOST_RULES
from iommuctl.lint.line_rules import RULES
from iommuctl.profile.profile import Profile, members
from iommuctl.profile.resolve import resolve
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.running.environment import read_surroundings
from iommuctl.running.state import Device
from iommuctl.running.sysfs import read_cards
from iommuctl.value import NamedTuple

_RUNNING_RELEASE = PurePosixPath("/proc/sys/kernel/osrelease")


class LintedLine(NamedTuple):
    """One command line, where it is, and the kernels that read it; none: it is not known which."""

    where: str
    cmdline: Cmdline
    kernels: tuple[Kernel, ...]


class LocatedFinding(NamedTuple):
    """A finding, and the lines that it is about; none where it is about the profile or the host."""

    finding: Finding
    where: tuple[str, ...] = ()


class LintResult(NamedTuple):
    """What was looked at and what was found, worst first. `platform` None: any."""

    platform: Platform | None
    lines: tuple[LintedLine, ...]
    findings: tuple[LocatedFinding, ...]

    @property
    def has_errors(self) -> bool:
        """Whether anything found is an error."""
        return any(one.finding.severity is Severity.ERROR for one in self.findings)


def lint_text(text: str, *, platform: Platform | None, kernels: tuple[Kernel, ...]) -> LintResult:
    """Lint a command line that is given as text; `platform` None: it may be used on any."""
    line = LintedLine("the text", Cmdline.parse(text), kernels)
    subject = Subject(line.cmdline, shipped_catalogue(), platform, kernels)
    return _linted(platform, ((line, lint(subject, RULES)),))


def lint_profile(
    host: Host,
    name: str,
    *,
    inputs: Mapping[str, str],
    platform: Platform | None,
    kernels: tuple[Kernel, ...],
    backend: str | None = None,
) -> LintResult:
    """Lint the line that a profile makes, on every platform that it does not refuse or on the one that is named.

    Of another root it has what an apply there would tell as well, or why that cannot be told. Raises ProfileError,
    NotFoundError.
    """
    profile, catalogue = find_profile(host, name), shipped_catalogue()
    results: list[tuple[LintedLine, tuple[Finding, ...]]] = []
    notices: list[Finding] = []
    platforms = _platforms(profile, platform)
    if not host.is_system:
        try:
            plan = draft_apply(host, name, Choices(platform=platform, backend=backend, inputs=inputs))
        except (UnavailableError, BootConfigError) as error:
            notices.append(Finding(Rule.BOOT_CONFIGURATION_UNREAD, Severity.WARNING, error.brief, hint=error.hint))
        else:
            notices += plan.steps.findings
            if not kernels:
                asked = Cmdline.parse(join(map(str, plan.desired.wanted)))
                results.append((LintedLine(f"{profile.name} on {plan.desired.platform}", asked, ()), ()))
                platforms = ()
    for one in platforms:
        facts = Facts(
            one, platform_assumed=False, distribution=Distribution(), kernels=tuple(one.release for one in kernels)
        )
        desired = resolve(profile, catalogue, facts, inputs)
        line = LintedLine(f"{profile.name} on {one}", Cmdline.parse(join(map(str, desired.wanted))), kernels)
        results.append((line, lint_desired(desired, catalogue, kernels, RULES)))
        notices += desired.findings
    return _linted(platform, results, notices)


def lint_host(host: Host, *, platform: Platform | None, backend: str | None, kernels: tuple[Kernel, ...]) -> LintResult:
    """Lint what a host boots with: its normal entries, the next kernel's line, and the running kernel's.

    Where the bootloader of the running system cannot be told, only what runs now is looked at, with a finding.
    `kernels` stand for those that are installed. Raises what reading the host raises.
    """
    try:
        found = survey_host(host, platform=platform, backend=backend)
    except UnavailableError as error:
        if not host.is_system:
            raise
        unread = Finding(Rule.BOOT_CONFIGURATION_UNREAD, Severity.WARNING, error.brief, hint=error.hint)
        line = LintedLine(
            "the running kernel", Cmdline.parse(read_runtime(host.root).cmdline), kernels or _running(host)
        )
        subject = Subject(line.cmdline, shipped_catalogue(), platform, line.kernels)
        return _linted(platform, ((line, lint(subject, RULES)),), (unread, *interrupted_findings(host)))
    config = found.backend.read(found.tree, found.facts)
    present = installed_kernels(found.facts, config)
    installed = kernels or distinct(parse_kernels(present))
    coming = config.future
    lines = (
        [] if coming.cmdline is None else [LintedLine(f"the next kernel ({coming.source})", coming.cmdline, installed)]
    )
    for entry in config.entries:
        if entry.ours and not entry.rescue:
            own = Kernel.parse(entry.kernel_release or "")
            readers = (own,) if own and not kernels else installed
            lines.append(LintedLine(f"entry {entry.title!r}", entry.cmdline, readers))
    if found.running is not None:
        lines.append(LintedLine("the running kernel", Cmdline.parse(found.running.cmdline), kernels or _running(host)))
    surroundings = read_surroundings(host.root, found.facts, host.root.read_device)
    devices = read_cards(host.root) if host.is_system else ()
    rules = (*RULES, *HOST_RULES)
    told: dict[tuple[str, tuple[Kernel, ...]], tuple[Finding, ...]] = {}
    results = []
    for line in lines:
        alike = str(line.cmdline), tuple(kernel._replace(release="") for kernel in line.kernels)
        if alike not in told:
            taken = taken_devices(host, (line.cmdline,), is_asked=True).findings if host.is_system else ()
            told[alike] = (*lint(_subject(found, line, surroundings, devices), rules), *taken)
        results.append((line, told[alike]))
    missing = () if kernels else kernel_findings(present)
    return _linted(found.facts.platform, results, (*interrupted_findings(host), *config.findings, *missing))


def _subject(found: Survey, line: LintedLine, surroundings: Surroundings, devices: tuple[Device, ...]) -> Subject:
    return Subject(line.cmdline, found.catalogue, found.facts.platform, line.kernels, None, surroundings, devices)


def _platforms(profile: Profile, platform: Platform | None) -> tuple[Platform, ...]:
    if platform is not None:
        return (platform,)
    refused = {one for refusal in profile.refusals if refusal.when is None for one in members(refusal.platforms)}
    return tuple(one for one in Platform if one is not Platform.X86 and one not in refused)


def _running(host: Host) -> tuple[Kernel, ...]:
    release = (host.root.read(_RUNNING_RELEASE) or b"").decode("utf-8", "replace").strip()
    return parse_kernels((release,))


def _linted(
    platform: Platform | None,
    results: Iterable[tuple[LintedLine, tuple[Finding, ...]]],
    general: Iterable[Finding] = (),
) -> LintResult:
    lines: list[LintedLine] = []
    places: dict[Finding, dict[str, None]] = {finding: {} for finding in general}
    for line, findings in results:
        lines.append(line)
        for finding in findings:
            places.setdefault(finding, {}).setdefault(line.where)
    order = list(Severity)
    located = [LocatedFinding(finding, tuple(where)) for finding, where in places.items()]
    # Sorting keeps the order of a line's own findings where severity and rule are the same.
    located.sort(key=lambda one: (order.index(one.finding.severity), one.finding.rule))
    return LintResult(platform, tuple(lines), tuple(located))
