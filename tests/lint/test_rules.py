# SPDX-License-Identifier: Apache-2.0
"""Lint: for each rule lines on which it fires and, next to them, lines on which it must not."""

import csv
import json
from pathlib import Path

import pytest
from linted import ALL_RULES, isolating, subject

from iommuctl.facts import Platform
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.lint.engine import Subject, lint
from iommuctl.lint.line_rules import RULES
from iommuctl.profile.desired import DesiredArguments, Wanted, Watched

E, W, I = Severity  # noqa: E741 - the tables below are read in columns

# rule, line, platform, kernel, severity of the finding or None where there is none
ROWS: tuple[tuple[str, str, str, str, Severity | None], ...] = (
    ("myth", "iommu=1", "", "", E),
    ("myth", "iommu=1 intel_iommu=on", "", "", E),
    ("myth", "iommu=2", "intel", "", E),
    ("myth", "iommu=2", "amd", "", E),
    ("myth", "iommu=1", "amd", "", E),
    ("myth", "iommu=0x2 intel_iommu=on", "intel", "", E),
    ("myth", "iommu=true iommu.passthrough=0", "amd", "", E),
    ("myth", "iommu=1", "arm64", "", None),
    ("myth", "iommu=on", "intel", "", E),
    ("myth", "iommu=true", "x86", "", E),
    ("myth", "iommu=enabled", "intel", "", E),
    ("myth", "iommu=strict", "amd", "", E),
    ("myth", "iommu=strict iommu.strict=1", "amd", "", E),
    ("myth", "iommu=pt", "", "", None),
    ("myth", "intel_iommu=pt", "", "", E),
    ("myth", "intel_iommu=pt", "amd", "", None),
    ("myth", "intel_iommu=pt,on iommu=pt", "", "", E),
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
    ("sloppy-token", "video=efifb:off,vesafb:off", "", "", W),
    ("sloppy-token", "video=efifb:off", "", "", None),
    ("sloppy-token", "pci=disable_acs_redir=pci:8086:0", "", "", None),
    ("sloppy-token", "intel_iommu=on,sm_on", "", "", None),
    ("unknown-parameter", "kvm-intel.eptad=1", "", "", None),
    ("unknown-parameter", "isolcpu=2", "", "", None),
    ("bad-bool", "kvm_amd.nested=2", "amd", "", None),
    ("bad-bool", "kvm_amd.avic=auto", "amd", "7.1", None),
    ("bad-bool", "kvm_amd.avic=auto", "amd", "6.12", E),
    ("conflict", "kvm_amd.sev_snp=1 iommu=pt", "amd", "7.3", W),
    ("conflict", "kvm_amd.sev_snp=1 iommu=pt", "amd", "6.12", E),
    ("conflict", "kvm_amd.sev_snp=1 amd_iommu=off", "amd", "7.3", E),
    ("not-in-kernel", "intel_iommu=on,relax_rmrr", "intel", "6.8.12-43-pve", None),
    ("not-in-kernel", "intel_iommu=on,relax_rmrr", "intel", "", I),
    ("not-in-kernel", "intel_iommu=on,relax_rmrr", "intel", "6.1.0-50-amd64", W),
    ("not-in-kernel", "intremap=posted_msi", "intel", "6.12.0-55.el10_0", W),
    ("not-in-kernel", "iommu.strict=1", "amd", "5.4.0-150-generic", I),
    ("not-in-kernel", "intel_iommu=on,nobounce", "intel", "5.10", None),
    ("not-in-kernel", "amd_iommu=pgtbl_v2", "amd", "5.14.0-570.el9", None),
    ("not-in-kernel", "intel_iommu=on iommu=nopt", "intel", "4.18.0-553.el8_10", None),
    ("unsafe", "intel_iommu=on,relax_rmrr", "intel", "", W),
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
    ("vtd-not-enabled", "iommu=pt", "intel", "", W),
    ("vtd-not-enabled", "iommu=pt", "x86", "", W),
    ("vtd-not-enabled", "iommu=pt", "", "", I),
    ("vtd-not-enabled", "iommu=pt", "amd", "", None),
    ("vtd-not-enabled", "iommu.passthrough=0 iommu.strict=1", "intel", "", W),
    ("vtd-not-enabled", "intel_iommu=strict", "intel", "", W),
    ("vtd-not-enabled", "vfio-pci.ids=10de:1b80", "intel", "", W),
    ("vtd-not-enabled", "iommu=pt", "intel", "5.14.0-570.el9_6", W),
    ("vtd-not-enabled", "iommu=pt", "intel", "6.18.3-200.fc44.x86_64", W),
    ("vtd-not-enabled", "iommu=pt", "intel", "6.6.0-custom", W),
    ("vtd-not-enabled", "iommu=pt", "intel", "6.1.0-50-amd64", None),
    ("vtd-not-enabled", "iommu=pt", "intel", "5.15.0-100.el9uek", None),
    ("vtd-not-enabled", "iommu=pt", "intel", "6.1.0-50-amd64 5.14.0-570.el9_6", W),
    ("vtd-not-enabled", "intel_iommu=on iommu=pt", "intel", "5.14.0-570.el9_6", None),
    ("vtd-not-enabled", "intel_iommu=off iommu=pt", "intel", "", None),
    ("vtd-not-enabled", "iommu=1", "intel", "", None),
    ("vtd-not-enabled", "quiet", "intel", "", None),
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
    ("trial-helpers", "quiet iommuctl.trial=20261128-090457-ab12cd panic=10", "", "", W),
    ("trial-helpers", "quiet panic=10 rd.shell=0 rd.emergency=reboot", "", "", None),
    ("trial-helpers", "quiet -- iommuctl.trial=x", "", "", None),
    ("choice-malformed", "quiet iommuctl.vfio=0000:01:00.0", "", "", E),
    ("choice-malformed", "iommuctl.vfio=0000:01:00.0@10de:2484 iommuctl.vfio=01:00.0@10de:2484", "", "", E),
    ("choice-malformed", "iommuctl.vfio=x iommuctl.vfio=0000:01:00.0@10de:2484,0000:01:00.1@10de:228b", "", "", None),
    ("choice-malformed", "quiet -- iommuctl.vfio=x", "", "", None),
    ("open-quote", 'a="b c" iommu=pt', "", "", None),
)


