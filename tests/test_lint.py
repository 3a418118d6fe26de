# SPDX-License-Identifier: Apache-2.0
"""Lint: for each rule lines on which it fires and, next to them, lines on which it must not; and the command."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from trees import MemoryTree
from typer.testing import CliRunner

from iommuctl.arguments import DesiredArguments, Unwanted, Wanted, Watched
from iommuctl.cli.application import application
from iommuctl.cli.session import Session
from iommuctl.cmdline import Cmdline
from iommuctl.errors import IommuctlError, ProfileError
from iommuctl.facts import Distribution, Facts, KernelVersion, Platform, Runtime
from iommuctl.hostrules import HOST_RULES
from iommuctl.lint import Subject, Surroundings, lint
from iommuctl.plan import Finding, Severity
from iommuctl.rules import RULES
from iommuctl.shipped import shipped_catalogue
from iommuctl.surroundings import parse_bootconfig, read_surroundings

GOLDEN = Path(__file__).resolve().parent / "golden"
SCHEMA = Path(__file__).resolve().parent.parent / "iommuctl" / "schemas" / "lint.json"
CATALOGUE = shipped_catalogue()
ALL_RULES = (*RULES, *HOST_RULES)
E, W, I = Severity  # noqa: E741 - the tables below are read in columns

# rule, line, platform, kernel, severity of the finding or None where there is none
ROWS: tuple[tuple[str, str, str, str, Severity | None], ...] = (
    ("myth", "iommu=1", "", "", E),
    ("myth", "iommu=1 intel_iommu=on", "", "", W),
    ("myth", "iommu=1", "amd", "", W),
    ("myth", "iommu=1", "arm64", "", None),
    ("myth", "iommu=on", "intel", "", E),
    ("myth", "iommu=true", "x86", "", E),
    ("myth", "iommu=enabled", "intel", "", E),
    ("myth", "iommu=strict", "amd", "", E),
    ("myth", "iommu=strict iommu.strict=1", "amd", "", W),
    ("myth", "iommu=pt", "", "", None),
    ("myth", "intel_iommu=pt", "", "", E),
    ("myth", "intel_iommu=pt", "amd", "", None),
    ("myth", "intel_iommu=pt,on iommu=pt", "", "", W),
    ("myth", "intel_iommu=1", "intel", "", E),
    ("myth", "intel_iommu=enabled", "intel", "", E),
    ("myth", "intel_iommu=on,igfx-off", "intel", "", W),
    ("myth", "intel_iommu=on,igfx_off", "intel", "", None),
    ("myth", "amd_iommu=on", "", "", W),
    ("myth", "amd_iommu=1", "amd", "", W),
    ("myth", "amd_iommu=enable", "amd", "", W),
    ("myth", "amd_iommu=pt", "amd", "", W),
    ("myth", "amd_iommu=fullflush", "amd", "", None),
    ("unknown-token", "intel_iommu=sm-on", "intel", "", W),
    ("unknown-token", "intel_iommu=sm_on", "intel", "", None),
    ("unknown-token", "intel_iommu=on,,sm_on", "intel", "", None),
    ("unknown-token", "intel_iommu", "intel", "", W),
    ("unknown-token", "intel_iommu=", "intel", "", None),
    ("unknown-token", "amd_iommu=force-isolation", "intel", "", None),
    ("unknown-token", "intel_iommu=on,eager", "intel", "", W),
    ("unknown-token", "iommu=1", "", "", None),
    ("unknown-token", "pci=nomsi", "", "", None),
    ("sloppy-token", "intel_iommu=once", "", "", W),
    ("sloppy-token", "iommu=ptx", "", "", W),
    ("sloppy-token", "iommu=forcesac,memaper=3", "", "", None),
    ("sloppy-token", "intel_iommu=on=1", "", "", W),
    ("sloppy-token", "pci=disable_acs_redir=pci:8086:0", "", "", None),
    ("sloppy-token", "intel_iommu=on,sm_on", "", "", None),
    ("unknown-parameter", "iommu.pasthrough=1", "", "", E),
    ("unknown-parameter", "iommu.anything", "", "", E),
    ("unknown-parameter", "iommu.passthrough=1", "", "", None),
    ("unknown-parameter", "intel_iomu=on", "", "", E),
    ("unknown-parameter", "intel-iommu=on", "", "", None),
    ("unknown-parameter", "iommu_strict=1", "", "", E),
    ("unknown-parameter", "vfio-pci.id=10de:1b80", "", "", E),
    ("unknown-parameter", "iomem=relaxed noapic nolapic pcie_aspm=off kvm-amd.nested=1", "", "", None),
    ("unknown-parameter", "console=tty0 rd.driver.post=x foo.bar=1", "", "", None),
    ("bad-bool", "iommu.strict=maybe", "", "", E),
    ("bad-bool", "iommu.strict", "", "", E),
    ("bad-bool", "iommu.strict=1", "", "", None),
    ("bad-bool", "vfio.enable_unsafe_noiommu_mode", "", "", None),
    ("unportable-bool", "iommu.strict=true", "", "", W),
    ("unportable-bool", "iommu.strict=true", "", "5.15", W),
    ("unportable-bool", "iommu.strict=true", "", "5.19", None),
    ("unportable-bool", "iommu.strict=enable", "", "6.12", W),
    ("unportable-bool", "iommu.strict=on", "", "", None),
    ("wrong-platform", "iommu=pt", "arm64", "", W),
    ("wrong-platform", "iommu=pt", "amd", "", None),
    ("wrong-platform", "intel_iommu=on", "amd", "", I),
    ("wrong-platform", "amd_iommu=off", "intel", "", I),
    ("wrong-platform", "intel_iommu=on", "arm64", "", W),
    ("wrong-platform", "arm-smmu.disable_bypass=1", "intel", "", W),
    ("wrong-platform", "intel_iommu=on amd_iommu=off", "x86", "", None),
    ("wrong-platform", "intel_iommu=on arm-smmu.disable_bypass=1", "", "", None),
    ("deprecated", "intel_iommu=on,strict", "intel", "", W),
    ("deprecated", "intel_iommu=on,strict", "intel", "5.10", None),
    ("deprecated", "intel_iommu=on,forcedac", "intel", "6.1", W),
    ("deprecated", "amd_iommu=fullflush", "", "", W),
    ("deprecated", "amd_iommu=fullflush", "intel", "", None),
    ("deprecated", "s390_iommu=strict", "", "", W),
    ("deprecated", "nointremap", "", "", W),
    ("deprecated", "intremap=off", "", "", None),
    ("deprecated", "ivrs_ioapic[10]=00:14.0", "amd", "", W),
    ("deprecated", "ivrs_ioapic=10@00:14.0", "amd", "", None),
    ("no-effect", "iommu=force", "", "", I),
    ("no-effect", "iommu=soft", "", "5.19", I),
    ("no-effect", "iommu=soft", "", "5.17", None),
    ("no-effect", "iommu=usedac,pt", "", "", I),
    ("no-effect", "iommu=pt,usedac", "", "", None),
    ("no-effect", "iommu.prq_timeout=1", "", "", W),
    ("no-effect", "dom0-iommu=passthrough", "", "", W),
    ("no-effect", "iommu=pt", "", "", None),
    ("not-in-kernel", "intel_iommu=on,ecs_off", "intel", "6.1", W),
    ("not-in-kernel", "intel_iommu=on,ecs_off", "intel", "4.19", None),
    ("not-in-kernel", "iommu.strict=1", "intel", "5.12", W),
    ("not-in-kernel", "iommu.strict=1", "intel", "5.14", None),
    ("not-in-kernel", "iommu.strict=1", "intel", "5.12 6.1", I),
    ("not-in-kernel", "iommu.strict=1 intel_iommu=on,strict", "intel", "5.12", None),
    ("not-in-kernel", "iommu.strict=1", "arm64", "5.4", None),
    ("not-in-kernel", "arm-smmu-v3.disable_bypass=1", "arm64", "6.12", W),
    ("not-in-kernel", "arm-smmu-v3.disable_bypass=1", "arm64", "6.8", None),
    ("not-in-kernel", "amd_iommu=pgtbl_v2", "amd", "5.15", W),
    ("not-in-kernel", "amd_iommu=pgtbl_v2", "intel", "5.15", None),
    ("contradiction", "iommu=pt iommu.passthrough=0", "", "", E),
    ("contradiction", "iommu=pt iommu.passthrough=1", "", "", None),
    ("contradiction", "iommu=pt,nopt", "", "", E),
    ("contradiction", "intel_iommu=on intel_iommu=off", "intel", "", E),
    ("contradiction", "intel_iommu=on intel_iommu=off", "amd", "", None),
    ("contradiction", "iommu.strict=0 intel_iommu=strict", "intel", "", E),
    ("contradiction", "iommu.strict=0 amd_iommu=fullflush", "", "", E),
    ("contradiction", "iommu.strict=1 intel_iommu=strict", "", "", None),
    ("contradiction", "nointremap intremap=on", "", "", E),
    ("contradiction", "iommu=pt -- iommu=nopt", "", "", None),
    ("contradiction", "pci=noats pci=nomsi console=tty0 console=ttyS0", "", "", None),
    ("conflict", "iommu=off iommu=pt", "", "", E),
    ("conflict", "iommu=off intel_iommu=on", "intel", "", E),
    ("conflict", "iommu=off", "", "", None),
    ("conflict", "intel_iommu=off vfio-pci.ids=10de:1b80", "intel", "", E),
    ("conflict", "intel_iommu=off vfio-pci.ids=10de:1b80", "amd", "", None),
    ("conflict", "intel_iommu=on vfio-pci.ids=10de:1b80", "", "", None),
    ("conflict", "amd_iommu=force_isolation iommu.passthrough=1", "amd", "", E),
    ("conflict", "amd_iommu=force_isolation iommu.passthrough=0", "amd", "", None),
    ("conflict", "kvm-amd.sev_snp=1 iommu=pt", "amd", "", E),
    ("conflict", "kvm_amd.sev_snp=1 amd_iommu=pgtbl_v2", "", "", E),
    ("conflict", "kvm-amd.sev_snp=0 iommu=pt", "amd", "", None),
    ("duplicate", "vfio-pci.ids=1:2 vfio_pci.ids=3:4", "", "", W),
    ("duplicate", "vfio-pci.ids=1:2,3:4", "", "", None),
    ("duplicate", "intel_iommu=on quiet intel_iommu=on", "", "", W),
    ("duplicate", "intel_iommu=on intel_iommu=sm_on", "", "", None),
    ("duplicate", "nointremap nointremap", "", "", W),
    ("duplicate", "console=tty0 console=tty0 rd.driver.pre=a rd.driver.pre=a", "", "", None),
    ("mixed-spelling", "intel_iommu=on intel-iommu=sm_on", "", "", W),
    ("mixed-spelling", "intel-iommu=on intel-iommu=sm_on", "", "", None),
    ("unsafe", "vfio_iommu_type1.allow_unsafe_interrupts=1", "", "", W),
    ("unsafe", "vfio_iommu_type1.allow_unsafe_interrupts=0", "", "", None),
    ("unsafe", "iommufd.allow_unsafe_interrupts=Y", "", "", W),
    ("unsafe", "vfio.enable_unsafe_noiommu_mode=1", "", "", W),
    ("unsafe", "intremap=off", "", "", W),
    ("unsafe", "intremap=off intremap=on", "", "", None),
    ("unsafe", "intremap=nosid", "", "", W),
    ("unsafe", "pcie_acs_override=downstream,multifunction", "", "", W),
    ("unsafe", "pci=disable_acs_redir=0:1.0", "", "", W),
    ("unsafe", "pci=noats", "", "", None),
    ("unsafe", "arm-smmu.disable_bypass=0", "arm64", "", W),
    ("unsafe", "arm-smmu.disable_bypass=0", "intel", "", None),
    ("unsafe", "intel_iommu=on,tboot_noforce", "", "", W),
    ("unsafe", "vfio-pci.disable_denylist=1", "", "", W),
    ("unsafe", "iommu=soft", "", "6.1", None),
    ("behind-separator", "quiet -- iommu=pt", "", "", E),
    ("behind-separator", "-- vfio-pci.ids=1:2", "", "", W),
    ("behind-separator", "iommu=pt -- single", "", "", None),
    ("behind-separator", "--=1 iommu=pt", "", "", None),
    ("too-long", "x" * 2048, "", "", E),
    ("too-long", "x" * 2047, "", "", None),
    ("open-quote", 'a="b iommu=pt', "", "", W),
    ("open-quote", 'a="b c" iommu=pt', "", "", None),
)

DMAR = frozenset({"DMAR", "FACP"})
# rule, line, platform, what is known of the host, severity or None
HOST_ROWS: tuple[tuple[str, str, str, Surroundings, Severity | None], ...] = (
    ("vtd-not-enabled", "iommu=pt", "intel", Surroundings(vtd_default_on=False), W),
    ("vtd-not-enabled", "iommu=pt", "amd", Surroundings(vtd_default_on=False), None),
    ("vtd-not-enabled", "iommu=pt", "intel", Surroundings(), None),
    ("vtd-not-enabled", "iommu=pt", "intel", Surroundings(vtd_default_on=True), None),
    ("vtd-not-enabled", "intel_iommu=on iommu=pt", "intel", Surroundings(vtd_default_on=False), None),
    ("vtd-not-enabled", "quiet", "intel", Surroundings(vtd_default_on=False), None),
    ("myth", "iommu=1", "intel", Surroundings(vtd_default_on=False), E),
    ("myth", "iommu=1", "intel", Surroundings(vtd_default_on=True), W),
    ("myth", "iommu=pt", "intel", Surroundings(vtd_default_on=True), None),
    ("line-ignored", "quiet", "intel", Surroundings(ignores_loader=True), E),
    ("line-ignored", "quiet", "intel", Surroundings(ignores_loader=False), None),
    ("bootconfig-too-late", "", "", Surroundings(bootconfig=Cmdline.parse("iommu=pt")), E),
    ("bootconfig-too-late", "", "", Surroundings(bootconfig=Cmdline.parse("intel_iommu=on quiet")), None),
    ("xen-host", "", "", Surroundings(is_xen_host=True), W),
    ("xen-host", "", "", Surroundings(is_xen_host=False), None),
    ("guest", "iommu.strict=0", "intel", Surroundings(is_guest=True), W),
    ("guest", "iommu.strict=1", "intel", Surroundings(is_guest=True), None),
    ("guest", "iommu.strict=0", "intel", Surroundings(is_guest=False), None),
    ("firmware-off", "intel_iommu=on", "intel", Surroundings(tables=frozenset({"FACP"})), W),
    ("firmware-off", "intel_iommu=on", "intel", Surroundings(tables=DMAR), None),
    ("firmware-off", "iommu=pt", "amd", Surroundings(tables=DMAR), W),
    ("firmware-off", "quiet", "intel", Surroundings(tables=frozenset({"FACP"})), None),
    ("firmware-off", "intel_iommu=on", "intel", Surroundings(), None),
)


def subject(
    line: str,
    platform: str = "",
    kernels: str = "",
    desired: DesiredArguments | None = None,
    surroundings: Surroundings | None = None,
) -> Subject:
    versions = tuple(version for text in kernels.split() if (version := KernelVersion.parse(text)))
    return Subject(
        Cmdline.parse(line),
        CATALOGUE,
        Platform(platform) if platform else None,
        versions,
        desired,
        surroundings or Surroundings(),
    )


def severities(rule: str, linted: Subject) -> list[Severity]:
    return [one.severity for one in lint(linted, ALL_RULES) if one.rule == rule]


@pytest.mark.parametrize(("rule", "line", "platform", "kernels", "severity"), ROWS)
def test_rule_fires_where_it_must_and_nowhere_else(
    rule: str, line: str, platform: str, kernels: str, severity: Severity | None
) -> None:
    found = severities(rule, subject(line, platform, kernels))
    assert set(found) == ({severity} if severity else set())


@pytest.mark.parametrize(("rule", "line", "platform", "surroundings", "severity"), HOST_ROWS)
def test_host_rule_fires_where_it_must_and_nowhere_else(
    rule: str, line: str, platform: str, surroundings: Surroundings, severity: Severity | None
) -> None:
    found = severities(rule, subject(line, platform, surroundings=surroundings))
    assert found == ([severity] if severity else [])


def test_every_rule_has_a_row_that_fires_and_one_that_must_not() -> None:
    rows = [(row[0], row[4] is not None) for row in (*ROWS, *HOST_ROWS)]
    missing = {(rule.id, fires) for rule in ALL_RULES for fires in (True, False)} - set(rows)
    assert missing == set()
    assert {rule for rule, _ in rows} == {rule.id for rule in ALL_RULES}


def test_rules_are_a_registry_with_ids_summaries_and_sources() -> None:
    assert len({rule.id for rule in ALL_RULES}) == len(ALL_RULES)
    assert all(rule.summary and rule.source and rule.severity in Severity for rule in ALL_RULES)


def test_findings_are_whole_worst_first_and_stable() -> None:
    line = "vfio-pci.ids=1:2 iommu.pasthrough=1 intel_iommu=on,strict iommu=force vfio_pci.ids=2:3"
    expected = (
        Finding(
            "unknown-parameter",
            E,
            "no such parameter; the kernel ignores it without a message",
            "iommu.pasthrough=1",
            "write iommu.passthrough=1 instead",
        ),
        Finding(
            "deprecated",
            W,
            "intel_iommu=strict is a deprecated spelling of iommu.strict=1 since 5.15",
            "intel_iommu=on,strict",
            "write iommu.strict=1 instead",
        ),
        Finding(
            "duplicate",
            W,
            "only the last vfio-pci.ids= counts, this one has no effect",
            "vfio-pci.ids=1:2",
            "write one vfio-pci.ids=1:2,2:3",
        ),
        Finding(
            "mixed-spelling",
            W,
            "vfio-pci.ids and vfio_pci.ids are one parameter: - and _ are equal in names",
            "vfio_pci.ids",
            "write vfio-pci.ids throughout",
        ),
        Finding(
            "no-effect",
            I,
            "read by the AMD GART driver only: no effect on VT-d and AMD-Vi, whatever checklists say",
            "iommu=force",
            "remove 'force'",
        ),
    )
    assert lint(subject(line, "intel"), ALL_RULES) == expected
    assert lint(subject(line, "intel"), reversed(ALL_RULES)) == expected


@pytest.mark.parametrize(
    ("line", "winner"),
    [
        ("iommu=pt iommu.passthrough=0", "iommu.passthrough=0"),
        ("iommu.passthrough=0 iommu=pt", "iommu=pt"),
        ("intel_iommu=strict iommu.strict=0", "intel_iommu=strict"),
        ("iommu.strict=0 intel_iommu=strict", "intel_iommu=strict"),
    ],
)
def test_a_contradiction_names_what_takes_effect(line: str, winner: str) -> None:
    found = [one for one in lint(subject(line, "intel"), RULES) if one.rule == "contradiction"]
    assert [(one.parameter, f"{winner!r} takes effect" in one.message) for one in found] == [(winner, True)]


@pytest.mark.parametrize(
    ("rule", "line", "platform", "kernel", "hint"),
    [
        ("not-in-kernel", "iommu.strict=1", "intel", "5.4", "write intel_iommu=strict beside it"),
        ("not-in-kernel", "iommu.strict=y", "amd", "5.4", "write amd_iommu=fullflush beside it"),
        ("not-in-kernel", "iommu.passthrough=1", "intel", "4.19", "write iommu=pt beside it"),
        ("not-in-kernel", "iommu.strict=0", "intel", "5.4", None),
        ("not-in-kernel", "amd_iommu=pgtbl_v2", "amd", "5.15", None),
        ("wrong-platform", "iommu=pt", "arm64", "", "write iommu.passthrough=1 instead of iommu=pt"),
        ("wrong-platform", "iommu=pt iommu.passthrough=1", "arm64", "", "remove iommu=pt"),
        ("wrong-platform", "intel_iommu=on", "arm64", "", "remove intel_iommu=on"),
        ("deprecated", "intel_iommu=on,strict", "intel", "6.1", "write iommu.strict=1 instead"),
        ("deprecated", "intel_iommu=on,strict iommu.strict=1", "intel", "6.1", "remove intel_iommu=strict"),
        ("deprecated", "nointremap intremap=off", "intel", "6.1", "remove nointremap"),
        ("behind-separator", "-- iommu=pt", "", "", "write iommu=pt before --, or remove it"),
        ("conflict", "iommu=pt amd_iommu=force_isolation", "amd", "", "remove amd_iommu=force_isolation or iommu=pt"),
    ],
)
def test_a_hint_names_what_can_be_written(rule: str, line: str, platform: str, kernel: str, hint: str | None) -> None:
    found = [one for one in lint(subject(line, platform, kernel), RULES) if one.rule == rule]
    assert [one.hint for one in found] == [hint]


def isolating(*watched: Watched) -> DesiredArguments:
    wanted = (Wanted("iommu.passthrough", "0", "r"), Wanted("iommu.strict", "1", "r"))
    return DesiredArguments("p", Platform.INTEL, wanted, (Unwanted("iommu", "pt", "r"),), (), watched)


def test_unsafe_is_an_error_under_an_isolating_profile() -> None:
    assert severities("unsafe", subject("intremap=nosid", "intel", desired=isolating())) == [E]


def test_what_the_profile_watches_itself_is_not_judged_twice() -> None:
    watched = Watched("intel_iommu", "igfx_off", Finding("igfx-bypass", W, "m"))
    assert severities("unsafe", subject("intel_iommu=on,igfx_off", "intel", desired=isolating(watched))) == []


def test_what_a_profile_wants_is_neither_unsafe_nor_too_new() -> None:
    off = DesiredArguments("p", Platform.INTEL, (Wanted("intel_iommu", "off", "r"),), ())
    assert severities("unsafe", subject("intel_iommu=off", "intel", desired=off)) == []
    assert severities("not-in-kernel", subject("iommu.strict=1", "intel", "5.4", isolating())) == [I]


def test_a_myth_that_a_profile_settles_is_no_error() -> None:
    assert severities("myth", subject("iommu=strict", "intel", desired=isolating())) == [W]


# What the real command lines of the corpus hold, each reviewed: none is a false alarm.
REVIEWED = {
    # AMD-Vi is on by itself; the value was never one.
    ("myth", "amd_iommu=on"),
    # A patch of the linux-zen and linux-vfio kernels, on hosts that pass GPUs through.
    ("unsafe", "pcie_acs_override=downstream"),
    ("unsafe", "pcie_acs_override=downstream,multifunction"),
}


def corpus_lines(corpus: Path) -> set[str]:
    with (corpus / "EFFECTIVE.tsv").open(encoding="utf-8", newline="") as table:
        rows = csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE)
        lines = {json.loads(row["dash_effective"]) for row in rows if row["dash_effective"]}
    for path in (corpus / "kernel-cmdline").iterdir():
        lines |= set(path.read_text("utf-8", "surrogateescape").splitlines())
    for path in (corpus / "bls").iterdir():
        texts = path.read_text("utf-8", "surrogateescape").splitlines()
        lines |= {line.split(None, 1)[1] for line in texts if line.startswith("options ")}
    return lines


@pytest.mark.corpus
def test_real_command_lines_raise_no_false_alarm(corpus: Path) -> None:
    lines = corpus_lines(corpus)
    assert len(lines) > 120
    found = {(one.rule, one.parameter) for line in lines for one in lint(subject(line), RULES)}
    assert found == REVIEWED


@pytest.mark.corpus
@pytest.mark.parametrize("platform", Platform)
def test_real_command_lines_hold_no_error_on_any_platform(corpus: Path, platform: Platform) -> None:
    errors = {
        (one.rule, one.parameter)
        for line in corpus_lines(corpus)
        for one in lint(subject(line, platform), RULES)
        if one.severity is E
    }
    assert errors == set()


def test_bootconfig_is_read_below_kernel_only() -> None:
    text = b'kernel.iommu = "pt"\nkernel.quiet\nkernel.intel_iommu = on\ninit.kernel.x = "1"\n'
    assert str(parse_bootconfig(text)) == "iommu=pt intel_iommu=on"


def release_facts(runtime: Runtime | None = None) -> Facts:
    return Facts(Platform.INTEL, False, Distribution("debian"), ("6.1.0-1-amd64", "6.12.1-1-amd64"), runtime)


VTD = "CONFIG_INTEL_IOMMU=y\n"
VTD_ON = f"{VTD}CONFIG_INTEL_IOMMU_DEFAULT_ON=y\n"


@pytest.mark.parametrize(
    ("older", "newer", "vtd_default_on", "ignores_loader"),
    [
        (VTD_ON, VTD_ON, True, False),
        (VTD_ON, VTD, False, False),
        (f"{VTD}CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF=y\n", VTD_ON, True, False),
        ("CONFIG_ARM_SMMU_V3=y\nCONFIG_CMDLINE_FORCE=y\n", "", None, True),
        (f"{VTD_ON}# CONFIG_CMDLINE_OVERRIDE is not set\n", VTD_ON, True, False),
        (f"{VTD_ON}CONFIG_CMDLINE_OVERRIDE=y\n", VTD_ON, True, True),
        ("", "", None, None),
    ],
)
def test_what_the_installed_kernels_were_configured_to_do(
    older: str, newer: str, vtd_default_on: bool | None, ignores_loader: bool | None
) -> None:
    files = {"/boot/config-6.1.0-1-amd64": older, "/lib/modules/6.12.1-1-amd64/config": newer}
    tree = MemoryTree.of({path: text for path, text in files.items() if text})
    expected = Surroundings(vtd_default_on=vtd_default_on, ignores_loader=ignores_loader)
    assert read_surroundings(tree, release_facts()) == expected


def test_the_running_system_is_asked_for_its_firmware_hypervisor_and_boot_configuration() -> None:
    host = {
        "/sys/firmware/acpi/tables/DMAR": "",
        "/sys/firmware/acpi/tables/FACP": "",
        "/proc/cpuinfo": "processor : 0\nflags\t\t: fpu vme hypervisor lahf_lm\n",
        "/proc/bootconfig": 'kernel.iommu = "pt"\n',
    }
    expected = Surroundings(
        tables=frozenset({"DMAR", "FACP"}),
        is_guest=True,
        is_xen_host=False,
        bootconfig=Cmdline.parse("iommu=pt"),
    )
    assert read_surroundings(MemoryTree.of(host), release_facts(Runtime("quiet"))) == expected


def test_a_system_without_acpi_tells_nothing_of_its_firmware() -> None:
    assert read_surroundings(MemoryTree.of({}), release_facts(Runtime("quiet"))).tables is None


WORDS = st.sampled_from(
    [
        *(definition.name for definition in CATALOGUE.definitions),
        *("=", ",", "-", "--", " ", " ", '"', "on", "off", "pt", "1", "0", "x", "iommu.", "[", "\udcff"),
    ]
)


@given(st.lists(WORDS, max_size=12).map("".join), st.sampled_from(Platform), st.sampled_from(["", "4.15", "6.1 7.1"]))
def test_any_line_can_be_linted_and_findings_are_sorted(line: str, platform: Platform, kernels: str) -> None:
    found = lint(subject(line, platform, kernels, isolating(), Surroundings(tables=DMAR, is_guest=True)), ALL_RULES)
    order = list(Severity)
    keys = [(order.index(one.severity), one.rule, one.parameter or "", one.message) for one in found]
    assert keys == sorted(set(keys))


def run(*arguments: str) -> tuple[int, str]:
    """Run a command in this process; give its exit code and stdout."""
    result = CliRunner().invoke(application, arguments, obj=Session())
    if isinstance(result.exception, IommuctlError):
        raise result.exception
    return result.exit_code, result.stdout


def test_a_text_is_linted_and_errors_give_exit_code_1() -> None:
    code, text = run("lint", "--cmdline", "quiet iommu.pasthrough=1")
    assert (code, text.splitlines()) == (
        1,
        [
            "error[unknown-parameter] iommu.pasthrough=1: no such parameter; the kernel ignores it without a message",
            "    hint: write iommu.passthrough=1 instead",
            "1 error in 1 command line",
        ],
    )


def test_a_clean_text_has_no_finding() -> None:
    assert run("lint", "--cmdline", "intel_iommu=on iommu=pt") == (0, "nothing found in 1 command line\n")


def test_json_of_a_text() -> None:
    code, text = run("lint", "--cmdline", "iommu=pt", "--platform", "arm64", "--kernel", "6.1", "--json")
    assert (code, json.loads(text)) == (
        0,
        {
            "schema_version": 1,
            "command": "lint",
            "platform": "arm64",
            "lines": [{"where": "the text", "cmdline": "iommu=pt", "kernels": ["6.1"]}],
            "findings": [
                {
                    "rule": "wrong-platform",
                    "severity": "warning",
                    "parameter": "iommu=pt",
                    "message": "no driver of arm64 acts on iommu",
                    "hint": "write iommu.passthrough=1 instead of iommu=pt",
                    "where": ["the text"],
                }
            ],
        },
    )


def test_a_message_with_bytes_that_are_no_text_is_json_all_the_same() -> None:
    _, document = run("lint", "--cmdline", "intel_iommu=on,\udcff intel_iommu=on,\udcff", "--json")
    messages = [one["message"] for one in json.loads(document)["findings"] if one["rule"] == "duplicate"]
    assert "intel_iommu=\\xff stands on the line more than once" in messages


def test_a_hostile_text_reaches_neither_terminal_nor_json_raw() -> None:
    text = "iommu.\x1b[31m\udcff=1"
    _, shown = run("lint", "--cmdline", text)
    assert "\x1b" not in shown
    _, document = run("lint", "--cmdline", text, "--json")
    assert json.loads(document)["findings"][0]["parameter"] == "iommu.\x1b[31m\\xff=1"


@pytest.mark.parametrize(
    "profile", ["passthrough-perf", "strict-isolation", "translated-lazy", "hardened", "kernel-default"]
)
def test_a_shipped_profile_makes_lines_without_a_finding(profile: str) -> None:
    assert run("lint", profile) == (0, "nothing found in 3 command lines\n")


def test_a_profile_is_judged_by_what_it_asks_for(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nsummary = "s"\n[[set]]\nparameter = "intel_iommu=pt"\nreason = "r"\n')
    code, text = run("lint", str(file), "--json")
    worst = json.loads(text)["findings"][0]
    assert (code, worst["rule"], worst["severity"], worst["where"]) == (1, "myth", "error", ["mine on intel"])


def test_what_a_profile_wants_is_no_excuse_where_the_profile_itself_is_linted(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nsummary = "s"\n[[set]]\nparameter = "intremap=off"\nreason = "r"\n')
    code, text = run("lint", str(file), "--platform", "intel", "--json")
    findings = [(one["rule"], one["severity"]) for one in json.loads(text)["findings"]]
    assert (code, findings) == (0, [("unsafe", "warning")])


def test_another_root_is_linted_line_by_line(sample_host: Path) -> None:
    grub = sample_host / "etc/default/grub"
    grub.write_text(grub.read_text().replace('GRUB_CMDLINE_LINUX=""', 'GRUB_CMDLINE_LINUX="iommu=1"'))
    code, text = run("lint", "--root", str(sample_host), "--json")
    report = json.loads(text)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
    assert (code, len(report["lines"])) == (1, 4)
    (finding,) = report["findings"]
    assert (finding["rule"], finding["where"]) == ("myth", ["the next kernel (/etc/default/grub)"])
    assert "    on: the next kernel (/etc/default/grub)\n" in run("lint", "--root", str(sample_host))[1]


def test_kernel_configuration_of_another_root_is_known(sample_host: Path) -> None:
    grub = sample_host / "etc/default/grub"
    grub.write_text(grub.read_text().replace('GRUB_CMDLINE_LINUX=""', 'GRUB_CMDLINE_LINUX="iommu=pt"'))
    for kernel in (sample_host / "boot").glob("vmlinuz-*"):
        release = kernel.name.removeprefix("vmlinuz-")
        config = sample_host / "boot" / f"config-{release}"
        config.write_text("CONFIG_INTEL_IOMMU=y\n# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n")
    code, text = run("lint", "--root", str(sample_host), "--platform", "intel")
    assert (code, "warning[vtd-not-enabled] iommu=pt" in text) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lint", "strict-isolation", "--cmdline", "x"), 2),
        (("lint", "--cmdline", "x", "--kernel", "new"), 2),
        (("lint", "--cmdline", "x", "--platform", "vax"), 2),
    ],
)
def test_a_request_that_makes_no_sense_is_a_usage_error(arguments: tuple[str, ...], said: int) -> None:
    assert run(*arguments)[0] == said


def test_apply_stops_at_an_error_in_the_result_unless_it_is_forced(sample_host: Path) -> None:
    grub = sample_host / "etc/default/grub"
    grub.write_text(grub.read_text().replace('GRUB_CMDLINE_LINUX=""', 'GRUB_CMDLINE_LINUX="iommu.pasthrough=1"'))
    arguments = ("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run", "--json")
    with pytest.raises(ProfileError) as caught:
        run(*arguments)
    assert (caught.value.code, caught.value.brief, caught.value.details, caught.value.hint) == (
        65,
        "'iommu.pasthrough=1': no such parameter; the kernel ignores it without a message",
        ("mend: write iommu.passthrough=1 instead",),
        "mend it, or go on in spite of it: --force unknown-parameter",
    )
    code, text = run(*arguments, "--force", "unknown-parameter")
    assert code == 0
    rules = [(one["rule"], one["parameter"]) for one in json.loads(text)["findings"]]
    assert ("unknown-parameter", "iommu.pasthrough=1") in rules


def test_apply_of_a_clean_host_finds_nothing(sample_host: Path) -> None:
    code, text = run("apply", "strict-isolation", "--root", str(sample_host), "--dry-run", "--json")
    lint_rules = {rule.id for rule in ALL_RULES}
    assert (code, [one for one in json.loads(text)["findings"] if one["rule"] in lint_rules]) == (0, [])


def apply_findings(host: Path, profile: str) -> list[str]:
    code, text = run("apply", profile, "--root", str(host), "--dry-run", "--json")
    assert code == 0
    return [one["rule"] for one in json.loads(text)["findings"] if one["rule"] in {rule.id for rule in ALL_RULES}]


@pytest.mark.parametrize(
    ("leftover", "found"),
    [
        ("intremap=off", []),  # the profile takes it away, so the result does not have it
        ("iommu=force", []),  # of no effect: nothing that an apply has to speak of
        ("iommu=1", ["myth"]),
    ],
)
def test_apply_judges_what_it_would_leave(sample_host: Path, leftover: str, found: list[str]) -> None:
    grub = sample_host / "etc/default/grub"
    grub.write_text(grub.read_text().replace('GRUB_CMDLINE_LINUX=""', f'GRUB_CMDLINE_LINUX="{leftover}"'))
    assert apply_findings(sample_host, "strict-isolation") == found


def test_apply_does_not_judge_a_menu_that_is_generated_anew(sample_host: Path) -> None:
    menu = sample_host / "boot/grub/grub.cfg"
    menu.write_text(menu.read_text().replace(" ro ", " ro iommu.pasthrough=1 "))
    assert "iommu.pasthrough=1" in menu.read_text()
    assert apply_findings(sample_host, "strict-isolation") == []


@pytest.mark.parametrize("name", ["opensuse-sdbootutil", "pop-os"])
def test_apply_does_not_judge_an_entry_that_is_still_to_be_written(name: str, tmp_path: Path) -> None:
    """What stops an apply would otherwise be the very parameter that it takes away."""
    before = GOLDEN / "systemd-boot" / name / "before"
    host = Path(shutil.copytree(before, tmp_path / "host"))
    for path in host.rglob("*"):
        if path.is_file() and b"iommu=soft" in path.read_bytes():
            path.write_bytes(path.read_bytes().replace(b"iommu=soft", b"intremap=off"))
    code, text = run("apply", "strict-isolation", "--root", str(host), "--platform", "intel", "--dry-run")
    assert code == 0, text
    assert "unsafe" not in text
