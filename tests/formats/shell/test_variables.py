# SPDX-License-Identifier: Apache-2.0
"""Variables: values as dash and bash have them, where they are spelled, and edits that keep every other byte."""

import csv
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lacking import program

from iommuctl.errors import BootConfigError
from iommuctl.formats.shell.assignments import ShellFile, parse_shell_file
from iommuctl.formats.shell.edits import ValueEdit, requote, rewrite, splice
from iommuctl.formats.shell.variables import Chain, chain

FILE = PurePosixPath("/etc/default/grub")
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"]}
# The most of the real files that dash sources without an error which may be refused.
MAX_REFUSED = 0.08


def read(*texts: str) -> list[ShellFile]:
    return [parse_shell_file(PurePosixPath(f"/etc/default/{index}"), text) for index, text in enumerate(texts)]


def source(shell: str, folder: Path, names: Sequence[str], texts: Sequence[str]) -> list[str] | None:
    """Source files in a real shell with nothing on its PATH; give the variables' values, None where it fails."""
    interpreter = program(SHELLS[shell][0])
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    for index, text in enumerate(texts):
        (folder / str(index)).write_bytes(text.encode("utf-8", "surrogateescape"))
    script = "".join(f". ./{index}; " for index in range(len(texts)))
    script += "".join(f"printf '%s\\0' \"${name}\"; " for name in names)
    # The environment has PATH alone, so that nothing but the files gives a variable its value.
    done = subprocess.run(
        [interpreter, *SHELLS[shell][1:], "-c", script],
        cwd=folder,
        env={"PATH": str(empty)},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=20,
        check=False,
    )
    values = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    return values[:-1] if done.returncode == 0 and len(values) == len(names) + 1 else None


@pytest.mark.parametrize(
    ("texts", "value", "links"),
    [
        ([""], "", 0),
        (["V=x\n"], "x", 1),
        (['V="a"\nV="$V b"\n'], "a b", 2),
        (['V="a"\nV="${V} b"\n'], "a b", 2),
        (['V="a"\nV="${V:+$V }b"\n'], "a b", 2),
        (['V="${V:+$V }b"\n'], "b", 1),
        (["V=a\n", 'V="$V b"\n', "V=$V'  c'\n"], "a b  c", 3),
        (["V=a\n", "V=b\n"], "b", 1),
        (['V="dyndbg=\\"file x +p\\""\n'], 'dyndbg="file x +p"', 1),
        (["V='dyndbg=\"file x +p\"'\n"], 'dyndbg="file x +p"', 1),
        (['V="memmap=1M\\$2G"\n'], "memmap=1M$2G", 1),
        (['V="memmap=1M$%2G $"\n'], "memmap=1M$%2G $", 1),
        (['V="a \\\nb"\n'], "a b", 1),
        (["V=a\\\nb\n"], "ab", 1),
        (["V='a\\b'\n"], "a\\b", 1),
        (['V="a\\b"\n'], "a\\b", 1),
        (["V=a\\ \\b\n"], "a b", 1),
        (["V='a'\"b\"c\n"], "abc", 1),
        (['W=x\nV="$W ${W+y} ${U-z} ${U+n}${W:-n}"\nW=q\n'], "x y z x", 1),
        (['V="${U:-a\\}b\\c}"\n'], "a}b\\c", 1),
        (['V="a ${U:-b "$W" ${U:-c}}"\n'], "a b  c", 1),
        (["if x; then V=a; fi\nV=b\n"], "b", 1),
        (["V+=a\nV=b\n"], "b", 1),
        ([". x\neval y\nunset V\nV=b\n"], "b", 1),
        (["V=b\nunset W\nexport V\n(V=c)\nW=$(V=d)\n"], "b", 1),
        (["export V='b c'\n"], "b c", 1),
        (["V=é\ud800x\n".replace("\ud800", "\udcff")], "é\udcffx", 1),
    ],
)
def test_value_and_links(texts: list[str], value: str, links: int) -> None:
    result = chain(read(*texts), "V")
    assert (result.value, len(result.links)) == (value, links)


def test_cells_name_the_text_that_spells_them() -> None:
    (file,) = files = read("W='é'\nV=\"\\$a$W\"\n")
    cells = chain(files, "V").cells
    assert [(cell.char, cell.assignment.name, file.text[cell.start : cell.end]) for cell in cells] == [
        ("$", "V", "\\$"),
        ("a", "V", "a"),
        ("é", "W", "é"),
    ]


