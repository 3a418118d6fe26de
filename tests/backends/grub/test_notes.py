# SPDX-License-Identifier: Apache-2.0
"""Settings as packages ship them: what is left alone and named, what nobody reads, and what stops an edit alone."""

from collections.abc import Mapping

import pytest
from entryhosts import CATALOGUE, desired, facts
from trees import MemoryTree

from iommuctl.backends.grub.backend import Grub2
from iommuctl.errors import BootConfigError, NotRepresentableError
from iommuctl.facts import Facts

GRUB2 = Grub2(CATALOGUE)
DEBIAN = facts(id="debian", kernels=("6.1.0-1-amd64",))
ARCH = facts(id="arch", kernels=("6.1.0-1",))
MAIN, DROP_IN, BOOT = "/etc/default/grub", "/etc/default/grub.d/x.cfg", "/boot/grub/grub.cfg"
V = "GRUB_CMDLINE_LINUX_DEFAULT"
SETTINGS = f'{V}="quiet"\nGRUB_CMDLINE_LINUX=""\n'
SPLASH = f'if ! echo "${V}" | grep -q splash; then\n    {V}="${V} splash"\nfi\n'
QUIET = f'{V}="$(echo "${V}" | str_replace "quiet" "")"\n{V}="${V} loglevel=0"\n'
# In the manner of security-misc (Kicksecure), which asks for the kernel's version and for programs before it appends.
BY_VERSION = (
    'kver="$(dpkg-query --show linux-image)" 2>/dev/null || true\n'
    f'if dpkg --compare-versions "${{kver}}" ge "5.3"; then\n    {V}="${V} init_on_alloc=1"\n'
    f'else\n    {V}="${V} page_poison=1"\nfi\n'
)
BY_PROGRAM = f'if test -x /usr/bin/mokutil; then\n    {V}="${V} lockdown=confidentiality"\nfi\n'
LOCAL = "/etc/default/grub.local"
INCLUDE = "if [ -e /etc/default/grub.local ]; then\n  . /etc/default/grub.local\nfi\n"


def host(files: Mapping[str, str]) -> MemoryTree:
    menu = (
        "### BEGIN /etc/grub.d/10_linux ###\nmenuentry 'L' --id l {\n linux /vmlinuz-6.1.0-1-amd64 ro quiet\n}\n"
        "### END /etc/grub.d/10_linux ###\n"
    )
    return MemoryTree.of({MAIN: SETTINGS, BOOT: menu, **files})


def rules(tree: MemoryTree, system: Facts) -> list[str]:
    return [finding.rule.value for finding in GRUB2.read(tree, system).findings if hasattr(finding.rule, "value")]


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        ({DROP_IN: SPLASH}, "conditional-append"),
        ({DROP_IN: f'[ -d /sys/x ] && {V}="${{{V}:+${V} }}splash"\ntrue\n'}, "conditional-append"),
        ({DROP_IN: f'case $x in\na) {V}="splash ${V}" ;;\nesac\n'}, "conditional-append"),
        ({DROP_IN: BY_VERSION}, "conditional-append"),
        ({DROP_IN: BY_PROGRAM}, "conditional-append"),
        ({DROP_IN: QUIET}, "value-filtered"),
        ({MAIN: SETTINGS + INCLUDE}, None),
        ({MAIN: SETTINGS + "[ -r /etc/default/grub.local ] && . /etc/default/grub.local\nGRUB_TIMEOUT=5\n"}, None),
        ({MAIN: SETTINGS + "[ ! -r /etc/default/grub.local ] || . /etc/default/grub.local\n"}, None),
        # In the manner of MX Linux 23, whose package has the file, too.
        ({MAIN: SETTINGS + INCLUDE, LOCAL: "# kept unset\nunset GRUB_DISABLE_OS_PROBER\n"}, None),
        ({MAIN: SETTINGS + INCLUDE, LOCAL: "A=1\nexport B=2\nGRUB_TIMEOUT=5\n"}, None),
        ({MAIN: f"{SETTINGS}. {LOCAL}\n", LOCAL: ""}, None),
        ({MAIN: SETTINGS + "[ -e /sys/firmware/efi/vars ] && GRUB_TIMEOUT=5\n"}, None),
    ],
)
def test_packaged_settings_are_edited_and_what_is_left_alone_is_named(
    files: Mapping[str, str], rule: str | None
) -> None:
    tree = host(files)
    rendering = GRUB2.render(tree, DEBIAN, desired("passthrough-perf", DEBIAN))
    assert rendering.unproven is None
    assert [str(edit.path) for edit in rendering.edits] == [MAIN]
    assert b"quiet intel_iommu=on iommu=pt" in (rendering.edits[0].after or b"")
    assert list(dict.fromkeys(rules(tree, DEBIAN))) == ([] if rule is None else [rule])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({DROP_IN: f'if true; then {V}="${V} iommu=nopt"; fi\n'}, ":1: .*gains 'iommu=nopt'"),
        ({DROP_IN: f'if true; then {V}="other"; fi\n'}, f":1: {V} is assigned inside the 'if' of line 1"),
        ({DROP_IN: f'if true; then {V}="x${V}"; fi\n'}, f":1: {V} is assigned inside the 'if' of line 1"),
        ({DROP_IN: f'{V}="$(echo "${V}" | sed \'s/quiet/intel_iommu=off/\')"\n'}, "changes 'intel_iommu=off'"),
        ({MAIN: SETTINGS + INCLUDE, LOCAL: f'{V}="other"\n'}, f"'.' may change what {V} is"),
        ({MAIN: SETTINGS + INCLUDE, LOCAL: f"unset {V}\n"}, f"'.' may change what {V} is"),
        ({MAIN: SETTINGS + INCLUDE, LOCAL: 'A=1\neval "$A"\n'}, "'.' may change what"),
        ({MAIN: SETTINGS + INCLUDE, LOCAL: ". /etc/other\n"}, "'.' may change what"),
        ({MAIN: SETTINGS + INCLUDE, LOCAL: "exit 0\n"}, "'.' may change what"),
        ({MAIN: SETTINGS + INCLUDE, LOCAL: "A='\n"}, "'.' may change what"),
        ({MAIN: SETTINGS + INCLUDE, LOCAL: f"echo() {{ {V}=x; }}\n"}, "'.' may change what"),
        ({MAIN: f'. {LOCAL}\n{V}="$A"\n', LOCAL: "A=1\n"}, ":1: '.' may change what A is"),
        ({MAIN: SETTINGS + "[ ! -r /etc/other ] || . /etc/default/grub.local\n"}, "'.' may change what"),
    ],
)
def test_what_takes_part_is_refused_and_still_read(files: Mapping[str, str], message: str) -> None:
    tree = host(files)
    with pytest.raises(NotRepresentableError, match=message):
        GRUB2.render(tree, DEBIAN, desired("passthrough-perf", DEBIAN))
    config = GRUB2.read(tree, DEBIAN)
    assert [str(entry.cmdline) for entry in config.entries] == ["ro quiet"]


