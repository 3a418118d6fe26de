# SPDX-License-Identifier: Apache-2.0
"""GRUB2 with menu entries in grub.cfg: the sources are edited, then the menu is generated anew and read back."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import ClassVar

from iommuctl.backends.base import BootConfig, Entry, Future
from iommuctl.backends.grub import defaults, script
from iommuctl.backends.grub.distributions import GrubFamily, require_family
from iommuctl.errors import BootConfigError, NotPermittedError, UnavailableError
from iommuctl.facts import COMMAND_LINE_SIZE, Facts
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.formats import grubcfg
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.parameters import Catalogue
from iommuctl.plan import STAGING, Change, Command, FileEdit, Generated, Op, Rendering
from iommuctl.profile.conform import Conformer
from iommuctl.profile.desired import DesiredArguments
from iommuctl.tree import Tree

_STAGED_MENU = STAGING / "grub.cfg"
# GRUB puts `BOOT_IMAGE=<path of the kernel>` and a blank before the line (grub-core/loader/i386/linux.c).
_BOOT_IMAGE = "BOOT_IMAGE="


class Grub2:
    """Backend of hosts whose grub.cfg holds the menu entries: Debian, Ubuntu, Proxmox, openSUSE, Arch, Gentoo."""

    name: ClassVar[str] = "grub2"

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def read(self, tree: Tree, facts: Facts) -> BootConfig:
        """Read the menu's entries and what the next generated menu would say."""
        family = _family(tree, facts)
        sources = defaults.read(tree, family)
        menu, findings = _menu(tree, family)
        return BootConfig(
            entries=() if menu is None else _entries(menu, family.menu),
            future=Future(sources.cmdline, defaults.MAIN),
            findings=findings,
        )

    def render(self, tree: Tree, facts: Facts, desired: DesiredArguments) -> Rendering:
        """Return the edits of the sources, and the generator's run where the menu does not say what is wanted."""
        family = _family(tree, facts)
        conformer = Conformer(desired, self._catalogue)
        edit = defaults.conform_sources(tree, family, conformer, additions=defaults.DEFAULT)
        menu, findings = _menu(tree, family)
        if menu is not None:
            findings += _shared_removals(edit.changes, menu)
        _check_length(edit.after, menu, facts)
        script.require_uncut(tree, family, edit.after, conformer)
        findings += conformer.observe((edit.after,))
        current = menu is not None and not edit.files and _is_current(menu, conformer)
        commands = () if current else _generate(family, sources_change=bool(edit.files))
        return Rendering(edit.changes, edit.files, commands, findings)

    def entry_files(self, tree: Tree, facts: Facts) -> tuple[Entry, ...]:
        """Return none: the generator writes all entries into one menu."""
        return ()

    def refresh_mtimes(self, tree: Tree, edits: Iterable[FileEdit]) -> tuple[FileEdit, ...]:
        """Return none: nobody compares the times of the sources."""
        return ()

    def regenerate(self, tree: Tree, facts: Facts) -> tuple[Command, ...]:
        """Return the commands that make the menu follow the sources, whatever those say."""
        return _generate(_family(tree, facts), sources_change=True)

    def read_back(
        self, tree: Tree, facts: Facts, desired: DesiredArguments | None, *, generated: bool
    ) -> tuple[str, ...]:
        """Tell, in words, how sources and menu fall short; nothing where they do not."""
        family = _family(tree, facts)
        sources = defaults.read(tree, family)
        conformer = None if desired is None else Conformer(desired, self._catalogue)
        problems = () if conformer is None else _placed(str(defaults.MAIN), conformer.shortcomings(sources.cmdline))
        if not generated:
            return problems
        menu, _ = _menu(tree, family)
        normal = () if menu is None else grubcfg.normal_entries(menu)
        if not normal:
            return (*problems, f"{family.menu} has no normal entry of this system")
        expected = script.as_menu_says(str(sources.cmdline))
        for entry in normal:
            for line in entry.linux:
                where = f"{family.menu}:{line.line}: entry {entry.title!r}"
                short = (
                    self._not_following(line.cmdline, expected)
                    if conformer is None
                    else conformer.shortcomings(line.cmdline)
                )
                problems += _placed(where, short)
        return problems

    def _not_following(self, cmdline: Cmdline, expected: Cmdline) -> tuple[str, ...]:
        """Say where an entry does not hold the sources' parameters in one run, or holds one of ours next to them.

        A distribution may add its own before and after.
        """
        have = [token.text for token in cmdline.tokens]
        want = [token.text for token in expected.tokens]
        in_one_run = any(have[at : at + len(want)] == want for at in range(len(have) - len(want) + 1))
        if in_one_run and self._managed(cmdline) == self._managed(expected):
            return ()
        return (f"does not have {str(expected)!r}, as its sources say",)

    def _managed(self, cmdline: Cmdline) -> list[str]:
        return [one.text for one in cmdline.parameters if self._catalogue.known(one.name)]


def _is_current(menu: grubcfg.GrubCfg, conformer: Conformer) -> bool:
    normal = grubcfg.normal_entries(menu)
    return bool(normal) and not any(conformer.shortcomings(line.cmdline) for entry in normal for line in entry.linux)


