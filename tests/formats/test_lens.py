# SPDX-License-Identifier: Apache-2.0
"""The lens gates: what is not named stays byte for byte, and what cannot be represented is refused with its line."""

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path, PurePosixPath

import pytest
from project import PACKAGE
from pytest_mock import MockerFixture

from iommuctl.errors import LensError
from iommuctl.formats.lens import Lens, Span

LENSES = PACKAGE / "formats" / "lenses"
GRUB = PurePosixPath("/etc/default/grub")
LINUX = "GRUB_CMDLINE_LINUX"
DEFAULT = "GRUB_CMDLINE_LINUX_DEFAULT"
ASSIGNED = re.compile(r"[ \t]*(?:export[ \t]+)?GRUB_CMDLINE_LINUX(?:_DEFAULT)?\+?=.*")


@pytest.mark.programs
@pytest.mark.parametrize("test", sorted((LENSES / "tests").glob("*.aug")), ids=lambda path: path.stem)
def test_augparse_accepts_the_lens_and_its_tests(test: Path) -> None:
    augparse = shutil.which("augparse")
    assert augparse, "augparse is missing: install augeas-tools"
    done = subprocess.run([augparse, "--nostdinc", "-I", LENSES, test], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.programs
def test_augparse_refuses_a_wrong_expectation(tmp_path: Path) -> None:
    wrong = tmp_path / "test_wrong.aug"
    wrong.write_text('module Test_wrong = test Grubdefault.lns get "A=1\\n" = { "line" = "A=2" }\n')
    augparse = shutil.which("augparse")
    assert augparse
    assert subprocess.run([augparse, "--nostdinc", "-I", LENSES, wrong], capture_output=True, check=False).returncode


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        (f'\n#\n{DEFAULT}="quiet" # c\n', '"quiet"', '"a b"', f'\n#\n{DEFAULT}="a b" # c\n'),
        (f"{DEFAULT}=\n", "", '"a"', f'{DEFAULT}="a"\n'),
        (f"# é\n{DEFAULT}='é'", "'é'", "''", f"# é\n{DEFAULT}=''"),
        (f'  export {DEFAULT}="a \\\n b";  \n\n', '"a \\\n b"', "x", f"  export {DEFAULT}=x;  \n\n"),
    ],
)
def test_rewrite_changes_the_value_and_keeps_every_other_byte(text: str, old: str, new: str, expected: str) -> None:
    start = text.index(f"{DEFAULT}=") + len(DEFAULT) + 1
    assert Lens("Grubdefault.lns").rewrite(GRUB, text, {Span(start, start + len(old)): new}) == expected


@pytest.mark.parametrize("before", ["", "\t ", "export ", " export\t ", "export export "])
def test_a_line_is_an_assignment_of_a_variable_or_kept_whole(before: str) -> None:
    names = [name[:length] for name in (DEFAULT, "export") for length in range(len(name) + 1)]
    after = ("", " ", "é", "=x", "+=x", "+", "+x", "_", "_=x", "\t=x")
    lines = {f"{before}{name}{rest}" for name, rest in product(names, after)}
    kept = sorted(line for line in lines if not ASSIGNED.fullmatch(line))
    text = "".join(f"{line}\n" for line in kept)
    lens = Lens("Grubdefault.lns")
    assert lens.rewrite(GRUB, text, {}, added=((DEFAULT, "x"),)) == f"{text}{DEFAULT}=x\n"
    assigned = sorted(lines.difference(kept))
    found = [span for label in (DEFAULT, LINUX) for span in lens.values(GRUB, "\n".join((*kept, *assigned)), label)]
    assert len(found) == len(assigned)


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        ((0, 2), "title x\noptions b\n\n"),
        ((1,), "title x\noptions a\noptions c\n\n"),
        ((0, 1, 2), "title x\n\n"),
    ],
)
def test_none_removes_the_line_and_keeps_every_other_byte(gone: tuple[int, ...], expected: str) -> None:
    text = "title x\noptions a\noptions b\noptions c\n\n"
    lens, path = Lens("Bls.lns"), PurePosixPath("/boot/loader/entries/x.conf")
    spans = lens.values(path, text, "options")
    assert lens.rewrite(path, text, {spans[index]: None for index in gone}) == expected


def test_removing_a_line_never_moves_the_separators_of_the_next() -> None:
    text = "options a\n\toptions b\n"
    lens, path = Lens("Bls.lns"), PurePosixPath("/boot/loader/entries/x.conf")
    with pytest.raises(LensError, match="would change more than the values"):
        lens.rewrite(path, text, {lens.values(path, text, "options")[0]: None})


def test_added_variable_goes_to_the_end_and_closes_the_last_line() -> None:
    edited = Lens("Grubdefault.lns").rewrite(GRUB, "A=1", {}, added=((DEFAULT, '"iommu=pt"'),))
    assert edited == f'A=1\n{DEFAULT}="iommu=pt"\n'


def test_added_variable_to_an_empty_file() -> None:
    assert Lens("Grubdefault.lns").rewrite(GRUB, "", {}, added=((DEFAULT, '"x"'),)) == f'{DEFAULT}="x"\n'


