# SPDX-License-Identifier: Apache-2.0
"""Boot Loader Specification entries (Type #1, UAPI.1): one file as GRUB and as systemd-boot read it. Pure."""

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from iommuctl.kernel.cmdline import Cmdline
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

SUFFIX = ".conf"
OPTIONS = "options"
_BLANKS = " \t\r"
# The separators of systemd-boot; a comment has its sign at the start of the line, and nothing is quoted or continued.
_LINE = re.compile(r"[ \t]*(?P<key>[^ \t#][^ \t]*)(?P<gap>[ \t]+)(?P<value>[^ \t\r][^\n]*)")
_COMMENT = re.compile(r"[ \t]*#")
_COUNTER = pattern(r"\+(\d+)(?:-(\d+))?\Z")
_MACHINE_ID = re.compile(r"[0-9a-f]{32}(?![0-9a-zA-Z])", re.IGNORECASE)
# The machine-id that Red Hat's images are built with (osbuild): it names no machine.
_NO_MACHINE = "f" * 32
# Variables that GRUB puts in, `\$` excepted (grub-core/commands/blscfg.c of Fedora and RHEL, expand_val).
_VARIABLE = re.compile(r"(?<!\\)\$([A-Za-z0-9_]+)")
_IMAGE = re.compile(r"(?:vmlinuz|vmlinux|Image|kernel)-(\d[^/]*)\Z")
# kernel-install's layout: TOKEN/VERSION/linux; sdbootutil adds a checksum or a number: TOKEN/VERSION/linux-1.
_IMAGE_FOLDER = pattern(r"/(\d[^/]*)/(?:linux|vmlinuz(?:\.efi)?)(?:-[^/]*)?\Z")


class EntryLine(NamedTuple):
    """One key with its value as written, blanks at its end included: `text[start:end]`. `number` counts from 1."""

    number: int
    key: str
    value: str
    start: int
    end: int
    gap: str

    @property
    def is_split_by_tab(self) -> bool:
        """Whether GRUB of Fedora and RHEL, which splits at the first blank of a line, finds another key in it."""
        return self.gap.startswith("\t") and " " in f"{self.gap}{self.value}"

    @property
    def unquoted(self) -> str:
        """The value as systemd-boot reads it: without the quotes that enclose it."""
        return self.value.rstrip(_BLANKS)[1:-1] if is_enclosed(self.value) else self.value


class BlsEntry(NamedTuple):
    """One entry file. `lines` are those with a key and a value, in order.

    `grub_stop` is the line at which GRUB stops reading, blank or without a value (None: it reads all of them);
    systemd-boot passes over it. `id` is the name without suffix and boot counter: it stays the same when the bootloader
    counts. `values` are those of keys that may stand once, without blanks at their end; the last one counts
    (systemd-boot).
    """

    path: PurePosixPath
    text: str
    lines: tuple[EntryLine, ...]
    grub_stop: int | None
    id: str
    values: Mapping[str, str]

    @property
    def tries(self) -> tuple[int, int] | None:
        """The boot counter of the name: tries left, and tries done; None for an entry that is not counted."""
        match = _COUNTER.search(self.path.name.removesuffix(SUFFIX))
        return (int(match[1]), int(match[2] or 0)) if match else None

    @property
    def options(self) -> tuple[EntryLine, ...]:
        """Every `options` line, in order; systemd-boot joins their values."""
        return self.all(OPTIONS)

    @property
    def grub_options(self) -> EntryLine | None:
        """The one `options` line that GRUB reads: the first, before `grub_stop`; None where it sees none."""
        return next((line for line in self.options if self._is_read_by_grub(line)), None)

    @property
    def is_linux(self) -> bool:
        """Whether it starts a kernel with a command line; memory tests, shells and other systems do not.

        A program of the firmware (`efi`) that is given a root file system is a kernel by its EFI stub.
        """
        return self.value("linux") is not None or (self.value("efi") is not None and self._names_root)

    @property
    def names_image(self) -> bool:
        """Whether it says that it starts a unified kernel image (systemd 258 and newer)."""
        return self.value("uki") is not None or self.value("uki-url") is not None

    @property
    def is_rescue(self) -> bool:
        """Whether it is the rescue entry that dracut makes (51-dracut-rescue.install)."""
        return "-0-rescue" in self.id or (self.value("version") or "").startswith("0-rescue")

    @property
    def owners(self) -> tuple[str, ...]:
        """The machine-ids that it names, lower case: by its key, and by the 32 hex digits that begin its name."""
        named = _MACHINE_ID.match(self.id)
        texts = (text.lower() for text in (self.value("machine-id"), named and named[0]) if text)
        return tuple(text for text in texts if text != _NO_MACHINE)

    @property
    def kernel_release(self) -> str | None:
        """The release of its kernel by the name of the image, else by the key `version`; None where neither tells."""
        image = self.value("linux") or self.value("efi") or ""
        match = _IMAGE.search(image) or _IMAGE_FOLDER.search(image)
        version = self.value("version")
        return match[1] if match else version if version and version[0].isdigit() else None

    def all(self, key: str) -> tuple[EntryLine, ...]:
        """Every line of a key, in order."""
        return tuple(line for line in self.lines if line.key == key)

    def value(self, key: str) -> str | None:
        """The value of a key that may stand once; None where it is not there."""
        return self.values.get(key)

    @property
    def _names_root(self) -> bool:
        return any(Cmdline.parse(line.unquoted).named("root") for line in self.options)

    def _is_read_by_grub(self, line: EntryLine) -> bool:
        return (self.grub_stop is None or line.number < self.grub_stop) and not line.is_split_by_tab