def test_base_is_the_last_assignment_that_does_not_refer_to_itself() -> None:
    based = chain(read("V=a\nV=b\nV=$V\n"), "V")
    baseless = chain(read("V=$V\n"), "V")
    assert based.base is not None
    assert (based.base.raw, based.base_value, baseless.base, baseless.links[0].raw) == ("b", "b", None, "$V")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("V=a\nif x; then\nV=b; fi\n", 3),
        ("V=a\n[ x ] && V=b\n", 2),
        ("V=a; W=b\n", 1),
        ("W=x\nW=y cmd\nV=$W\n", 2),
        ("V=a\nV+=b\n", 2),
        ("f() { V=b; }\nV=a\nf\n", 1),
        ("V=$(x)\n", 1),
        ("\nV=`x`\n", 2),
        ("V=$((1))\n", 1),
        ("V=$'a b'\n", 1),
        ('V=$"a b"\n', 1),
        ('V="$1"\n', 1),
        ('V="$*"\n', 1),
        ('V="${U:-$?}"\n', 1),
        ("V=~/x\n", 1),
        ("V=a:~\n", 1),
        ("V=${W%x}\n", 1),
        ("V=${#W}\n", 1),
        ("V=${W:=x}\n", 1),
        ('V="a\nb"\n', 1),
        ("V=(a b)\n", 1),
        ("V='a\x01b'\n", 1),
        ("V=$HOME\n", 1),
        ('V="root=$GRUB_DEVICE"\n', 1),
        ("LINENO=x\nV=$LINENO\n", 2),
        ("V=a\n. x\n", 2),
        ("V=a\neval x\n", 2),
        ("V=a\nunset V\n", 2),
        ("V=a\nread V\n", 2),
        ("V=a\nfor V in b; do :; done\n", 2),
        ("V=a\n: ${V:=b}\n", 2),
        ("[ x ] && return\nV=a\n", 1),
        ("V=a\nexit\n", 2),
        ("declare -u V\nV=a\n", 1),
        ("alias x=y\nV=a\n", 1),
        ("W=a\neval x\nV=$W\n", 2),
        ("W=$(x)\nV=$W\n", 1),
    ],
)
def test_what_only_a_shell_could_know_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(BootConfigError) as caught:
        chain(read(text), "V")
    assert caught.value.line == line


@pytest.mark.parametrize("repeated", ['V="$V$V"\n' * 60, 'V="$V b"\n' * 5000, 'W="$V$V"\nV="$W$W"\n' * 60])
def test_hostile_growth_is_refused(repeated: str) -> None:
    with pytest.raises(BootConfigError):
        chain(read(f"V=a\n{repeated}"), "V")


def test_empty_value_repeated_many_times_stays_empty() -> None:
    assert chain(read("V=\n" + 'V="$V$V"\n' * 60), "V").value == ""


@pytest.mark.parametrize("text", ["V=a\nunset W\n", "V=a\nfor W in b; do :; done\n", "V=a\nreturn\n", "W=$(x)\nV=a\n"])
def test_hazards_for_others_do_not_matter(text: str) -> None:
    assert chain(read(text), "V").value == "a"


def spliced(texts: Sequence[str], edits: Sequence[ValueEdit]) -> list[str]:
    files = read(*texts)
    words = splice(chain(files, "V"), edits)
    return [rewrite(file, words) for file in files]


def added(text: str) -> list[ValueEdit]:
    return [ValueEdit(len(chain(read(text), "V").value), len(chain(read(text), "V").value), " iommu=pt")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('V="quiet" # c\n', 'V="quiet iommu=pt" # c\n'),
        ("V='quiet'\n", "V='quiet iommu=pt'\n"),
        ("V=quiet\n", 'V="quiet iommu=pt"\n'),
        ("V=\n", 'V=" iommu=pt"\n'),
        ('V=""\n', 'V=" iommu=pt"\n'),
        ("V='a'b\n", "V='a'b\" iommu=pt\"\n"),
        ("V=a\\ b\n", 'V=a\\ b" iommu=pt"\n'),
        ('V=a\\"\n', 'V=a\\"" iommu=pt"\n'),
        ('V="$W"\n', 'V="$W iommu=pt"\n'),
        ('V="a \\\nb"\n', 'V="a \\\nb iommu=pt"\n'),
        ('V="a"\nV="$V crash"\n', 'V="a iommu=pt"\nV="$V crash"\n'),
        ('V=""\nV="${V:+$V }crash"\n', 'V=" iommu=pt"\nV="${V:+$V }crash"\n'),
        ('V="$V crash"\n', 'V="$V crash iommu=pt"\n'),
    ],
)
def test_addition_at_the_end_goes_to_the_first_link(before: str, after: str) -> None:
    assert spliced([before], added(before)) == [after]


