# SPDX-License-Identifier: Apache-2.0
"""The real grub-mkconfig: which variable reaches which entry, and what a value looks like when the kernel gets it."""

import re
import time
from pathlib import PurePosixPath

import pytest
from grubtree import KERNELS, UUID, GrubTree, grub_host

from iommuctl.errors import BootConfigError, ExecutionError
from iommuctl.formats.grubcfg import parse_menu
from iommuctl.formats.grubmenu import GrubCfg, MenuEntry, kernel_release, normal_entries, xen_entries
from iommuctl.host import commands

__all__ = ["grub_host"]  # the fixture
pytestmark = pytest.mark.programs

GRUB_CFG = PurePosixPath("/boot/grub/grub.cfg")
OLD, NEW = KERNELS


def read(tree: GrubTree) -> GrubCfg:
    return parse_menu(GRUB_CFG, tree.read())


def generate(tree: GrubTree) -> GrubCfg:
    tree.mkconfig()
    return read(tree)


def tokens(entry: MenuEntry) -> tuple[str, ...]:
    (line,) = entry.linux
    return tuple(token.text for token in line.cmdline.tokens)


def shown(cfg: GrubCfg) -> list[tuple[str, str | None, bool, tuple[str, ...]]]:
    """Return what matters of each entry: its kind, its kernel, whether it is a way back, its own parameters."""
    return [
        (
            re.sub(rf"^gnulinux-|-?{UUID}$|-?{kernel_release(entry.linux[0].kernel)}-?", "", entry.id),
            kernel_release(entry.linux[0].kernel),
            entry.recovery,
            tokens(entry)[2:],
        )
        for entry in cfg.entries
    ]


def test_the_variables_reach_the_entries_as_documented(grub_host: GrubTree) -> None:
    grub_host.set_variables(GRUB_CMDLINE_LINUX='"for=all"', GRUB_CMDLINE_LINUX_DEFAULT='"for=normal"')
    cfg = generate(grub_host)
    # Debian's 10_linux of 2.12 and later has recovery leave the processor's microcode alone.
    extra = ("dis_ucode_ldr",) if "dis_ucode_ldr" in (grub_host.path / "etc/grub.d/10_linux").read_text() else ()
    normal, recovery = ("for=all", "for=normal"), ("single", *extra, "for=all")
    assert shown(cfg) == [
        ("simple", NEW, False, normal),
        ("advanced", NEW, False, normal),
        ("recovery", NEW, True, recovery),
        ("advanced", OLD, False, normal),
        ("recovery", OLD, True, recovery),
    ]
    assert [entry.submenus for entry in cfg.entries] == [(), *[("Advanced options for Debian GNU/Linux",)] * 4]
    assert {entry.section for entry in cfg.entries} == {"10_linux"}
    assert {tokens(entry)[:2] for entry in cfg.entries} == {(f"root=UUID={UUID}", "ro")}
    assert normal_entries(cfg) == tuple(entry for entry in cfg.entries if not entry.recovery)
    assert cfg.default == "0"
    assert not cfg.has_blscfg


