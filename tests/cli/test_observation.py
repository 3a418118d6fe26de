# SPDX-License-Identifier: Apache-2.0
"""The commands that look at the running kernel, on trees that stand for one."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from invoked import invoke, report
from kernelhosts import AMD_PASID, FIRMWARE_OFF, INTEL, write
from project import PROJECT
from pytest_mock import MockerFixture
from runninghost import run_in, running

from iommuctl import __version__
from iommuctl.cli.output.metrics import metrics_text
from iommuctl.host.root import Root
from iommuctl.running.verdict import Verdict, Verification

__all__ = ["running"]  # the fixture


@pytest.mark.parametrize("command", ["verify", "groups", "check"])
def test_another_root_has_no_running_kernel(sample_host: Path, command: str) -> None:
    arguments = (command, "strict-isolation") if command == "verify" else (command,)
    assert invoke(sample_host, *arguments) == (2, f"{command} needs the running system")


@pytest.mark.usefixtures("running")
def test_verify_of_an_active_profile(tmp_path: Path) -> None:
    code, text = invoke(AMD_PASID.write(tmp_path), "verify", "strict-isolation", "--platform", "amd")
    assert (code, text) == (
        0,
        """\
result  what                 found
pass    cmdline              the running kernel was started with the parameters of the profile
pass    kernel-version       kernel 6.12 (debian) reads what its line says of the profile
pass    kernel-config        nothing in /boot/config-6.12.107+deb13-amd64 speaks against it
pass    environment          no hypervisor shows
pass    firmware-tables      the firmware tells of an IOMMU: IVRS
pass    units                ivhd0 active
pass    group-types          promised DMA, found 3 DMA, 1 identity; 1 otherwise by the kernel's own rules
pass    ungrouped-devices    every device that can start a transfer is in a group
pass    interrupt-remapping  interrupts go through the IOMMU (IR- in /proc/interrupts)
group 3 is identity: AMD leaves devices with PASID untranslated without force_isolation (0000:03:00.0)

active: the running kernel does what 'strict-isolation' promises: 3 of 4 groups are DMA, 1 otherwise by the \
kernel's own rules
""",
    )


@pytest.mark.usefixtures("running")
def test_verify_that_fails_exits_with_1_and_names_the_way(tmp_path: Path) -> None:
    code, text = invoke(FIRMWARE_OFF.write(tmp_path), "verify", "strict-isolation", "--platform", "intel")
    assert code == 1
    verdict, hint = text.splitlines()[-2:]
    assert verdict == (
        "firmware_off: the firmware shows no IOMMU, and no parameter can change that: "
        "the firmware tells of no IOMMU: none of DMAR VIOT; switch VT-d on in its setup"
    )
    assert hint == "hint: switch the IOMMU on in the setup of the firmware; for a guest, on its host"


@pytest.mark.usefixtures("running")
def test_verify_as_json(tmp_path: Path) -> None:
    code, document = report(INTEL.write(tmp_path), "verify", "verify", "translated-lazy", "--platform", "intel")
    assert (code, document["ok"], document["verdict"], document["exemptions"]) == (1, False, "not_applied", [])
    checks = document["checks"]
    assert isinstance(checks, list)
    assert {one["name"]: one["result"] for one in checks} == {
        "cmdline": "fail",
        "kernel-version": "pass",
        "kernel-config": "pass",
        "environment": "pass",
        "firmware-tables": "pass",
        "units": "pass",
        "group-types": "fail",
        "ungrouped-devices": "pass",
        "interrupt-remapping": "pass",
    }


@pytest.mark.usefixtures("running")
def test_a_verdict_is_written_for_monitoring(tmp_path: Path) -> None:
    path = tmp_path / "iommuctl.prom"
    path.write_text("old\n")
    words = ("strict-isolation", "--platform", "amd", "--metrics", str(path))
    code, _ = invoke(AMD_PASID.write(tmp_path / "host"), "verify", *words)
    lines = path.read_text().splitlines()
    assert (code, path.stat().st_mode & 0o777, [*tmp_path.glob(".iommuctl*")]) == (0, 0o644, [])
    samples = [line for line in lines if not line.startswith("#")]
    assert [one for one in samples if "timestamp" not in one] == [
        "iommuctl_up 1",
        f'iommuctl_profile_info{{profile="strict-isolation",version="{__version__}"}} 1',
        *(f'iommuctl_verdict{{verdict="{one}"}} {int(one == "active")}' for one in Verdict),
        'iommuctl_checks{result="pass"} 9',
        'iommuctl_checks{result="fail"} 0',
        'iommuctl_checks{result="skip"} 0',
    ]
    assert_collected(lines)


# What the collector takes: each metric told once with its type, a sample without a time, and gauges alone.
HELP = re.compile(r"# HELP (iommuctl_[a-z_]+) [^\\]+")
TYPE = re.compile(r"# TYPE (iommuctl_[a-z_]+) gauge")
SAMPLE = re.compile(r'(iommuctl_[a-z_]+)(\{[a-z]+="(?:[^"\\]|\\[\\"n])*"(,[a-z]+="(?:[^"\\]|\\[\\"n])*")*\})? \d+')


def assert_collected(lines: list[str]) -> None:
    """Hold lines against the text format 0.0.4 as node_exporter's collector wants it."""
    told: list[str] = []
    for help_line, *rest in _parts(lines):
        name, kind = HELP.fullmatch(help_line), TYPE.fullmatch(rest[0])
        samples = [SAMPLE.fullmatch(line) for line in rest[1:]]
        names = [one and one[1] for one in (name, kind, *samples)]
        assert samples
        assert len(set(names)) == 1, names
        assert len(set(rest)) == len(rest), "a sample is told twice"
        told.append(str(names[0]))
    assert len(set(told)) == len(told)


