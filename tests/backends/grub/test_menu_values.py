# SPDX-License-Identifier: Apache-2.0
"""GRUB2: values that a shell takes and GRUB's own script does not are refused before anything is written."""

import pytest
from entryhosts import CATALOGUE, desired, facts
from pytest_mock import MockerFixture
from trees import MemoryTree

from iommuctl.backends.grub.backend import Grub2
from iommuctl.errors import BootConfigError
from iommuctl.formats import grubcfg

GRUB2 = Grub2(CATALOGUE)
HOST = facts(id="debian")


def tree(value: str) -> MemoryTree:
    return MemoryTree.of({"/etc/default/grub": f"GRUB_CMDLINE_LINUX=a\nGRUB_CMDLINE_LINUX_DEFAULT='{value}'\n"})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a=b$ quiet", "a '$' that names no variable"),
        ("a=b|c", "'|' where GRUB's grammar has no place for it"),
        ("a=b;c", "'intel_iommu=on' is missing"),
        ("quiet # a=b", "'intel_iommu=on' is missing"),
    ],
)
def test_a_value_that_would_break_the_generated_menu_is_refused(value: str, message: str) -> None:
    with pytest.raises(BootConfigError) as caught:
        GRUB2.render(tree(value), HOST, desired("passthrough-perf", HOST))
    said = f"/etc/default/grub:2: GRUB_CMDLINE_LINUX_DEFAULT, as GRUB's script would have it: {message}"
    assert caught.value.brief == said


@pytest.mark.parametrize("value", ['dyndbg="file a.c; file b"', r"a=\$b", "a=$6$b", "if", "a=b#c"])
def test_a_value_that_grub_takes_is_edited(value: str) -> None:
    rendering = GRUB2.render(tree(value), HOST, desired("passthrough-perf", HOST))
    after = f"GRUB_CMDLINE_LINUX=a\nGRUB_CMDLINE_LINUX_DEFAULT='{value} intel_iommu=on iommu=pt'\n"
    assert [(edit.after or b"").decode() for edit in rendering.edits] == [after]


def test_a_menu_that_did_not_change_is_taken_apart_once(mocker: MockerFixture) -> None:
    host = facts(id="debian")
    entry = "menuentry 'Linux' {\n linux /vmlinuz-6.1.0-1-amd64 root=/dev/sda2 ro once\n}\n"
    section = "### {} /etc/grub.d/10_linux ###\n"
    menu = f"{section.format('BEGIN')}{entry}{section.format('END')}"
    root = MemoryTree.of({"/etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n', "/boot/grub/grub.cfg": menu})
    taken_apart = mocker.spy(grubcfg, "parse_menu")
    GRUB2.read(root, host)
    GRUB2.render(root, host, desired())
    assert [str(each.args[0]) for each in taken_apart.call_args_list].count("/boot/grub/grub.cfg") == 1
