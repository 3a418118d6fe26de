# SPDX-License-Identifier: Apache-2.0
"""The items of check, each judged by the evidence that it is given."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from kernelhosts import ARM64, FIRMWARE_OFF, INTEL, INTEL_CONFIG, KernelHost

from iommuctl.app.look.check import (
    SPACE,
    CheckItem,
    CheckResult,
    Outcome,
    length_item,
    machine_items,
    readable,
    room_item,
    security_items,
)
from iommuctl.backends.base import BootConfig, Entry, Future
from iommuctl.facts import Platform
from iommuctl.host.root import Root
from iommuctl.host.space import Volume, read_volume
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.profile.shipped import shipped_catalogue
from iommuctl.running.sysfs import Security, read_observed

CATALOGUE = shipped_catalogue()


def judged(host: KernelHost, root: Path, platform: Platform) -> dict[str, Outcome]:
    observed = read_observed(Root(host.write(root)), CATALOGUE)
    return {item.name: item.outcome for item in machine_items(observed, platform, CATALOGUE)}


FINE = {
    "cpu-vendor": Outcome.PASS,
    "firmware-tables": Outcome.PASS,
    "iommu": Outcome.PASS,
    "kernel-config": Outcome.PASS,
    "command-line-read": Outcome.PASS,
    "guest": Outcome.PASS,
    "xen": Outcome.PASS,
}
UNCONFIGURED = {name: outcome for name, outcome in FINE.items() if name != "command-line-read"}


@pytest.mark.parametrize(
    ("host", "platform", "expected"),
    [
        pytest.param(INTEL, Platform.INTEL, FINE, id="Intel"),
        pytest.param(ARM64, Platform.ARM64, FINE, id="ARM64"),
        pytest.param(INTEL, Platform.X86, {**FINE, "cpu-vendor": Outcome.UNKNOWN}, id="unknown vendor"),
        pytest.param(
            FIRMWARE_OFF,
            Platform.INTEL,
            {**FINE, "firmware-tables": Outcome.FAIL, "iommu": Outcome.UNKNOWN},
            id="firmware off",
        ),
        pytest.param(
            replace(INTEL, tables=()), Platform.INTEL, {**FINE, "firmware-tables": Outcome.UNKNOWN}, id="no tables"
        ),
        pytest.param(
            replace(INTEL, tables=("VIOT",), flags="hypervisor"),
            Platform.INTEL,
            {**FINE, "guest": Outcome.UNKNOWN},
            id="guest with a virtual IOMMU",
        ),
        pytest.param(
            replace(INTEL, config="CONFIG_AMD_IOMMU=y\n", units={}),
            Platform.INTEL,
            {**FINE, "kernel-config": Outcome.FAIL, "iommu": Outcome.UNKNOWN},
            id="driver not built",
        ),
        pytest.param(
            replace(INTEL, config=f"{INTEL_CONFIG}CONFIG_CMDLINE_OVERRIDE=y\n"),
            Platform.INTEL,
            {**FINE, "command-line-read": Outcome.FAIL},
            id="bootloader's line not read",
        ),
        pytest.param(
            replace(INTEL, config=None),
            Platform.INTEL,
            {**UNCONFIGURED, "kernel-config": Outcome.UNKNOWN},
            id="configuration not readable",
        ),
        pytest.param(
            replace(INTEL, files={"proc/xen/capabilities": "control_d\n"}),
            Platform.INTEL,
            {**FINE, "xen": Outcome.FAIL},
            id="Xen",
        ),
    ],
)
def test_the_machine_is_judged_by_evidence(
    tmp_path: Path, host: KernelHost, platform: Platform, expected: dict[str, Outcome]
) -> None:
    assert judged(host, tmp_path, platform) == expected


@pytest.mark.parametrize(
    ("length", "ours", "expected"),
    [
        (2047, True, CheckItem("command-line-length", Outcome.PASS, "the longest has 2047 of 2047 bytes")),
        (
            2048,
            True,
            CheckItem(
                "command-line-length",
                Outcome.FAIL,
                "the longest has 2048 of 2047 bytes",
                "take parameters away that nothing needs",
            ),
        ),
        (4000, False, CheckItem("command-line-length", Outcome.PASS, "the longest has 2 of 2047 bytes")),
    ],
)
def test_a_line_that_the_kernel_would_cut_fails(length: int, ours: bool, expected: CheckItem) -> None:
    line = Cmdline.parse("x" * length)
    entry = Entry("1", "Linux", None, PurePosixPath("/e"), line, False, True, ours, "")
    config = BootConfig((entry,), Future(Cmdline.parse("ro"), PurePosixPath("/f")))
    assert length_item(config, Platform.INTEL) == expected


@pytest.mark.parametrize(
    ("security", "outcomes"),
    [
        (Security(True, "integrity"), [Outcome.PASS, Outcome.PASS]),
        (Security(False, "none"), [Outcome.PASS, Outcome.PASS]),
        (Security(None, None), [Outcome.UNKNOWN, Outcome.UNKNOWN]),
    ],
)
def test_signatures_and_locks_forbid_nothing_by_themselves(security: Security, outcomes: list[Outcome]) -> None:
    assert [item.outcome for item in security_items(security)] == outcomes


def test_room_is_that_of_the_nearest_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    found = read_volume(Root(tmp_path), PurePosixPath("/var/lib/iommuctl"))
    assert (str(found.folder), found.is_read_only, found.is_writable, found.free > 0) == ("/var", False, True, True)


BOOT = PurePosixPath("/boot")


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (Volume(BOOT, SPACE, False, True), (Outcome.PASS, "/boot: 192 KiB free, writable", None)),
        (
            Volume(BOOT, SPACE - 1024, False, True),
            (Outcome.FAIL, "/boot: 191 KiB free, 192 KiB needed", "free 1 KiB in /boot"),
        ),
        (
            Volume(BOOT, SPACE, True, False),
            (Outcome.FAIL, "/boot: 192 KiB free, mounted read-only", "mount -o remount,rw /boot"),
        ),
        (
            Volume(BOOT, SPACE, False, False),
            (
                Outcome.FAIL,
                "/boot: 192 KiB free, not writable by this user: run as root (sudo)",
                "sudo iommuctl check",
            ),
        ),
    ],
)
def test_room_to_write_in(volume: Volume, expected: tuple[Outcome, str, str | None]) -> None:
    assert room_item("room-boot", volume) == CheckItem("room-boot", *expected)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (192 * 1024, "192 KiB"),
        (5 * 1024**3 + 300 * 1024**2, "5.3 GiB"),
        (3 * 1024**4, "3.0 TiB"),
        (5000 * 1024**4, "5000.0 TiB"),
    ],
)
def test_sizes_are_read_by_people(size: int, text: str) -> None:
    assert readable(size) == text


GOOD = CheckItem("cpu-vendor", Outcome.PASS, "GenuineIntel")
UNTOLD = CheckItem("secure-boot", Outcome.UNKNOWN, "no EFI variable")


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        ((GOOD,), "this host can do it"),
        ((GOOD, UNTOLD), "this host can do it; not known: secure-boot"),
        (
            (GOOD, CheckItem("firmware-tables", Outcome.FAIL, "none of DMAR", "switch VT-d on"), UNTOLD),
            "this host cannot do it yet; first: switch VT-d on",
        ),
        (
            (
                CheckItem("bootloader", Outcome.FAIL, "none found"),
                CheckItem("room-etc", Outcome.FAIL, "full", "free it"),
            ),
            "this host cannot do it yet; first: look at bootloader: none found (1 more after that)",
        ),
    ],
)
def test_the_answer_is_one_sentence(items: tuple[CheckItem, ...], sentence: str) -> None:
    assert CheckResult(items).sentence == sentence


def test_the_symbol_that_is_missing_is_named(tmp_path: Path) -> None:
    host = replace(INTEL, config="CONFIG_AMD_IOMMU=y\n", units={}, types={}, devices=())
    items = machine_items(read_observed(Root(host.write(tmp_path)), CATALOGUE), Platform.INTEL, CATALOGUE)
    failed = [item for item in items if item.outcome is Outcome.FAIL]
    assert failed == [
        CheckItem(
            "kernel-config",
            Outcome.FAIL,
            "no CONFIG_INTEL_IOMMU in /boot/config-6.12.107+deb13-amd64",
            "boot a kernel with CONFIG_INTEL_IOMMU (kernel 6.12.107+deb13-amd64 has none)",
        )
    ]