def is_entry_name(name: str) -> bool:
    """Whether both bootloaders look at a file of that name: not hidden, `.conf` at its end (systemd: not `auto-`)."""
    return name.endswith(SUFFIX) and not name.startswith((".", "auto-"))


def identity(path: PurePosixPath) -> PurePosixPath:
    """Return what stays of an entry's path when the bootloader counts: without suffix and boot counter."""
    return path.with_name(_without_counter(path.name))


def _without_counter(name: str) -> str:
    """The name without suffix and counter; the suffix alone for one that is nothing but a counter, as bootctl says."""
    stem = name.removesuffix(SUFFIX)
    return (_COUNTER.sub("", stem) if "+" in stem else stem) or SUFFIX


def parse_entry(path: PurePosixPath, text: str) -> BlsEntry:
    """Read an entry file. Every text is one: what is no line with a key and a value is passed over."""
    lines: list[EntryLine] = []
    stop: int | None = None
    start = 0
    # Lines end at newlines alone: str.splitlines() would also split at separators inside a value.
    parts = text.split("\n")
    for number, raw in enumerate(parts, 1):
        match = _LINE.fullmatch(raw)
        if match:
            first, last = match.span("value")
            lines.append(EntryLine(number, match["key"], match["value"], start + first, start + last, match["gap"]))
        elif stop is None and not _COMMENT.match(raw) and (raw or number < len(parts)):
            stop = number
        start += len(raw) + 1
    values = {line.key: line.value.rstrip() for line in lines}
    return BlsEntry(path, text, tuple(lines), stop, _without_counter(path.name), values)


def is_enclosed(value: str) -> bool:
    """Whether systemd-boot takes quotes off a value: its first and its last character (line_get_key_value)."""
    text = value.rstrip(_BLANKS)
    return len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"


def is_word(token: str) -> bool:
    """Whether a token is a variable's place, such as `$kernelopts`: opaque to every edit, and never moved."""
    return token.startswith("$")


def variables(text: str) -> tuple[str, ...]:
    """The names of the variables that GRUB puts into a value, in order."""
    return tuple(_VARIABLE.findall(text))


def expand(text: str, value_of: Callable[[str], str | None]) -> Cmdline:
    """Return the command line that GRUB makes of an `options` value."""
    return Cmdline.parse(expanded(text, value_of))


def expanded(text: str, value_of: Callable[[str], str | None]) -> str:
    r"""Return what GRUB makes of an `options` value, as text: unset variables vanish, `\$` is a dollar sign."""
    if "$" not in text:
        return text
    return _VARIABLE.sub(lambda match: value_of(match[1]) or "", text).replace("\\$", "$")