def test_values_tells_where_each_stands_in_characters() -> None:
    text = f"# é\n{DEFAULT}=a\nGRUB_CMDLINE_LINUX=c\n{DEFAULT}='b'\n"
    spans = Lens("Grubdefault.lns").values(GRUB, text, DEFAULT)
    assert [text[span.start : span.end] for span in spans] == ["a", "'b'"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f'A=1\n{DEFAULT}="a" b\n', 2),
        (f'{DEFAULT}="a\n', 1),
        (f"A=1\n\n{DEFAULT}=\udcff\n", 3),
        *((f"A=1\nB={chr(byte)}\n", 2) for byte in range(9)),
    ],
)
def test_what_cannot_be_represented_is_refused_with_file_and_line(text: str, line: int) -> None:
    with pytest.raises(LensError) as caught:
        Lens("Grubdefault.lns").rewrite(GRUB, text, {})
    assert (caught.value.path, caught.value.line, caught.value.code) == (GRUB, line, 78)


@pytest.mark.parametrize("new", ['"a', "a b", "a\nB=1", '"a" # c', "a;"])
def test_a_value_that_would_leave_its_place_is_refused(new: str) -> None:
    text = f"{DEFAULT}=a\n"
    start = len(DEFAULT) + 1
    with pytest.raises(LensError):
        Lens("Grubdefault.lns").rewrite(GRUB, text, {Span(start, start + 1): new})


@pytest.mark.parametrize("value", ["a \udcff", "a \x01", "a\0"])
def test_a_value_that_augeas_cannot_be_given_is_refused(value: str) -> None:
    text = 'A="b"\n'
    with pytest.raises(LensError, match="/etc/default/grub: would get a"):
        Lens("Grubdefault.lns").rewrite(GRUB, text, {Span(2, 5): value})
    with pytest.raises(LensError, match="/etc/default/grub: would get a"):
        Lens("Grubdefault.lns").rewrite(GRUB, text, {}, added=((DEFAULT, value),))


def test_a_span_that_is_no_value_is_refused_with_its_line() -> None:
    with pytest.raises(LensError, match=r"/etc/default/grub:2: "):
        Lens("Grubdefault.lns").rewrite(GRUB, f"A=1\nB=2; {DEFAULT}=a\n", {Span(4 + 5 + len(DEFAULT) + 1, 37): "x"})


LOST = f"A=1  \n{DEFAULT}=a\n"
VALUE = Span(LOST.index("=a") + 1, LOST.index("=a") + 2)


@pytest.mark.parametrize(
    ("values", "added", "passes"),
    [({VALUE: "b"}, (), 1), ({}, (), 1), ({VALUE: "b"}, ((DEFAULT, "1"),), 2), ({}, ((DEFAULT, "1"),), 2)],
)
def test_a_text_is_written_once_where_one_gate_implies_the_other(
    mocker: MockerFixture, values: dict[Span, str | None], added: tuple[tuple[str, str], ...], passes: int
) -> None:
    written = mocker.spy(Lens, "_retrieve")
    Lens("Grubdefault.lns").rewrite(GRUB, LOST, values, added=added)
    assert written.call_count == passes


@pytest.mark.parametrize(
    ("values", "added"),
    [
        ({VALUE: "b"}, ()),
        ({VALUE: None}, ()),
        ({}, ()),
        ({}, ((DEFAULT, "1"),)),
        ({Span(0, 1): "b"}, ()),
        ({VALUE: "b", Span(0, 1): "b"}, ()),
    ],
)
def test_a_text_that_a_lens_does_not_give_back_is_refused_whatever_the_edit(
    mocker: MockerFixture, values: dict[Span, str | None], added: tuple[tuple[str, str], ...]
) -> None:
    whole = Lens._retrieve
    mocker.patch.object(Lens, "_retrieve", lambda lens, path: whole(lens, path).replace("  ", " "))
    with pytest.raises(LensError, match="an unedited copy would differ"):
        Lens("Grubdefault.lns").rewrite(GRUB, LOST, values, added=added)


@pytest.mark.parametrize(
    ("added", "message"),
    [((), "would change more than the values"), (((DEFAULT, "1"),), "would change more than the end")],
)
def test_an_edit_that_reaches_further_is_refused(
    mocker: MockerFixture, added: tuple[tuple[str, str], ...], message: str
) -> None:
    whole = Lens._retrieve
    mocker.patch.object(Lens, "_retrieve", lambda lens, path: whole(lens, path).replace(f"A=1  \n{DEFAULT}=b", "A=2"))
    with pytest.raises(LensError, match=message):
        Lens("Grubdefault.lns").rewrite(GRUB, LOST, {VALUE: "b"}, added=added)


def test_the_environment_cannot_bring_another_lens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grubdefault.aug").write_text("module Grubdefault =\nlet lns = [ key /a/ ]\n")
    monkeypatch.setenv("AUGEAS_LENS_LIB", str(tmp_path))
    monkeypatch.setenv("AUGEAS_ROOT", str(tmp_path))
    with ThreadPoolExecutor(1) as pool:  # a handle that no test before has made
        assert pool.submit(lambda: Lens("Grubdefault.lns").rewrite(GRUB, "A=1\n", {})).result() == "A=1\n"


def test_threads_do_not_meet_in_each_others_texts() -> None:
    def edit(number: int) -> bool:
        lens, text = Lens("Grubdefault.lns"), "".join(f"A{line}={number}\n" for line in range(50))
        return all(lens.rewrite(GRUB, text, {}) == text for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(edit, range(8)))
