# SPDX-License-Identifier: Apache-2.0
"""The edit of one boot entry: its first `options` line gains, all of them lose, and not another byte changes."""

from collections.abc import Mapping, Sequence

from iommuctl.backends.entries.lines import LineError, Lookup, conform_lines, op_of, stretches
from iommuctl.backends.entries.survey import FoundEntry
from iommuctl.errors import BootConfigError
from iommuctl.facts import COMMAND_LINE_SIZE
from iommuctl.formats.blsentry import OPTIONS, BlsEntry, EntryLine, expanded, is_enclosed
from iommuctl.formats.lens import Lens, Span
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.plan import Change, FileClass, FileEdit
from iommuctl.profile.conform import Conformer
from iommuctl.profile.segments import TokenChange, apply_changes

_LENS = "Bls.lns"
# GRUB puts `BOOT_IMAGE=<path of the kernel>` and a blank before the line (grub-core/loader/i386/linux.c).
_BOOT_IMAGE = "BOOT_IMAGE="
# What blsuki's bls_get_linux() adds to path and options, and the unit of GRUB's heap in which one byte is missing
# (grub-core/commands/blsuki.c; booted length by length: 96 failed, 95 booted).
_LINUX_COMMAND = 8
_HEAP_UNIT = 16
# Who sets the variables that GRUB puts into entries, and how to make them set something else.
_WORD_OWNERS: Mapping[str, tuple[str, str]] = {
    "$tuned_params": (
        "tuned",
        "choose another profile with tuned-adm profile NAME, or take it out of cmdline= in the active one",
    ),
}


class EntryEditor:
    """Brings entries to one set of desired arguments, with one lens for all of them.

    `value_of` gives what GRUB puts in for a variable; None for systemd-boot, which puts in nothing and joins all
    `options` lines, where GRUB reads the first. `pads`: this GRUB has the module `blsuki` with its missing byte.
    """

    def __init__(self, conformer: Conformer, *, value_of: Lookup | None, pads: bool = False) -> None:
        self._conformer = conformer
        self._desired = conformer.desired
        self._value_of = value_of
        self._pads = pads
        self._lens: Lens | None = None

    def edit(self, found: FoundEntry) -> tuple[tuple[Change, ...], FileEdit | None]:
        """Return the changes of one entry and its edit; none where it is as desired.

        Raises BootConfigError, with the line, where the bootloader would not read the change, where a variable holds
        what must go, and where the line would be longer than the kernel reads.
        """
        entry = found.entry
        lines = self._lines(entry)
        try:
            cut = [stretches(self._read(line), self._value_of) for line in lines] or [stretches("", self._value_of)]
            changed = conform_lines(cut, self._conformer, joined=self._value_of is None)
        except LineError as error:
            raise self._refusal(entry, lines, error) from error
        if not any(changed):
            return (), None
        after = self._rewritten(entry, lines, changed)
        changes = tuple(
            Change(op_of(change), change.before, change.after, entry.path, entry.id, change.reason)
            for line in changed
            for change in line
        )
        reason = f"profile {self._desired.profile} on {self._desired.platform}"
        edit = FileEdit(entry.path, FileClass.ENTRY, found.content, after.encode("utf-8"), reason)
        return changes, edit

    def _lines(self, entry: BlsEntry) -> tuple[EntryLine, ...]:
        """The `options` lines, the one that takes additions first."""
        lines = entry.options
        if self._value_of is None or not lines:
            return lines
        read = entry.grub_options
        if read is None or read is not lines[0]:
            line = lines[0]
            message = "GRUB does not read these options, for they stand behind a tab"
            if entry.grub_stop is not None and entry.grub_stop < line.number:
                message = (
                    f"GRUB does not read these options, for it stops at line {entry.grub_stop}, which has no value"
                )
            raise BootConfigError(entry.path, line.number, message)
        return lines

    def _read(self, line: EntryLine) -> str:
        """What the bootloader makes of an `options` line before it puts variables in."""
        return line.unquoted if self._value_of is None else line.value

    def _rewritten(
        self, entry: BlsEntry, lines: tuple[EntryLine, ...], changed: Sequence[tuple[TokenChange, ...]]
    ) -> str:
        texts = [self._read(line) for line in lines] or [""]
        values = [str(apply_changes(Cmdline.parse(text), each)) for text, each in zip(texts, changed, strict=True)]
        if self._value_of is None:
            self._require_bare(entry, lines, values, changed)
        values[0] = self._padded(entry, values[0])
        self._require_short(entry, values)
        if self._lens is None:
            self._lens = Lens(_LENS, OPTIONS)
        if not lines:
            if entry.grub_stop is not None and self._value_of is not None:
                raise BootConfigError(entry.path, entry.grub_stop, "GRUB would not read options behind this line")
            return self._lens.rewrite(entry.path, entry.text, {}, added=((OPTIONS, values[0]),))
        # A line that loses its last parameter goes: GRUB would stop reading at a key without a value.
        edits = {
            Span(line.start, line.end): value if value.strip() else None
            for line, value, each in zip(lines, values, changed, strict=True)
            if each
        }
        return self._lens.rewrite(entry.path, entry.text, edits)

    def _require_bare(
        self,
        entry: BlsEntry,
        lines: tuple[EntryLine, ...],
        values: list[str],
        changed: Sequence[tuple[TokenChange, ...]],
    ) -> None:
        """Raise BootConfigError for a line to change that has quotes around it, or would have: they would be lost."""
        for line, value, changes in zip(lines, values, changed, strict=False):
            if changes and (is_enclosed(line.value) or is_enclosed(value)):
                message = "systemd-boot takes off the quotes around these options"
                hint = f"write {entry.path} without them, then run the same command again"
                raise BootConfigError(entry.path, line.number, message, hint=hint)

    def _padded(self, entry: BlsEntry, value: str) -> str:
        """The value with a blank after it where GRUB's missing byte would cost the boot."""
        if not self._pads or self._value_of is None:
            return value
        length = _size(entry.value("linux") or "") + _size(expanded(value, self._value_of)) + _LINUX_COMMAND
        return f"{value} " if length % _HEAP_UNIT == 0 else value

    def _require_short(self, entry: BlsEntry, values: list[str]) -> None:
        limit = COMMAND_LINE_SIZE[self._desired.platform] - 1
        shown = values
        if self._value_of is not None:
            shown = [expanded(values[0], self._value_of)]
        length = _size(f"{_BOOT_IMAGE}{entry.value('linux')} {' '.join(shown)}")
        if length > limit:
            raise BootConfigError(
                entry.path,
                None,
                f"the command line would be {length} bytes long; the kernel reads {limit} and cuts the rest silently",
                hint=f"take parameters out of {entry.path}, then run the same command again",
            )

    def _refusal(self, entry: BlsEntry, lines: tuple[EntryLine, ...], error: LineError) -> BootConfigError:
        number = lines[error.line].number if lines else None
        owner = _WORD_OWNERS.get(error.word or "")
        if owner is None:
            return BootConfigError(entry.path, number, error.message)
        return BootConfigError(entry.path, number, f"{error.message}; {owner[0]} sets it", hint=owner[1])


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))