def test_a_drop_in_has_the_last_word(grub_host: GrubTree) -> None:
    grub_host.set_variables(GRUB_CMDLINE_LINUX_DEFAULT='"from=main"')
    grub_host.write("/etc/default/grub.d/50-cloud.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="from=drop-in"\n')
    grub_host.write(
        "/etc/default/grub.d/60-more.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT more"\n'
    )
    assert {tokens(entry)[2:] for entry in normal_entries(generate(grub_host))} == {("from=drop-in", "more")}


@pytest.mark.parametrize(
    ("variable", "entries"),
    [
        ("GRUB_DISABLE_RECOVERY", [("simple", NEW), ("advanced", NEW), ("advanced", OLD)]),
        ("GRUB_DISABLE_SUBMENU", [("advanced", NEW), ("recovery", NEW), ("advanced", OLD), ("recovery", OLD)]),
    ],
)
def test_the_switches_of_the_menu(grub_host: GrubTree, variable: str, entries: list[tuple[str, str]]) -> None:
    grub_host.set_variables(**{variable: "true"})
    assert [row[:2] for row in shown(generate(grub_host))] == entries


@pytest.mark.parametrize(
    "written",
    [
        pytest.param('"quiet iommu=pt"', id="double quotes"),
        pytest.param("'quiet iommu=pt'", id="single quotes"),
        pytest.param("quiet\\ iommu=pt", id="escaped blank"),
        pytest.param("\"quiet\"' iommu'=pt", id="joined"),
        pytest.param('"quiet \\\niommu=pt"', id="continued"),
        pytest.param('"a  b   c"', id="runs of blanks"),
        pytest.param('"vfio-pci.ids=10de:2684,10de:22ba"', id="commas"),
        pytest.param('"pci=resource_alignment=20@0000:01:00.0"', id="at sign"),
        pytest.param('"a#b"', id="hash inside a word"),
        pytest.param('"video=[1] x=~/y!"', id="marks that GRUB leaves alone"),
    ],
)
def test_a_value_comes_through_as_sh_evaluates_it(grub_host: GrubTree, written: str) -> None:
    grub_host.set_variables(GRUB_CMDLINE_LINUX_DEFAULT=written)
    argv = ("sh", "-c", '. /etc/default/grub; printf %s "$GRUB_CMDLINE_LINUX_DEFAULT"')
    evaluated = grub_host.runner.run(argv).stdout
    assert {tokens(entry)[2:] for entry in normal_entries(generate(grub_host))} == {tuple(evaluated.split())}


@pytest.mark.parametrize(
    ("written", "evaluated", "handed_on", "variables"),
    [
        pytest.param('"memmap=1M\\$2G"', "memmap=1M$2G", ("memmap=1M$2G",), ("2",), id="a dollar sign is a variable"),
        pytest.param(
            '"memmap=1M\\\\\\$2G"', "memmap=1M\\$2G", ("memmap=1M$2G",), (), id="a dollar sign escaped for both"
        ),
        pytest.param(
            "'dyndbg=\"file x +p\"'", 'dyndbg="file x +p"', ('"dyndbg=file x +p"',), (), id="quotes move to the front"
        ),
        pytest.param(
            "'dyndbg=\\\"file x +p\\\"'",
            'dyndbg=\\"file x +p\\"',
            ('dyndbg=\\"file x +p\\"',),
            (),
            id="escaped quotes keep their backslash",
        ),
        pytest.param('"a=it\\\\\'s"', "a=it\\'s", ("a=it\\'s",), (), id="an apostrophe gains a backslash"),
        pytest.param("'a=\\x'", "a=\\x", ("a=x",), (), id="a backslash is eaten"),
        pytest.param("\"a '' b\"", "a '' b", ("a", "b"), (), id="an empty word is a blank"),
    ],
)
def test_where_the_kernel_gets_something_else_than_sh_evaluates(
    grub_host: GrubTree, written: str, evaluated: str, handed_on: tuple[str, ...], variables: tuple[str, ...]
) -> None:
    grub_host.set_variables(GRUB_CMDLINE_LINUX_DEFAULT=written)
    argv = ("sh", "-c", '. /etc/default/grub; printf %s "$GRUB_CMDLINE_LINUX_DEFAULT"')
    assert grub_host.runner.run(argv).stdout == evaluated
    entries = normal_entries(generate(grub_host))
    assert {tokens(entry)[2:] for entry in entries} == {handed_on}
    assert {entry.linux[0].variables for entry in entries} == {variables}


@pytest.mark.parametrize("written", ['"a=\\"b"', '"a|b"', '"a\'b"', '"a&b"', '"a=\\$"', '"a<b"'])
def test_what_grubs_own_check_refuses_is_refused_by_us(grub_host: GrubTree, written: str) -> None:
    grub_host.set_variables(GRUB_CMDLINE_LINUX_DEFAULT=written)
    with pytest.raises(ExecutionError):
        grub_host.mkconfig()
    with pytest.raises(BootConfigError):
        parse_menu(GRUB_CFG, grub_host.read("/boot/grub/grub.cfg.new"))


def test_what_others_write_is_not_ours(grub_host: GrubTree) -> None:
    before = normal_entries(generate(grub_host))
    grub_host.write("/boot/xen-4.17-amd64.gz", "no real hypervisor\n")
    grub_host.write(f"/boot/config-{NEW}", "CONFIG_XEN_DOM0=y\n")
    grub_host.write(
        "/etc/grub.d/40_custom", "#!/bin/sh\necho 'menuentry mine { linux /boot/vmlinuz-6.1.0-1 }'\n", 0o755
    )
    cfg = generate(grub_host)
    assert [entry.linux for entry in xen_entries(cfg)] == [()] * 3
    assert [entry.title for entry in cfg.entries if entry.section == "40_custom"] == ["mine"]
    assert normal_entries(cfg) == before


def test_a_staging_file_leaves_the_live_one_alone(grub_host: GrubTree) -> None:
    grub_host.write("/boot/grub/grub.cfg", "live\n")
    grub_host.mkconfig("/boot/grub/grub.cfg.staging")
    assert grub_host.read() == "live\n"
    assert len(parse_menu(GRUB_CFG, grub_host.read("/boot/grub/grub.cfg.staging")).entries) == 5


@pytest.mark.parametrize(
    ("path", "text", "details"),
    [
        pytest.param(
            "/etc/default/grub.d/x.cfg",
            'GRUB_CMDLINE_LINUX_DEFAULT+=" x"\n',
            (
                "exit status: 127",
                "/usr/sbin/grub-mkconfig: 1: /etc/default/grub.d/x.cfg: GRUB_CMDLINE_LINUX_DEFAULT+= x: not found",
            ),
            id="appending as bash does",
        ),
        pytest.param("/etc/default/grub.d/x.cfg", "false\n", ("exit status: 1",), id="a drop-in that ends in failure"),
        pytest.param(
            "/etc/grub.d/09_x",
            "#!/bin/sh\necho reason >&2\nexit 3\n",
            ("exit status: 3", "Generating grub configuration file ...", "reason"),
            id="a script that fails",
        ),
        pytest.param(
            "/etc/grub.d/09_x",
            "#!/bin/sh\nkill -SEGV $$\n",
            ("exit status: 139", "Generating grub configuration file ...", "Segmentation fault"),
            id="a script that crashes",
        ),
    ],
)
def test_a_generator_that_fails_leaves_the_live_file(
    grub_host: GrubTree, path: str, text: str, details: tuple[str, ...]
) -> None:
    grub_host.write("/boot/grub/grub.cfg", "live\n")
    grub_host.write(path, text, 0o755)
    with pytest.raises(ExecutionError) as caught:
        grub_host.mkconfig()
    assert caught.value.details == ("command: grub-mkconfig -o /boot/grub/grub.cfg", *details)
    assert grub_host.read() == "live\n"


def test_a_generator_that_hangs_is_killed_with_its_scripts(
    grub_host: GrubTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_GRACE", 0.2)
    grub_host.write("/boot/grub/grub.cfg", "live\n")
    grub_host.write("/etc/grub.d/11_x", "#!/bin/sh\ntrap '' TERM\nsleep 2\necho late > /boot/late\nsleep 60\n", 0o755)
    with pytest.raises(ExecutionError, match="'grub-mkconfig' did not end in 1 s and was stopped"):
        grub_host.runner.run(("grub-mkconfig", "-o", "/boot/grub/grub.cfg"), timeout=1)
    time.sleep(1.5)
    assert grub_host.read() == "live\n"
    assert not (grub_host.path / "boot/late").exists()


@pytest.mark.parametrize(
    ("path", "text", "kept"),
    [
        pytest.param("/usr/sbin/grub-mkconfig", "#!/bin/sh\necho done >&2\n", 3, id="writes nothing"),
        pytest.param("/etc/grub.d/10_linux", "#!/bin/sh\n", 0, id="writes no entry"),
        pytest.param(
            "/etc/grub.d/10_linux",
            '#!/bin/sh\necho "menuentry x { linux /boot/vmlinuz-6.1.0-50-amd64 quiet # iommu=pt\n}"\n',
            1,
            id="has it in a comment alone",
        ),
        pytest.param(
            "/etc/grub.d/10_linux",
            '#!/bin/sh\necho "menuentry x { linux /boot/vmlinuz-6.1.0-50-amd64 quiet; echo iommu=pt; }"\n',
            1,
            id="has it in another command",
        ),
    ],
)
def test_a_generator_that_lies_is_found_out_by_its_output(grub_host: GrubTree, path: str, text: str, kept: int) -> None:
    grub_host.mkconfig()
    grub_host.set_variables(GRUB_CMDLINE_LINUX_DEFAULT='"quiet iommu=pt"')
    grub_host.write(path, text, 0o755)
    assert grub_host.mkconfig().returncode == 0
    entries = normal_entries(read(grub_host))
    assert [entry for entry in entries if "iommu=pt" in tokens(entry)] == []
    assert len(entries) == kept
