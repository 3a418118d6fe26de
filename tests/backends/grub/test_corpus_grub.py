# SPDX-License-Identifier: Apache-2.0
"""Real /etc/default/grub files: each edit is exact by the shell's own word, or the file is refused with its line."""

import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest
from lacking import program
from project import PROJECT

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.execute import carry_out
from iommuctl.app.change.plan import ApplyPlan
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.app.rollback.plan import plan_rollback
from iommuctl.errors import BootConfigError
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import Change, Command, Regenerate
from iommuctl.profile.conform import Conformer

FOLDER = PROJECT.parent / "shared" / "corpus" / "grub-default"
TABLE = PROJECT / "docs" / "corpus.md"
PROFILES = ("passthrough-perf", "strict-isolation")
LINUX, DEFAULT = "GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"
MOST_REFUSED = 0.08
NOBODY = 65534

# What a profile promises on x86, in words of its own: (name, item of its list).
PROMISED = {
    "passthrough-perf": {("intel_iommu", "on"), ("iommu", "pt")},
    "strict-isolation": {("intel_iommu", "on"), ("iommu.passthrough", "0"), ("iommu.strict", "1")},
}
# Everything else on a line is none of a profile's business.
IOMMU_NAMES = {
    *("intel_iommu", "amd_iommu", "iommu", "iommu.passthrough", "iommu.strict", "intremap", "nointremap"),
    *("vfio.enable_unsafe_noiommu_mode", "vfio_iommu_type1.allow_unsafe_interrupts", "pcie_acs_override"),
    *("iommufd.allow_unsafe_interrupts", "arm_smmu.disable_bypass", "arm_smmu_v3.disable_bypass"),
}

REASONS = (
    (re.compile(r"is assigned in a function"), "a variable is assigned in a function"),
    (re.compile(r"is assigned (inside the|after)"), "a variable is assigned under a condition or in a loop"),
    (re.compile(r"\+=, which dash does not know"), "`+=`, which dash does not know"),
    (re.compile(r"is assigned with more words after the value"), "words behind the closing quote"),
    (re.compile(r"the value of \S+ has"), "a value that only a running shell knows"),
    (re.compile(r"may change what"), "a command that could assign"),
    (re.compile(r"grub-mkconfig ends here"), "`source`, at which grub-mkconfig itself ends"),
    (re.compile(r"as GRUB's script would have it"), "a `#` in the value, behind which GRUB reads nothing"),
)

pytestmark = pytest.mark.corpus
MAIN_OF_DROP_INS = b'GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n'


@dataclass(frozen=True, slots=True)
class Sourced:
    """What dash makes of the sources: the two variables, and everything else that it then knows."""

    linux: str
    default: str
    rest: str

    @property
    def values(self) -> Mapping[str, str]:
        return {LINUX: self.linux, DEFAULT: self.default}


def corpus_files() -> list[str]:
    return sorted(path.name for path in FOLDER.iterdir()) if FOLDER.is_dir() else []


def must_not_be_sourced() -> set[str]:
    """The files that do more than assign: running them could write outside of the test."""
    rows = (FOLDER.parent / "EFFECTIVE.tsv").read_text().splitlines()
    return {row.split("\t")[0] for row in rows if "SKIPPED" in row.split("\t")[1:]}


def build_host(top: Path, name: str) -> Host:
    """A small Debian tree in which the file is where it stood on its own host."""
    content = (FOLDER / name).read_bytes()
    drop_in = re.search(r"__default_grub\.d_(.*)$", name)
    files = {
        "etc/os-release": b'ID=debian\nVERSION_ID="12"\n',
        "boot/vmlinuz-6.1.0-40-amd64": b"",
        # Settings alone prove no GRUB; its generator says whether it sources drop-ins.
        "usr/sbin/grub-mkconfig": b"for x in ${sysconfdir}/default/grub.d/*.cfg ; do\n",
        "etc/default/grub": MAIN_OF_DROP_INS if drop_in else content,
    }
    if drop_in:
        files[f"etc/default/grub.d/{drop_in[1]}"] = content
    for path, text in files.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(text)
    return Host.open(top)


def contents(top: Path) -> dict[str, bytes]:
    """Every file of a host but our own state."""
    files = (path for path in top.rglob("*") if path.is_file())
    return {str(path.relative_to(top)): path.read_bytes() for path in files if "var" not in path.relative_to(top).parts}


