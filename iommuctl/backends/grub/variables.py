# SPDX-License-Identifier: Apache-2.0
"""GRUB's variables as an entry sees them: the environment block, and what grub.cfg sets. Text in, values out."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from iommuctl.backends.entries.lines import LineError, conform_lines, op_of, stretches
from iommuctl.backends.grub.menus import LINKED_MENUS, MENUS
from iommuctl.errors import BootConfigError, NotPermittedError
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import Change, FileClass, FileEdit
from iommuctl.profile.conform import Conformer
from iommuctl.profile.segments import apply_changes
from iommuctl.tree import Tree

KERNELOPTS = "kernelopts"
_BLOCKS = (PurePosixPath("/boot/grub2/grubenv"), PurePosixPath("/boot/grub/grubenv"))
# `set NAME="…"`: at the start of a line it overrides the block that was loaded before (tuned's 00_tuned); indented, it
# is in `if [ -z "${NAME}" ]`, for a block that has none (RHEL 8, 10_linux).
_SET = re.compile(
    r"""^(?P<indent>[ \t]*)set (?P<name>\w+)=(?:"(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)'|(?P<plain>\S*))[ \t]*$""",
    re.MULTILINE,
)


class GrubVariables(NamedTuple):
    """The block, if there is one, with what the menu sets over it and after it."""

    block: GrubEnv | None
    forced: tuple[tuple[str, str], ...]
    fallback: tuple[tuple[str, str], ...]

    @property
    def values(self) -> Mapping[str, str]:
        """What an entry sees, by name. An empty value gives way to one that is set before it."""
        values = dict(self.fallback)
        for over in (() if self.block is None else self.block.variables, self.forced):
            values |= {name: value for name, value in dict(over).items() if value}
        return values

    def get(self, name: str) -> str | None:
        """Return the value that an entry sees; None for a variable that is not set."""
        return self.values.get(name)

    @property
    def saved_entry(self) -> str | None:
        """The id of the entry that boots by default, where GRUB_DEFAULT=saved."""
        return None if self.block is None else self.block.get("saved_entry")


class KernelOptions(NamedTuple):
    """What becomes of `kernelopts`, and the variables as they are then."""

    variables: GrubVariables
    changes: tuple[Change, ...] = ()
    edits: tuple[FileEdit, ...] = ()


def read_variables(tree: Tree) -> GrubVariables:
    """Read the block and the menu. Raises BootConfigError for a block that GRUB could not use."""
    blocks = ((path, tree.read(path)) for path in _BLOCKS)
    block = next((GrubEnv.parse(path, content) for path, content in blocks if content is not None), None)
    forced: dict[str, str] = {}
    fallback: dict[str, str] = {}
    for match in _SET.finditer(_menu(tree)):
        value = match["double"] or match["single"] or match["plain"] or ""
        (fallback if match["indent"] else forced)[match["name"]] = value
    return GrubVariables(block, tuple(forced.items()), tuple(fallback.items()))


def conform_kernelopts(variables: GrubVariables, conformer: Conformer, *, used: bool) -> KernelOptions:
    """Return the edit of `kernelopts` in the block, where entries use it or it is there for those of later kernels.

    Raises BootConfigError where the block has no room, and where there is no block to put it in.
    """
    block = variables.block
    value = variables.get(KERNELOPTS)
    if value is None or not (used or (block is not None and block.get(KERNELOPTS) is not None)):
        return KernelOptions(variables)
    path = _BLOCKS[0] if block is None else block.path
    try:
        changes = conform_lines([stretches(value, None)], conformer, joined=True)[0]
    except LineError as error:
        raise BootConfigError(path, None, f"{KERNELOPTS}: {error.message}") from error
    if not changes:
        return KernelOptions(variables)
    if block is None:
        message = f"is missing, and {KERNELOPTS} belongs into it"
        raise BootConfigError(path, None, message, hint=f"grub2-editenv {path} create")
    after = block.set(KERNELOPTS, str(apply_changes(Cmdline.parse(value), changes)))
    records = tuple(
        Change(op_of(change), change.before, change.after, path, KERNELOPTS, change.reason) for change in changes
    )
    desired = conformer.desired
    reason = f"profile {desired.profile} on {desired.platform}: entries take their parameters from {KERNELOPTS}"
    edit = FileEdit(path, FileClass.SHARED, block.block, after.block, reason)
    return KernelOptions(variables._replace(block=after), records, (edit,))


def _menu(tree: Tree) -> str:
    for path in (*MENUS, *LINKED_MENUS):
        try:
            content = tree.read(path)
        except NotPermittedError:
            continue
        if content is not None:
            return content.decode("utf-8", "surrogateescape")
    return ""
