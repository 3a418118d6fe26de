# SPDX-License-Identifier: Apache-2.0
"""Verify and status of what is kept next to a profile: whether the running kernel was started with it."""

from dataclasses import replace
from pathlib import Path

import pytest
from invoked import invoke, report
from kernelhosts import INTEL

from iommuctl.host.root import Root

PASSTHROUGH = "root=/dev/sda1 ro intel_iommu=on iommu=pt"
HUGE = "hugepagesz=1G hugepages=2 hugepagesz=2M hugepages=64"
WORDS = ("--platform", "intel", "--regenerate", "never")


def adding(text: str, option: str = "--add") -> tuple[str, ...]:
    return tuple(word for one in text.split() for word in (option, one))


def now_running(sample_host: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replace(INTEL, cmdline=line, types=dict.fromkeys(INTEL.types, "identity")).write(sample_host)
    monkeypatch.setattr(Root, "is_running_system", property(lambda _: True))


@pytest.mark.parametrize(
    ("asked", "line", "verdict", "detail"),
    [
        (adding("nosmt"), f"{PASSTHROUGH} nosmt", "active", "is kept next to the profile: nosmt"),
        (adding("nosmt"), PASSTHROUGH, "not_applied", "next to the profile: 'nosmt' is missing"),
        (adding("test="), PASSTHROUGH, "not_applied", "next to the profile: 'test=' is missing"),
        (adding("test="), f"{PASSTHROUGH} test=", "active", "is kept next to the profile: test="),
        (adding("a=1"), f"{PASSTHROUGH} a=2", "not_applied", "next to the profile: 'a=1' is missing"),
        (adding("intel_iommu=sm_on"), f"{PASSTHROUGH} nosmt", "not_applied", "sm_on"),
        (adding("intel_iommu=sm_on"), PASSTHROUGH.replace("=on", "=on,sm_on"), "active", "intel_iommu=sm_on"),
        (adding(HUGE), f"{PASSTHROUGH} {HUGE}", "active", HUGE.replace(" ", ", ")),
        (adding(HUGE), f"{PASSTHROUGH} hugepagesz=2M hugepages=64 hugepagesz=1G hugepages=2", "not_applied", "next to"),
        (adding("console=tty0 console=ttyS0"), f"{PASSTHROUGH} console=tty0", "not_applied", "'console=ttyS0'"),
        (adding("quiet", "--remove"), PASSTHROUGH, "active", "is kept next to the profile: without quiet"),
        (adding("quiet", "--remove"), f"{PASSTHROUGH} quiet", "not_applied", "next to the profile: 'quiet' is"),
    ],
    ids=lambda value: "+".join(value[1::2]) if isinstance(value, tuple) else None,
)
def test_what_is_kept_next_to_a_profile_is_looked_for_on_the_running_line(
    asked: tuple[str, ...],
    line: str,
    verdict: str,
    detail: str,
    sample_host: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert invoke(sample_host, "apply", "passthrough-perf", *asked, *WORDS)[0] == 0
    now_running(sample_host, line, monkeypatch)
    code, found = report(sample_host, "verify", "verify", "--platform", "intel")
    checks = found["checks"]
    assert isinstance(checks, list)
    (check,) = [one for one in checks if one["name"] == "beside-profile"]
    assert (found["verdict"], code, detail in check["detail"]) == (verdict, int(verdict != "active"), True), check
    effective = report(sample_host, "status", "status", "--platform", "intel", "--backend", "grub2")[1]["effective"]
    assert isinstance(effective, dict)
    assert effective["verdict"] == verdict
    # A profile that is named is compared alone.
    named = report(sample_host, "verify", "verify", "passthrough-perf", "--platform", "intel")[1]
    assert (named["verdict"], "beside-profile" in str(named["checks"])) == ("active", False)


@pytest.mark.parametrize(
    ("line", "verdict", "by"), [("ro nosmt", "active", "command_line"), ("ro", "not_applied", None)]
)
def test_what_is_kept_next_to_no_profile_is_verified_by_itself(
    line: str, verdict: str, by: str | None, sample_host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoke(sample_host, "apply", "none", "--add", "nosmt", *WORDS)[0] == 0
    now_running(sample_host, line, monkeypatch)
    found = report(sample_host, "verify", "verify", "--platform", "intel")[1]
    assert (found["profile"], found["verdict"], found["by"], "nosmt" in str(found["sentence"])) == (
        "none",
        verdict,
        by,
        True,
    )
