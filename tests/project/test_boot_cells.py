# SPDX-License-Identifier: Apache-2.0
"""The boot lab's own judgement, without a boot: what is chosen, what is expected, and that a difference is seen."""

from dataclasses import replace
from pathlib import Path

import console
import pytest
from boot import beside, cells, chain, guest
from boot.cells import Expected, Found, Step
from boot.guest import Job
from boot.machine import Boot, Iommu
from boot.recipes import RECIPES, Suite

from iommuctl.facts import KernelVersion
from iommuctl.kernel.predict import DomainType
from iommuctl.profile.shipped import shipped_catalogue

# As measured on 6.1, 6.12 and 7.2 of Debian: (IOMMU, what was done) and the type of every group.
MEASURED = {
    (Iommu.INTEL, Step.PASSTHROUGH): "identity",
    (Iommu.INTEL, Step.STRICT): "DMA",
    (Iommu.INTEL, Step.LAZY): "DMA-FQ",
    (Iommu.INTEL, Step.OFF): "off",
    (Iommu.INTEL, Step.ROLLBACK): "DMA-FQ",
    (Iommu.AMD, Step.PASSTHROUGH): "identity",
    (Iommu.AMD, Step.STRICT): "DMA",
    (Iommu.AMD, Step.LAZY): "DMA",
    (Iommu.AMD, Step.OFF): "off",
    (Iommu.AMD, Step.ROLLBACK): "DMA",
    (Iommu.SMMU, Step.PASSTHROUGH): "identity",
    (Iommu.SMMU, Step.STRICT): "DMA",
    (Iommu.SMMU, Step.LAZY): "DMA-FQ",
    (Iommu.SMMU, Step.ROLLBACK): "DMA",
    (Iommu.INTEL, Step.NOTHING): "DMA-FQ",
    (Iommu.AMD, Step.NOTHING): "DMA",
    (Iommu.SMMU, Step.NOTHING): "DMA",
    **{(Iommu.NONE, step): "off" for step in Step},
}
AS_PROMISED = Found(frozenset({"DMA"}), "active", "command_line", 0)


def test_selection_has_every_pair_of_the_product() -> None:
    product = cells.every()
    wanted = {pair for cell in product for pair in cells.pairs(cell)}
    chosen = cells.covering(product)
    assert {pair for cell in chosen for pair in cells.pairs(cell)} == wanted
    assert len(chosen) < len(product) / 7


@pytest.mark.parametrize("kernel", ["6.1", "6.12", "7.2"])
@pytest.mark.parametrize(("iommu", "step"), MEASURED, ids=str)
def test_expected_type_is_the_measured_one(iommu: Iommu, step: Step, kernel: str) -> None:
    version = KernelVersion.parse(kernel)
    assert version is not None
    assert cells.expect(iommu, step, version, shipped_catalogue()).type == MEASURED[iommu, step]


@pytest.mark.parametrize(
    ("step", "verdict"),
    [(Step.PASSTHROUGH, "firmware_off"), (Step.OFF, "active"), (Step.ROLLBACK, "active")],
)
def test_machine_without_an_iommu_cannot_keep_a_promise_to_translate(step: Step, verdict: str) -> None:
    assert cells.expect(Iommu.NONE, step, KernelVersion(6, 12), shipped_catalogue()).verdict == verdict


@pytest.mark.parametrize(
    ("iommu", "step", "by"),
    [
        (Iommu.INTEL, Step.STRICT, "command_line"),
        (Iommu.AMD, Step.OFF, "command_line"),
        (Iommu.INTEL, Step.NOTHING, "kernel_default"),
        (Iommu.AMD, Step.ROLLBACK, "kernel_default"),
        (Iommu.NONE, Step.ROLLBACK, "kernel_default"),
        (Iommu.NONE, Step.STRICT, None),
    ],
)
def test_default_line_is_the_kernels_doing_and_a_profile_the_lines(iommu: Iommu, step: Step, by: str | None) -> None:
    assert cells.expect(iommu, step, KernelVersion(6, 12), shipped_catalogue()).by == by


def test_what_is_as_promised_is_no_problem() -> None:
    assert cells.judge(Expected(DomainType.DMA, "active", "command_line"), AS_PROMISED) == ()


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (Found(frozenset({"DMA-FQ"}), "active", "command_line", 0), "group types: ['DMA'] expected, ['DMA-FQ'] found"),
        (
            Found(frozenset({"DMA", "identity"}), "active", "command_line", 0),
            "group types: ['DMA'] expected, ['DMA', 'identity'] found",
        ),
        (Found(frozenset(), "active", "command_line", 0), "group types: ['DMA'] expected, [] found"),
        (Found(frozenset({"DMA"}), "drift", "command_line", 0), "verdict: 'active' expected, 'drift' found"),
        (
            Found(frozenset({"DMA"}), "active", "kernel_default", 0),
            "what did it: 'command_line' expected, 'kernel_default' found",
        ),
        (Found(frozenset({"DMA"}), "active", "command_line", 1), "exit code of verify: 0 expected, 1 found"),
    ],
)
def test_each_difference_is_told(found: Found, problem: str) -> None:
    assert cells.judge(Expected(DomainType.DMA, "active", "command_line"), found) == (problem,)


def test_groups_where_none_may_be_are_told() -> None:
    problems = cells.judge(Expected(DomainType.OFF, "active", "command_line"), AS_PROMISED)
    assert problems == ("group types: [] expected, ['DMA'] found",)