@pytest.mark.parametrize(
    ("before", "edits", "after"),
    [
        ('V="a b  c" # d\n', [ValueEdit(1, 3, "")], 'V="a  c" # d\n'),
        ('V="a b c"\n', [ValueEdit(0, 2, ""), ValueEdit(3, 5, "")], 'V="b"\n'),
        ('V="a b c"\n', [ValueEdit(2, 3, 'x="$1"')], 'V="a x=\\"\\$1\\" c"\n'),
        ("V='a b c'\n", [ValueEdit(2, 3, 'x="$1"')], "V='a x=\"$1\" c'\n"),
        ("V=a,b\n", [ValueEdit(1, 3, "")], "V=a\n"),
        ("V=a,b\n", [ValueEdit(2, 3, "c d")], 'V="a,c d"\n'),
        ('V="m=1\\$2"\n', [ValueEdit(3, 4, "")], 'V="m=12"\n'),
        ('V="a -- init"\n', [ValueEdit(1, 1, " b")], 'V="a b -- init"\n'),
        ('V="a b"\nV="$V c"\n', [ValueEdit(1, 3, ""), ValueEdit(4, 5, "d")], 'V="a"\nV="$V d"\n'),
        ('V="a"\nV="$V c"\n', [ValueEdit(1, 1, " b")], 'V="a b"\nV="$V c"\n'),
        ('V=""\nV="${V:+$V }b c"\n', [ValueEdit(0, 2, "")], 'V=""\nV="${V:+$V }c"\n'),
        ('V="${W:-a b}"\n', [ValueEdit(2, 3, "c d")], 'V="${W:-a c d}"\n'),
    ],
)
def test_edits_take_their_spans_alone(before: str, edits: list[ValueEdit], after: str) -> None:
    assert spliced([before], edits) == [after]


def test_edits_reach_the_file_that_spells_the_text() -> None:
    assert spliced(["V='a b'\n", '# x\nV="$V c d"\n'], [ValueEdit(0, 2, ""), ValueEdit(4, 6, "")]) == [
        "V='b'\n",
        '# x\nV="$V d"\n',
    ]


@pytest.mark.parametrize(
    ("text", "edit", "line"),
    [
        ("W=a\nV=$W\n", ValueEdit(0, 1, ""), 1),
        ("V='a b'\n", ValueEdit(2, 3, "it's"), 1),
        ('V="$b$ b"\n', ValueEdit(1, 2, ""), 1),
        ('V="a"\nV="$V $V"\n', ValueEdit(0, 1, "b"), 1),
        ('V="a"\nV="$V $V"\n', ValueEdit(3, 3, "b"), 1),
        ('V="${W:-a b}"\n', ValueEdit(2, 3, "}"), 1),
        ("V=a\nV=${V:+b}\n", ValueEdit(1, 1, "b"), 1),
    ],
)
def test_edit_that_cannot_be_written_in_place_is_refused(text: str, edit: ValueEdit, line: int) -> None:
    result = chain(read(text), "V")
    with pytest.raises(BootConfigError) as caught:
        splice(result, [edit])
    assert caught.value.line == line


def test_edits_outside_the_value_are_a_defect_of_the_caller() -> None:
    result = chain(read("V=abc\n"), "V")
    for edits in ([ValueEdit(2, 4, "")], [ValueEdit(0, 2, ""), ValueEdit(1, 3, "")], [ValueEdit(0, 0, "\n")]):
        with pytest.raises(ValueError, match=r"edits|control"):
            splice(result, edits)


