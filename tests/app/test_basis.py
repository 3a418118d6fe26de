# SPDX-License-Identifier: Apache-2.0
"""The fingerprint: what changes it, and what does not; and the shape, by which hosts are grouped."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
from project import PROJECT

from iommuctl.app.change.apply import draft_apply
from iommuctl.app.change.basis import Item, basis, fingerprint
from iommuctl.app.change.plan import ApplyPlan
from iommuctl.app.change.planning import Choices
from iommuctl.app.change.shape import shape
from iommuctl.app.host import Host
from iommuctl.facts import Runtime
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.plan import Regenerate

DEBIAN = "examples/debian-12"
FEDORA = "tests/golden/bls/fedora-42/before"
ARCH = "tests/golden/systemd-boot/arch/before"
ENVIRONMENT = "boot/grub2/grubenv"
ENTRIES = "boot/loader/entries"


def planned(tree: Path, profile: str = "passthrough-perf", choices: Choices = Choices()) -> ApplyPlan:  # noqa: B008
    return draft_apply(Host.open(tree), profile, choices)


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    made: Iterator[int] = iter(range(9))

    def copied(name: str) -> Path:
        tree = tmp_path / f"{next(made)}"
        shutil.copytree(PROJECT / name, tree, symlinks=True)
        return tree

    return copied


def set_variable(tree: Path, name: str, value: str) -> None:
    path = tree / ENVIRONMENT
    path.write_bytes(GrubEnv.parse(PurePosixPath(ENVIRONMENT), path.read_bytes()).set(name, value).block)


def rename_entries(tree: Path, counter: str) -> None:
    for entry in tuple(tree.rglob("loader/entries/*.conf")):
        entry.rename(entry.with_name(f"{entry.stem}{counter}.conf"))


def replace(tree: Path, old: str, new: str) -> None:
    """Put another word for one in every file and every name of a tree."""
    for path in sorted(tree.rglob("*"), reverse=True):
        if path.is_file() and not path.is_symlink():
            path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))
        if old in path.name:
            path.rename(path.with_name(path.name.replace(old, new)))


def append(tree: Path, path: str, text: str) -> None:
    (tree / path).parent.mkdir(exist_ok=True)
    with (tree / path).open("a") as file:
        file.write(text)


# What becomes of a host between a plan and its apply, and whether it is the same plan.
SAME: list[tuple[str, str, Callable[[Path], object]]] = [
    ("another place", DEBIAN, lambda tree: tree),
    ("a boot that went well", FEDORA, lambda tree: set_variable(tree, "boot_success", "0")),
    ("a boot that is not judged yet", FEDORA, lambda tree: set_variable(tree, "boot_indeterminate", "1")),
    ("an entry to boot once", FEDORA, lambda tree: set_variable(tree, "next_entry", "0")),
    ("a boot that is counted", ARCH, lambda tree: rename_entries(tree, "+2-1")),
    ("a file that nobody reads", DEBIAN, lambda tree: (tree / "etc/other").touch()),
]
OTHER: list[tuple[str, str, Callable[[Path], object]]] = [
    ("a comment in a file that is read", DEBIAN, lambda tree: append(tree, "etc/default/grub", "# later\n")),
    ("a kernel in /boot", DEBIAN, lambda tree: (tree / "boot/vmlinuz-6.1.0-99-amd64").touch()),
    ("an entry", FEDORA, lambda tree: (tree / ENTRIES / "mine.conf").write_text("title mine\nlinux /vmlinuz\n")),
    ("a variable that is no boot's", FEDORA, lambda tree: set_variable(tree, "kernelopts", "root=/dev/sda")),
    ("a drop-in", DEBIAN, lambda tree: append(tree, "etc/default/grub.d/later.cfg", "GRUB_TIMEOUT=1\n")),
    ("another loader's file", DEBIAN, lambda tree: (tree / "boot/limine.conf").touch()),
]


@pytest.mark.parametrize(("what", "name", "happens"), SAME, ids=[row[0] for row in SAME])
def test_no_reboot_and_no_place_changes_a_fingerprint(
    what: str, name: str, happens: Callable[[Path], object], copy: Callable[[str], Path]
) -> None:
    before, after = copy(name), copy(name)
    happens(after)
    assert planned(before).steps.fingerprint == planned(after).steps.fingerprint


@pytest.mark.parametrize(("what", "name", "happens"), OTHER, ids=[row[0] for row in OTHER])
def test_what_a_plan_rests_on_changes_its_fingerprint(
    what: str, name: str, happens: Callable[[Path], object], copy: Callable[[str], Path]
) -> None:
    before, after = copy(name), copy(name)
    happens(after)
    choices = Choices(backend="grub2") if name == DEBIAN else Choices()
    prints = {planned(tree, choices=choices).steps.fingerprint for tree in (before, after)}
    assert len(prints) == 2


def test_another_entry_by_default_changes_a_fingerprint(copy: Callable[[str], Path]) -> None:
    tree = copy(FEDORA)
    prints = set()
    for entry in sorted((tree / ENTRIES).glob("*fc42*.conf")):
        set_variable(tree, "saved_entry", entry.stem)
        prints.add(planned(tree).steps.fingerprint)
    assert len(prints) == 2


def test_what_is_asked_changes_a_fingerprint(copy: Callable[[str], Path]) -> None:
    tree = copy(DEBIAN)
    rows = (
        planned(tree),
        planned(tree, "strict-isolation"),
        planned(tree, choices=Choices(regenerate=Regenerate.ALWAYS)),
    )
    assert len({row.steps.fingerprint for row in rows}) == 3


def test_what_a_boot_leaves_in_memory_and_what_is_not_there_are_no_part_of_a_fingerprint() -> None:
    steps = planned(PROJECT / DEBIAN).steps
    booted = steps.survey._replace(
        facts=steps.survey.facts._replace(runtime=Runtime("quiet iommu=pt", entry_selected="1", mounts=("/boot",)))
    )
    booted.tree.read(PurePosixPath("/boot/a-loader-of-later"))
    assert basis(steps.survey, (), steps.edits, (), runs=True) == basis(booted, (), steps.edits, (), runs=True)


def test_the_text_that_is_hashed_has_one_form() -> None:
    items = (Item("file", "/a\tb\nc\\d", "1f"), Item("kernel", "6.1.0-\udcff", "none"))
    text = b"iommuctl plan 1\nfile\t/a\\tb\\nc\\\\d\t1f\nkernel\t6.1.0-\xff\tnone\n"
    assert fingerprint(items) == hashlib.sha256(text).hexdigest()


def test_hosts_that_change_alike_have_one_shape(copy: Callable[[str], Path]) -> None:
    trees = [copy(FEDORA) for _ in range(3)]
    replace(trees[1], "3f1c0d6a5b7e4f52a9d08c6b1e2d3f40", "0123456789abcdef0123456789abcdef")
    replace(trees[1], "6.14.5-300.fc42.x86_64", "6.15.2-100.fc42.x86_64")
    (old,) = (trees[2] / ENTRIES).glob("*6.14.3*.conf")
    old.unlink()
    plans = [planned(tree) for tree in trees]
    assert len({plan.steps.fingerprint for plan in plans}) == 3
    assert len({shape(plan) for plan in plans}) == 1


def test_hosts_that_change_otherwise_have_another_shape(copy: Callable[[str], Path]) -> None:
    fedora, other = copy(FEDORA), copy(FEDORA)
    (other / "etc/kernel/cmdline").write_text("root=/dev/sda2 ro iommu=pt\n")
    plans = [planned(fedora), planned(other), planned(fedora, "strict-isolation"), planned(PROJECT / DEBIAN)]
    assert len({shape(plan) for plan in plans}) == 4
