# SPDX-License-Identifier: Apache-2.0
"""What code and documents refer to is there: a document's promises and headings, and files by their path."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import PACKAGE, PROJECT

DOCUMENTS = (PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md")))
SOURCES = sorted(
    path
    for folder in (PACKAGE, PROJECT / "tests")
    for path in folder.rglob("*")
    if path.suffix in {".py", ".toml", ".aug", ".json"} and "golden" not in path.parts and path != Path(__file__)
)
# In brackets, a document of ours by its name, and a place in it, such as `architecture, promise 5`.
REFERENCE = re.compile(r"(?<=[(;]) ?(?P<document>[a-z][a-z-]*), (?P<kind>promise|section) (?P<place>\d[\d.]*\d|\d)")
LONE = re.compile(r"(?<!architecture, )\bpromise \d")
PATH = re.compile(r"`((?:iommuctl|tests|docs|man|scripts|benchmarks|packaging)/[\w./-]+)`")


def dead(text: str) -> Iterator[str]:
    """Every reference of a text that leads nowhere."""
    for found in REFERENCE.finditer(text):
        path = PROJECT / "docs" / f"{found['document']}.md"
        written = path.read_text() if path.exists() else ""
        start = {"promise": rf"^{found['place']}\. \*\*", "section": rf"^#+ {found['place']}\b"}[found["kind"]]
        if not re.search(start, written, re.MULTILINE):
            yield found[0].strip()
    yield from (found[0] for found in LONE.finditer(text))


def test_code_refers_to_what_is_there() -> None:
    found = [(path.relative_to(PROJECT), reference) for path in SOURCES for reference in dead(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("back by its class (architecture, promise 8)", []),
        ("(architecture, promise 99)", ["architecture, promise 99"]),
        ("(design, section 3.1)", ["design, section 3.1"]),
        ("an entry goes back (promise 8)", ["promise 8"]),
        ("(UEFI 2.10, section 3.3)", []),
        ("(LUKS2 on-disk format, section 2.1)", []),
    ],
)
def test_a_dead_reference_is_seen(text: str, references: list[str]) -> None:
    assert list(dead(text)) == references


@pytest.mark.parametrize("document", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_files_that_a_document_names_are_there(document: Path) -> None:
    named = [PROJECT / name for name in PATH.findall(document.read_text())]
    # A directory may be one that comes with what is put there.
    assert [path for path in named if not path.exists() and (path.suffix or not path.parent.is_dir())] == []


def test_every_promise_names_a_test_that_is_there() -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text()
    promises = re.split(r"^\d\. \*\*", text.split("## Promises\n")[1].split("\n## ")[0], flags=re.MULTILINE)[1:]
    assert len(promises) == 8
    assert [one[:30] for one in promises if "`tests/" not in one] == []


def test_the_walk_goes_one_way() -> None:
    """Each file of the walk imports none of those below it."""
    text = (PROJECT / "docs" / "architecture.md").read_text().split("## Where is what: a walk\n")[1]
    files = re.findall(r"\| `(iommuctl/[\w/]+\.py)`", text)
    assert len(files) == 4
    rooms = ["iommuctl." + file.split("/")[1] for file in files]
    for number, file in enumerate(files):
        source = (PROJECT / file).read_text()
        assert [room for room in rooms[number + 1 :] if f"from {room}" in source] == []
