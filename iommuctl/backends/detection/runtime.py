# SPDX-License-Identifier: Apache-2.0
"""Runtime: what the running system says of the loader that started it. Values in, evidence out."""

import re
from collections.abc import Iterator

from iommuctl.backends.detection.evidence import GRUB, NOTHING, UNKNOWN, Evidence, Weight
from iommuctl.backends.detection.loaders import BY_NAME, EFI_STUB, LOADERS, Loader, Mark
from iommuctl.facts import Runtime
from iommuctl.pattern import pattern

_OR = " or "
_KERNEL_BY_EFI = pattern(r"(?:^|\s)initrd=\\")
# The stub of a kernel says so where no loader has said anything (drivers/firmware/efi/libstub/bli.c).
_KERNEL_STUB = "Linux EFI stub "
# GRUB names the kernel's device so, as no other loader does: `(hd0,gpt2)/vmlinuz`.
_GRUB_DEVICE = pattern(r"(?:^|\s)BOOT_IMAGE=\(")


def running_evidence(runtime: Runtime | None, shown: frozenset[str]) -> Iterator[Evidence]:
    """Return what the running system says of its own boot; `shown` are the loaders whose files are there.

    A mark that several leave speaks for those of them whose files are there, and else for the one that leaves it most.
    """
    if runtime is None:
        return
    yield Evidence("/sys/firmware/efi", *(("exists", "UEFI") if runtime.is_efi else ("missing", "no systemd-boot")))
    yield from _loader_info(runtime)
    if runtime.stub_info is not None:
        found = f"{runtime.stub_info}: a unified kernel image was booted"
        says = NOTHING if from_grub(runtime) else _leaving(Mark.STUB, shown)
        yield Evidence("EFI variable StubInfo", found, says, _weight(says, Weight.MARK))
    if runtime.entry_selected is not None:
        yield Evidence("EFI variable LoaderEntrySelected", runtime.entry_selected, NOTHING)
    if runtime.loader_partition is not None:
        yield Evidence("EFI variable LoaderDevicePartUUID", runtime.loader_partition, NOTHING)
    yield from _command_line(runtime, shown)
    yield _boot_program(runtime)
    if runtime.machine is not None:
        named = next((one for one in LOADERS if one.machine and re.search(one.machine, runtime.machine)), None)
        if named is not None:
            yield Evidence("the machine", runtime.machine, named.name, Weight.SETTINGS)


def from_grub(runtime: Runtime) -> bool:
    """Whether the kernel got the parameter that GRUB adds, and few others do."""
    return any(word.startswith(Mark.BOOT_IMAGE) for word in runtime.cmdline.split())


def marks_of(runtime: Runtime) -> frozenset[Mark]:
    """Return what more than one loader leaves, as far as it is on the running system."""
    if from_grub(runtime):
        return frozenset({Mark.BOOT_IMAGE})
    if runtime.stub_info is not None:
        return frozenset({Mark.STUB})
    return frozenset({Mark.EFI_INITRD}) if _KERNEL_BY_EFI.search(runtime.cmdline) else frozenset()


def contradicting(runtime: Runtime, loader: Loader, shown: frozenset[str]) -> frozenset[str]:
    """Return the loaders that left a mark on the running system which this one does not leave."""
    marks = marks_of(runtime).difference(loader.marks)
    return frozenset(name for mark in marks for name in _names(_leaving(mark, shown)))


def is_bare_kernel(runtime: Runtime) -> bool:
    """Whether the firmware started a kernel, without a loader, which would have said so, and without a stub."""
    info = runtime.loader_info
    said = runtime.stub_info is not None or not (info is None or info.startswith(_KERNEL_STUB))
    program = runtime.boot_program
    return not said and not from_grub(runtime) and program is not None and _of_program(program) is BY_NAME[EFI_STUB]


def _loader_info(runtime: Runtime) -> Iterator[Evidence]:
    info = runtime.loader_info
    if info is None:
        return
    probe = "EFI variable LoaderInfo"
    if info.startswith(_KERNEL_STUB):
        yield Evidence(probe, info, NOTHING)
        return
    row = next((one for one in LOADERS if one.info and info.startswith(one.info)), None)
    if row is not None and row.supported and runtime.stub_info is not None and not from_grub(runtime):
        yield Evidence(probe, info, NOTHING)  # it started an image, and the image says what it boots with
    else:
        yield Evidence(probe, info, info if row is None else row.name, Weight.NAMED)


def _command_line(runtime: Runtime, shown: frozenset[str]) -> Iterator[Evidence]:
    if from_grub(runtime):
        says = GRUB if _GRUB_DEVICE.search(runtime.cmdline) else _leaving(Mark.BOOT_IMAGE, shown)
        yield Evidence("/proc/cmdline", f"has BOOT_IMAGE=, which {says} adds", says, Weight.MARK)
    elif _KERNEL_BY_EFI.search(runtime.cmdline):
        says = NOTHING if is_bare_kernel(runtime) else _leaving(Mark.EFI_INITRD, shown)
        found = "has initrd=\\, which the kernel's own EFI loader reads"
        yield Evidence("/proc/cmdline", found, says, _weight(says, Weight.MARK))


def _boot_program(runtime: Runtime) -> Evidence:
    """What the firmware started: that names a loader which says nothing itself, or one that started another."""
    probe, program = "EFI variable BootCurrent", runtime.boot_program
    if program is None:
        return Evidence(probe, "not set", UNKNOWN)
    row = _of_program(program)
    if row is None or (row.name == EFI_STUB and not is_bare_kernel(runtime)):
        return Evidence(probe, program, UNKNOWN)
    if row.supported:
        return Evidence(probe, program, row.name, Weight.PROGRAM)
    started = runtime.loader_info is not None and runtime.loader_info.startswith(_SUPPORTED)
    return Evidence(probe, program, row.name, Weight.NONE if started else Weight.NAMED)


def _of_program(program: str) -> Loader | None:
    path = program.lower().replace("\\", "/")
    return next((one for one in _BY_PROGRAM if re.search(one.program, path)), None)


# What LoaderInfo begins with where a loader that a backend edits came last.
_SUPPORTED = tuple(start for one in LOADERS if one.supported for start in one.info)
# A directory of another loader's tells more than the name of what is in it, such as shim's.
_BY_PROGRAM = sorted((one for one in LOADERS if one.program), key=lambda one: one.supported or one.name == EFI_STUB)


def _leaving(mark: Mark, shown: frozenset[str]) -> str:
    """The loader that left a mark: those that do and whose files are there, else the one that does so most."""
    usual = next(one.name for one in LOADERS if mark in one.marks)
    return _OR.join(one.name for one in LOADERS if mark in one.marks and one.name in shown) or usual


def _weight(says: str, weight: Weight) -> Weight:
    return Weight.NONE if says == NOTHING else weight


def marked(item: Evidence) -> frozenset[str]:
    """Return the loaders that a mark speaks for."""
    return _names(item.says)


def _names(says: str) -> frozenset[str]:
    return frozenset(says.split(_OR))
