# SPDX-License-Identifier: Apache-2.0
"""Documents are true: links lead somewhere, commands are taken, and examples print what is shown.

A comment above a block of `console` has it run: `<!-- run -->` in a clean tree, `<!-- run in image NAME -->` with a
copy of that tree in /mnt/image, `<!-- run on host NAME -->` with that host as the running one. A line of three dots
stands for any lines. `pytest --update-golden tests/project/test_documents.py` writes what is shown anew,
to be read by eye.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import documents
import pytest
from documents import DOCUMENTS, Block
from project import PROJECT
from shownhosts import MOUNTED, Stage

from iommuctl.profile.beside import NONE
from iommuctl.profile.shipped import shipped_profiles

TIMEOUT_SECONDS = 300
ELLIPSIS = "..."
MARK = "\x1e"
CONTINUED = re.compile(r"^>(?: |$)")
WHATEVER = (
    (re.compile(r"\b\d{8}T\d{6}Z-[0-9a-f]{6}\b"), "SNAPSHOT"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"^[0-9a-f]{6}(?= +TIME  )"), "SHORT"),  # of the list of snapshots
    (re.compile(r"\b[\d.]+ [KMGT]iB free"), "ROOM free"),
)
NOTE = re.compile(r"run(?: in image (?P<image>[a-z0-9.-]+)| on host (?P<host>[a-z-]+))?")
TASKS = (
    "convert-one-host",
    "gpu-passthrough",
    "sr-iov",
    "strict-isolation",
    "offline-image",
    "fleet",
    "when-it-does-not-boot",
    "faq",
)
EVERY_DOCUMENT = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[str(path.relative_to(PROJECT)) for path in DOCUMENTS]
)
# What is typed in the first hour is wrong on purpose in places, and has a test of its own.
EVERY_DOCUMENT_OF_RIGHT_LINES = pytest.mark.parametrize(
    "document",
    [path for path in DOCUMENTS if path.name != "first-hour.md"],
    ids=lambda path: str(path.relative_to(PROJECT)),
)


@dataclass(frozen=True)
class Example:
    """A command as it is typed, and the lines that are shown below it."""

    typed: tuple[str, ...]
    shown: tuple[str, ...]

    @property
    def command(self) -> str:
        return "\n".join((self.typed[0].removeprefix("$ "), *(CONTINUED.sub("", line) for line in self.typed[1:])))


def examples(block: Block) -> Iterator[Example]:
    """The commands of a block of `console`, each with what is shown of it."""
    typed: list[str] = []
    shown: list[str] = []
    for line in block.text.splitlines():
        continues = bool(typed and not shown) and bool(typed[-1].endswith("\\") or CONTINUED.match(line))
        if line.startswith("$ ") and typed and not continues:
            yield Example(tuple(typed), tuple(shown))
            typed, shown = [line], []
        elif line.startswith("$ ") or continues:
            typed.append(line)
        else:
            shown.append(line)
    if typed:
        yield Example(tuple(typed), tuple(shown))


def run(block: Block, stage: Stage) -> list[Example]:
    """Run the commands of a block in one shell, and give them with what they printed."""
    note = NOTE.fullmatch(block.note)
    assert note is not None, block.note
    image = str(stage.image(note["image"])) if note["image"] else ""
    host = str(stage.running(note["host"])) if note["host"] else ""
    found = list(examples(block))
    marked = f"status=$?; printf '{MARK}\\n'; (exit $status)"
    script = "\n".join(line for example in found for line in (marked, example.command))
    if image:
        script = script.replace(MOUNTED, image)
    done = subprocess.run(
        ["/bin/bash", "-c", f"exec 2>&1\n{script}"],
        cwd=stage.work,
        env=stage.environment(host),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    text = done.stdout.decode()
    for place, name in ((image, MOUNTED), (f"{host}/", "/"), (host, "/")):
        text = text.replace(place, name) if place.strip("/") else text
    printed = text.split(f"{MARK}\n")[1:]
    assert len(printed) == len(found), text
    return [Example(one.typed, tuple(lines.splitlines())) for one, lines in zip(found, printed, strict=True)]


def as_text(found: list[Example]) -> str:
    return "".join(f"{line}\n" for example in found for line in (*example.typed, *example.shown))


def settled(line: str) -> str:
    """A line without what is another one each time."""
    for pattern, name in WHATEVER:
        line = pattern.sub(name, line)
    return line.rstrip()


def agrees(shown: tuple[str, ...], printed: tuple[str, ...]) -> bool:
    """Whether the printed lines are those shown; a line of dots stands for any lines."""
    pattern = "".join(r"(?:.*\n)*" if line == ELLIPSIS else f"{re.escape(settled(line))}\n" for line in shown)
    return re.fullmatch(pattern, "".join(f"{settled(line)}\n" for line in printed)) is not None


def to_be_run(document: Path) -> list[Block]:
    return [block for block in documents.blocks(document.read_text()) if block.note.startswith("run")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if to_be_run(path)], ids=lambda path: str(path.relative_to(PROJECT))
)
def test_the_examples_print_what_is_shown(document: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    stage = Stage.build(tmp_path / "stage")
    for block in to_be_run(document):
        printed = run(block, stage)
        pairs = list(zip(examples(block), printed, strict=True))
        if all(agrees(shown.shown, real.shown) for shown, real in pairs):
            continue
        if request.config.getoption("--update-golden") and ELLIPSIS not in block.text.splitlines():
            document.write_text(document.read_text().replace(block.text, as_text(printed)))
            continue
        shown_text = as_text([one for one, _ in pairs])
        assert as_text(printed) == shown_text


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        (["a", "b"], ["a", "b"], True),
        (["a", "b"], ["a"], False),
        (["a", "...", "d"], ["a", "b", "c", "d"], True),
        (["a", "...", "d"], ["a", "b", "c"], False),
        (["snapshot 20261126T105756Z-bdbcd6"], ["snapshot 20270101T000000Z-000000"], True),
        (["a.c"], ["abc"], False),
    ],
)
def test_an_example_agrees_with_what_it_shows_alone(shown: list[str], printed: list[str], expected: bool) -> None:
    assert agrees(tuple(shown), tuple(printed)) is expected


def test_commands_are_told_from_what_they_print() -> None:
    text = "$ for x in a; do\n> echo $x\n> done\na\n$ true \\\n    --long\n$ cat f\n> quoted\n>\n"
    assert [(one.command, one.shown) for one in examples(Block("run", "console", text))] == [
        ("for x in a; do\necho $x\ndone", ("a",)),
        ("true \\\n    --long", ()),
        ("cat f\nquoted\n", ()),
    ]


@pytest.mark.parametrize("name", TASKS)
def test_each_task_shows_something_that_was_run(name: str) -> None:
    assert to_be_run(PROJECT / "docs" / f"{name}.md")


@EVERY_DOCUMENT_OF_RIGHT_LINES
def test_every_command_is_one_that_the_application_takes(document: Path) -> None:
    calls = [call for line in documents.commands(document.read_text()) for call in documents.invocations(line)]
    assert [(call, why) for call in calls if (why := documents.complaint(call)) is not None] == []


@EVERY_DOCUMENT_OF_RIGHT_LINES
def test_every_profile_is_one_that_there_is(document: Path) -> None:
    calls = [call for line in documents.commands(document.read_text()) for call in documents.invocations(line)]
    named = {
        call[1] for call in calls if call[:1] in (["apply"], ["verify"], ["lint"]) and call[1:] and call[1][0] != "-"
    }
    own = {name for name in named if not re.fullmatch(r"[a-z][a-z-]*", name)}  # a path, or a word in capitals
    declared = set(re.findall(r'^(?:> )?name = "([a-z-]+)"', document.read_text(), re.MULTILINE))
    assert named - own - declared - {NONE, *shipped_profiles()} == set()


# Links


def slug(heading: str) -> str:
    """The anchor that a heading gets on a forge: lower case, no punctuation, dashes for blanks."""
    words = re.sub(r"[^\w\- ]", "", re.sub(r"`|\*|\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower())
    return words.replace(" ", "-")


def prose(document: Path) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)}


@EVERY_DOCUMENT
def test_links_lead_to_files_and_headings(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        path, _, anchor = link.partition("#")
        target = document if not path else document.parent / path
        if "://" in link:
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("`iommu=pt` or `iommu=1`?", "iommupt-or-iommu1"),
        ("Promises, and how each is tested", "promises-and-how-each-is-tested"),
        ("退出码", "退出码"),
    ],
)
def test_anchor_of_a_heading(heading: str, anchor: str) -> None:
    assert slug(heading) == anchor


def test_the_index_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(([a-z-]+\.md)\)", (PROJECT / "docs/README.md").read_text()))
    assert linked == {path.name for path in PROJECT.glob("docs/*.md")} - {"README.md"}


# The same readme in two languages


def headings(document: Path) -> list[str]:
    return re.findall(r"^(#+) ", prose(document), re.MULTILINE)


def test_both_readmes_have_the_same_commands_blocks_and_parts() -> None:
    english, chinese = (PROJECT / name for name in ("README.md", "README.zh-CN.md"))
    uncommented = [
        [re.sub(r"\s+#.*", "", line) for line in documents.commands(document.read_text())]
        for document in (english, chinese)
    ]
    assert sorted(uncommented[0]) == sorted(uncommented[1])
    assert headings(english) == headings(chinese)
    blocks = [[block.language for block in documents.blocks(document.read_text())] for document in (english, chinese)]
    assert blocks[0] == blocks[1]


def test_the_readmes_lead_to_each_other() -> None:
    assert "](README.zh-CN.md)" in (PROJECT / "README.md").read_text()
    assert "](README.md)" in (PROJECT / "README.zh-CN.md").read_text()
