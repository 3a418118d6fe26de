# SPDX-License-Identifier: Apache-2.0
"""Notes on GRUB's settings: what is left alone, what nobody reads, and what may not be left alone. Values in, out."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath

from iommuctl.backends.grub.distributions import GrubFamily
from iommuctl.backends.grub.menus import BootMenu
from iommuctl.backends.grub.sources import DEFAULT, LINUX, Sources, drop_ins, read, read_files, sources_drop_ins
from iommuctl.errors import BootConfigError, NotRepresentableError
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.formats.shell.assignments import ShellAssignment, ShellFile, parse_shell_file
from iommuctl.formats.shell.filters import result
from iommuctl.formats.shell.variables import literal_text
from iommuctl.formats.shell.words import Char, Opaque, Reference, walk
from iommuctl.kernel.cmdline import Cmdline, Parameter, canonical_name
from iommuctl.kernel.parameters import Catalogue, Manages
from iommuctl.profile.conform import Conformer
from iommuctl.tree import Tree

# What 10_linux, 20_linux_xen and the other scripts of grub.d read of this kind (GRUB 2.06 to 2.14, Debian's, Fedora's).
_READ = re.compile(
    r"GRUB_CMDLINE_(?:LINUX|XEN|LINUX_XEN_REPLACE|GNUMACH|NETBSD|KFREEBSD)(?:_DEFAULT|_RECOVERY|_DEBUG)?"
)
_SCRIPTS = PurePosixPath("/etc/grub.d")
_SHOWN = 20  # findings of one kind: a file with thousands of such lines is told by its first


def manages(parameter: Parameter, catalogue: Catalogue) -> bool:
    """Whether a parameter is one of the IOMMU's, by the catalogue."""
    known = catalogue.known(parameter.name)
    if known is None or known.manages is Manages.NOTHING:
        return False
    if known.manages is Manages.ALL:
        return True
    return any(token.reads(item) for item in known.items(parameter.value) if item for token in known.tokens)


def left_alone(sources: Sources) -> tuple[Finding, ...]:
    """Return what is in the sources and neither changed nor followed, file by file."""
    told: list[Finding] = []
    for chain in sources.chains:
        for each in islice(chain.optional, _SHOWN):
            message = (
                f"{each.path}:{each.line}: {each.name} gains {literal_text(each).strip()!r} where its condition holds; "
                "it is left alone"
            )
            told.append(Finding(Rule.CONDITIONAL_APPEND, Severity.INFO, message))
        for one in islice(dict.fromkeys(every.assignment for every in chain.filters), _SHOWN):
            message = f"{one.path}:{one.line}: {one.name} goes through a command that may change it; it is left alone"
            told.append(Finding(Rule.VALUE_FILTERED, Severity.INFO, message))
    return tuple(told)


def require_unmanaged(sources: Sources, conformer: Conformer) -> NotRepresentableError | None:
    """Return why only a generated menu can show what the value comes to; None where the sources themselves do.

    Raises NotRepresentableError, with file and line, where what is left alone would take part in what is wanted.
    """
    named = {canonical_name(one.name) for one in conformer.desired.wanted}
    named |= {canonical_name(one.name) for one in conformer.desired.unwanted}

    def concerned(text: str) -> list[str]:
        return [
            one.text for one in Cmdline.parse(text).parameters if one.key in named or manages(one, conformer.catalogue)
        ]

    unproven: NotRepresentableError | None = None
    for chain in sources.chains:
        for each in chain.optional:
            if found := concerned(literal_text(each)):
                message = f"{each.name} is assigned {each.obstacle}, where it gains {found[0]!r}"
                raise NotRepresentableError(each.path, each.line, message)
        for one in chain.filters:
            link, value = one.assignment, result(one)
            if value is None:
                message = f"{link.name} goes through a command, and only the menu shows what comes of it"
                unproven = unproven or NotRepresentableError(link.path, link.line, message, hint=_GENERATE)
            elif concerned(value) != concerned(one.before):
                lost = next(iter(set(concerned(one.before)) ^ set(concerned(value))), link.name)
                raise NotRepresentableError(
                    link.path, link.line, f"{link.name} goes through a command that changes {lost!r}"
                )
    return unproven


_GENERATE = "have the menu built and read back by the same command with --regenerate always"


def unread(tree: Tree, family: GrubFamily, catalogue: Catalogue) -> tuple[Finding, ...]:
    """Return the parameters of the IOMMU that are in settings which nobody reads. Raises what reading them raises."""
    return _unread(tree, family, catalogue, read_files(tree, family))


def _unread(tree: Tree, family: GrubFamily, catalogue: Catalogue, files: tuple[ShellFile, ...]) -> tuple[Finding, ...]:
    told = list(islice(_misspelt(tree, files, catalogue), _SHOWN))
    if not sources_drop_ins(tree, family):
        told += islice(_not_sourced(tree, family, files, catalogue), _SHOWN)
    return tuple(told)