@pytest.mark.parametrize(
    ("marks", "ended"),
    [
        (("@@UP 4.48 6.1.0", "@@RC 0", "@@END"), True),
        (("@@UP 4.48 6.1.0", "@@RC 1", "@@END"), False),
        (("@@UP 4.48 6.1.0", "@@RC 0"), False),
        ((), False),
    ],
)
def test_boot_is_only_whole_when_its_job_was_content_and_handed_over(marks: tuple[str, ...], ended: bool) -> None:
    assert Boot("", {}, 1.0, marks=marks).ended is ended


def test_job_is_a_tar_and_what_a_guest_packs_is_read_back(tmp_path: Path) -> None:
    Job("echo hello\n", {"wheel": b"\0bytes"}).write(tmp_path / "disk")
    assert guest.read_result(tmp_path / "disk") == {"run": b"echo hello\n", "wheel": b"\0bytes"}


def test_disk_that_no_guest_wrote_to_has_no_result(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(4096))
    assert guest.read_result(tmp_path / "disk") == {}


HUGE = "hugepagesz=1G hugepages=16 hugepagesz=2M hugepages=512"
DEFAULT = "BOOT_IMAGE=/a root=UUID=1 ro console=ttyS0 panic=-1 quiet\n"
MORE = f"{HUGE} console=tty0 console=ttyS0,115200 panic=-2 iommuctl-test="
BESIDE = f"BOOT_IMAGE=/b root=UUID=1 ro console=ttyS0 quiet iommu=pt {MORE}"
VERIFIED = {"checks": [{"name": "cmdline", "result": "pass"}, {"name": "beside-profile", "result": "pass"}]}


@pytest.mark.parametrize(
    ("line", "pages", "verified", "problem"),
    [
        (BESIDE, "512\n", VERIFIED, None),
        (BESIDE.replace("16 hugepagesz=2M hugepages=512", "512 hugepagesz=2M hugepages=16"), "512", VERIFIED, "=1G"),
        (BESIDE.replace("hugepages=16 ", "hugepages=16 x "), "512", VERIFIED, "are parted"),
        (BESIDE.replace("console=tty0 ", ""), "512", VERIFIED, "console=tty0"),
        (BESIDE.replace("panic=-2", "panic=-1 panic=-2"), "512", VERIFIED, "panic=-1"),
        (BESIDE.removesuffix("="), "512", VERIFIED, "iommuctl-test"),
        (BESIDE, "16", VERIFIED, "'16' found"),
        (BESIDE, "512", {"checks": [{"name": "beside-profile", "result": "fail"}]}, "verify says"),
        (BESIDE, "512", {}, "verify says"),
    ],
)
def test_what_is_next_to_a_profile_is_in_its_order_on_the_line(
    line: str, pages: str, verified: dict[str, object], problem: str | None
) -> None:
    problems = list(beside.judge(DEFAULT, line, pages, verified))
    assert [problem in one for one in problems if problem is not None] == ([True] if problem else []), problems
    assert bool(problems) is bool(problem)


@pytest.mark.parametrize(
    ("line", "is_right"),
    [
        (DEFAULT.replace("/a", "/b"), True),
        (f"{DEFAULT} initrd=/c", True),
        (DEFAULT.replace("-1", "-2"), False),
        (DEFAULT.replace("ro console=ttyS0", "console=ttyS0 ro"), False),
    ],
)
def test_line_after_a_rollback_is_that_of_the_first_boot(line: str, is_right: bool) -> None:
    assert (list(beside.judge_rollback(DEFAULT, line)) == []) is is_right


def test_one_host_of_each_backend_has_parameters_next_to_a_profile_before_its_rollback() -> None:
    releases, found = {suite: f"6.12.0-{suite}" for suite in Suite}, []
    for recipe in RECIPES:
        stops = chain.plan(recipe, (*cells.covering(cells.every()), *cells.arm64()), releases, "6.12.0-cloud")
        for at, stop in enumerate(stops):
            if stop.has_beside:
                assert stops[at + 1].cell.step is Step.ROLLBACK
                found.append(recipe.loader)
    assert sorted(found) == sorted(beside.LOADERS)


def said(*words: str) -> Boot:
    """A boot in which the program said this of an apply."""
    return Boot("", {"apply": console.in_process("apply", Step.PASSTHROUGH, "--yes", *words).stdout.encode()}, 1.0)


def test_backend_is_read_from_text_and_json_and_of_what_changes_nothing_from_json_alone(sample_host: Path) -> None:
    root = ("--root", str(sample_host), "--platform", "intel", "--regenerate", "never")
    assert chain.told_backend(said(*root), "apply") == "grub2"
    assert chain.told_backend(said(*root), "apply") is None
    assert chain.told_backend(said(*root, "--json"), "apply") == "grub2"


@pytest.mark.parametrize(("before", "is_asked"), [(Step.PASSTHROUGH, True), (Step.STRICT, False)])
def test_json_is_asked_for_where_nothing_may_change(before: Step, *, is_asked: bool) -> None:
    recipe = RECIPES[1]
    cell = cells.Cell(recipe.loader, Iommu.INTEL, Step.PASSTHROUGH, recipe.kernels[0])
    now, coming = (chain.Stop(replace(cell, step=step), "6.12") for step in (before, Step.PASSTHROUGH))
    commands = [*chain._prepare(now, coming, chain._State(recipe, "", (), {}))]
    assert commands[0].endswith(" --json") == is_asked