def _family(tree: Tree, facts: Facts) -> GrubFamily:
    family = require_family(facts.distribution, tree)
    if tree.read(defaults.MAIN) is None:
        raise UnavailableError(
            f"{defaults.MAIN} is missing", hint=f"install {family.package}, or name the --backend that boots"
        )
    return family


def _menu(tree: Tree, family: GrubFamily) -> tuple[grubcfg.GrubCfg | None, tuple[Finding, ...]]:
    """The generated menu; None, with a finding, where it may not be read, and where it does not exist yet."""
    try:
        content = tree.read(family.menu)
    except NotPermittedError:
        unreadable = Finding(
            Rule.GRUB_CFG_UNREADABLE,
            Severity.WARNING,
            f"{family.menu} may not be read, so it is not known whether its entries are up to date",
            hint="run the same command as root (sudo)",
        )
        return None, (unreadable,)
    if content is None:
        return None, ()
    menu = grubcfg.parse_menu(family.menu, defaults.decode(family.menu, content))
    findings = _default_not_ours(menu, family.menu)
    if not grubcfg.xen_entries(menu):
        return menu, findings
    xen = Finding(
        Rule.XEN_ENTRIES,
        Severity.INFO,
        f"{family.menu} has entries that start Xen; Xen, not Linux, owns the IOMMU there, and they are not read back",
        hint="the hypervisor's own iommu= goes into GRUB_CMDLINE_XEN",
    )
    return menu, (*findings, xen)


def _default_not_ours(menu: grubcfg.GrubCfg, path: PurePosixPath) -> tuple[Finding, ...]:
    """Return where the entry that boots by default gets nothing of a profile."""
    default = grubcfg.default_entry(menu)
    if default is None or default in grubcfg.normal_entries(menu):
        return ()
    finding = Finding(
        Rule.DEFAULT_ENTRY_NOT_OURS,
        Severity.WARNING,
        f"{path} boots {default.title!r} by default, an entry that no profile changes",
        hint=f"choose another one with GRUB_DEFAULT in {defaults.MAIN}, or edit that entry where it is written",
    )
    return (finding,)


def _entries(menu: grubcfg.GrubCfg, path: PurePosixPath) -> tuple[Entry, ...]:
    normal = frozenset(entry.line for entry in grubcfg.normal_entries(menu))
    entries: list[Entry] = []
    default = grubcfg.default_entry(menu)
    for entry in menu.entries:
        for line in entry.linux:
            ours = entry.line in normal
            reason = (
                "normal entry"
                if ours
                else "recovery entry"
                if entry.recovery
                else f"of {entry.section or 'no section'}"
            )
            entries.append(
                Entry(
                    id=entry.id,
                    title=" > ".join((*entry.submenus, entry.title)),
                    kernel_release=grubcfg.kernel_release(line.kernel),
                    path=path,
                    cmdline=line.cmdline,
                    rescue=entry.recovery,
                    default=entry is default,
                    ours=ours,
                    reason=reason,
                )
            )
    return tuple(entries)


def _generate(family: GrubFamily, *, sources_change: bool) -> tuple[Command, ...]:
    reason = "the menu is built from the files above" if sources_change else "the menu does not say what is wanted"
    staged = str(_STAGED_MENU)
    return (
        Command((family.mkconfig, "-o", staged), reason),
        Command(
            (family.script_check, staged),
            "a menu that GRUB cannot read is never put in place",
            Generated(_STAGED_MENU, family.menu),
        ),
    )


def _shared_removals(changes: tuple[Change, ...], menu: grubcfg.GrubCfg) -> tuple[Finding, ...]:
    """Recovery entries get GRUB_CMDLINE_LINUX too: tell when they lose a parameter (architecture, promise 5)."""
    taken = [change for change in changes if change.target == defaults.LINUX and change.op is not Op.ADD]
    rescues = [entry.title for entry in menu.entries if entry.recovery]
    return tuple(
        Finding(
            Rule.RESCUE_FOLLOWS,
            Severity.WARNING,
            f"recovery entries share {defaults.LINUX} and lose it too: {', '.join(map(repr, rescues))}",
            parameter=change.before,
        )
        for change in taken
        if rescues
    )


def _check_length(after: Cmdline, menu: grubcfg.GrubCfg | None, facts: Facts) -> None:
    """Raise BootConfigError where a line would be longer than the kernel reads; it cuts silently."""
    limit = COMMAND_LINE_SIZE[facts.platform] - 1
    entries = () if menu is None else tuple(line for entry in grubcfg.normal_entries(menu) for line in entry.linux)
    # What 10_linux itself adds (root=, ro) is what an entry's line has next to the variables' tokens.
    wanted = {token.text for token in after.tokens}
    own = max((_own_length(line, wanted) for line in entries), default=0)
    length = own + len(str(after).encode("utf-8", "surrogateescape"))
    if length > limit:
        raise BootConfigError(
            defaults.MAIN,
            None,
            f"the command line would be {length} bytes long; the kernel reads {limit} and cuts the rest silently",
            hint=f"take parameters out of {defaults.MAIN}, then run the same command again",
        )


def _own_length(line: grubcfg.LinuxLine, wanted: set[str]) -> int:
    own = sum(len(token.text) + 1 for token in line.cmdline.tokens if token.text not in wanted)
    return len(_BOOT_IMAGE) + len(line.kernel) + 1 + own


def _placed(where: str, problems: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{where}: {problem}" for problem in problems)
