# SPDX-License-Identifier: Apache-2.0
"""The contract of a backend, over every row of the table: a new row without hosts and breakages of its own fails here.

Hosts are the golden trees, generated files left out of scope; what generators do has tests of its own.
"""

import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import crash
import pytest
from program import ENVIRONMENT, STATE, debris, iommuctl, live
from project import GOLDEN
from warm import IOMMUCTL

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.execute import carry_out
from iommuctl.app.change.plan import ApplyPlan
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.app.rollback.plan import plan_rollback
from iommuctl.backends.table import BACKENDS
from iommuctl.errors import BootConfigError, ProfileError, UnavailableError
from iommuctl.facts import Platform
from iommuctl.host.root import Root
from iommuctl.plan import Regenerate
from iommuctl.transaction.recovery import recover
from iommuctl.transaction.snapshot import State
from iommuctl.transaction.store import Store

HOSTS = tuple(sorted(str(path.parent.relative_to(GOLDEN)) for path in GOLDEN.glob("*/*/before")))
PROFILES = ("passthrough-perf", "strict-isolation", "kernel-default", "iommu-off")
INTEL = Choices(platform=Platform.INTEL, regenerate=Regenerate.NEVER)
OPTIONS = ("--platform", "intel", "--regenerate", "never")
# A line that loses its last parameter goes with its key; JSON has commas.
STRUCTURE = ("options", ",")
OUTSIDE = b"GRUB_CMDLINE_LINUX_DEFAULT=quiet\n"


@dataclass(frozen=True)
class Row:
    """What the suite needs to know of one backend: a host, the sources to break on it, and how.

    A breakage is a file, what replaces a stretch of it, and the line that the refusal must name.
    """

    host: str
    source: str
    breakages: tuple[tuple[str, str, str, int], ...]


_RHEL = "boot/loader/entries/3f1c0d6a5b7e4f52a9d08c6b1e2d3f40-5.14.0-503.el9.x86_64.conf"
_DEBIAN = "boot/efi/loader/entries/3f1c0d6a5b7e4f52a9d08c6b1e2d3f40-6.12.48+deb13-amd64+3.conf"
ROWS = {
    "grub2": Row(
        "debian-12",
        "etc/default/grub",
        (
            ("etc/default/grub", r"\Z", 'if true; then\n  GRUB_CMDLINE_LINUX_DEFAULT="x"\nfi\n', 17),
            ("etc/default/grub", r"\Z", 'GRUB_CMDLINE_LINUX_DEFAULT="quiet\n', 16),
            ("etc/default/grub", r"\Z", 'A=1; GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n', 16),
        ),
    ),
    "bls": Row(
        "rhel-9",
        _RHEL,
        (
            (_RHEL, r"^options", "\noptions", 6),
            (_RHEL, r"(?<=^options) ", "\t", 5),
            (_RHEL, r"(?<=^options )", 'x="a ', 5),
            ("etc/default/grub", r"\Z", 'if true; then\n  GRUB_CMDLINE_LINUX="x"\nfi\n', 10),
        ),
    ),
    "systemd-boot": Row(
        "debian-13",
        _DEBIAN,
        (
            (_DEBIAN, r"(?<=^options    )", 'x="a ', 7),
            (_DEBIAN, r"(?<=^options    )", "x=\udcff ", 7),
        ),
    ),
}


def backend_of(host: str) -> str:
    return host.partition("/")[0]


def plan(tree: Path, profile: str = PROFILES[0], choices: Choices = INTEL) -> ApplyPlan:
    return plan_apply(Host.open(tree), profile, choices)


def apply(tree: Path, profile: str = PROFILES[0]) -> tuple[ApplyPlan, str | None]:
    planned = plan(tree, profile)
    return planned, carry_out(Host.open(tree), planned, progress=lambda _: nullcontext()).snapshot


def roll_back(tree: Path) -> None:
    host = Host.open(tree)
    carry_out(host, plan_rollback(host, None, INTEL), progress=lambda _: nullcontext())


def stamps(tree: Path) -> dict[str, tuple[int, int, int, int]]:
    """What any write would change: inode, mode and both times of everything, directories included."""
    found = {str(path.relative_to(tree)): path.lstat() for path in (tree, *tree.rglob("*"))}
    return {path: (one.st_ino, one.st_mode, one.st_mtime_ns, one.st_ctime_ns) for path, one in found.items()}


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    def make(host: str) -> Path:
        return Path(shutil.copytree(GOLDEN / host / "before", tmp_path / "host", symlinks=True))

    return make


every_host = pytest.mark.parametrize("host", HOSTS)
every_profile = pytest.mark.parametrize("profile", PROFILES)
every_row = pytest.mark.parametrize("name", ROWS)


