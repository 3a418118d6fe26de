# SPDX-License-Identifier: Apache-2.0
"""/etc/kernel/cmdline: which line takes additions, and what its readers disagree about."""

from pathlib import Path, PurePosixPath

import pytest

from iommuctl.formats.kernelcmdline import KERNEL_CMDLINE, new_kernel_cmdline, parse_kernel_cmdline
from iommuctl.formats.lens import Lens, Span
from iommuctl.kernel.cmdline import Cmdline


@pytest.mark.parametrize(
    ("text", "lines", "cmdline", "rules"),
    [
        ("root=/dev/sda1 ro\n", [(1, "root=/dev/sda1 ro")], "root=/dev/sda1 ro", []),
        ("root=/dev/sda1", [(1, "root=/dev/sda1")], "root=/dev/sda1", []),
        ("a\n\nb \n", [(1, "a"), (3, "b ")], "a b ", ["kernel-cmdline-lines"]),
        ("\na\n", [(2, "a")], "a", ["kernel-cmdline-lines"]),
        ("# c\na\n", [(2, "a")], "a", ["kernel-cmdline-comments"]),
        ("a\n \t# c\n", [(1, "a")], "a", ["kernel-cmdline-comments"]),
        ('a "b  c"\n', [(1, 'a "b  c"')], 'a "b  c"', ["kernel-cmdline-blanks"]),
        ('"a"  b\n', [(1, '"a"  b')], '"a"  b', []),
        ("a\r\n\r\n", [(1, "a\r")], "a\r", []),
        ("", [], "", []),
        ("\n", [], "", []),
    ],
)
def test_lines_with_parameters_and_what_is_doubtful(
    text: str, lines: list[tuple[int, str]], cmdline: str, rules: list[str]
) -> None:
    file = parse_kernel_cmdline(KERNEL_CMDLINE, text)
    assert [(line.number, line.value) for line in file.lines] == lines
    assert [text[line.start : line.end] for line in file.lines] == [value for _, value in lines]
    assert str(file.cmdline) == cmdline
    assert [finding.rule for finding in file.findings] == rules


def test_first_line_is_the_one_of_the_file() -> None:
    assert parse_kernel_cmdline(KERNEL_CMDLINE, "# a\nb\n").first_line == "# a"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            "BOOT_IMAGE=(hd0,1)/vmlinuz root=UUID=1  ro $tuned_params initrd=\\a.img quiet systemd.machine_id=0123",
            "root=UUID=1 ro quiet",
        ),
        ('dyndbg="file x +p" -- s', 'dyndbg="file x +p" -- s'),
    ],
)
def test_new_file_is_one_line_without_what_belongs_to_one_boot(options: str, expected: str) -> None:
    assert str(new_kernel_cmdline(Cmdline.parse(options))) == expected


def test_real_files_come_back_and_take_an_addition(corpus: Path) -> None:
    lens = Lens("Kcmdline.lns")
    files = sorted((corpus / "kernel-cmdline").iterdir())
    assert len(files) > 15
    for source in files:
        text = source.read_bytes().decode()
        path = PurePosixPath("/etc/kernel") / source.name
        file = parse_kernel_cmdline(path, text)
        assert lens.values(path, text, "cmdline") == tuple(Span(line.start, line.end) for line in file.lines)
        first = file.lines[0]
        edited = lens.rewrite(path, text, {Span(first.start, first.end): f"{first.value} iommu=pt"})
        assert edited == f"{text[: first.end]} iommu=pt{text[first.end :]}"