def source(top: Path) -> Sourced | None:
    """Have dash source a host's files with nothing around it; None where it cannot."""
    dash = program("dash")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        empty, work = Path(folder) / "empty", Path(folder) / "work"
        empty.mkdir()
        work.mkdir()
        drop_ins = sorted((top / "etc/default/grub.d").glob("*.cfg"))
        names = [shutil.copyfile(path, work / path.name).name for path in (top / "etc/default/grub", *drop_ins)]
        script = (
            'for file in "$@"; do . "./$file" >/dev/null 2>&1; done\n'
            f'printf \'%s\\000\' "${LINUX}" "${DEFAULT}"\nunset {LINUX} {DEFAULT}\nset\n'
        )
        rights = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(  # type: ignore[call-overload]  # the rights differ with who runs it
            [dash, "-c", script, "sh", *names],
            env={"PATH": str(empty)},
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
            **rights,
        )
    if done.returncode != 0 or done.stdout.count(b"\0") != 2:
        return None
    linux, default, rest = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    varying = re.compile(r"^(PPID|PWD|OLDPWD|PATH)=.*\n", re.MULTILINE)
    return Sourced(linux, default, varying.sub("", rest))


def tokens(line: str) -> list[str]:
    """Split a command line at blanks that are not between double quotes, as next_arg() does."""
    return re.findall(r'(?:"[^"]*(?:"|$)|[^\s"])+', line)


def name_of(token: str) -> str:
    return token.lstrip('"').partition("=")[0].replace("-", "_")


def items(line: str) -> set[tuple[str, str]]:
    pairs = ((name_of(token), token.strip('"').partition("=")[2]) for token in tokens(line))
    return {(name, item) for name, value in pairs for item in value.split(",")}


@contextmanager
def no_progress(_: Command) -> Iterator[None]:
    with nullcontext():
        yield


def plan_for(host: Host, profile: str) -> ApplyPlan:
    return plan_apply(host, profile, Choices(regenerate=Regenerate.NEVER))


def plan_or_refusal(host: Host, profile: str) -> ApplyPlan | BootConfigError:
    try:
        return plan_for(host, profile)
    except BootConfigError as error:
        return error


def assert_values_follow_changes(before: Sourced, after: Sourced, changes: tuple[Change, ...]) -> None:
    """Each variable holds the tokens that it held, but for the changes that the plan names; foreign ones in order."""
    for variable in (LINUX, DEFAULT):
        old, new = tokens(before.values[variable]), tokens(after.values[variable])
        own = [change for change in changes if change.target == variable]
        gone = Counter(change.before for change in own if change.before is not None)
        come = Counter(change.after for change in own if change.after is not None)
        assert Counter(new) == Counter(old) - gone + come
        foreign = [[token for token in each if name_of(token) not in IOMMU_NAMES] for each in (old, new)]
        assert foreign[0] == foreign[1]
        if not gone:
            more = [change.after for change in own if change.after is not None]
            value = before.values[variable]
            blank = " " if more and value and not value[-1].isspace() else ""
            assert after.values[variable] == value + blank + " ".join(more)


def cut(line: str, words: list[str], *, bare: bool) -> str:
    """Take words out of a line of a shell file, and even out the blanks; not counting quotes of a bare value."""
    for word in sorted(words, key=len, reverse=True):
        line = re.sub(rf"(?<![^\s\"'=]){re.escape(word)}(?![^\s\"'])", "", line, count=1)
    line = re.sub(r"(?<==[\"'])\s|\s(?=[\"'])", "", re.sub(r"\s+", " ", line))
    return line.replace('"', "").rstrip() if bare else line


def lines_of(content: bytes) -> list[str]:
    """The lines as the shell counts them: a backslash at a line's end joins it with the next."""
    return content.decode("utf-8", "surrogateescape").replace("\\\n", " ").removesuffix("\n").split("\n")


def assert_bytes_follow_changes(before: dict[str, bytes], after: dict[str, bytes], changes: tuple[Change, ...]) -> None:
    """Undoing the plan's changes by hand gives back every line; lines that no change names are the same bytes."""
    assert before.keys() == after.keys()
    for path, old in before.items():
        own = [change for change in changes if change.path == PurePosixPath("/", path)]
        assert own or old == after[path]
        gone = [change.before for change in own if change.before is not None]
        come = [change.after for change in own if change.after is not None]
        old_lines, new_lines = lines_of(old), lines_of(after[path])
        added = new_lines[len(old_lines) :]
        assert added in ([], [f'{DEFAULT}="{" ".join(come)}"'])
        assert old[-1:] == after[path][-1:] or added
        for number, (was, now) in enumerate(zip(old_lines, new_lines[: len(old_lines)], strict=True), 1):
            if was != now:
                assert re.match(rf"\s*(export\s+)?({LINUX}|{DEFAULT})=", now)
                bare = re.fullmatch(r"[^\"']*", was) is not None
                assert cut(was, gone, bare=bare) == cut(now, come, bare=bare), (path, number)