def test_every_row_of_the_table_has_hosts_and_breakages() -> None:
    assert set(BACKENDS) == {backend_of(host) for host in HOSTS} == set(ROWS)
    assert all(f"{name}/{row.host}" in HOSTS and row.breakages for name, row in ROWS.items())


@every_host
def test_its_hosts_are_detected_as_its_own(host: str) -> None:
    assert plan(GOLDEN / host / "before").steps.survey.backend.name == backend_of(host)


def test_a_conforming_host_renders_nothing() -> None:
    conforming = set()
    for host in HOSTS:
        for profile in PROFILES:
            planned = plan(GOLDEN / host / "before", profile)
            if not short_of(planned):
                # All that may be to do is a file that the next kernel needs and that is not there.
                assert all(edit.before is None for edit in planned.steps.edits), f"{host}: {planned.steps.edits}"
                conforming |= set() if planned.steps.edits or planned.steps.commands else {backend_of(host)}
    assert conforming == set(BACKENDS), "a row whose every host is changed by a profile that it has already"


def short_of(planned: ApplyPlan) -> tuple[str, ...]:
    """How the host falls short of what the plan is for, by the backend's own reading."""
    found = planned.steps.survey
    return found.backend.read_back(found.tree, found.facts, planned.desired, generated=True)


@every_host
@every_profile
def test_a_dry_run_writes_nothing_and_is_what_an_apply_does(
    host: str, profile: str, copy: Callable[[str], Path]
) -> None:
    tree = copy(host)
    before = stamps(tree)
    planned = plan(tree, profile)
    assert stamps(tree) == before
    done, snapshot = apply(tree, profile)
    assert (done.steps.edits, done.steps.changes, done.steps.fingerprint) == (
        planned.steps.edits,
        planned.steps.changes,
        planned.steps.fingerprint,
    )
    assert (snapshot is not None) == planned.steps.is_changed
    assert all((tree / str(edit.path).lstrip("/")).read_bytes() == edit.after for edit in planned.steps.edits)


@every_host
@every_profile
def test_a_second_apply_writes_nothing(host: str, profile: str, copy: Callable[[str], Path]) -> None:
    tree = copy(host)
    apply(tree, profile)
    before = stamps(tree)
    planned, snapshot = apply(tree, profile)
    assert (planned.steps.changes, planned.steps.edits, snapshot) == ((), (), None)
    assert stamps(tree) == before


@every_host
@every_profile
def test_only_what_the_plan_names_is_touched(host: str, profile: str, copy: Callable[[str], Path]) -> None:
    tree = copy(host)
    old, kept = live(tree), stamps(tree)
    planned, _ = apply(tree, profile)
    new = live(tree)
    named = {str(edit.path).lstrip("/") for edit in planned.steps.edits}
    ours = {STATE, *(str(parent) for path in (STATE, *named) for parent in Path(path).parents)}
    assert {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)} == named
    untouched = kept.keys() - named - ours
    assert {path: stamps(tree)[path] for path in untouched} == {path: kept[path] for path in untouched}
    for edit in planned.steps.edits:
        path = str(edit.path).lstrip("/")
        if path not in old:
            continue
        assert new[path][:3] == old[path][:3], f"{path}: mode or owner"
        mine = [change for change in planned.steps.changes if change.path == edit.path]
        gone = Counter(change.before for change in mine if change.before)
        came = Counter(change.after for change in mine if change.after)
        assert difference(edit.before, edit.after) == (gone, came), path


def difference(before: bytes | None, after: bytes | None) -> tuple[Counter[str], Counter[str]]:
    """The words that went and that came, of the lines that differ; lines keep their number and their blanks' kinds."""
    old, new = ((text or b"").rstrip(b"#").decode("utf-8", "surrogateescape") for text in (before, after))
    gone, came = Counter[str](), Counter[str]()
    pairs = SequenceMatcher(None, old.split("\n"), new.split("\n"), autojunk=False).get_opcodes()
    for tag, start, end, into, until in pairs:
        if tag != "equal":
            words = [
                # The name of a variable that a line is added for is no word of a command line.
                Counter(re.findall(r"[^\s\"']+(?<!=)(?![^\s\"'])", " ".join(lines).replace('="', '=" ')))
                for lines in (old.split("\n")[start:end], new.split("\n")[into:until])
            ]
            gone += words[0] - words[1]
            came += words[1] - words[0]
    for word in STRUCTURE:
        del gone[word], came[word]
    return gone - came, came - gone


@every_host
@every_profile
def test_a_rollback_brings_back_every_byte(host: str, profile: str, copy: Callable[[str], Path]) -> None:
    tree = copy(host)
    before, folders = live(tree, times=False), {path for path in tree.rglob("*") if path.is_dir()}
    _, snapshot = apply(tree, profile)
    if snapshot is None:
        pytest.skip("the host has the profile already")
    assert live(tree, times=False) != before
    roll_back(tree)
    assert live(tree, times=False) == before
    left = {path.relative_to(tree) for path in tree.rglob("*") if path.is_dir() and path not in folders}
    assert all(path.is_relative_to("var") for path in left)
    assert debris(tree) == set()


