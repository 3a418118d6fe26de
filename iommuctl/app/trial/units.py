# SPDX-License-Identifier: Apache-2.0
"""Units: what has systemd check a trial's boot, end it in time, and tidy up after it. Made for one trial, gone with it.

Each that can reboot is bound to the trial's own token on the command line, so that no other boot runs it; a timer waits
for no target, since a boot that hangs in one is what it is for.
"""

from pathlib import PurePosixPath

from iommuctl.kernel.trial import PARAMETER
from iommuctl.transaction.trial.record import OnFailure, Terms

UNITS = PurePosixPath("/etc/systemd/system")
KEPT = PurePosixPath("/run/iommuctl/trial-kept")  # while it is there, no time limit ends the boot
FIRST_SECONDS = 30  # after the start of the kernel, to the first look
NEXT_SECONDS = 15  # from one look to the next
FORCE_SECONDS = 300  # from the orderly reboot to a forced one
CHECK_SECONDS = 60  # for each executable of confirm.d
_SETTLE_SECONDS = 900  # for one look: many checks, and an apply that generates a menu
_TRUE = "/bin/true"

# Started with the order to reboot: that may hang, and a job that it queues may hold back everything after it.
HUNG = "iommuctl-trial-hung.timer"
NAMES = ("iommuctl-trial.timer", "iommuctl-trial-deadline.timer", "iommuctl-trial-force.timer", HUNG)


def units(trial: str, terms: Terms, program: tuple[str, ...]) -> dict[PurePosixPath, str]:
    """Return the files of a trial's units by their paths; `program` is how this one is called by systemd."""
    command = " ".join(map(_quoted, (*program, "trial", "settle")))
    on_trial, elsewhere = (f"ConditionKernelCommandLine={sign}{PARAMETER}={trial}" for sign in ("", "!"))
    texts = {
        "iommuctl-trial.timer": _timer(trial, on_trial, f"OnBootSec={FIRST_SECONDS}\nOnUnitInactiveSec={NEXT_SECONDS}"),
        "iommuctl-trial.service": (
            f"[Unit]\nDescription=Check trial boot {trial} of iommuctl\n{on_trial}\n{_APART}After=local-fs.target\n\n"
            f"[Service]\nType=oneshot\nExecStart={command}\nTimeoutStartSec={_SETTLE_SECONDS}\n"
        ),
        "iommuctl-trial-return.service": (
            f"[Unit]\nDescription=Tidy up after trial boot {trial} of iommuctl\n{elsewhere}\n"
            "RequiresMountsFor=/boot /var/lib/iommuctl\nAfter=iommuctl-recover.service\n\n"
            f"[Service]\nType=oneshot\nExecStart={command}\n"
        ),
    }
    wanted = ["iommuctl-trial.timer", "iommuctl-trial-return.service"]
    if terms.on_failure is OnFailure.REBOOT:
        for name, seconds, action in (
            ("deadline", terms.timeout, "reboot"),
            ("force", terms.timeout + FORCE_SECONDS, "reboot-force"),
        ):
            texts[f"iommuctl-trial-{name}.timer"] = _timer(trial, on_trial, f"OnBootSec={seconds}")
            # PID 1 itself acts, whether the program could be started or not: the disk may be gone.
            texts[f"iommuctl-trial-{name}.service"] = (
                f"[Unit]\nDescription=End trial boot {trial} of iommuctl, which nobody confirmed\n{on_trial}\n"
                f"ConditionPathExists=!{KEPT}\n{_APART}SuccessAction={action}\nFailureAction=reboot-force\n\n"
                f"[Service]\nType=oneshot\nExecStart={_TRUE}\n"
            )
            wanted.append(f"iommuctl-trial-{name}.timer")
        texts[HUNG] = _timer(trial, on_trial, f"OnActiveSec={FORCE_SECONDS}\nUnit=iommuctl-trial-force.service")
    texts["timers.target.d/50-iommuctl-trial.conf"] = f"[Unit]\nWants={' '.join(wanted)}\n"
    head = f"# for trial boot {trial} of iommuctl, and removed with it\n"
    return {UNITS / name: head + text for name, text in texts.items()}


# No dependency on sysinit.target, which a boot that ends in emergency.target never reaches.
_APART = "DefaultDependencies=no\n"


def _timer(trial: str, condition: str, times: str) -> str:
    return (
        f"[Unit]\nDescription=Time limits of trial boot {trial} of iommuctl\n{condition}\n{_APART}\n"
        f"[Timer]\n{times}\nAccuracySec=1\n"
    )


def _quoted(word: str) -> str:
    """A word as ExecStart= takes it (systemd.service(5), command lines)."""
    for sign, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(sign, written)
    return f'"{word}"'