def test_requote_spells_a_value_as_one_word() -> None:
    assert requote('a "b" $c `d` \\e') == '"a \\"b\\" \\$c \\`d\\` \\\\e"'


def harmless_rows(corpus: Path) -> list[dict[str, str]]:
    """The rows of files that may be sourced; the others, without a value, would write outside their directory."""
    with (corpus / "EFFECTIVE.tsv").open(encoding="utf-8") as table:
        rows = csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [row for row in rows if row["dash_effective"]]


@pytest.mark.corpus
@pytest.mark.programs
def test_real_files_have_the_value_that_dash_gives_them(corpus: Path, tmp_path: Path) -> None:
    rows = harmless_rows(corpus)
    sourced: set[str] = set()
    refused: dict[str, str] = {}
    wrong = []
    for row in rows:
        name, variable = row["file"], row["var"]
        text = (corpus / "grub-default" / name).read_bytes().decode("utf-8", "surrogateescape")
        real = source("dash", tmp_path, [variable], [text])
        if real is not None:
            sourced.add(name)
        try:
            value = chain([parse_shell_file(PurePosixPath(name), text)], variable).value
        except BootConfigError as error:
            refused[name] = str(error)
            continue
        if value != json.loads(row["dash_effective"]) or (real is not None and [value] != real):
            wrong.append((name, variable, value, real))
    summary = f"{len(sourced)} files sourced, {len(refused)} refused:\n" + "\n".join(sorted(refused.values()))
    print(summary)  # noqa: T201
    assert wrong == []
    assert len(sourced & set(refused)) <= MAX_REFUSED * len(sourced), summary


@pytest.mark.corpus
@pytest.mark.programs
def test_real_files_take_an_addition_and_give_it_back(corpus: Path, tmp_path: Path) -> None:
    variable, edited = "GRUB_CMDLINE_LINUX_DEFAULT", 0
    names = sorted({row["file"] for row in harmless_rows(corpus)})
    for path in (corpus / "grub-default" / name for name in names):
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        before = chain([parse_shell_file(FILE, text)], variable)
        if not before.links:
            continue
        end = len(before.value)
        words = splice(before, [ValueEdit(end, end, " iommu=pt")])
        after = rewrite(before.files[0], words)
        real = source("dash", tmp_path, [variable], [after])
        assert real in (None, [f"{before.value} iommu=pt"]), path.name
        longer = chain([parse_shell_file(FILE, after)], variable)
        back = rewrite(longer.files[0], splice(longer, [ValueEdit(end, len(longer.value), "")]))
        # A bare word keeps the quotes that the addition brought.
        assert back == text or before.links[0].raw in ("", before.value), path.name
        edited += 1
    assert edited > 0


LETTERS = st.text(st.sampled_from("ab=.,:/-~#é*?[]!%^@{}"), max_size=4)
HARD = st.text(st.sampled_from("ab \\$\"'`~#{}()&;|<>\t=é:"), max_size=6)
NAMES = st.sampled_from(["V", "W", "U"])


def _reference(words: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    plain = NAMES.flatmap(lambda name: st.sampled_from([f"${name}", f"${{{name}}}"]))
    operated = st.builds("${{{}{}{}}}".format, NAMES, st.sampled_from([":+", "+", ":-", "-", "%", ":="]), words)
    return plain | operated


REFERENCES = _reference(st.recursive(LETTERS, lambda inner: st.builds("{} {}".format, LETTERS, _reference(inner))))
BARE = st.text(st.sampled_from("ab=.,:/-#é*[]!%^@{}~"), max_size=4) | st.sampled_from(
    ["\\ ", "\\$", '\\"', "\\\n", "\\a"]
)
IN_DOUBLE = LETTERS | REFERENCES | st.sampled_from([" ", "\\$", '\\"', "\\\\", "\\`", "\\\n", "\\a", "'", "$ ", "$"])
DOUBLE = st.lists(IN_DOUBLE, max_size=4).map(lambda parts: f'"{"".join(parts)}"')
SINGLE = st.text(st.sampled_from('ab $\\"`#{}é'), max_size=4).map(lambda text: f"'{text}'")
VALUES = st.lists(BARE | DOUBLE | SINGLE | REFERENCES, max_size=4).map("".join) | HARD
ASSIGNMENTS = st.builds(
    "{}{}={}{}\n".format, st.sampled_from(["", " ", "export "]), NAMES, VALUES, st.sampled_from(["", ";", " # c"])
)
STATEMENTS = st.sampled_from(
    [
        "if true; then {}fi\n", "if false; then :; else {}fi\n", "true && {}", "false || {}", "false && {}", "({})\n",
        "f() {{ {}}}\n", "f\n", "for W in a b; do {}done\n", "case a in a) {};; esac\n", "{{ {}}}\n", "unset V\n",
        "# {}", "cat <<E\n{}E\n", "cat <<'E'\n{}E\n", ": $({})\n", "eval 'V=e'\n", "read V </dev/null\n", "! {}",
        "V=p true\n", "V=q :\n", "V=a W=b\n", "return\n", ": {}", "set -- {}", "export V\n", "true | {}", "[[ a && {}",
        "export {}", "false; {}", "\n\\\n{}", ": ${{W:=d}}\n", "readonly U\n", "local V=l\n", "[ a ] || {}",
    ]
)  # fmt: skip
LINES = ASSIGNMENTS | st.builds(lambda frame, inner: frame.format(inner), STATEMENTS, ASSIGNMENTS)
FRAGMENTS = st.lists(LINES, min_size=1, max_size=5).map("".join)
CHECKED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much])