@every_row
def test_what_cannot_be_represented_is_refused_with_file_and_line(name: str, copy: Callable[[str], Path]) -> None:
    tree = copy(f"{name}/{ROWS[name].host}")
    for path, where, text, line in ROWS[name].breakages:
        whole = (tree / path).read_bytes()
        broken = re.sub(where, text.replace("\n", r"\n"), whole.decode(), count=1, flags=re.MULTILINE)
        (tree / path).write_bytes(broken.encode("utf-8", "surrogateescape"))
        before = stamps(tree)
        for more in ((), ("--dry-run",)):
            run = iommuctl("apply", PROFILES[0], "--root", str(tree), *OPTIONS, *more)
            assert (run.code, run.stdout) == (78, ""), f"{text!r}: {run.stderr}"
            assert run.stderr.startswith(f"iommuctl: error: /{path}:{line}: "), run.stderr
        left = {place: stamp for place, stamp in stamps(tree).items() if not place.startswith("var")}
        assert left | {".": before["."]} == before, "written before it was refused"
        (tree / path).write_bytes(whole)


@every_row
@pytest.mark.parametrize("value", ["pt; reboot", "$(reboot)", "`reboot`", "pt\nx", 'a"b', "a'b", "a\\b", "a b", "a\0b"])
def test_hostile_values_of_a_profile_are_refused(name: str, value: str, copy: Callable[[str], Path]) -> None:
    tree = copy(f"{name}/{ROWS[name].host}")
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in value)
    profile = tree.parent / "hostile.toml"
    profile.write_text(
        f'name = "hostile"\nsummary = "s"\n[[set]]\nparameter = "iommu"\nvalue = "{escaped}"\nreason = "r"\n'
    )
    before = stamps(tree)
    for wanted, choices in (
        (str(profile), INTEL),
        ("vfio-bind", Choices(platform=Platform.INTEL, inputs={"vfio-pci.ids": f"8086:1572{value}"})),
    ):
        with pytest.raises(ProfileError):
            plan(tree, wanted, choices)
    assert stamps(tree) == before


@every_row
def test_a_source_that_is_a_link_never_leads_out_of_the_root(name: str, copy: Callable[[str], Path]) -> None:
    tree = copy(f"{name}/{ROWS[name].host}")
    outside = tree.parent / "outside"
    outside.write_bytes(OUTSIDE)
    source = tree / ROWS[name].source
    source.unlink()
    source.symlink_to(outside)
    kept = stamps(outside)
    with suppress(BootConfigError, UnavailableError):
        apply(tree)
    assert (outside.read_bytes(), stamps(outside)) == (OUTSIDE, kept)


@pytest.mark.slow
@pytest.mark.programs
@every_row
def test_a_kill_at_any_write_of_an_apply_is_all_or_nothing(
    name: str, copy: Callable[[str], Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    crash.require_strace()
    pristine = copy(f"{name}/{ROWS[name].host}")
    done = Path(shutil.copytree(pristine, tmp_path / "done", symlinks=True))

    def arguments(tree: Path) -> tuple[str, ...]:
        return ("apply", PROFILES[0], "--root", str(tree), *OPTIONS, "--yes")

    environment = {**ENVIRONMENT, **crash.python_environment()}
    points = crash.write_points(IOMMUCTL, arguments, environment, done)
    old, new = live(pristine), live(done, times=False)
    assert len(points) > 40, "the trace is too short to be true"

    def judge(tree: Path, outcome: crash.Outcome) -> None:
        for path, facts in live(tree, times=False).items():
            if not Path(path).name.startswith(".iommuctl-"):
                assert facts[3] in [one[path][3] for one in (old, new) if path in one], f"{path} is neither old nor new"
        recover(Root(tree), Store(Root(tree)))
        is_new = live(tree, times=False) == new
        assert is_new != (live(tree) == old), "neither old nor new"
        states = [one.state for one in Store(Root(tree)).list().snapshots]
        assert states in ([[State.APPLIED]] if is_new else [[], [State.UNDONE]])
        assert debris(tree) == set()
        assert apply(tree)[0].steps.is_changed != is_new
        assert live(tree, times=False) == new, "the next run did not end in the new state"

    (tmp_path / "struck").mkdir()
    strikes = [(point, crash.KILL) for point in points]
    count = crash.strike(IOMMUCTL, arguments, environment, pristine, tmp_path / "struck", strikes, judge)
    sys.stdout.write(f"{request.node.name}: killed at {count} of {len(points)} writes\n")
