# SPDX-License-Identifier: Apache-2.0
"""Wrappers: a distribution's own tool that writes boot entries: its source is edited, and it is called."""

from pathlib import PurePosixPath

from iommuctl.backends.grub.sources import MAIN
from iommuctl.facts import Facts, Runtime
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.formats.kernelcmdline import KERNEL_CMDLINE
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

_SYSTEMD_BOOT_INFO = "systemd-boot "
_NOT_ATOMIC = "not atomic, for it writes where the bootloader reads"
_PROGRAMS = (PurePosixPath("/usr/bin"), PurePosixPath("/usr/sbin"), PurePosixPath("/sbin"))


class Wrapper(NamedTuple):
    """One tool: the file that shows it is in use, its program, the command that writes the entries, and its sources.

    `drop_ins` are directories whose files are joined to /etc/kernel/cmdline. `first_line_only`: it reads only the first
    line of that file. `settings` is a file of its own that holds the parameters instead. `hides_entries`: they are on
    file systems that it mounts only while it runs. `writes` is the end of the id of the entries that it keeps.
    """

    name: str
    mark: PurePosixPath | None
    argv: tuple[str, ...]
    reason: str
    drop_ins: tuple[PurePosixPath, ...] = ()
    first_line_only: bool = False
    settings: PurePosixPath | None = None
    hides_entries: bool = False
    writes: str = ""


WRAPPERS = (
    Wrapper(
        name="proxmox-boot-tool",
        mark=PurePosixPath("/etc/kernel/proxmox-boot-uuids"),
        argv=("proxmox-boot-tool", "refresh"),
        reason=f"it copies kernels and writes the entries of every ESP; {_NOT_ATOMIC}",
        first_line_only=True,
        hides_entries=True,
    ),
    Wrapper(
        name="kernelstub",
        mark=PurePosixPath("/etc/kernelstub/configuration"),
        argv=("kernelstub",),
        reason=f"it writes the entry of the current kernel; {_NOT_ATOMIC}",
        settings=PurePosixPath("/etc/kernelstub/configuration"),
        writes="-current",
    ),
    Wrapper(
        name="sdbootutil",
        mark=None,
        argv=("sdbootutil", "update-all-entries"),
        reason=f"it writes the entries and predicts anew what the TPM measures of them; {_NOT_ATOMIC}",
        drop_ins=(PurePosixPath("/usr/kernel/cmdline.d"), PurePosixPath("/etc/kernel/cmdline.d")),
    ),
)


def wrapper_of(tree: Tree) -> Wrapper | None:
    """Return the tool that keeps the entries of a host: its mark is there and not empty, and so is its program."""
    installed = {name for folder in _PROGRAMS for name in tree.names(folder)}
    for wrapper in WRAPPERS:
        marked = wrapper.mark is None or bool((tree.read(wrapper.mark) or b"").strip())
        if marked and (wrapper.name in installed or wrapper.settings is not None):
            return wrapper
    return None


def is_systemd_boots(runtime: Runtime) -> bool:
    """Whether systemd-boot says that it started what runs."""
    return runtime.loader_info is not None and runtime.loader_info.startswith(_SYSTEMD_BOOT_INFO)


def hidden_esps(tree: Tree, wrapper: Wrapper | None, facts: Facts) -> tuple[Finding, ...]:
    """Tell that nothing proves which loader is on ESPs that are not mounted."""
    if wrapper is None or not wrapper.hides_entries:
        return ()
    if facts.runtime is not None and is_systemd_boots(facts.runtime):
        return ()
    what = f"{KERNEL_CMDLINE} and {MAIN} are both kept in step"
    if tree.read(KERNEL_CMDLINE) is None:
        what = f"{KERNEL_CMDLINE} is missing, so one that boots by systemd-boot gets what runs, and no profile"
    message = f"the ESPs of {wrapper.name} are not mounted; {what}"
    hint = "proxmox-boot-tool status tells the loader"
    return (Finding(Rule.ESP_LOADER_UNKNOWN, Severity.WARNING, message, hint=hint),)
