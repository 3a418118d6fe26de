# SPDX-License-Identifier: Apache-2.0
"""Sources that disagree are told by pairs, with who reads each."""

import json

import pytest
from archhosts import BACKEND, CMDLINE, ENTRY, IMAGE, NO_ENTRY, PRESET, PROXMOX, rendered
from entryhosts import CATALOGUE, ENTRIES, MACHINE, OPTIONS, RELEASE, arch, entry, facts, fedora, grubenv
from entryhosts import ENTRY as FEDORA_ENTRY
from peimages import unified_image
from trees import MemoryTree

from iommuctl.backends.bls.backend import Bls
from iommuctl.backends.drift import Source, disagreements
from iommuctl.backends.grub.backend import Grub2
from iommuctl.kernel.cmdline import Cmdline

PT = "iommu=pt"
GRUBENV = "/boot/grub2/grubenv"
OTHER = f"{ENTRIES}/{MACHINE}-6.1.conf"


def source(where: str, line: str, use: str = "GRUB boots") -> Source:
    return Source(where, use, Cmdline.parse(line))


def told(sources: list[Source], entries: list[Source]) -> list[str]:
    return [one.message for one in disagreements(sources, entries, CATALOGUE)]


def test_each_pair_is_told_once_with_who_reads_each() -> None:
    files = [source("file", "quiet iommu=pt", "kernel-install reads"), source("grub", "splash", "grub-mkconfig reads")]
    assert told(files, [source("a", "ro iommu=soft"), source("b", "rw iommu=soft")]) == [
        "file has iommu=pt, which is not in grub (kernel-install reads file, grub-mkconfig reads grub)",
        (
            "file has iommu=pt, which is not in a (and 1 more); a (and 1 more) has iommu=soft, which is not in file "
            "(kernel-install reads file, GRUB boots a (and 1 more))"
        ),
        "a (and 1 more) has iommu=soft, which is not in grub (grub-mkconfig reads grub, GRUB boots a (and 1 more))",
    ]


def test_entries_are_compared_with_the_first_and_those_alike_told_together() -> None:
    entries = [source(name, line) for name, line in (("a", ""), ("b", PT), ("c", ""), ("d", PT), ("e", "iommu=off"))]
    assert told([], entries) == [
        "b (and 1 more) has iommu=pt, which is not in a (and 1 more) (GRUB boots both)",
        "e has iommu=off, which is not in a (and 1 more) (GRUB boots both)",
    ]


def test_what_is_no_parameter_of_the_catalogue_or_for_init_does_not_count() -> None:
    assert told([source("file", "quiet")], [source("a", "-- iommu=pt"), source("b", "mitigations=off")]) == []


@pytest.mark.parametrize(
    ("tree", "pairs"),
    [
        (arch({CMDLINE: f"{OPTIONS} {PT}\n"}), [(CMDLINE, ENTRY)]),
        (arch({f"{ENTRIES}/b.conf": entry(f"{OPTIONS} {PT}")}), [(f"{ENTRIES}/b.conf", ENTRY)]),
        (arch({CMDLINE: f"{OPTIONS}\n"}), []),
        (
            arch({**NO_ENTRY, **PROXMOX, CMDLINE: f"root=x {PT}\n", "/etc/default/grub": "GRUB_CMDLINE_LINUX=quiet\n"}),
            [(CMDLINE, "/etc/default/grub")],
        ),
        (
            arch({**NO_ENTRY, **PRESET, CMDLINE: f"{OPTIONS}\n", IMAGE: unified_image(f"{OPTIONS} {PT}")}),
            [(IMAGE, CMDLINE)],
        ),
        (
            arch(
                {
                    ENTRY: None,
                    f"{ENTRIES}/Pop_OS-current.conf": entry(f"{OPTIONS} {PT}"),
                    "/etc/kernelstub/configuration": json.dumps({"user": {"kernel_options": ["quiet"]}}, indent=2),
                }
            ),
            [(f"{ENTRIES}/Pop_OS-current.conf", "/etc/kernelstub/configuration")],
        ),
        (
            arch({"/usr/bin/sdbootutil": "", CMDLINE: f"{OPTIONS}\n", ENTRY: entry(f"{OPTIONS} {PT}")}),
            [(ENTRY, CMDLINE)],
        ),
    ],
)
def test_every_pair_of_a_host_with_systemd_boot_is_in_status_and_plan(
    tree: MemoryTree, pairs: list[tuple[str, str]]
) -> None:
    host = facts(id="debian")
    for findings in (BACKEND.read(tree, host).findings, rendered(tree, host).findings):
        found = [one.message for one in findings if one.rule == "sources-disagree"]
        assert len(found) == len(pairs)
        for message, (has, lacks) in zip(found, pairs, strict=True):
            assert message.startswith(has)
            assert f"has {PT}, which is not in {lacks}" in message


@pytest.mark.parametrize(
    ("files", "pairs"),
    [
        (
            {"/etc/default/grub": f'GRUB_CMDLINE_LINUX="quiet {PT}"\nGRUB_ENABLE_BLSCFG=true\n'},
            [("/etc/default/grub", CMDLINE), ("/etc/default/grub", FEDORA_ENTRY)],
        ),
        (
            {FEDORA_ENTRY: entry(f"{OPTIONS} {PT}"), OTHER: entry().replace(RELEASE, "6.1")},
            [(FEDORA_ENTRY, "/etc/default/grub"), (FEDORA_ENTRY, CMDLINE), (FEDORA_ENTRY, OTHER)],
        ),
        ({CMDLINE: f"{OPTIONS} {PT}\n"}, [(CMDLINE, "/etc/default/grub"), (CMDLINE, FEDORA_ENTRY)]),
        ({}, []),
        # What tuned sets, it adds to the next kernel's entry too; kernelopts is nobody's but ours.
        ({FEDORA_ENTRY: entry(f"{OPTIONS} $tuned_params"), GRUBENV: grubenv(tuned_params=PT)}, []),
        (
            {FEDORA_ENTRY: entry("$kernelopts $tuned_params"), GRUBENV: grubenv(kernelopts=PT, tuned_params="x")},
            [(FEDORA_ENTRY, "/etc/default/grub"), (FEDORA_ENTRY, CMDLINE)],
        ),
    ],
)
def test_every_pair_of_a_host_whose_grub_reads_entries_is_told(
    files: dict[str, str], pairs: list[tuple[str, str]]
) -> None:
    config = Bls(CATALOGUE).read(fedora(files), facts())
    found = [one.message for one in config.findings if one.rule == "sources-disagree"]
    assert [message.split(" (")[0] for message in found] == [
        f"{has} has {PT}, which is not in {lacks}" for has, lacks in pairs
    ]


def test_a_word_that_a_script_of_the_menu_sets_is_in_the_next_menu_too() -> None:
    menu = (
        "set extra='iommu=pt'\n### BEGIN /etc/grub.d/10_linux ###\nmenuentry 'L' --id l {\n"
        " linux /vmlinuz-6.1 ro quiet $extra\n}\n### END /etc/grub.d/10_linux ###\n"
    )
    tree = MemoryTree.of({"/etc/default/grub": "GRUB_CMDLINE_LINUX=quiet\n", "/boot/grub/grub.cfg": menu})
    config = Grub2(CATALOGUE).read(tree, facts(id="debian"))
    assert [one for one in config.findings if one.rule == "sources-disagree"] == []
    assert str(config.future.cmdline) == "quiet iommu=pt"
