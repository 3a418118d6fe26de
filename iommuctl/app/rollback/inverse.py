# SPDX-License-Identifier: Apache-2.0
"""Inverse: take back what we changed in a file that has changed since, and nothing else. Text in, text out."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import PurePosixPath

from iommuctl.errors import BootConfigError
from iommuctl.formats.blsentry import OPTIONS, BlsEntry, identity, parse_entry
from iommuctl.formats.grubenv import GrubEnv
from iommuctl.formats.lens import Lens, Span
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import Change, Op

_LENS = "Bls.lns"


def withdraw(changes: Iterable[Change], now: Cmdline) -> tuple[Cmdline, tuple[Change, ...]]:
    """Return a command line without what we added, and with what we replaced as it was; and the changes not found in
    it.

    Of several parameters of one text the last is taken for ours; what is after `--` is not.
    """
    missed: list[Change] = []
    for change in changes:
        index = next((at for at in reversed(range(now.kernel_count)) if now.tokens[at].text == change.after), None)
        if index is None:
            missed.append(change)
        else:
            now = now.remove(index) if change.before is None else now.substitute(index, change.before)
    return now, tuple(missed)


def invert_entry(path: PurePosixPath, changes: Sequence[Change], now: bytes) -> bytes:
    """Return an entry without our changes to it, whatever else it holds by now.

    The changes may be those of what the entry was made of, which a kernel that was installed since needs. What we
    removed comes back at the end of the first `options` line, unless a parameter of its name is there again.
    Raises BootConfigError where that cannot be written exactly.
    """
    entry = _parse(path, now)
    if not entry.options:
        return now
    lines = [Cmdline.parse(line.value) for line in entry.options]
    left = tuple(changes)
    for number, line in enumerate(lines):
        lines[number], left = withdraw(left, line)
    standing = {parameter.key for line in lines for parameter in line.parameters}
    for change in left:
        if change.after is None and change.before is not None and _key(change.before) not in standing:
            if not lines[0].is_closed:
                number = entry.options[0].number
                raise BootConfigError(path, number, f"an open quote would swallow {change.before!r}, which comes back")
            lines[0] = lines[0].append(change.before)
    values = {
        Span(line.start, line.end): str(done) if done.tokens else None
        for line, done in zip(entry.options, lines, strict=True)
        if str(done) != line.value
    }
    return Lens(_LENS, OPTIONS).rewrite(path, entry.text, values).encode("utf-8") if values else now


def invert_block(names: Iterable[str], before: GrubEnv, now: GrubEnv) -> GrubEnv:
    """Return an environment block with these variables as they were before, and all others as they are."""
    for name in names:
        value = before.get(name)
        now = now.unset(name) if value is None else now.set(name, value)
    return now


def parameters(path: PurePosixPath, content: bytes) -> tuple[str, ...]:
    """Return the parameters of an entry as written, of all its `options` lines."""
    lines = (Cmdline.parse(line.value) for line in _parse(path, content).options)
    return tuple(parameter.text for line in lines for parameter in line.parameters)


def differences(path: PurePosixPath, old: Sequence[str], new: Sequence[str], reason: str) -> Iterator[Change]:
    """Return the changes that lead from an entry's parameters to others."""
    target = identity(path).name
    for tag, start, end, into, until in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            gone, come = old[start:end], new[into:until]
            paired = min(len(gone), len(come))
            for text, other in zip(gone[:paired], come[:paired], strict=True):
                yield Change(Op.REPLACE, text, other, path, target, reason)
            for text in gone[paired:]:
                yield Change(Op.REMOVE, text, None, path, target, reason)
            for text in come[paired:]:
                yield Change(Op.ADD, None, text, path, target, reason)


def _parse(path: PurePosixPath, content: bytes) -> BlsEntry:
    return parse_entry(path, content.decode("utf-8", "surrogateescape"))


def _key(text: str) -> str:
    return Cmdline.parse(text).tokens[0].key