def try_chain(texts: Sequence[str]) -> Chain | None:
    try:
        return chain([parse_shell_file(FILE, text) for text in texts], "V")
    except BootConfigError:
        return None


@pytest.mark.programs
@CHECKED
@given(texts=st.lists(FRAGMENTS, min_size=1, max_size=2))
def test_generated_files_have_the_value_of_both_shells(tmp_path: Path, texts: list[str]) -> None:
    result = try_chain(texts)
    assume(result is not None and not result.optional and not result.filters)
    assert result is not None
    for shell in SHELLS:
        # A shell that gives up on the file gives grub-mkconfig no value to be wrong about.
        assert source(shell, tmp_path, ["V"], texts) in (None, [result.value]), (shell, texts)


EASY_VALUES = st.lists(BARE | DOUBLE | SINGLE, max_size=4).map("".join)
EASY_LINES = st.builds("{}={}\n".format, st.sampled_from(["V", "V", "W"]), EASY_VALUES)


@pytest.mark.programs
@CHECKED
@given(
    texts=st.lists(st.lists(EASY_LINES, min_size=1, max_size=3).map("".join), min_size=1, max_size=2),
    cuts=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4), st.text("ab =$\"\\`'-é", max_size=4)), max_size=3),
)
def test_spliced_files_have_the_edited_value(
    tmp_path: Path, texts: list[str], cuts: list[tuple[int, int, str]]
) -> None:
    result = try_chain(texts)
    assume(result is not None and result.links)
    assert result is not None
    edits, at = [], 0
    for start, length, text in sorted(cuts):
        begin = max(at, min(start, len(result.cells)))
        at = min(begin + length, len(result.cells))
        edits.append(ValueEdit(begin, at, text))
    try:
        words = splice(result, edits)
    except BootConfigError:
        assume(False)
    after = [rewrite(file, words) for file in result.files]
    edited, tail = result.value, ""
    for edit in reversed(edits):
        if edit.start == edit.end == len(result.cells):
            tail = edit.text + tail
        else:
            edited = edited[: edit.start] + edit.text + edited[edit.end :]
    possible = {edited[:at] + tail + edited[at:] for at in range(len(edited) + 1)}
    for shell in SHELLS:
        assert (value := source(shell, tmp_path, ["V"], after)) is not None
        assert value[0] in possible or "${" in "".join(texts)
        assert value[0].split() == chain([parse_shell_file(FILE, text) for text in after], "V").value.split()
    for file, text in zip(result.files, after, strict=True):
        changed = [assignment in words for assignment in file.assignments]
        assert unedited(file, changed) == unedited(parse_shell_file(file.path, text), changed)


def unedited(file: ShellFile, changed: Sequence[bool]) -> list[str]:
    """The text of a file without the values of the changed assignments."""
    pieces, end = [], 0
    for assignment, is_changed in zip(file.assignments, changed, strict=True):
        if is_changed:
            pieces.append(file.text[end : assignment.start])
            end = assignment.end
    return [*pieces, file.text[end:]]
