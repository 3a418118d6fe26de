# SPDX-License-Identifier: Apache-2.0
"""Completion: every value that can be told beforehand is offered, in the form in which each shell takes it."""

from pathlib import Path

import pytest
from console import code_of, in_process

SHELLS = ("bash", "zsh", "fish")


def offered(shell: str, line: str) -> set[str]:
    """What a shell offers for the last word of a line, of which bash has parted the words at `=` and `:`."""
    parted = line.replace("=", " = ").replace(":", " : ") if shell == "bash" else line
    number = len(parted.split()) - (0 if parted.endswith(" ") else 1)
    done = in_process(
        env={
            "_IOMMUCTL_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": parted,
            "COMP_CWORD": str(number),
            "_TYPER_COMPLETE_ARGS": line,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }
    )
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout.removeprefix("_arguments '*: :((").removesuffix("))'\n") if shell == "zsh" else done.stdout
    return {row.strip('"').replace(r"\\:", ":") for row in text.split("\n") if row}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("iommuctl apply passthrough-perf --platform ", {"auto", "intel", "amd", "x86", "arm64"}),
        ("iommuctl status --platform a", {"auto", "amd", "arm64"}),
        ("iommuctl apply passthrough-perf --backend ", {"grub2", "bls", "systemd-boot"}),
        ("iommuctl rollback --regenerate ", {"auto", "always", "never"}),
        ("iommuctl rollback --force ", {"changed-since-snapshot", "snapshot-damaged"}),
        ("iommuctl apply hardened --force myt", {"myth"}),
        ("iommuctl apply hardened --force early", {"early-dma-black-screen"}),
        ("iommuctl apply --platform intel hardened --set ", {"force-isolation=", "disable-early-pci-dma=", "noats="}),
        ("iommuctl groups --format ", {"tree", "dot"}),
        ("iommuctl lint har", {"hardened"}),
    ],
)
@pytest.mark.parametrize("shell", SHELLS)
def test_a_value_is_offered(shell: str, line: str, words: set[str]) -> None:
    assert offered(shell, line) == words


@pytest.mark.parametrize(
    ("shell", "line", "words"),
    [
        ("bash", "iommuctl apply hardened --platform=a", {"auto", "amd", "arm64"}),
        ("zsh", "iommuctl apply hardened --platform=a", {"--platform=auto", "--platform=amd", "--platform=arm64"}),
        ("fish", "iommuctl apply hardened --platform=a", {"--platform=auto", "--platform=amd", "--platform=arm64"}),
        ("bash", "iommuctl apply hardened --set noats=", {"true", "false"}),
        ("zsh", "iommuctl apply hardened --set noats=t", {"noats=true"}),
        ("fish", "iommuctl apply hardened --set=noats=t", {"--set=noats=true"}),
        ("bash", "iommuctl explain iommu.passthrough=", {"0", "1"}),
        ("fish", "iommuctl explain iommu.passthrough=", {"iommu.passthrough=0", "iommu.passthrough=1"}),
    ],
)
def test_a_word_with_an_equals_sign_is_taken_up_where_the_shell_parts_it(
    shell: str, line: str, words: set[str]
) -> None:
    assert offered(shell, line) == words


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "line",
    ["iommuctl rollback --root {root} ", "iommuctl rollback --root={root} ", "iommuctl history show --root {root} 2"],
)
def test_snapshots_are_those_of_the_root_that_is_typed(shell: str, line: str, sample_host: Path) -> None:
    assert code_of("apply", "passthrough-perf", "--root", str(sample_host), "--yes") == 0
    names = {one.name for one in (sample_host / "var/lib/iommuctl/snapshots").iterdir()}
    assert len(names) == 1
    assert offered(shell, line.format(root=sample_host)) - {"latest"} == names


@pytest.mark.parametrize(
    ("words", "row"),
    [
        (("explain", "iommu.st"), "iommu.strict"),
        (("explain", "intel_iommu=of"), "intel_iommu=off"),
        (("explain", "intel_iommu", "=", "of"), "off"),
        (("explain", "nointremap", "intel_iommu", "=", "on,st"), "on,strict"),
        (("apply", "hardened", "--platform=in"), "--platform=intel"),
        (("apply", "hardened", "--platform", "=", "in"), "intel"),
    ],
)
def test_bash_gets_the_end_that_it_replaces_whether_it_parts_words_or_not(words: tuple[str, ...], row: str) -> None:
    line = " ".join(("iommuctl", *words))
    asked = {"_IOMMUCTL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    assert in_process(env=asked).stdout == f"{row}\n"


def test_profiles_and_kernels_are_those_of_the_root_that_is_typed(sample_host: Path) -> None:
    own = sample_host / "etc/iommuctl/profiles.d"
    own.mkdir(parents=True)
    (own / "mine.toml").write_text('name = "mine"\nsummary = "s"\n')
    assert offered("bash", f"iommuctl apply --root {sample_host} mi") == {"mine"}
    releases = {one.name for one in (sample_host / "lib/modules").iterdir()}
    assert offered("bash", f"iommuctl lint --root {sample_host} --kernel ") == releases
