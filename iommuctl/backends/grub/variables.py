# SPDX-License-Identifier: Apache-2.0
"""GRUB's variables as an entry sees them: the environment block, and what grub.cfg sets. Text in, values out."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from iommuctl.backends.entries.lines import LineError, conform_lines, op_of, stretches
from iommuctl.backends.grub.menus import LINKED_MENUS, MENUS, BootMenu
from iommuctl.backends.grub.words import MAX_LENGTH
from iommuctl.errors import BootConfigError, NotPermittedError
from iommuctl.formats.grubcfg import parse_menu
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.formats.grubmenu import GrubCfg
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import Change, FileClass, FileEdit
from iommuctl.profile.conform import Conformer
from iommuctl.profile.segments import apply_changes
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

KERNELOPTS = "kernelopts"
_BLOCKS = (PurePosixPath("/boot/grub2/grubenv"), PurePosixPath("/boot/grub/grubenv"))


class GrubVariables(NamedTuple):
    """The block, if there is one, with what the menu sets over it and after it, and which entry it boots by default.

    What the menu sets under a condition is for a block that has none (RHEL 8, 10_linux); what it sets without one
    overrides the block that was loaded before (tuned's 00_tuned). `default` is None where the menu does not tell.
    """

    block: GrubEnv | None
    forced: tuple[tuple[str, str], ...]
    fallback: tuple[tuple[str, str], ...]
    default: str | None = None

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
    def default_entry(self) -> str:
        """The id, title or number of the entry that boots by default; empty for the first one."""
        saved = "" if self.block is None else self.block.get("prev_saved_entry") or self.block.get("saved_entry") or ""
        return saved if self.default is None or "saved_entry" in self.default else self.default

    @property
    def next_entry(self) -> str:
        """What names the entry that boots once at the next start; empty where none does."""
        return "" if self.block is None else self.block.get("next_entry") or ""


class KernelOptions(NamedTuple):
    """What becomes of `kernelopts`, and the variables as they are then."""

    variables: GrubVariables
    changes: tuple[Change, ...] = ()
    edits: tuple[FileEdit, ...] = ()


def read_variables(tree: Tree, place: BootMenu) -> GrubVariables:
    """Read the block and the menu that boots. Raises BootConfigError for one that GRUB could not use."""
    blocks = ((path, tree.read(path)) for path in dict.fromkeys((place.environment, *_BLOCKS)))
    block = next((GrubEnv.parse(path, content) for path, content in blocks if content is not None), None)
    menu = _menu(tree, place)
    if menu is None:
        return GrubVariables(block, (), ())
    forced: dict[str, str] = {}
    fallback: dict[str, str] = {}
    for each in menu.settings:
        known = dict(() if block is None else block.variables) | fallback | forced
        text = each.text
        for name in each.variables:
            text = text.replace(f"${{{name}}}", known.get(name, "")).replace(f"${name}", known.get(name, ""))
        (fallback if each.conditional else forced)[each.name] = text[:MAX_LENGTH]
    return GrubVariables(block, tuple(forced.items()), tuple(fallback.items()), menu.default)


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


def _menu(tree: Tree, place: BootMenu) -> GrubCfg | None:
    for path in (place.path, *MENUS, *LINKED_MENUS):
        try:
            content = tree.read(path)
        except NotPermittedError:
            continue
        if content is not None:
            return parse_menu(path, content.decode("utf-8", "surrogateescape"))
    return None