def _parts(lines: list[str]) -> Iterator[list[str]]:
    starts = [index for index, line in enumerate(lines) if line.startswith("# HELP")]
    assert starts[0] == 0
    yield from (lines[start:end] for start, end in pairwise([*starts, len(lines)]))


@pytest.mark.usefixtures("running")
def test_monitoring_is_told_of_groups_drift_and_a_reboot(tmp_path: Path) -> None:
    path, host = tmp_path / "iommuctl.prom", tmp_path / "host"
    shutil.copytree(PROJECT / "tests/golden/bls/fedora-42/before", host, symlinks=True)
    # The root and its flags are those of the entries: else they are another system's.
    booted = "BOOT_IMAGE=(hd0,gpt2)/vmlinuz root=UUID=0a3407de-014b-458b-b5c1-848e92a327a3 rootflags=subvol=root"
    replace(AMD_PASID, cmdline=f"{booted} {AMD_PASID.cmdline}").write(host)
    assert invoke(host, "apply", "passthrough-perf", "--platform", "amd")[0] == 0
    options = next((host / "boot/loader/entries").glob("*6.14.5*.conf"))
    options.write_text(options.read_text().replace(" iommu=pt", ""))
    assert invoke(host, "verify", "--metrics", str(path))[0] == 1
    lines = path.read_text().splitlines()
    assert_collected(lines)
    samples = [line for line in lines if line[0] != "#"]
    assert samples[samples.index('iommuctl_checks{result="skip"} 0') + 1 :] == [
        'iommuctl_bootloader_info{backend="bls",platform="amd"} 1',
        "iommuctl_reboot_required 1",
        "iommuctl_drift_places 1",
        'iommuctl_findings{severity="error"} 0',
        'iommuctl_findings{severity="warning"} 3',
        'iommuctl_findings{severity="info"} 1',
        "iommuctl_units 1",
        'iommuctl_groups{type="identity"} 1',
        'iommuctl_groups{type="DMA"} 3',
        'iommuctl_groups{type="DMA-FQ"} 0',
        "iommuctl_interrupts_remapped 1",
    ]


def test_a_label_of_metrics_is_escaped() -> None:
    found = Verification('a"b\\c\nd', Verdict.ACTIVE, None, "", (), ())
    assert_collected(metrics_text(found, None, datetime(2026, 1, 2, tzinfo=UTC)).splitlines())


@pytest.mark.usefixtures("running")
def test_where_nothing_can_be_compared_no_old_verdict_is_left_for_monitoring(tmp_path: Path) -> None:
    path = tmp_path / "iommuctl.prom"
    path.write_text('iommuctl_verdict{verdict="active"} 1\n')
    assert invoke(INTEL.write(tmp_path / "host"), "verify", "--metrics", str(path))[0] == 66
    samples = [line.split()[0] for line in path.read_text().splitlines() if not line.startswith("#")]
    assert (samples, "iommuctl_up 0" in path.read_text()) == (
        ["iommuctl_up", "iommuctl_verify_timestamp_seconds"],
        True,
    )


@pytest.mark.usefixtures("running")
def test_verify_needs_a_profile_where_none_is_applied(tmp_path: Path) -> None:
    assert invoke(INTEL.write(tmp_path), "verify") == (66, "no profile is applied")


def test_verify_takes_the_profile_of_the_newest_apply(sample_host: Path, mocker: MockerFixture) -> None:
    for profile in ("passthrough-perf", "strict-isolation"):
        arguments = ("apply", profile, "--platform", "intel", "--regenerate", "never")
        assert invoke(sample_host, *arguments)[0] == 0
    INTEL.write(sample_host)
    run_in(mocker)
    code, document = report(sample_host, "verify", "verify", "--platform", "intel")
    # The sample host has a kernel in /boot, which is new enough for the generic spelling.
    assert (code, document["profile"], document["verdict"]) == (0, "strict-isolation", "active")