@pytest.mark.usefixtures("corpus")
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", corpus_files())
def test_every_edit_is_exact_and_goes_back(name: str, profile: str, tmp_path: Path) -> None:
    host = build_host(tmp_path, name)
    old_bytes = contents(tmp_path)
    sourced = name not in must_not_be_sourced()
    old = source(tmp_path) if sourced else None
    plan = plan_or_refusal(host, profile)
    if isinstance(plan, BootConfigError):
        assert (plan.code, plan.line is not None, contents(tmp_path)) == (78, True, old_bytes)
        return
    carry_out(host, plan, progress=no_progress)
    assert_bytes_follow_changes(old_bytes, contents(tmp_path), plan.steps.changes)
    if sourced:
        new = source(tmp_path)
        assert old is not None
        assert new is not None
        assert new.rest == old.rest
        assert_values_follow_changes(old, new, plan.steps.changes)
        line = f"{new.linux} {new.default}"
        assert PROMISED[profile] <= items(line)
        assert Conformer(plan.desired, plan.steps.survey.catalogue).shortcomings(Cmdline.parse(line)) == ()
    assert not plan_for(host, profile).steps.is_changed
    if plan.steps.is_changed:
        carry_out(host, plan_rollback(host, None, Choices(regenerate=Regenerate.NEVER)), progress=no_progress)
    assert contents(tmp_path) == old_bytes


def count_outcomes(top: Path, profile: str) -> Counter[str]:
    """How many files end how; a refusal by its reason."""
    outcomes: Counter[str] = Counter()
    for number, name in enumerate(corpus_files()):
        folder = top / str(number)
        folder.mkdir()
        host = build_host(folder, name)
        plan = plan_or_refusal(host, profile)
        if isinstance(plan, BootConfigError):
            message = plan.message
            reason = next((text for pattern, text in REASONS if pattern.search(message)), message)
            ends = "grub-mkconfig ends here" in message
            sources = not ends and (name in must_not_be_sourced() or source(folder) is not None)
            outcomes[f"refused: {reason}" if sources else f"refused, as dash does: {reason}"] += 1
        else:
            outcomes["edited exactly" if plan.steps.is_changed else "nothing to change"] += 1
    return outcomes


def table_of(document: str) -> dict[str, list[int]]:
    rows = re.findall(r"^\| ([^|]+?) \| (\d+) \| (\d+) \|$", document, re.MULTILINE)
    return {row[0]: [int(row[1]), int(row[2])] for row in rows}


@pytest.mark.usefixtures("corpus")
def test_outcomes_are_those_of_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = []
    for profile in PROFILES:
        (tmp_path / profile).mkdir()
        counts.append(count_outcomes(tmp_path / profile, profile))
    outcomes = {key: [count[key] for count in counts] for key in sorted(set(counts[0]) | set(counts[1]))}
    total = len(corpus_files())
    rows = [f"| {key} | {numbers[0]} | {numbers[1]} |" for key, numbers in outcomes.items()]
    with capsys.disabled():
        print("\n" + "\n".join([*rows, f"| files | {total} | {total} |"]))  # noqa: T201 - for the log
    assert table_of(TABLE.read_text()) == {**outcomes, "files": [total, total]}
    for count in counts:
        assert count.total() == total
        refused = sum(number for key, number in count.items() if key.startswith("refused:"))
        assert refused <= MOST_REFUSED * total


@pytest.mark.parametrize("where", ["removed", "foreign", "byte", "quote"])
def test_a_wrong_edit_is_seen(where: str) -> None:
    before = {"etc/default/grub": b'# one\nGRUB_CMDLINE_LINUX_DEFAULT="quiet splash"\n'}
    wrong = {
        "removed": b'# one\nGRUB_CMDLINE_LINUX_DEFAULT="quiet iommu=pt"\n',
        "foreign": b'# one\nGRUB_CMDLINE_LINUX_DEFAULT="quiet splash more iommu=pt"\n',
        "byte": b'# onE\nGRUB_CMDLINE_LINUX_DEFAULT="quiet splash iommu=pt"\n',
        "quote": b'# one\nGRUB_CMDLINE_LINUX_DEFAULT="quiet splash" iommu=pt\n',
    }
    change = Change("add", None, "iommu=pt", PurePosixPath("/etc/default/grub"), DEFAULT, "why")  # type: ignore[arg-type]  # a word is enough here
    with pytest.raises(AssertionError):
        assert_bytes_follow_changes(before, {"etc/default/grub": wrong[where]}, (change,))
