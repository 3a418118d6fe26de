# SPDX-License-Identifier: Apache-2.0
"""Grubentry: one entry of a grub.cfg as it is written there, to write another one like it. Pure."""

import re
from collections.abc import Callable
from pathlib import PurePosixPath

from iommuctl.errors import BootConfigError
from iommuctl.formats.grubcfg import _TOKEN, _WORD, parse_menu
from iommuctl.formats.grubmenu import MenuEntry
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

# What makes the booted entry the default or lengthens the next wait, which a copy for one boot must not do.
_STATEFUL = frozenset({"savedefault", "recordfail"})
# Options of menuentry that a copy keeps: who may boot it, and how it looks. Its id is its own.
_KEPT = frozenset({"--unrestricted", "--users", "--class"})
_WITH_VALUE = frozenset({"--users", "--class"})
_LINUX_LINE = re.compile(r"(?P<start>[ \t]*linux(?:16|efi)?[ \t]+)(?P<words>[^\n;]*?)[ \t]*", re.ASCII)
_INITRD_LINE = re.compile(r"[ \t]*initrd(?:16|efi)?[ \t]+(?P<words>[^\n;]*?)[ \t]*", re.ASCII)
_WORDS = re.compile(rf"[ \t]*({_WORD})(?=[ \t]|\Z)", re.ASCII)
_BARE = pattern(r"[A-Za-z0-9_.,:=/@+%-]+")
_NOWHERE = PurePosixPath("/entry")


class EntrySource(NamedTuple):
    """An entry as written: the options of `menuentry` that a copy keeps, and the lines between its braces."""

    options: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def is_unrestricted(self) -> bool:
        """Whether GRUB boots it without a user's password."""
        return "--unrestricted" in self.options

    @property
    def initrds(self) -> tuple[str, ...]:
        """The files that its initrd commands name, as far as no variable is in them."""
        found = (match for line in self.lines if (match := _INITRD_LINE.fullmatch(line)) is not None)
        return tuple(word for match in found for word in match["words"].split() if "$" not in word)


def entry_source(text: str, entry: MenuEntry) -> EntrySource | None:
    """Return an entry of a menu as its text has it; None for one that does not begin where the menu says.

    Commands that keep state between boots are left out of its lines.
    """
    rows = text.split("\n")
    if not rows[entry.line - 1].lstrip().startswith(("menuentry ", "menuentry\t")):
        return None
    text = "\n".join(rows[entry.line - 1 :])
    words: list[str] = []
    depth, start = 0, None
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "word" and start is None:
            words.append(token["word"])
        elif token.lastgroup == "open":
            depth += 1
            start = token.end() if start is None else start
        elif token.lastgroup == "close":
            depth -= 1
            if depth == 0 and start is not None:
                lines = text[start : token.start("close")].strip("\n").rstrip().split("\n")
                kept = tuple(line for line in lines if not _STATEFUL.intersection(line.split()[:1]))
                return EntrySource(_options(words[1:]), kept)
    return None


def with_line(source: EntrySource, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> EntrySource | None:
    """Return an entry whose one `linux` line has other parameters; None where that cannot be written exactly.

    `change` is given the parameters as GRUB hands them to the kernel, and gives those to write. Each that stays is
    written as it was.
    """
    lines = list(source.lines)
    found = [(at, match) for at, line in enumerate(lines) if (match := _LINUX_LINE.fullmatch(line)) is not None]
    mentions = [line for line in lines if re.match(r"[ \t]*\$?\{?linux", line)]
    if len(found) != 1 or len(mentions) != 1:
        return None
    at, match = found[0]
    raw = _WORDS.findall(match["words"])
    if not raw or _without_blanks("".join(raw)) != _without_blanks(match["words"]):
        return None
    meant = [_meant(one) for one in raw[1:]]
    if any(one is None for one in meant):
        return None
    known = {one: word for one, word in zip(meant, raw[1:], strict=True) if one is not None}
    written: list[str] = []
    for token in change(tuple(one for one in meant if one is not None)):
        word = known.get(token, token if _BARE.fullmatch(token) else None)
        if word is None:
            return None
        written.append(word)
    lines[at] = f"{match['start']}{' '.join((raw[0], *written))}"
    return source._replace(lines=tuple(lines))


def written_entry(title: str, identity: str, source: EntrySource) -> str:
    """Return the text of an entry with a title and an id of its own."""
    head = " ".join(("menuentry", f"'{title}'", *source.options, "--id", identity))
    return "\n".join((f"{head} {{", *source.lines, "}", ""))


def _without_blanks(text: str) -> str:
    return text.replace(" ", "").replace("\t", "")


def _options(words: list[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for at, word in enumerate(words):
        if word.partition("=")[0] in _KEPT:
            kept.append(word)
            if word in _WITH_VALUE:
                kept += words[at + 1 : at + 2]
    return tuple(kept)


def _meant(word: str) -> str | None:
    """What GRUB hands to the kernel of one word as written; None for one that is not exactly one parameter."""
    try:
        menu = parse_menu(_NOWHERE, f"menuentry x {{\nlinux k {word}\n}}\n")
    except BootConfigError:
        return None
    tokens = menu.entries[0].linux[0].cmdline.tokens if menu.entries and menu.entries[0].linux else ()
    return tokens[0].text if len(tokens) == 1 else None
