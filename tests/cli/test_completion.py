# SPDX-License-Identifier: Apache-2.0
"""Completion: every value that can be told beforehand is offered, in the form in which each shell takes it."""

import shlex
from pathlib import Path

import pytest
from console import code_of, in_process
from devicetrees import Machine

SHELLS = ("bash", "zsh", "fish")


def offered(shell: str, line: str) -> set[str]:
    """What a shell offers for the last word of a line, of which bash has parted the words at `=` and `:`."""
    parted = line.replace("=", " = ").replace(":", " : ") if shell == "bash" else line
    number = len(shlex.split(parted)) - (0 if parted.endswith(" ") else 1)
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


SOUND = "NVIDIA Corporation GP104 High Definition Audio Controller"
CARD = "NVIDIA Corporation GP104 [GeForce GTX 1080]"
BASH = {one: "".join(rf"\{char}" if char in " []" else char for char in one) for one in (SOUND, CARD)}


@pytest.mark.parametrize(
    ("shell", "words", "rows"),
    [
        ("bash", "--device 0000:01", {"01:00.0", "01:00.1"}),
        ("zsh", "--device 0000:01", {f'0000:01:00.0":"{CARD}', f'0000:01:00.1":"{SOUND}'}),
        ("fish", "--device 0000:01", {f"0000:01:00.0\t{CARD}", f"0000:01:00.1\t{SOUND}"}),
        ("bash", "--device NVIDIA", {BASH[SOUND], BASH[CARD]}),
        ("zsh", "--device NVIDIA", {SOUND, CARD}),
        ("fish", "--device NVIDIA", {SOUND, CARD}),
        ("bash", r"--device NVIDIA\ Corporation\ GP104\ H", {BASH[SOUND]}),
        ("zsh", r"--device NVIDIA\ Corporation\ GP104\ H", {SOUND}),
        ("fish", r"--device=NVIDIA\ Corporation\ GP104\ H", {f"--device={SOUND}"}),
        ("bash", "--device Intel\\ Corporation\\ 8", set()),
        ("bash", "--device 0000:00:0", {"05.0", "06.0"}),
        ("bash", "--device 0000:00:1", set()),
        ("bash", "--force device-is-b", {"device-is-bmc", "device-is-boot-display"}),
    ],
)
def test_devices_are_those_of_the_root_that_is_typed_by_address_and_by_name(
    shell: str, words: str, rows: set[str], tmp_path: Path
) -> None:
    machine = Machine(tmp_path).bridge("0000:00:01.0")
    machine.pci("0000:00:01.0/0000:01:00.0", "10de:1b80", "030000", "nouveau", 1)
    machine.pci("0000:00:01.0/0000:01:00.1", "10de:10f0", "040300", "snd_hda_intel", 1)
    for number in (5, 6):  # a name that means two of them is of no use
        machine.pci(f"0000:00:0{number}.0", "8086:10d3", "020000", "e1000e", number)
    machine.pci("0000:00:1f.0", "8086:a2c5", "060100", None, 9)
    assert offered(shell, f"iommuctl apply vfio-bind --root {tmp_path} {words}") == rows


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
