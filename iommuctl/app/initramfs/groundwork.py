# SPDX-License-Identifier: Apache-2.0
"""Groundwork: what has to be in the images before a line may choose devices, and what a rollback leaves of it."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from iommuctl.app.host import Host, Survey
from iommuctl.app.initramfs.builder import BOOT, Builder, Image, builder_of, images_of, kept_images
from iommuctl.app.initramfs.mechanism import PATHS
from iommuctl.errors import ExecutionError, UnavailableError
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.plan import Ahead, FileClass, FileEdit
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

# Their entries name the image in /boot. Others copy it to an ESP, or into an image of their own.
BACKENDS = frozenset(("grub2", "bls"))
_RELEASE = PurePosixPath("/proc/sys/kernel/osrelease")
_REASON = "the initramfs gives the devices that the line chooses to vfio-pci"


class Groundwork(NamedTuple):
    """What comes before the line changes: files, and the commands that build images of them and look into those.

    `is_ready` tells whether the line may be written when that is done; with `runs` False, whether it may be now.
    `images` are those that are built anew.
    """

    ahead: Ahead = Ahead()
    findings: tuple[Finding, ...] = ()
    images: tuple[Image, ...] = ()
    is_ready: bool = True


def carries_choice(tree: Tree, backend: str) -> bool:
    """Whether images of this host can hold the script that reads a line's choice."""
    return backend in BACKENDS and builder_of(tree) is not None


def lay_groundwork(host: Host, found: Survey, *, runs: bool, again: str) -> Groundwork:
    """Return what has to be done so that every image holds the script; nothing where each is newer than its files.

    `again` is the command that plans the same. Raises UnavailableError where no image of this host can hold it.
    """
    builder = builder_of(found.tree)
    if builder is None or found.backend.name not in BACKENDS:
        raise _unable(builder, found.backend.name)
    booted = (host.root.read(_RELEASE) or b"").decode("ascii", "replace").strip() if host.is_system else None
    kernels = tuple(sorted({*found.facts.kernels, *found.facts.modules}))
    every = images_of(found.tree, builder, kernels, booted)
    if not every:
        raise UnavailableError(
            "no initramfs of an installed kernel is in /boot, so nothing can read which devices a line chooses",
            hint=_BY_IDS,
        )
    edits = tuple(
        FileEdit(one.path, FileClass.SOURCE, before, one.content, _REASON, one.mode)
        for one in builder.files
        if (before := found.tree.read(one.path)) != one.content
    )
    stale = every if edits else tuple(one for one in every if is_older(host, one, builder))
    ahead = Ahead(edits, tuple(command for one in stale for command in builder.build(one)), _room(host, stale))
    if not runs:
        return Groundwork(ahead, _left_out(host, builder, again) if stale else (), stale, is_ready=not stale)
    return Groundwork(ahead, tuple(_told(host, ahead, stale)), stale)


def require_room(host: Host, ahead: Ahead) -> None:
    """Raise ExecutionError where /boot has no room for what comes ahead."""
    from iommuctl.host.space import read_volume  # noqa: PLC0415 - few plans build an image

    if ahead.room and (free := read_volume(host.root, BOOT).free) < ahead.room:
        raise ExecutionError(
            f"no space in {str(BOOT)!r} to build an image next to the old one",
            details=(f"{ahead.room} bytes are needed, and {free} are free",),
            hint=f"df {host.root.outside(BOOT)}",
        )


def left_by_rollback(tree: Tree, edits: Iterable[FileEdit]) -> tuple[Finding, ...]:
    """Return what a rollback leaves in /boot that takes the files of the script away: images that still hold it."""
    if not any(edit.path in PATHS and edit.after is None for edit in edits):
        return ()
    builder = builder_of(tree)
    message = "the images still hold the script that binds devices, which does nothing without its parameter"
    hint = None if builder is None else f"{' '.join(builder.every)} builds them without it"
    kept = (
        Finding(
            Rule.IMAGE_KEPT,
            Severity.INFO,
            f"{path} is the image from before the script was built in",
            hint=f"mv {path} {live} where the new one does not boot, else rm {path}",
        )
        for path, live in kept_images(tree)
    )
    return (Finding(Rule.IMAGE_KEEPS_MECHANISM, Severity.INFO, message, hint=hint), *kept)


_BY_IDS = "iommuctl apply vfio-bind --set vfio-pci.ids=VENDOR:DEVICE binds by ids, and every device that has them"


def _unable(builder: Builder | None, backend: str) -> UnavailableError:
    if builder is None:
        brief = (
            "nothing that builds the initramfs of this host takes the script that reads which devices a line chooses"
        )
        details = ("known are initramfs-tools and dracut, each where no other tool builds images as well",)
    else:
        brief = f"the images that {backend} boots are copies, or parts of others, which are not looked into here"
        details = (f"known are {' and '.join(sorted(BACKENDS))}, whose entries name the image in {BOOT}",)
    return UnavailableError(brief, details=details, hint=_BY_IDS)


def is_older(host: Host, image: Image, builder: Builder) -> bool:
    """Whether an image was there before a file of the script: whoever built it since built that in."""
    built = host.root.stat(image.path)
    files = [host.root.stat(one.path) for one in builder.files]
    return built is None or any(one is None or one.st_mtime_ns >= built.st_mtime_ns for one in files)


def _room(host: Host, images: Iterable[Image]) -> int:
    """Return what building these takes: one image more than there are, and the one that is kept."""
    sizes = {one: status.st_size for one in images if (status := host.root.stat(one.path)) is not None}
    return max(sizes.values(), default=0) + sum(size for one, size in sizes.items() if one.is_kept)


def _told(host: Host, ahead: Ahead, images: Iterable[Image]) -> Iterable[Finding]:
    for one in images:
        if one.is_kept:
            message = f"the image that {one.release} boots with is kept as {one.kept}"
            hint = (
                f"rm {one.kept} once the host has booted with the new one; where that does not boot, name this file at "
                "the boot menu"
            )
            yield Finding(Rule.IMAGE_KEPT, Severity.INFO, message, hint=hint)
    try:
        require_room(host, ahead)
    except ExecutionError as error:
        brief = f"it will fail as things are: {error.brief} ({error.details[0]})"
        yield Finding(Rule.TARGET_NOT_WRITABLE, Severity.WARNING, brief, hint=error.hint)


def _left_out(host: Host, builder: Builder, again: str) -> tuple[Finding, ...]:
    return (
        Finding(
            Rule.REGENERATE_PENDING,
            Severity.WARNING,
            f"the images in {BOOT} are left as they are; no device is bound before they hold the script",
            hint=host.typed(builder.every),
        ),
        Finding(
            Rule.IMAGE_WITHOUT_MECHANISM,
            Severity.WARNING,
            "no image is newer than the script that reads which devices a line chooses, so that is not on the line yet",
            hint=f"build the images, then: {again}",
        ),
    )
