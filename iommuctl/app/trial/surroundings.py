# SPDX-License-Identifier: Apache-2.0
"""Surroundings of a trial: what has to hold on the host, whichever loader boots it, and whether a watchdog is there."""

import stat
from collections.abc import Iterator
from pathlib import PurePosixPath

from iommuctl.backends.trial.base import Judge
from iommuctl.errors import IommuctlError
from iommuctl.findings import Rule
from iommuctl.host.root import Root
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.running.seals import read_seals
from iommuctl.transaction.trial.record import ConfirmBy
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

CHECKS = PurePosixPath("/etc/iommuctl/confirm.d")
REACHABILITY = "reach"  # in the name of a check that tells whether somebody can reach the host
_SYSTEMD = PurePosixPath("/run/systemd/system")  # sd_booted(3)
_WATCHDOGS = PurePosixPath("/sys/class/watchdog")
_SOFTWARE = "Software Watchdog"  # drivers/watchdog/softdog.c: it hangs with the kernel
_CRYPTTAB = PurePosixPath("/etc/crypttab")
_BLOCK = PurePosixPath("/sys/class/block")
_CRYPT = "CRYPT-"  # the prefix of a device mapper UUID that cryptsetup gives
_TYPED = frozenset({"", "-", "none"})  # crypttab(5): no key file
_BY_ITSELF = ("tpm2-device=", "noauto", "nofail", "x-initrd.attach=no")
# PCRs that change with the line: as the rule tpm-sealed has it.
_MEASURED = frozenset({4, 8, 9, 11, 12})


class Watchdog(NamedTuple):
    """A hardware watchdog: its name, and whether nobody uses it yet."""

    identity: str
    is_free: bool


def read_watchdog(tree: Tree) -> Watchdog | None:
    """Return the first hardware watchdog; None where there is none."""
    for name in tree.names(_WATCHDOGS):
        identity = _text(tree, _WATCHDOGS / name / "identity")
        if identity and identity != _SOFTWARE:
            return Watchdog(identity, _text(tree, _WATCHDOGS / name / "state") == "inactive")
    return None


def judge_host(root: Root, judge: Judge, confirm: ConfirmBy, *, attended: bool) -> None:
    """Look at what must hold on any host: what systemd does, disk keys, the checks of a confirmation by itself."""
    runs = root.stat(_SYSTEMD) is not None
    judge.say(
        Rule.TRIAL_TIMER,
        runs,
        "systemd runs, and ends the trial in time" if runs else "systemd does not run, so nothing ends the trial",
        str(_SYSTEMD),
    )
    _judge_keys(root, judge, attended=attended)
    _judge_checks(root, judge, confirm)


def executables(root: Root) -> tuple[PurePosixPath, ...]:
    """Return the checks that run after the trial's boot, by name; backups and package managers' copies are none."""
    found = []
    for name in root.names(CHECKS):
        status = root.stat(CHECKS / name)
        is_program = status is not None and stat.S_ISREG(status.st_mode) and status.st_mode & 0o111
        if is_program and not name.startswith(".") and not name.endswith("~") and ".dpkg-" not in name:
            found.append(CHECKS / name)
    return tuple(found)


def _judge_checks(root: Root, judge: Judge, confirm: ConfirmBy) -> None:
    names = [path.name for path in executables(root)]
    if confirm is ConfirmBy.MANUAL:
        judge.hold(Rule.TRIAL_CHECKS, f"{len(names)} checks run before somebody confirms", str(CHECKS))
        return
    reaches = any(REACHABILITY in name for name in names)
    judge.say(
        Rule.TRIAL_CHECKS,
        reaches,
        f"{len(names)} checks decide, {next(name for name in names if REACHABILITY in name)} whether it is reached"
        if reaches
        else f"none of {len(names)} checks tells whether the host is reached, by a name with {REACHABILITY!r} in it",
        str(CHECKS),
        f"copy 10-reach-default-route of the examples into {CHECKS}",
    )


def _judge_keys(root: Root, judge: Judge, *, attended: bool) -> None:
    for seal in read_seals(root, root.read_device):
        if seal.pcrs is None or seal.pcrs & _MEASURED:
            told = f"the TPM opens {seal.what} by what it measures of the command line"
            judge.refuse(Rule.TRIAL_KEY, told, str(seal.path), "enroll the key without PCRs 4, 8, 9, 11 and 12")
    judge.hold(Rule.TRIAL_KEY, "no disk key is known to depend on the command line", "crypttab and what seals leave")
    typed = tuple(_typed(root))
    if typed and attended:
        judge.hold(Rule.TRIAL_PASSPHRASE, f"somebody is there to type that of {', '.join(typed)}", "--attended")
        return
    judge.say(
        Rule.TRIAL_PASSPHRASE,
        not typed,
        f"each boot waits for the passphrase of {', '.join(typed)}"
        if typed
        else "no passphrase is typed at boot, as far as crypttab and the command line tell",
        f"{_CRYPTTAB}, /proc/cmdline and the encrypted volumes that are open",
        "--attended, where somebody types it at both boots",
    )


def _typed(tree: Tree) -> Iterator[str]:
    """The encrypted volumes that are open and have no key that opens them by itself."""
    opened = {
        _text(tree, _BLOCK / name / "dm/name")
        for name in tree.names(_BLOCK)
        if name.startswith("dm-") and _text(tree, _BLOCK / name / "dm/uuid").startswith(_CRYPT)
    }
    known: dict[str, bool] = {}
    for line in _text(tree, _CRYPTTAB).splitlines():
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        key, options = ([*fields, "", "", ""])[2:4]
        by_itself = any(option.startswith(_BY_ITSELF) for option in options.split(","))
        known[fields[0]] = key not in _TYPED or by_itself
    keyed = bool(Cmdline.parse(_text(tree, PurePosixPath("/proc/cmdline"))).named("rd.luks.key"))
    yield from sorted(name for name in opened if name and not known.get(name, keyed))


def _text(tree: Tree, path: PurePosixPath) -> str:
    try:
        return (tree.read(path) or b"").decode("utf-8", "replace").strip()
    except IommuctlError:
        return ""
