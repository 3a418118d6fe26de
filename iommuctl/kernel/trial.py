# SPDX-License-Identifier: Apache-2.0
"""Trial: what a trial boot has on its command line next to the profile, and how such a line is known. Pure."""

from iommuctl.kernel.cmdline import OF_ONE_BOOT, Cmdline

# The kernel takes a name with a dot for a module's parameter: it neither complains of it nor hands it to init
# (kernel/params.c, init/main.c unknown_bootoption; booted with 7.2).
PARAMETER = "iommuctl.trial"
ENTRY_PREFIX = "iommuctl-trial-"  # of the entry's id, whatever the loader
# Sorted last by systemd-boot 262 and by GRUB 2.14, where entries have no sort-key (booted).
LAST = "~"
PANIC_SECONDS = 10
DEVICE_SECONDS = 180  # what dracut's rd.retry waits for a root device by itself (dracut.cmdline(7))
WATCHDOG_SECONDS = 60
# What comes back of failures, none of which may ever reach a permanent source: `panic=` of the kernel and of
# initramfs-tools; dracut halts or powers off where it has rd.shell=0 without rd.emergency= (dracut-emergency.sh);
# systemd freezes when it crashes (systemd(1); 256 and later take this one too, next to systemd.crash_action=).
_RETURNING = (
    *(f"panic={PANIC_SECONDS}", "rd.shell=0", "rd.emergency=reboot", f"rd.timeout={DEVICE_SECONDS}"),
    "systemd.crash_reboot=1",
)
_WATCHDOG = f"systemd.watchdog_sec={WATCHDOG_SECONDS}"
HELPER_NAMES = tuple(text.partition("=")[0] for text in (*_RETURNING, _WATCHDOG))


def helpers(trial: str, *, watchdog: bool) -> tuple[str, ...]:
    """Return what goes on a trial's line next to the profile: its token, and what returns from failures."""
    return (f"{PARAMETER}={trial}", *_RETURNING, *((_WATCHDOG,) if watchdog else ()))


def trial_of(cmdline: Cmdline) -> str | None:
    """Return the id of the trial that a line is of; None for any other line."""
    return next((one.value for one in reversed(cmdline.named(PARAMETER))), None)


def with_helpers(cmdline: Cmdline, trial: str, *, watchdog: bool) -> Cmdline:
    """Return a line with the helpers after its last parameter, so that they win over earlier ones.

    Raises ValueError where an open quote would swallow them.
    """
    for text in helpers(trial, watchdog=watchdog):
        cmdline = cmdline.append(text)
    return cmdline


def own_tokens(cmdline: Cmdline) -> tuple[str, ...]:
    """Return a line's tokens without what the loader adds by itself: two boots of one entry share these."""
    return tuple(token.text for token in cmdline.tokens if token.name not in OF_ONE_BOOT)


def is_trial_entry(entry_id: str) -> bool:
    """Whether an entry's id is one of ours for a trial boot, which is neither edited nor taken for a source."""
    return entry_id.removeprefix(LAST).startswith(ENTRY_PREFIX)


def entry_id(trial: str) -> str:
    """Return the id of a trial's entry."""
    return f"{ENTRY_PREFIX}{trial}"