def test_status_goes_on_where_only_the_edit_is_impossible() -> None:
    config = GRUB2.read(host({DROP_IN: f'if true; then {V}="other"; fi\n'}), DEBIAN)
    assert config.future.cmdline is None
    (finding,) = config.findings
    assert finding.rule == "settings-not-understood"
    assert f"{DROP_IN}:1: " in finding.message


def test_what_a_filter_makes_is_proven_by_the_menu_alone() -> None:
    tree = host({DROP_IN: f'{V}="$(echo "${V}" | my-filter)"\n'})
    rendering = GRUB2.render(tree, DEBIAN, desired("passthrough-perf", DEBIAN))
    assert rendering.commands
    assert rendering.unproven is not None
    assert (rendering.unproven.line, "--regenerate always" in (rendering.unproven.hint or "")) == (1, True)


@pytest.mark.parametrize(
    ("system", "files", "rule", "names"),
    [
        (DEBIAN, {MAIN: f'{SETTINGS}GRUB_CMDLINE_LINE="intel_iommu=on"\n'}, "variable-not-read", "GRUB_CMDLINE_LINE"),
        (DEBIAN, {MAIN: f'{SETTINGS}IOMMU="iommu=pt"\n'}, "variable-not-read", "IOMMU"),
        (ARCH, {DROP_IN: f'{V}="${V} iommu=pt"\n'}, "drop-in-not-read", DROP_IN),
    ],
)
def test_parameters_that_nobody_reads_are_named(system: Facts, files: Mapping[str, str], rule: str, names: str) -> None:
    (finding,) = GRUB2.read(host(files), system).findings
    assert (finding.rule, names in finding.message) == (rule, True)


@pytest.mark.parametrize(
    ("system", "files"),
    [
        (DEBIAN, {MAIN: f'IOMMU="iommu=pt"\n{V}="quiet $IOMMU"\n'}),
        (DEBIAN, {MAIN: f'{SETTINGS}MINE="iommu=pt"\n', "/etc/grub.d/06_mine": "echo $MINE\n"}),
        (DEBIAN, {MAIN: f'{SETTINGS}GRUB_CMDLINE_XEN="iommu=force"\n'}),
        (DEBIAN, {DROP_IN: f'{V}="${V} iommu=pt"\n'}),
        (ARCH, {DROP_IN: f'{V}="${V} quiet"\n'}),
    ],
)
def test_what_is_read_is_not_called_unread(system: Facts, files: Mapping[str, str]) -> None:
    assert not {"variable-not-read", "drop-in-not-read"} & set(rules(host(files), system))


def test_a_menu_of_xen_alone_has_entries_that_no_profile_changes() -> None:
    xen = (
        "### BEGIN /etc/grub.d/20_linux_xen ###\nmenuentry 'Xen' {\n multiboot2 /xen.gz\n}\n"
        "### END /etc/grub.d/20_linux_xen ###\n"
    )
    config = GRUB2.read(host({BOOT: xen}), DEBIAN)
    assert [(entry.title, entry.ours) for entry in config.entries] == [("Xen", False)]
    assert str(config.menu) == BOOT


def test_a_tree_before_its_first_kernel_is_written_and_says_so() -> None:
    rendering = GRUB2.render(MemoryTree.of({MAIN: SETTINGS}), facts(id="debian", kernels=()), desired())
    assert rendering.edits
    assert not rendering.commands
    assert "no-entry-yet" in [finding.rule for finding in rendering.findings]


def test_a_file_that_the_shell_cannot_source_is_refused_for_every_command() -> None:
    with pytest.raises(BootConfigError, match=r"^/etc/default/grub:3: grub-mkconfig ends here"):
        GRUB2.read(host({MAIN: f"{SETTINGS}GRUB_TIMEOUT = 5\n"}), DEBIAN)