def test_verify_and_status_take_the_inputs_of_the_newest_apply(sample_host: Path, mocker: MockerFixture) -> None:
    arguments = (
        "apply",
        "vfio-bind",
        "--platform",
        "intel",
        "--regenerate",
        "never",
        "--set",
        "vfio-pci.ids=10de:1b80",
    )
    assert invoke(sample_host, *arguments)[0] == 0
    INTEL.write(sample_host)
    run_in(mocker)
    document = report(sample_host, "verify", "verify", "--platform", "intel")[1]
    assert document["profile"] == "vfio-bind"
    assert "'vfio-pci.ids=10de:1b80' is missing" in str(document["checks"])
    document = report(sample_host, "status", "status", "--platform", "intel", "--backend", "grub2")[1]
    assert "profile-not-compared" not in str(document["findings"])


def test_a_profile_that_was_rolled_back_is_not_the_applied_one(sample_host: Path, mocker: MockerFixture) -> None:
    invoke(sample_host, "apply", "strict-isolation", "--platform", "intel", "--regenerate", "never")
    assert invoke(sample_host, "rollback", "--regenerate", "never")[0] == 0
    INTEL.write(sample_host)
    run_in(mocker)
    assert invoke(sample_host, "verify", "--platform", "intel") == (66, "no profile is applied")


def test_status_shows_the_effective_state_beside_the_configured_one(sample_host: Path, mocker: MockerFixture) -> None:
    assert report(sample_host, "status", "status")[1]["effective"] is None
    invoke(sample_host, "apply", "strict-isolation", "--platform", "intel", "--regenerate", "never")
    replace(INTEL, types={0: "DMA", 1: "DMA", 2: "identity"}).write(sample_host)
    run_in(mocker)
    arguments = ("status", "--platform", "intel", "--backend", "grub2")
    assert report(sample_host, "status", *arguments)[1]["effective"] == {
        "units": ["dmar0"],
        "group_types": {"DMA": 2, "identity": 1},
        "interrupts_remapped": True,
        "verdict": "drift",
        "by": None,
        "failed": ["group-types"],
    }
    lines = invoke(sample_host, *arguments)[1].splitlines()
    at = lines.index("effective: dmar0; groups: 2 DMA, 1 identity; interrupt remapping on")
    assert lines[at + 1 : at + 3] == [
        "verify: drift",
        "  group-types: promised DMA, found group 2 (0000:01:02.0) identity; the other 2 are as promised",
    ]


def test_status_of_a_profile_that_has_gone_compares_what_was_changed(
    sample_host: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\nsummary = "s"\n[[set]]\nparameter = "iommu.passthrough=0"\nreason = "r"\n')
    invoke(sample_host, "apply", str(own), "--platform", "intel", "--regenerate", "never")
    own.unlink()
    replace(INTEL, types={0: "identity", 1: "identity", 2: "identity"}).write(sample_host)
    monkeypatch.setattr(Root, "is_running_system", property(lambda _: True))
    code, document = report(sample_host, "status", "status", "--platform", "intel", "--backend", "grub2")
    effective = document["effective"]
    assert isinstance(effective, dict)
    assert (code, effective["verdict"]) == (0, "drift")


def test_check_looks_at_everything(sample_host: Path, mocker: MockerFixture) -> None:
    INTEL.write(sample_host)
    write(sample_host / "sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
    write(sample_host / "proc/self/mounts", "/dev/sda1 /boot/efi vfat rw 0 0\n/dev/sda2 /boot ext4 rw 0 0\n")
    run_in(mocker)
    code, document = report(sample_host, "check", "check", "--platform", "intel", "--backend", "grub2")
    items = document["items"]
    assert isinstance(items, list)
    assert {one["name"]: one["result"] for one in items} == {
        "cpu-vendor": "pass",
        "firmware-tables": "pass",
        "iommu": "pass",
        "kernel-config": "pass",
        "command-line-read": "pass",
        "guest": "pass",
        "xen": "pass",
        "bootloader": "pass",
        "boot-configuration": "pass",
        "command-line-length": "pass",
        "room-etc": "pass",
        "room-boot": "pass",
        "room-var": "pass",
        "room-boot-efi": "pass",
        "secure-boot": "unknown",
        "lockdown": "pass",
    }
    assert (code, document["ok"]) == (0, True)


@pytest.mark.usefixtures("running")
def test_check_fails_where_something_fails(tmp_path: Path) -> None:
    code, text = invoke(FIRMWARE_OFF.write(tmp_path), "check", "--platform", "intel")
    assert code == 1
    rows = text.splitlines()
    off = "the IOMMU is off in the firmware, or there is none"
    at = rows.index(f"fail     firmware-tables    none of DMAR VIOT: {off}")
    assert rows[at + 1].startswith("    hint: ")
    assert any(row.startswith("fail     bootloader") for row in rows)
