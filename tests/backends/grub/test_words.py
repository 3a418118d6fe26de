# SPDX-License-Identifier: Apache-2.0
"""What GRUB puts in for a word of a kernel's line takes part in plan, read-back and status, with its owner's name."""

import time
from collections.abc import Mapping

import pytest
from entryhosts import CATALOGUE, desired, facts, grubenv
from trees import MemoryTree

from iommuctl.backends.grub.backend import Grub2
from iommuctl.errors import BootConfigError

GRUB2 = Grub2(CATALOGUE)
HOST = facts(id="debian", kernels=("6.1.0-1-amd64",))
MENU, BLOCK, MAIN = "/boot/grub/grub.cfg", "/boot/grub/grubenv", "/etc/default/grub"


def menu(line: str, head: str = "") -> str:
    return (
        f"{head}### BEGIN /etc/grub.d/10_linux ###\nmenuentry 'Linux' --id a {{\n"
        f" linux /boot/vmlinuz-6.1.0-1-amd64 root=/dev/sda1 ro {line}\n}}\n### END /etc/grub.d/10_linux ###\n"
    )


def tuned(text: str) -> str:
    return f'### BEGIN /etc/grub.d/00_tuned ###\nset tuned_params="{text}"\n### END /etc/grub.d/00_tuned ###\n'


def tree(line: str, head: str = "", files: Mapping[str, str | bytes] | None = None) -> MemoryTree:
    value = line.replace("$", "\\$")
    host: dict[str, str | bytes] = {MAIN: f'GRUB_CMDLINE_LINUX_DEFAULT="{value}"\n', MENU: menu(line, head)}
    return MemoryTree.of(host | dict(files or {}))


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (tree("quiet $tuned_params", tuned("intel_iommu=off")), ("$tuned_params", "intel_iommu=off", "tuned sets it")),
        (tree("quiet $tuned_params", files={"/etc/tuned/bootcmdline": 'TUNED_BOOT_CMDLINE="intel_iommu=off"\n'}),
         ("$tuned_params", "intel_iommu=off", "/etc/tuned/bootcmdline")),
        (tree("quiet $extra_cmdline", files={BLOCK: grubenv(extra_cmdline="iommu=nopt")}),
         ("$extra_cmdline", "iommu=nopt", BLOCK)),
        (tree("quiet $x", 'set y=intel_iommu=off\nset x="a $y"\n'), ("$x", "intel_iommu=off", MENU)),
        (tree("quiet $x", "if [ a ]; then\n set x=intel_iommu=off\nelse\n set x=\nfi\n"), ("$x", "intel_iommu=off")),
    ],
)  # fmt: skip
def test_a_word_that_contradicts_the_profile_is_refused_with_its_owner(host: MemoryTree, said: tuple[str, ...]) -> None:
    with pytest.raises(BootConfigError) as caught:
        GRUB2.render(host, HOST, desired("passthrough-perf", HOST))
    assert caught.value.hint is not None
    assert [text for text in said if text not in caught.value.brief] == []


@pytest.mark.parametrize(
    "host",
    [
        tree("quiet $tuned_params", tuned("isolcpus=1")),
        tree("quiet $vt_handoff", "function gfxmode {\n set vt_handoff=vt.handoff=7\n}\n"),
        tree("quiet $unset"),
    ],
)
def test_a_word_that_has_no_part_in_it_is_left_as_it_is(host: MemoryTree) -> None:
    rendering = GRUB2.render(host, HOST, desired("passthrough-perf", HOST))
    after = (rendering.edits[0].after or b"").decode()
    assert "intel_iommu=on iommu=pt" in after
    assert after.count("\\$") == 1


def test_status_shows_what_a_word_stands_for() -> None:
    config = GRUB2.read(tree("quiet $tuned_params", tuned("intel_iommu=off")), HOST)
    assert str(config.entries[0].cmdline) == "root=/dev/sda1 ro quiet intel_iommu=off"
    assert str(config.future.cmdline) == "quiet intel_iommu=off"


def test_a_word_counts_in_the_read_back() -> None:
    host = tree("quiet intel_iommu=on iommu=pt $tuned_params", tuned("intel_iommu=off"))
    (problem,) = GRUB2.read_back(host, HOST, desired("passthrough-perf", HOST), generated=True)
    assert "where $tuned_params is 'intel_iommu=off'" in problem


@pytest.mark.parametrize(
    "head",
    [
        "".join(f"set x{n}=$x{n - 1}$x{n - 1}\n" for n in range(1, 40)),
        "".join(f"set x=a{n}\n" for n in range(20000)),
        "set x0=" + "a" * 2000 + "\n" + "".join(f'set x{n}="$x{n - 1}$x{n - 1}"\n' for n in range(1, 30)),
    ],
    ids=["doubling", "values", "lengths"],
)
def test_words_take_time_by_their_number_and_no_more(head: str) -> None:
    begun = time.process_time()
    try:
        GRUB2.read(tree("quiet $x39 $x $x29", f"set x0=a\n{head}"), HOST)
    except BootConfigError as error:
        assert error.line is not None  # noqa: PT017 - either way counts, as long as it ends
    assert time.process_time() - begun < 20
