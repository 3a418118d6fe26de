# SPDX-License-Identifier: Apache-2.0
"""The right verdict for what is promised, what the groups do, and what the kernel's line is known to read and show.

Each row of the table that the verdicts follow is here, with a kernel for each answer of `shows` (a name of its own for
lazy domains) and `reads` (what asks for the promise); no number makes an observed type false.
"""

import pytest

from iommuctl.facts import Distribution, Facts, Platform
from iommuctl.profile.desired import DesiredArguments, Wanted
from iommuctl.profile.inheritance import load_profile
from iommuctl.profile.resolve import resolve
from iommuctl.profile.shipped import shipped_catalogue, shipped_profiles
from iommuctl.running.state import Device, Group, Observed, Unit
from iommuctl.running.verdict import Agent, Result, Verdict, Verification
from iommuctl.running.verify import verify

CATALOGUE = shipped_catalogue()
ACTIVE, DRIFT, IGNORED, UNPROVEN = Verdict.ACTIVE, Verdict.DRIFT, Verdict.IGNORED_BY_KERNEL, Verdict.UNPROVEN
NOT_APPLIED = Verdict.NOT_APPLIED
LINE, DEFAULT = Agent.COMMAND_LINE, Agent.KERNEL_DEFAULT

UPSTREAM = "6.12.63"  # reads and shows everything
OLD = "4.19.40"  # shows types, and reads neither generic parameter on x86
EL8_5 = "4.18.0-348.el8.x86_64"  # reads iommu.passthrough, not iommu.strict; shows no lazy
EL8_7 = "4.18.0-425.3.1.el8.x86_64"  # reads both, shows no lazy
EL8_8 = "4.18.0-477.10.1.el8_8.x86_64"  # reads and shows
EL8_1 = "4.18.0-147.5.1.el8_1.x86_64"  # shows no types
EULER = "4.19.90-2312.1.0.0255.oe2003sp4.x86_64"  # a line of which nothing is known
EULER_NEW = "5.15.0-1.oe2209.x86_64"  # the same, from a base that reads and shows

PT, STRICT, LAZY = "passthrough-perf", "strict-isolation", "translated-lazy"
PT_LINE = "ro intel_iommu=on iommu.passthrough=1"
STRICT_LINE = "ro intel_iommu=on iommu.passthrough=0 iommu.strict=1"
OLD_STRICT = "ro intel_iommu=on,strict iommu.passthrough=0 iommu.strict=1"
LAZY_LINE = "ro intel_iommu=on iommu.passthrough=0 iommu.strict=0"
NOPT = "ro intel_iommu=on,strict iommu=nopt"


def judged(profile: str, line: str, release: str, types: str, config: str = "") -> Verification:
    """What is said of a machine whose groups have these types, `-` for none that shows."""
    kinds = [None if kind == "-" else kind for kind in types.split()]
    symbols = {"CONFIG_INTEL_IOMMU": "y", **dict.fromkeys(config.split(), "y")}
    observed = Observed(
        cmdline=line,
        release=release,
        units=(Unit("dmar0", 0, 0x48),) if kinds else (),
        groups=tuple(Group(at, kind, (Device(f"0000:00:0{at}.0"),)) for at, kind in enumerate(kinds)),
        firmware_tables=frozenset({"DMAR"}),
        interrupts_remapped=True,
        config=symbols,
        config_source="/boot/config",
    )
    facts = Facts(Platform.INTEL, False, Distribution(), (release,))
    return verify(observed, resolve(load_profile(profile, shipped_profiles()), CATALOGUE, facts, {}), CATALOGUE)