def _misspelt(tree: Tree, files: tuple[ShellFile, ...], catalogue: Catalogue) -> Iterator[Finding]:
    """Variables that hold such parameters, and that neither GRUB nor another line refers to."""
    assignments = [each for file in files for each in file.assignments]
    referred = set(_referred(assignments))
    candidates = [each for each in assignments if each.name not in referred and not _READ.fullmatch(each.name)]
    held = {each: _held(each, catalogue) for each in candidates}
    if not any(held.values()):
        return
    scripts = b"\n".join(tree.read(_SCRIPTS / name) or b"" for name in tree.names(_SCRIPTS))
    texts = "\n".join(file.text for file in files)
    for each, parameters in held.items():
        used = re.search(rf"\$\{{?{each.name}\b", texts) is not None
        if parameters and not used and each.name.encode() not in scripts:
            yield Finding(
                Rule.VARIABLE_NOT_READ,
                Severity.WARNING,
                f"{each.path}:{each.line}: {each.name} has {' '.join(parameters)}, and GRUB reads no such variable",
                hint=f"give them to {DEFAULT} or {LINUX} instead, and remove line {each.line} of {each.path}",
            )


def _referred(assignments: list[ShellAssignment]) -> Iterator[str]:
    for each in assignments:
        for part in walk(each.word):
            if isinstance(part, Reference) and part.name != each.name:
                yield part.name


def _held(assignment: ShellAssignment, catalogue: Catalogue) -> tuple[str, ...]:
    if any(isinstance(part, Opaque) for part in assignment.word):
        return ()
    text = "".join(part.char if isinstance(part, Char) else " " for part in walk(assignment.word))
    return tuple(one.text for one in Cmdline.parse(text).parameters if manages(one, catalogue))


def _not_sourced(
    tree: Tree, family: GrubFamily, files: tuple[ShellFile, ...], catalogue: Catalogue
) -> Iterator[Finding]:
    """Drop-ins of a grub-mkconfig that sources none."""
    shell = files[0].shell if files else family.shell
    for path in drop_ins(tree):
        if not path.name.isprintable() or any(str(path) in file.text for file in files):
            continue
        try:
            file = parse_shell_file(path, (tree.read(path) or b"").decode("utf-8", "replace"), shell)
        except BootConfigError:
            continue
        found = [text for each in file.assignments for text in _held(each, catalogue)]
        if found:
            message = f"{path} has {' '.join(dict.fromkeys(found))}, and {family.mkconfig} reads no drop-ins here"
            hint = f"move them to {DEFAULT} in /etc/default/grub, and remove {path}"
            yield Finding(Rule.DROP_IN_NOT_READ, Severity.WARNING, message, hint=hint)


def not_understood(error: BootConfigError, then: str) -> Finding:
    """Return that settings cannot be told exactly, which stops an edit, and not the reading of all else."""
    return Finding(
        Rule.SETTINGS_NOT_UNDERSTOOD,
        Severity.WARNING,
        f"{error.brief}; {then}",
        hint=error.hint,
    )


def settings_line(tree: Tree, family: GrubFamily, catalogue: Catalogue) -> tuple[Cmdline | None, tuple[Finding, ...]]:
    """Return what the settings give an entry, and what to tell of them; None with a finding where that is not known.

    Raises BootConfigError where grub-mkconfig cannot source them.
    """
    try:
        sources = read(tree, family)
        return sources.cmdline, (*left_alone(sources), *_unread(tree, family, catalogue, sources.files))
    except NotRepresentableError as error:
        then = "what an entry gets of it is not known, and no profile can be applied"
        return None, (not_understood(error, then),)


def given(tree: Tree, family: GrubFamily) -> Cmdline | None:
    """Return what the settings give an entry; None where that is not known. Raises what `settings_line` raises."""
    try:
        return read(tree, family).cmdline
    except NotRepresentableError:
        return None


def unproven(place: BootMenu) -> tuple[Finding, ...]:
    """Return that which menu GRUB starts from cannot be told, and which one is taken for it."""
    if place.doubt is None:
        return ()
    message = f"{place.doubt}, so {place.path} is taken for the menu that boots"
    hint = f"{place.way}, then run the same command again"
    return (Finding(Rule.MENU_UNPROVEN, Severity.WARNING, message, hint=hint),)


def editor_of(block: PurePosixPath) -> str:
    """Return the program that changes an environment block: Red Hat and SUSE call theirs grub2-editenv."""
    return "grub-editenv" if block.parent.name == "grub" else "grub2-editenv"


def boots_once(entry: str, block: PurePosixPath) -> tuple[Finding, ...]:
    """Return that GRUB boots another entry than its default at the next start, and at that one alone."""
    if not entry:
        return ()
    message = f"GRUB boots {entry!r} once at its next start, as next_entry in {block} asks"
    return (Finding(Rule.NEXT_ENTRY_SET, Severity.INFO, message, hint=f"{editor_of(block)} {block} unset next_entry"),)
