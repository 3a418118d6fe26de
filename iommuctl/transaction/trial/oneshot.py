# SPDX-License-Identifier: Apache-2.0
"""The choice of one boot: made last, taken back first, and read as the loader reads it."""

from iommuctl.backends.trial.base import OneShotKind
from iommuctl.errors import ConflictError, ExecutionError
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.host.descriptors import open_regular, read_all
from iommuctl.host.root import Root
from iommuctl.transaction import efivar
from iommuctl.transaction.durable import Replacement, read_metadata, remove_files, replace_files
from iommuctl.transaction.trial.record import Choice
from iommuctl.tree import digest

NEXT_ENTRY = "next_entry"


def chosen(root: Root, choice: Choice) -> str:
    """Return what boots once at the next start by the same variable; empty where nothing does."""
    if choice.kind is OneShotKind.EFI:
        return efivar.read_text(root, choice.path)
    content = root.read(choice.path)
    return "" if content is None else GrubEnv.parse(choice.path, content).get(NEXT_ENTRY) or ""


def is_armed(root: Root, choice: Choice) -> bool:
    """Whether the trial boots at the next start. The loader compares without regard to capitals in EFI variables."""
    return chosen(root, choice).lower() == choice.value.lower()


def arm(root: Root, choice: Choice, temporary: str) -> None:
    """Choose the trial for one boot, and read that back. Raises ConflictError where another entry is chosen."""
    if found := chosen(root, choice):
        raise ConflictError(f"{found!r} is chosen for the next boot already", hint=f"look at {choice.path}")
    if choice.kind is OneShotKind.EFI:
        efivar.remove(root, choice.path)  # an empty one is of a run that was cut off
        efivar.write_text(root, choice.path, choice.value)
    else:
        _set_next(root, choice, choice.value, temporary)
    if not is_armed(root, choice):
        raise ExecutionError(f"{choice.path} does not keep the choice of the next boot")


def disarm(root: Root, choice: Choice, temporary: str) -> None:
    """Take the choice back, if it is the trial's; another's stays. Raises ExecutionError where it is still there."""
    if choice.kind is OneShotKind.EFI:
        if chosen(root, choice).lower() in ("", choice.value.lower()):
            efivar.remove(root, choice.path)
        return
    remove_files(root, (root.resolve(choice.path).parent / temporary,))
    if is_armed(root, choice):
        _set_next(root, choice, choice.before, temporary)
    # However the block is read: an entry that is about to go must be named nowhere in it.
    if choice.value.encode() in (root.read(choice.path) or b""):
        raise ExecutionError(
            f"{choice.path} still names the trial", hint=f"grub-editenv {choice.path} unset {NEXT_ENTRY}"
        )


def _set_next(root: Root, choice: Choice, value: str | None, temporary: str) -> None:
    """Change the one variable of the block. `temporary` is a name next to it."""
    final = root.resolve(choice.path)
    with root.locate(final) as place:
        if place.status is None:
            raise ExecutionError(f"{choice.path} is gone")
        with open_regular(place) as descriptor:
            before, metadata = read_all(descriptor, final), read_metadata(descriptor)
    block = GrubEnv.parse(choice.path, before)
    after = block.unset(NEXT_ENTRY) if value is None else block.set(NEXT_ENTRY, value)
    replace_files(root, (Replacement(final, temporary, digest(before), after.block, metadata),))