@pytest.mark.parametrize(
    ("profile", "line", "release", "types", "verdict", "words"),
    [
        # every group as promised: whatever the number says
        (PT, PT_LINE, UPSTREAM, "identity identity", ACTIVE, "all 2 groups are identity"),
        (PT, PT_LINE, OLD, "identity identity", ACTIVE, "all 2 groups are identity"),
        (PT, PT_LINE, EULER, "identity", ACTIVE, "the only group is identity"),
        (LAZY, LAZY_LINE, UPSTREAM, "DMA-FQ DMA-FQ", ACTIVE, "all 2 groups are DMA-FQ"),
        (LAZY, LAZY_LINE, OLD, "DMA-FQ DMA-FQ", ACTIVE, "all 2 groups are DMA-FQ"),
        (LAZY, LAZY_LINE, EULER, "DMA-FQ DMA-FQ", ACTIVE, "all 2 groups are DMA-FQ"),
        # identity promised, all translated
        (PT, PT_LINE, UPSTREAM, "DMA DMA", IGNORED, "reads iommu.passthrough=1; look for what decides"),
        (PT, PT_LINE, UPSTREAM, "DMA-FQ DMA", IGNORED, "reads iommu.passthrough=1; look for what decides"),
        (PT, PT_LINE, OLD, "DMA DMA", IGNORED, "kernel 4.19 does not read iommu.passthrough=1"),
        (PT, PT_LINE, EULER, "DMA DMA", IGNORED, "is not known"),
        # translation promised, all identity
        (STRICT, STRICT_LINE, UPSTREAM, "identity identity", DRIFT, "changed since the boot"),
        (LAZY, LAZY_LINE, UPSTREAM, "identity identity", DRIFT, "changed since the boot"),
        (STRICT, OLD_STRICT, OLD, "identity identity", IGNORED, "does not read iommu.passthrough=0"),
        (LAZY, LAZY_LINE, OLD, "identity identity", IGNORED, "does not read iommu.passthrough=0"),
        (STRICT, OLD_STRICT, EULER, "identity identity", IGNORED, "is not known"),
        # some groups otherwise
        (PT, PT_LINE, UPSTREAM, "identity DMA identity", DRIFT, "(0000:00:01.0) DMA; the other 2 are as promised"),
        (STRICT, OLD_STRICT, OLD, "DMA identity", DRIFT, "(0000:00:01.0) identity; the other 1 are"),
        (STRICT, OLD_STRICT, EULER, "DMA identity", DRIFT, "group 1 (0000:00:01.0) identity"),
        # lazy promised, DMA seen
        (LAZY, LAZY_LINE, EL8_7, "DMA DMA", ACTIVE, "all 2 groups are DMA"),
        (LAZY, LAZY_LINE, UPSTREAM, "DMA DMA", IGNORED, "strict, though lazy was promised"),
        (LAZY, LAZY_LINE, EL8_8, "DMA DMA", IGNORED, "strict, though lazy was promised"),
        (LAZY, LAZY_LINE, UPSTREAM, "DMA DMA-FQ", DRIFT, "group 0 (0000:00:00.0) DMA"),
        (LAZY, LAZY_LINE, EULER, "DMA DMA", ACTIVE, "all 2 groups are DMA"),
        # strict promised, lazy seen
        (STRICT, STRICT_LINE, UPSTREAM, "DMA-FQ DMA-FQ", DRIFT, "lazy: memory stays reachable for a while"),
        (STRICT, "ro intel_iommu=on iommu.passthrough=0 iommu.strict=1", OLD, "DMA-FQ", IGNORED, "lazy: memory stays"),
        (STRICT, STRICT_LINE, EULER, "DMA-FQ DMA-FQ", IGNORED, "lazy: memory stays reachable for a while"),
        # strict promised, DMA seen
        (STRICT, STRICT_LINE, UPSTREAM, "DMA DMA", ACTIVE, "all 2 groups are DMA"),
        (STRICT, STRICT_LINE, EL8_7, "DMA DMA", ACTIVE, "all 2 groups are DMA"),
        (STRICT, OLD_STRICT, EL8_5, "DMA DMA", ACTIVE, "all 2 groups are DMA"),
        (STRICT, STRICT_LINE, EL8_5, "DMA DMA", IGNORED, "only intel_iommu=strict"),
        (STRICT, STRICT_LINE, EULER, "DMA DMA", UNPROVEN, "whether strictly, cannot be told"),
        (STRICT, OLD_STRICT, EULER, "DMA DMA", UNPROVEN, "whether strictly, cannot be told"),
        (STRICT, STRICT_LINE, EULER_NEW, "DMA DMA", ACTIVE, "all 2 groups are DMA"),
        # no type that shows
        (PT, PT_LINE, EL8_1, "- -", UNPROVEN, "the kernel shows no domain type"),
        (STRICT, NOPT, EL8_1, "- -", UNPROVEN, "the kernel shows no domain type"),
        ("kernel-default", "ro", EL8_1, "- -", ACTIVE, "nothing is promised that shows"),
        # off, and the kernel's own default
        ("iommu-off", "ro intel_iommu=off", UPSTREAM, "", ACTIVE, "no IOMMU is active"),
        ("iommu-off", "ro intel_iommu=off", UPSTREAM, "identity", IGNORED, "dmar0 active, none wanted"),
        # missing from the line is a fault only where the effect is missing too
        (PT, "ro intel_iommu=on", UPSTREAM, "DMA-FQ DMA-FQ", NOT_APPLIED, "is missing"),
        (PT, "ro", UPSTREAM, "identity identity", ACTIVE, "all 2 groups are identity"),
    ],
)  # fmt: skip
def test_the_right_verdict(profile: str, line: str, release: str, types: str, verdict: Verdict, words: str) -> None:
    found = judged(profile, line, release, types)
    assert (found.verdict, words in found.sentence) == (verdict, True), (found.verdict, found.sentence)
    assert [check.name for check in found.failed] or verdict in {ACTIVE, UNPROVEN}


