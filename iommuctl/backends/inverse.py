# SPDX-License-Identifier: Apache-2.0
"""Inverse: take back what we changed in a file that has changed since, and nothing else. Text in, text out."""

from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import PurePosixPath

from iommuctl.blsentry import parse_entry
from iommuctl.cmdline import Cmdline
from iommuctl.errors import ConflictError
from iommuctl.grubenv import GrubEnv
from iommuctl.lens import Lens, Span

_LENS = "Bls.lns"


def invert_cmdline(before: Cmdline, after: Cmdline, now: Cmdline) -> Cmdline:
    """Give a command line without the changes that lead from `before` to `after`.

    What we added goes, what we replaced becomes what it was, and what we removed comes back at the end, unless its name
    stands there again. A parameter of ours that is no longer there is left as it is.
    """
    for old, new in _steps(before, after):
        index = next((at for at in reversed(range(now.kernel_count)) if now.tokens[at].text == new), None)
        if new is not None and index is not None:
            now = now.remove(index) if old is None else now.substitute(index, old)
        elif new is None and old is not None and not now.named(Cmdline.parse(old).tokens[0].name):
            now = now.append(old)
    return now


def invert_entry(path: PurePosixPath, before: bytes, after: bytes, now: bytes) -> bytes:
    """Give an entry without our changes: byte for byte as it was where it is what we left, else by parameters.

    `before` and `after` may be another entry's: then what we did to that one is taken from this, which a kernel that
    was installed since needs. Raises LensError where that cannot be written exactly.
    """
    if now == after:
        return before
    entry = parse_entry(path, now.decode("utf-8", "surrogateescape"))
    old, new = _joined(path, before), _joined(path, after)
    values: dict[Span, str | None] = {}
    for number, line in enumerate(entry.options):
        have = Cmdline.parse(line.value)
        # What comes back stands on the first line; the others only lose.
        done = invert_cmdline(old, new, have) if number == 0 else _without(have, old, new)
        if done != have:
            values[Span(line.start, line.end)] = str(done) if done.tokens else None
    return Lens(_LENS).rewrite(path, entry.text, values).encode("utf-8") if values else now


def invert_block(path: PurePosixPath, before: bytes, after: bytes, now: bytes) -> bytes:
    """Give an environment block with the variables that we changed as they were, and all others as they are.

    Raises ConflictError where one of ours has a third value, BootConfigError for a block that is none.
    """
    old, new, block = (GrubEnv.parse(path, content) for content in (before, after, now))
    for name in dict.fromkeys(name for name, _ in (*old.variables, *new.variables)):
        if old.get(name) == new.get(name):
            continue
        if block.get(name) != new.get(name):
            raise ConflictError(
                f"{path}: {name!r} was changed since",
                details=(f"we left {new.get(name)!r}", f"it is {block.get(name)!r}"),
                hint=f"see it with grub-editenv {path} list",
            )
        value = old.get(name)
        block = block.unset(name) if value is None else block.set(name, value)
    return block.block


def _steps(before: Cmdline, after: Cmdline) -> Iterator[tuple[str | None, str | None]]:
    """The changes as pairs of what was there and what came in its place; None where nothing was, or came."""
    old, new = ([token.text for token in line.parameters] for line in (before, after))
    for tag, start, end, into, until in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            gone, come = old[start:end], new[into:until]
            paired = min(len(gone), len(come))
            yield from zip(gone[:paired], come[:paired], strict=True)
            yield from ((text, None) for text in gone[paired:])
            yield from ((None, text) for text in come[paired:])


def _without(line: Cmdline, before: Cmdline, after: Cmdline) -> Cmdline:
    """A line without what we added, and with what we replaced as it was."""
    for old, new in _steps(before, after):
        index = next((at for at, token in enumerate(line.parameters) if token.text == new), None)
        if index is not None:
            line = line.remove(index) if old is None else line.substitute(index, old)
    return line


def _joined(path: PurePosixPath, content: bytes) -> Cmdline:
    entry = parse_entry(path, content.decode("utf-8", "surrogateescape"))
    return Cmdline.parse(" ".join(line.value for line in entry.options))
