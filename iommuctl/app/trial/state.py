# SPDX-License-Identifier: Apache-2.0
"""State: how far the last trial has come, told by its record, by this boot, and by what the loader will do."""

from pathlib import PurePosixPath

from iommuctl.app.host import Host
from iommuctl.backends.trial.base import OneShotKind
from iommuctl.errors import IommuctlError, UsageError
from iommuctl.host.probe import read_runtime
from iommuctl.host.root import Root
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.trial import trial_of
from iommuctl.transaction.trial import oneshot
from iommuctl.transaction.trial.record import Phase, TrialRecord, read_record
from iommuctl.value import NamedTuple

_BOOT_ID = PurePosixPath("/proc/sys/kernel/random/boot_id")
_UPTIME = PurePosixPath("/proc/uptime")
NO_WORD = "its boot left no word: it ended before its checks began, or the loader did not start it"


class Boot(NamedTuple):
    """This boot: the kernel's id of it, its line, and the entry that the loader says it started."""

    id: str
    cmdline: Cmdline
    entry: str | None


class TrialState(NamedTuple):
    """The last trial as it is now. `phase` is what the record would say if somebody had written it by now.

    `is_here`: this boot is the trial's. `is_armed`: the trial boots at the next start.
    """

    record: TrialRecord
    phase: Phase
    reason: str
    is_here: bool
    is_armed: bool


def read_boot(root: Root) -> Boot:
    """Return this boot. Only for the running system's own root."""
    runtime = read_runtime(root)
    name = (root.read(_BOOT_ID) or b"").decode("ascii", "replace").strip()
    return Boot(name, Cmdline.parse(runtime.cmdline), runtime.entry_selected)


def uptime(root: Root) -> float:
    """Return the seconds since this kernel started."""
    text = (root.read(_UPTIME) or b"0").decode("ascii", "replace").split()
    try:
        return float(text[0])
    except (IndexError, ValueError):
        return 0.0


def carries_token(record: TrialRecord, boot: Boot) -> bool:
    """Whether this boot has the trial's token, and is another one than that which armed it."""
    return trial_of(boot.cmdline) == record.id and boot.id not in ("", record.boot)


def imposture(record: TrialRecord, boot: Boot) -> str | None:
    """Say why a boot that has the token is not the trial's; None where it is.

    A token alone is also there after kexec, and on an entry that inherited it.
    """
    running = {token.text for token in boot.cmdline.tokens}
    if missing := [token for token in record.tokens if token not in running]:
        return f"{missing[0]!r} of the trial's line is not on the kernel's"
    if record.choice.kind is OneShotKind.EFI and (boot.entry or "").lower() != record.entry.lower():
        return f"the loader started {boot.entry!r}, and not {record.entry!r}"
    if record.trial_boot not in (None, boot.id):
        return "the trial had its one boot before"
    return None


def require_running(host: Host, command: str) -> None:
    """Raise UsageError for a root that is not the running system: nothing boots there."""
    if not host.is_system:
        raise UsageError(
            f"{command} needs the running system",
            details=(f"nothing boots from {str(host.path)!r}",),
            hint=f"iommuctl {command}",
        )


def read_state(host: Host) -> TrialState | None:
    """Return the last trial; None where there was none. Writes nothing. Raises ConflictError, NotPermittedError."""
    record = read_record(host.root, host.store)
    return None if record is None else state_of(host.root, record)


def state_of(root: Root, record: TrialRecord) -> TrialState:
    """Tell how far a trial has come."""
    if record.phase.is_over:
        return TrialState(record, record.phase, record.reason, is_here=False, is_armed=False)
    boot = read_boot(root)
    try:
        armed = oneshot.is_armed(root, record.choice)
    except IommuctlError:
        armed = False
    if carries_token(record, boot):
        begun = record.phase in (Phase.ARMING, Phase.ARMED)
        return TrialState(record, Phase.RUNNING if begun else record.phase, record.reason, is_here=True, is_armed=armed)
    if record.phase is Phase.ARMING:
        return TrialState(
            record, record.phase, "it was cut off while it was being armed", is_here=False, is_armed=armed
        )
    if boot.id == record.boot:
        reason = "" if armed else "the choice of the next boot is gone, so that boots the default"
        return TrialState(record, record.phase, reason, is_here=False, is_armed=armed)
    if record.phase is Phase.ARMED and armed:
        reason = "this boot did not take the choice of one boot, which still holds"
        return TrialState(record, record.phase, reason, is_here=False, is_armed=True)
    if record.phase is Phase.CONFIRMING:
        return TrialState(record, record.phase, "it was cut off during the confirmation", is_here=False, is_armed=armed)
    return TrialState(record, Phase.RETURNED, way_back(record), is_here=False, is_armed=armed)


def way_back(record: TrialRecord) -> str:
    """Say why a trial came back, as far as its record tells."""
    match record.phase:
        case Phase.ARMING | Phase.ARMED:
            return NO_WORD
        case Phase.FAILED:
            return record.reason
        case _:
            limit = f"its limit of {record.terms.timeout} s"
            return f"it was rebooted before it was confirmed: by {limit}, by a crash or by somebody"