@pytest.mark.parametrize(
    ("config", "types", "verdict"),
    [
        ("CONFIG_INTEL_IOMMU_DEFAULT_ON CONFIG_IOMMU_DEFAULT_DMA_LAZY", "DMA-FQ DMA-FQ", ACTIVE),
        ("CONFIG_INTEL_IOMMU_DEFAULT_ON CONFIG_IOMMU_DEFAULT_DMA_LAZY", "identity identity", IGNORED),
        ("CONFIG_INTEL_IOMMU_DEFAULT_ON CONFIG_IOMMU_DEFAULT_PASSTHROUGH", "identity identity", ACTIVE),
        ("CONFIG_INTEL_IOMMU_DEFAULT_ON CONFIG_IOMMU_DEFAULT_DMA_STRICT", "DMA DMA", ACTIVE),
        ("", "", ACTIVE),
    ],
)
def test_the_kernels_own_default_is_what_its_configuration_says(config: str, types: str, verdict: Verdict) -> None:
    found = judged("kernel-default", "ro", UPSTREAM, types, config)
    assert (found.verdict, found.by) == (verdict, DEFAULT if verdict is ACTIVE else None)


@pytest.mark.parametrize(
    ("profile", "line", "release", "types", "by"),
    [
        (PT, "ro intel_iommu=on iommu=pt", UPSTREAM, "identity", LINE),
        (PT, PT_LINE, UPSTREAM, "identity", LINE),
        (PT, "ro iommu=pt", UPSTREAM, "identity", DEFAULT),
        (PT, "ro intel_iommu=on", UPSTREAM, "identity", DEFAULT),
        (PT, f"{PT_LINE} amd_iommu=on iommu=1", UPSTREAM, "identity", LINE),
        (PT, PT_LINE, OLD, "identity", DEFAULT),
        (STRICT, STRICT_LINE, UPSTREAM, "DMA", LINE),
        (STRICT, "ro intel_iommu=on", UPSTREAM, "DMA", DEFAULT),
        (STRICT, OLD_STRICT, EL8_5, "DMA", LINE),
    ],
)
def test_who_brought_it_about(profile: str, line: str, release: str, types: str, by: Agent) -> None:
    found = judged(profile, line, release, types)
    assert (found.verdict, found.by) == (ACTIVE, by)