def severities(rule: str, linted: Subject) -> list[Severity]:
    return [one.severity for one in lint(linted, ALL_RULES) if one.rule == rule]


@pytest.mark.parametrize(("rule", "line", "platform", "kernels", "severity"), ROWS)
def test_rule_fires_where_it_must_and_nowhere_else(
    rule: str, line: str, platform: str, kernels: str, severity: Severity | None
) -> None:
    found = severities(rule, subject(line, platform, kernels))
    assert set(found) == ({severity} if severity else set())


def test_every_rule_has_a_row_that_fires_and_one_that_must_not() -> None:
    rows = [(row[0], row[4] is not None) for row in ROWS]
    missing = {(rule.id, fires) for rule in RULES for fires in (True, False)} - set(rows)
    assert missing == set()
    assert {rule for rule, _ in rows} == {rule.id for rule in RULES}


def test_rules_are_a_registry_with_ids_summaries_and_sources() -> None:
    assert len({rule.id for rule in ALL_RULES}) == len(ALL_RULES)
    assert all(rule.source and rule.severity in Severity for rule in ALL_RULES)


def test_findings_are_whole_worst_first_and_stable() -> None:
    line = "vfio-pci.ids=1:2 iommu.pasthrough=1 intel_iommu=on,strict iommu=force vfio_pci.ids=2:3"
    expected = (
        Finding(
            Rule.UNKNOWN_PARAMETER,
            E,
            "no such parameter; the kernel ignores it without a message",
            "iommu.pasthrough=1",
            "write iommu.passthrough=1 instead",
        ),
        Finding(
            Rule.DEPRECATED,
            W,
            "intel_iommu=strict is a deprecated spelling of iommu.strict=1 since 5.15",
            "intel_iommu=on,strict",
            "write iommu.strict=1 instead",
        ),
        Finding(
            Rule.DUPLICATE,
            W,
            "only the last vfio-pci.ids= counts, this one has no effect",
            "vfio-pci.ids=1:2",
            "write one vfio-pci.ids=1:2,2:3",
        ),
        Finding(
            Rule.MIXED_SPELLING,
            W,
            "vfio-pci.ids and vfio_pci.ids are one parameter: - and _ are equal in names",
            "vfio_pci.ids",
            "write vfio-pci.ids throughout",
        ),
        Finding(
            Rule.NO_EFFECT,
            I,
            (
                "read by AMD's old GART driver only: no effect on VT-d and AMD-Vi, whatever checklists say (rule R7 of "
                "ANSSI's guide for Linux asks for it)"
            ),
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
    ("line", "platform", "bounds"),
    [
        ("iommu.strict=1", "intel", "upstream does from 5.14 on"),
        ("iommu.strict=1", "arm64", "upstream does from 4.20 on"),
        ("iommu.strict=1", "", "on arm64 upstream does from 4.20 on; on x86 upstream does from 5.14 on"),
        ("iommu.passthrough=1", "amd", "upstream does from 5.4 on"),
        ("intel_iommu=on,nobounce", "intel", "upstream does from 5.4 to 5.10"),
    ],
)
def test_what_is_not_known_is_told_with_the_bounds_of_the_machines_architecture(
    line: str, platform: str, bounds: str
) -> None:
    of_an_unknown_line = "4.19.90-2312.1.0.0255.oe2003sp4"
    messages = [one.message for one in lint(subject(line, platform, of_an_unknown_line), RULES)]
    assert [one for one in messages if "is not known: " in one and one.endswith(f"is not known: {bounds}")]


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


def test_unsafe_is_an_error_under_an_isolating_profile() -> None:
    assert severities("unsafe", subject("intremap=nosid", "intel", desired=isolating())) == [E]


def test_what_the_profile_watches_itself_is_not_judged_twice() -> None:
    watched = Watched("intel_iommu", "igfx_off", Finding(Rule.IGFX_BYPASS, W, "m"))
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
    ("not-in-kernel", "pcie_acs_override=downstream"),
    ("not-in-kernel", "pcie_acs_override=downstream,multifunction"),
    ("unsafe", "pcie_acs_override=downstream"),
    ("unsafe", "pcie_acs_override=downstream,multifunction"),
    ("vtd-not-enabled", "iommu=pt"),
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