def test_a_version_never_fails_by_itself() -> None:
    results = {
        check.result
        for release in (UPSTREAM, OLD, EL8_5, EL8_1, EULER, "no-number")
        for check in judged(STRICT, STRICT_LINE, release, "DMA DMA").checks
        if check.name == "kernel-version"
    }
    assert results == {Result.PASS, Result.SKIP}


@pytest.mark.parametrize(
    ("line", "types", "verdict"),
    [
        ("ro intel_iommu=on iommu.passthrough=0 iommu.strict=1", "DMA DMA", ACTIVE),
        ("ro intel_iommu=on iommu.passthrough=0 iommu.strict=1", "identity identity", DRIFT),
        ("ro intel_iommu=on iommu.strict=1", "identity identity", NOT_APPLIED),
        ("ro iommu.passthrough=0", "", IGNORED),
    ],
)
def test_a_profile_of_one_parameter_is_judged_with_the_rest_of_the_line(
    line: str, types: str, verdict: Verdict
) -> None:
    kinds = types.split()
    observed = Observed(
        cmdline=line,
        release=UPSTREAM,
        units=(Unit("dmar0", 0, 0x48),) if kinds else (),
        groups=tuple(Group(at, kind, (Device(f"0000:00:0{at}.0"),)) for at, kind in enumerate(kinds)),
        interrupts_remapped=True,
        config={"CONFIG_INTEL_IOMMU": "y", "CONFIG_IOMMU_DEFAULT_DMA_LAZY": "y"},
    )
    desired = DesiredArguments("own", Platform.INTEL, (Wanted("iommu.passthrough", "0", ""),), ())
    found = verify(observed, desired, CATALOGUE)
    assert found.verdict is verdict, found.sentence


def test_a_promise_that_no_group_shows_is_held_against_the_line() -> None:
    wanted = (
        Wanted("efi", "disable_early_pci_dma", ""),
        Wanted("iommu.passthrough", "1", ""),
        Wanted("intel_iommu", "on", ""),
    )
    observed = Observed(PT_LINE, UPSTREAM, (Unit("dmar0"),), (Group(0, "identity", ()),))
    found = verify(observed, DesiredArguments("own", Platform.INTEL, wanted, ()), CATALOGUE)
    assert (found.verdict, found.sentence) == (NOT_APPLIED, "'efi=disable_early_pci_dma' is missing")


@pytest.mark.parametrize(
    ("profile", "line", "release", "kinds", "unit", "words"),
    [
        (LAZY, LAZY_LINE, UPSTREAM, "DMA DMA", Unit("dmar0", 1 << 7, 0x48), "all 2 groups are DMA by the kernel's own"),
        (LAZY, LAZY_LINE, UPSTREAM, "DMA", Unit("dmar0", 1 << 7, 0x48), "the only group is DMA by the kernel's own"),
        ("kernel-default", "ro", EL8_8, "identity", Unit("dmar0", 0, 0x48), "of the groups, which are identity"),
    ],
)
def test_groups_of_which_none_is_as_promised_are_named(
    profile: str, line: str, release: str, kinds: str, unit: Unit, words: str
) -> None:
    groups = tuple(Group(at, kind, (Device(f"0000:00:0{at}.0"),)) for at, kind in enumerate(kinds.split()))
    observed = Observed(line, release, units=(unit,), groups=groups, firmware_tables=frozenset({"DMAR"}))
    observed = observed._replace(interrupts_remapped=True)
    facts = Facts(Platform.INTEL, False, Distribution(), (release,))
    desired = resolve(load_profile(profile, shipped_profiles()), CATALOGUE, facts, {})
    found = verify(observed, desired, CATALOGUE)
    assert (found.verdict, words in found.sentence) == (ACTIVE, True), (found.verdict, found.sentence)
